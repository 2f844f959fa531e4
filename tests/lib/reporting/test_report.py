"""The report says what the store holds, the same wherever and whenever it is built."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, Ref, commit, load, put_file
from lib.lineage.provenance import made_by
from lib.models.recipes import RECIPES
from lib.models.schema import Size
from lib.reporting.leaderboard import BASELINE
from lib.reporting.report import _render, build_report, read_report, report_markdown
from lib.reporting.summary import leaderboard_table
from lib.store import LocalStore

from . import made

REPOSITORY = Path(__file__).resolve().parents[3]
TINY = "iVBORw0KGgo="
"""made.PNG in base64."""


class Elements(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_second_build_gives_the_same_ref_and_writes_nothing(
    store: LocalStore, prepared: Ref, evaluations: list[Ref], report: Ref
) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    assert build_report(store, prepared, evaluations[::-1]) == report
    assert build_report(store, prepared, [*evaluations, evaluations[0]]) == report
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


SVG_BUILD = """
import sys
from pathlib import Path
import made
from lib.reporting.report import build_report
from lib.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
prepared = made.prepared_digits(store)
refs = [made.evaluated(store, prepared, "digits-softmax", (0.9, 0.5, 1.0), baseline=True),
        made.evaluated(store, prepared, "digits-cnn", (1.0, 0.75, 0.8), seconds=1)]
print(build_report(store, prepared, refs).model_dump_json())
"""


@pytest.mark.slow
def test_another_store_backend_pictures_and_times_give_the_same_ref(report: Ref, page: str, tmp_path: Path) -> None:
    path = f"{REPOSITORY}{os.pathsep}{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, "-c", SVG_BUILD, str(tmp_path)],
        env={**os.environ, "MPLBACKEND": "svg", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Ref.model_validate_json(done.stdout) == report
    assert made.index(LocalStore(tmp_path), report) != page


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    loading = {"src", "srcset", "data", "poster", "action", "background", "href"}
    elements = Elements(page).found
    named = [(tag, name, value) for tag, attributes in elements for name, value in attributes.items()]
    sources = [value for tag, name, value in named if name in loading and tag not in {"a", "use"}]
    assert len(sources) == 5 + 2 * 4, "two of the data, the leaderboard, examples, suspected labels, four of each model"
    assert all(value and value.startswith("data:image/png;base64,") for value in sources)
    assert not {tag for tag, _ in elements} & {"link", "iframe", "object", "embed"}
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert [attributes.get("type") for attributes in scripts] == 3 * ["application/json"] + [None]
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page
    links = [attributes["href"] for tag, attributes in elements if tag in {"a", "use"}]
    targets = {attributes.get("id") for _, attributes in elements}
    assert all(str(link).startswith("#") and str(link)[1:] in targets for link in links)


def test_the_page_holds_the_numbers_of_each_split_and_their_origin(
    store: LocalStore, prepared: Ref, evaluations: list[Ref], page: str
) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "2 models for 10 classes: trained on 1,293 images, chosen on 144." in text
    assert "Train 1,293 1.0000" in text
    assert "Validation 144 0.7500" in text
    assert "Test 360 0.8000" not in text, "nobody asked for it"
    assert "1,293 × 32 × 32 × 1" in text
    for word in ("count", "mean", "std", "min", "25%", "50%", "75%", "max"):
        assert f" {word} " in text
    assert "pixel 3 … pixel 1020" in text
    assert "phase 1 epochs 20, optimizer adamw, learning rate 0.003, schedule warmup-cosine" in text
    assert "conv2d Conv2D (16, 16, 16) 144" in text
    assert BASELINE.replace("'", "&#39;") in text
    assert "1 min 15 s" in text
    assert "resumed on cpu another, gpus 0" in text
    assert "Licence CC BY 4.0" in text
    assert "Citation E. Alpaydin and C. Kaynak" in text
    assert "training images left out, equal to a test image 0" in text
    refs = [prepared, *evaluations, *(load(store, evaluation).inputs["model"] for evaluation in evaluations)]
    assert all(ref.uri in text and ref.sha256 in text for ref in refs)


def test_the_markdown_is_the_same_report_with_the_pictures_of_the_best_model_inside(
    store: LocalStore, report: Ref
) -> None:
    text = report_markdown(store, report)
    header, line, first, second = text.split("## Leaderboard\n\n")[1].splitlines()[:4]
    assert len({row.count("|") for row in (header, line, first, second)}) == 1
    assert first.startswith("| 1 | digits-cnn | 0.7500 (0.673–0.814) | 1 min 15 s |")
    assert second.startswith(f"| 2 | digits-softmax ({BASELINE}) | 0.5000 (0.419–0.581) | 4.2 s |")
    assert text.count(f"](data:image/png;base64,{TINY})") == 2, "the leaderboard and the curves of the best model"
    assert text.count("](data:image/png;base64,") == 2 + 1, "and one mistake"
    assert "**digits-cnn is best on validation: 75.0" in text
    assert "    python -m flows.train --dataset digits --models digits-cnn digits-softmax --seed 0\n" in text
    assert "limited run" not in text


def test_a_limited_report_warns_and_is_never_mixed_with_a_full_one(
    store: LocalStore, evaluations: list[Ref], page: str
) -> None:
    limited = made.prepared_digits(store, 100)
    report = build_report(store, limited, [made.evaluated(store, limited)])
    assert load(store, report).facts["limit"] == 100
    assert "A limited run." in made.index(store, report)
    assert "--limit 100" in made.index(store, report)
    assert "**A limited run.**" in report_markdown(store, report)
    assert "A limited run." not in page
    with pytest.raises(PermanentError, match="must all be of prepared/digits/"):
        build_report(store, limited, evaluations)


def test_the_title_says_when_why_and_with_which_seed_it_was_made(
    store: LocalStore, prepared: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {**made_by(0), "at": "2026-11-07T01:02:03+00:00"}
    monkeypatch.setattr("lib.reporting.report.made_by", lambda _, **more: record | more)
    refs = [made.evaluated(store, prepared, seed=41), made.evaluated(store, prepared, "digits-softmax", seed=7)]
    report = build_report(store, prepared, refs, started_by="the schedule daily")
    when = "7 November 2026, 01:02 UTC, started by the schedule daily"
    title = f"Optical recognition of handwritten digits: training report, {when}, seeds 7, 41"
    assert f"<title>{title}</title>" in made.index(store, report)
    assert f"Training report of {when}; seeds 7, 41." in report_markdown(store, report)


def test_models_left_out_are_named_with_the_reason_and_make_another_report(
    store: LocalStore, prepared: Ref, evaluations: list[Ref], report: Ref
) -> None:
    left_out = {"digits-cnn-gpu": "runs on a GPU", "slow <b>": "diverged | at step 3"}
    lacking = build_report(store, prepared, evaluations, left_out)
    assert lacking != report
    assert "<li>digits-cnn-gpu: runs on a GPU</li><li>slow &lt;b&gt;: diverged | at step 3</li>" in made.index(
        store, lacking
    )
    assert r"> **Left out:** slow &lt;b&gt;: diverged \| at step 3" in report_markdown(store, lacking)
    other_reason = build_report(store, prepared, evaluations, dict.fromkeys(reversed(left_out), "no worker"))
    assert other_reason == lacking, "the names make the address"
    assert "Left out" not in made.index(store, report)


def test_the_page_says_what_a_run_changed_of_its_recipe(store: LocalStore, prepared: Ref, page: str) -> None:
    phases = tuple(phase.model_copy(update={"epochs": 2}) for phase in RECIPES["digits-cnn"].phases)
    changed = build_report(store, prepared, [made.evaluated(store, prepared, phases=phases, dropout=0.5)])
    text = made.index(store, changed)
    assert "<strong>Changed for this run:</strong> dropout 0.25 → 0.5; phases.0.epochs 20 → 2." in text
    assert leaderboard_table(store, changed)[0]["Note"] == "dropout 0.25 → 0.5; phases.0.epochs 20 → 2"
    assert "Changed for this run" not in page


def test_figures_by_which_an_epoch_was_chosen_are_said_to_be_optimistic(
    store: LocalStore, prepared: Ref, report: Ref
) -> None:
    chosen = build_report(store, prepared, [made.evaluated(store, prepared, keep="best")])
    says = "The kept epoch was chosen on validation, so its validation figures are optimistic."
    for text in (made.index(store, chosen), report_markdown(store, chosen)):
        assert text.count(says) == 1
    assert says not in made.index(store, report)


@pytest.mark.parametrize(
    ("weights", "start", "change"),
    [("none", "random weights", "weights imagenet → none"), ("imagenet", "ImageNet weights", "")],
)
def test_the_start_of_a_backbone_is_that_of_the_run(
    store: LocalStore, prepared: Ref, weights: str, start: str, change: str
) -> None:
    report = build_report(store, prepared, [made.evaluated(store, prepared, "densenet121", weights=weights)])
    text = made.index(store, report)
    assert f"Trained here from {start}: " in text
    assert "from ImageNet:" not in text
    assert ("Changed for this run" in text) == bool(change)
    assert leaderboard_table(store, report)[0]["Note"] == change


def test_no_more_than_five_classes_have_no_top_five(
    store: LocalStore, report: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Top-5" in report_markdown(store, report)
    assert "Validation top-5" in leaderboard_table(store, report)[0]
    monkeypatch.setattr("lib.reporting.leaderboard.FIVE", 10)
    assert "Top-5" not in report_markdown(store, report)
    assert "Validation top-5" not in leaderboard_table(store, report)[0]


def test_all_but_the_best_model_is_folded(page: str) -> None:
    models = [attributes for tag, attributes in Elements(page).found if attributes.get("class") == "model"]
    assert ["open" in attributes for attributes in models] == [True, False]


def test_a_hostile_name_is_shown_and_not_run(store: LocalStore, prepared: Ref) -> None:
    hostile = "<script>alert('x')</script>|[y](javascript:z)"
    manifest = load(store, prepared)
    files = manifest.files.items()
    names = [hostile, *manifest.facts["class_names"][1:]]
    changed = {
        "facts": {**manifest.facts, "dataset": "hostile", "class_names": names},
        "files": {name: put_file(store, "prepared/hostile/key", name, store.root / file.path) for name, file in files},
    }
    ref = commit(store, "prepared/hostile/key", Manifest(**{**dict(manifest), **changed}))
    report = build_report(store, ref, [made.evaluated(store, ref, right=(1, 0.5, 0.5))])
    page, text = made.index(store, report), report_markdown(store, report)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "<script" not in text
    assert r"\|\[y\](javascript:z)" in text


def test_a_report_without_models_shows_the_data(store: LocalStore, prepared: Ref) -> None:
    report = build_report(store, prepared, [])
    assert "No model was trained." in made.index(store, report)
    assert "No model was trained." in report_markdown(store, report)
    assert leaderboard_table(store, report) == []


def test_a_report_reads_back_as_it_was_built(store: LocalStore, report: Ref, page: str) -> None:
    found = read_report(store, report)
    assert _render("index.html.j2", found) == page
    assert [model.name for model in found.models] == ["digits-cnn", "digits-softmax"]
    assert found.leaderboard == load(store, report).facts["leaderboard"]
    assert next(rows for _, _, rows in found.data.labels) == [128, 14, 36]
    assert found.models[0].metrics["validation"].rows == 144


def test_a_recipe_that_does_not_promise_equal_bits_says_so(store: LocalStore, prepared: Ref, page: str) -> None:
    inexact = made.index(store, build_report(store, prepared, [made.evaluated(store, prepared, deterministic=False)]))
    assert "do not promise" in inexact
    assert "do not promise" not in page


def test_a_model_trained_on_other_sizes_first_says_what_its_curves_are_validated_on(
    store: LocalStore, prepared: Ref, page: str
) -> None:
    (phase,) = RECIPES["digits-cnn"].phases
    changed = phase.model_copy(update={"sizes": (Size(epochs=1, px=16),)})
    fast = made.evaluated(store, prepared, network="whitened-resnet", phases=(changed,))
    said = "Epochs on images of another size are validated on images of that size."
    assert said in made.index(store, build_report(store, prepared, [fast]))
    assert said not in page


def test_a_recipe_that_this_code_no_longer_knows_is_shown_as_it_was_resolved(store: LocalStore, prepared: Ref) -> None:
    other = made.evaluated(store, prepared, network="of another version")
    assert "of another version" in made.index(store, build_report(store, prepared, [other]))


def test_reporting_loads_no_tensorflow_and_no_plotting_to_show_a_leaderboard() -> None:
    code = "import sys, lib.reporting.report; print({'tensorflow', 'keras', 'matplotlib', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
