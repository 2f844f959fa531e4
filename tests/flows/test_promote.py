"""The command promote on real models of digits: its verdicts, what it prints, and what verify says of its records."""

import shutil
from pathlib import Path

import pytest

from flows.train import train_all
from lib.data.datasets import DATASETS
from lib.errors import PermanentError
from lib.lineage.kept import Policy
from lib.lineage.manifests import Ref, load
from lib.lineage.retention import plan
from lib.lineage.verify import check_output
from lib.planning.request import PromotionRequest, read_request
from lib.registry import decisions
from lib.registry.audit import check_records
from lib.registry.history import read_history
from lib.registry.promotion import find_challenger, promote
from lib.store import LocalStore
from tasks.settings import read_settings, using

from .conftest import QUICK, Commands


@pytest.fixture
def store(finished: tuple[Path, str], tmp_path: Path) -> LocalStore:
    shutil.copytree(finished[0], tmp_path / "store")
    return LocalStore(tmp_path / "store")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_digits_it_cannot_tell_and_says_how_many_images_it_would_take(commands: Commands, store: LocalStore) -> None:
    def run(module: str, *arguments: str, code: int = 0) -> list[str]:
        done = commands.run(module, *arguments, "--store", store.uri)
        assert done.returncode == code, done.stderr
        return (done.stdout if code == 0 else done.stderr).splitlines()

    first = run("flows.promote", "--dataset", "digits")
    assert first[0] == "- No champion before: the first model becomes champion, and nothing was compared."
    assert first[-1].startswith("Promote: digits-softmax/")
    assert first[-1].endswith(" is the champion of digits (record 1)")
    asked = "flows.train", *QUICK, "--seed", "1", "--promote"
    told = run(*asked)
    assert told[-1].startswith("Cannot tell: digits-softmax/")
    assert "stays the champion of digits (record 2); it would take about " in told[-1]
    assert "of 144 images" in told[-2]
    assert run(*asked)[0] == "All done before: nothing to train."
    listed = run("flows.promote", "--dataset", "digits", "--history")
    assert [line.split()[2] for line in listed if line.split()[:1] in (["1"], ["2"])] == ["promote", "cannot-tell"]
    held = run("flows.verify", "registry/digits")
    assert held[-1].startswith("registry/digits holds: 2 records, each after the one before. sha256 ")
    assert [line.split("/")[0] for line in held if "decisions" in line] == ["holds: decisions"] * 2
    path = "registry/digits/history/00000001.json"
    store.write(path, store.read(path).replace(b"hand, ", b"nobody, "))
    assert f"{path} in {store.uri} does not match its checksum" in run("flows.verify", "registry/digits", code=2)[-1]
    assert f"{path} in {store.uri} does not match its checksum" in run("flows.promote", "--rollback", code=2)[-1]


@pytest.mark.slow
def test_a_champion_of_other_data_is_evaluated_anew_and_that_is_verified(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, _ = find_challenger(store, "digits", None)

    def decide(challenger: Ref, before: Ref | None, attempt: int) -> Ref:
        return decisions.decide(store, challenger, before, attempt)

    promote(store, "digits", champion, "a test", decide)
    split_anew = DATASETS["digits"].model_copy(update={"validation_rows": 300})
    monkeypatch.setitem(DATASETS, "digits", split_anew)
    with using(read_settings().model_copy(update={"store_uri": store.uri})):
        train_all(dataset="digits", models=["digits-softmax"], epochs=9, overrides={"batch_size": "8"})
    challenger, _ = find_challenger(store, "digits", None)
    assert challenger.model != champion.model
    record = promote(store, "digits", challenger, "a test", decide).record
    assert record.decision
    decision = load(store, record.decision)
    anew = load(store, decision.inputs["reevaluation-champion"])
    assert anew.inputs == {"model": champion.model, "prepared": record.prepared}
    assert decision.facts["tests"]["validation"]["rows"] == 300
    latency = decisions._measure(store, load(store, champion.evaluation), load(store, challenger.evaluation))
    assert latency.pairs == 31
    assert 0.2 < latency.ratio < 5, "two models of one recipe"
    assert len(check_records(store, read_history(store, "digits"))) == 2
    assert [check_output(store, each) for each in (decision.inputs["reevaluation-champion"], record.decision)] == [
        "",
        "",
    ]
    gone = {each.path.split("/")[0] for each in plan(store, Policy(keep=1, grace_s=0)).removals}
    assert gone == {"decisions", "duplicates", "reports"}, "the last record names both models"
    forged = anew.model_copy(update={"inputs": {**anew.inputs, "model": challenger.model}})
    store.write(f"{decision.inputs['reevaluation-champion'].uri}/manifest.json", forged.to_json())
    with pytest.raises(PermanentError, match=r"is not what was asked for"):
        check_output(store, record.decision)


def test_what_contradicts_itself_is_refused() -> None:
    for values, rule in (
        ({"rollback": True, "force": True}, "rollback names no model and cannot be forced"),
        ({"force": True, "model": "models/digits/a/1"}, r"force needs the model \(--model REF\) and says why"),
        ({"min_gain": 1.5}, "min_gain: Input should be less than 1"),
    ):
        with pytest.raises(PermanentError, match=rule):
            read_request(PromotionRequest, values)


def test_without_a_report_there_is_no_challenger(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(PermanentError, match=r"the newest report of digits names the challenger; .* has none: train"):
        find_challenger(store, "digits", None)
    for model in ("models/digits/a/1", "x", ".."):
        with pytest.raises(PermanentError, match=r"model \(--model REF\) must name a model"):
            find_challenger(store, "digits", model)
    assert not read_history(store, "digits").records
