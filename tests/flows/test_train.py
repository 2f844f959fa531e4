"""The main job, from the command line to the report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from lib.lineage.manifests import MANIFEST, Manifest, Ref
from lib.store import LocalStore, Store, open_store

from .conftest import QUICK, REPOSITORY, Commands
from .test_readme import SNIPPETS

pytestmark = pytest.mark.usefixtures("clean_environment")


def refs(store: Store) -> dict[str, Ref]:
    """Address → ref of all that is finished in `store`."""
    addresses = [
        path.removesuffix(f"/{MANIFEST}")
        for kind in ("datasets", "prepared", "models", "evaluations", "duplicates", "reports")
        for path in store.list(kind)
        if path.endswith(MANIFEST)
    ]
    return {a: Manifest.from_json(store.read(f"{a}/{MANIFEST}")).ref(a) for a in addresses}


def test_it_ends_with_a_leaderboard_and_the_path_of_the_report(finished: tuple[Path, str]) -> None:
    store, printed = finished
    title = "Leaderboard of digits, at most 3 epochs, batch_size=8, ranked by validation accuracy"
    assert title in printed.splitlines()
    assert "digits-softmax" in printed
    report = Path(printed.splitlines()[-1].removeprefix("Report: file://"))
    assert report.is_relative_to(store)
    page = report.read_text()
    assert page.count("data:image/png;base64,") == 10
    assert "started by hand, on the command line" in page
    address = report.parent.relative_to(store)
    python = Path(sys.executable)
    shown = python.relative_to(REPOSITORY) if python.is_relative_to(REPOSITORY) else python
    assert f"Verify it back to the raw files: {shown} -m flows verify {address} --store {store}" in printed.splitlines()
    folder = store / "reports" / "digits"
    assert f'<a href="{report.relative_to(folder).as_posix()}">' in (folder / "index.html").read_text()


def test_what_is_stored_is_as_the_design_lays_it_out(finished: tuple[Path, str]) -> None:
    found = {a.split("/")[0]: a for a in refs(LocalStore(finished[0]))}
    assert set(found) == {"datasets", "prepared", "models", "evaluations", "duplicates", "reports"}
    assert found["models"].startswith("models/digits/digits-softmax/")
    assert not list(finished[0].glob("checkpoints/**/*.*")), "working state goes when the model is committed"


def test_what_a_model_costs_is_recorded_beside_its_results(finished: tuple[Path, str]) -> None:
    store = LocalStore(finished[0])
    made = {a.split("/")[0]: Manifest.from_json(store.read(f"{a}/{MANIFEST}")).made_by for a in refs(store)}
    assert all(made[kind]["processor_seconds"] > 0 for kind in ("models", "evaluations"))
    assert all(made[kind]["peak_memory_bytes"] > 100e6 for kind in ("models", "evaluations")), "TensorFlow takes more"
    assert {*made["evaluations"]["images_per_second"]} == {"1", "256"}
    # 1,024 × 10 multiplications and additions, and little else.
    assert 20_480 < made["evaluations"]["flops"] < 23_000


def test_a_second_run_finds_all_done_and_starts_no_server(finished: tuple[Path, str], commands: Commands) -> None:
    store, printed = finished
    before = sorted(store.rglob("*"))
    again = commands.run("flows.train", *QUICK, "--store", str(store), PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (again.returncode, again.stderr) == (0, f"Store: {store}\n")
    assert "nothing to train" in again.stdout
    assert again.stdout.splitlines()[-1] == printed.splitlines()[-1]
    assert sorted(store.rglob("*")) == before


@pytest.mark.slow
def test_s3_and_matplotlib_settings_of_the_users_give_the_same_layout_and_refs(
    finished: tuple[Path, str], commands: Commands, s3_environment: object, s3_server: object, tmp_path: Path
) -> None:
    uri = f"s3://{s3_server.bucket}/flows-test"  # type: ignore[attr-defined]
    keys = s3_server.environment()  # type: ignore[attr-defined]
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 14\naxes.grid: True\n")
    own = {"MPLBACKEND": "none of matplotlib's", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    done = commands.run("flows.train", *QUICK, STORE_URI=uri, **own, **keys)
    assert done.returncode == 0, done.stderr
    assert refs(open_store(uri, tmp_path)) == refs(LocalStore(finished[0]))
    elsewhere = commands.run("flows.train", *QUICK, STORE_URI=uri, CACHE_DIR=str(tmp_path / "other"), **keys)
    assert "nothing to train" in elsewhere.stdout


def printed_use(printed: str) -> list[str]:
    """The lines of Python that a run prints for its best model."""
    lines = printed.splitlines()
    at = lines.index("Use digits-softmax:")
    return [line.strip() for line in lines[at + 1 : at + 4]]


PLAIN = """
import sys
sys.modules.update(lib=None, flows=None, tasks=None)
import glob, keras, numpy as np, pandas as pd, duckdb
store = sys.argv[1]
model = keras.saving.load_model(glob.glob(f"{store}/models/*/*/*/model-*.keras")[0])
rows = pd.read_parquet(glob.glob(f"{store}/datasets/*/*/test-*.parquet")[0])
batch = np.stack([np.frombuffer(image, np.uint8).reshape(32, 32, 1) for image in rows["image"]])
correct = float((model.predict(batch, verbose=0).argmax(axis=1) == rows["label"]).mean())
tables = glob.glob(f"{store}/**/*.parquet", recursive=True)
filled = [table for table in tables if duckdb.sql(f"SELECT count(*) FROM '{table}'").fetchall()[0][0] > 0]
print(correct, len(filled), len(tables))
"""


@pytest.mark.slow
def test_model_and_tables_open_where_our_code_cannot_be_imported(finished: tuple[Path, str], tmp_path: Path) -> None:
    """The README's examples first, as they are printed, and what the run says of its best model."""
    store = finished[0]
    (tmp_path / ".store").symlink_to(store)
    use = printed_use(finished[1])
    code = "\n".join([*SNIPPETS, *use, PLAIN]).replace(
        "digits/digits-cnn/", "digits/digits-softmax/"
    )  # what was trained
    done = subprocess.run(
        [sys.executable, "-c", code, str(store)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    accuracy, opened, tables = done.stdout.split()[-3:]
    (metrics,) = store.glob("evaluations/*/*/*/metrics-*.json")
    assert float(accuracy) == pytest.approx(json.loads(metrics.read_text())["test"]["accuracy"], abs=1e-9)
    assert (opened, tables) == ("6", "6"), "train, test, splits, history, predictions, near duplicates"


def test_importing_the_flows_loads_no_tensorflow() -> None:
    code = "import sys, flows.train; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    ["flows.train", *(pytest.param(name, marks=pytest.mark.slow) for name in ("flows.train_model", "flows.ingest"))],
)
def test_help_explains_options_and_exit_codes(module: str, commands: Commands) -> None:
    done = commands.run(module, "--help")
    assert done.returncode == 0
    assert "--dataset" in done.stdout
    assert "exit codes: 0 done; 1 an unexpected error: report its traceback; 2 bad input" in done.stdout


@pytest.mark.slow
def test_the_ui_can_show_each_task_of_a_training_that_prepares_its_data_itself(
    commands: Commands, tmp_path: Path
) -> None:
    asked = ("--dataset", "digits", "--model", "digits-softmax", "--limit", "100", "--epochs", "1", "--seed", "77")
    done = commands.run("flows.train_model", *asked, "--store", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with get_client(sync_client=True) as client:
        (run,) = (each for each in client.read_flow_runs() if each.parameters.get("seed") == 77)
        in_it = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        runs = client.read_task_runs(flow_run_filter=in_it)
    tasks = [each for each in runs if each.state and not each.state.state_details.child_flow_run_id]
    assert {task.name for task in tasks} == {"train digits-softmax", "evaluate digits-softmax"}
    notes = {note.input_type for task in tasks for given in task.task_inputs.values() for note in given}
    assert "flow_run" not in notes, "of such a task Prefect's UI shows nothing"
