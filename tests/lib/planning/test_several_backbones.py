"""Plans of recipes with several backbones."""

from pathlib import Path

import pytest

from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.models import recipes
from lib.models.backbone_schema import Backbone
from lib.models.imagenet import IMAGENET_FILES
from lib.models.schema import features_address, model_address
from lib.models.weights import weights_address
from lib.planning.outputs import find_report
from lib.planning.plan import make_plan
from lib.planning.request import TrainingRequest
from lib.store import LocalStore

from .made import duplicates_address, evaluation_address, report_address
from .test_preview import FILE, FROZEN, LINEAR, put, put_model, put_prepared, steps, told

LITE = Backbone(name="efficientnet-lite0", image_px=32, frozen=True)
SEVERAL = FROZEN.model_copy(update={"name": "several", "beside": (LITE,)})


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {recipe.name: recipe for recipe in (LINEAR, SEVERAL)})
    monkeypatch.setitem(IMAGENET_FILES, "mobilenet", (FILE,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_of_several_backbones_each_has_its_weights_and_features(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = put_prepared(store)
    start = put(store, "weights", weights_address("mobilenet", {"name": "toy.h5", "md5": None, "sha256": None}))
    put(store, "features", features_address("digits", FROZEN, prepared, 0, start))
    assert told(store, models=["several"])[2:] == [
        ("ingest weights of mobilenet", "done", ""),
        ("compute features of mobilenet for several", "done", ""),
        ("ingest weights of efficientnet-lite0", "would run", "not in the store yet"),
        ("compute features of efficientnet-lite0 for several", "would run", "not in the store yet"),
        ("train several", "would run", "never trained"),
        ("evaluate several", "would run", "not in the store yet"),
        ("look for near duplicates in digits", "would run", "not in the store yet"),
        ("report on digits", "would run", "its models are not all done"),
    ]
    (file,) = IMAGENET_FILES["efficientnet-lite0"]
    key = {"name": file.name, "md5": None, "sha256": file.sha256}
    lite = put(store, "weights", weights_address("efficientnet-lite0", key))
    put(store, "features", features_address("digits", SEVERAL.alone(LITE), prepared, 0, lite))
    address = model_address("digits", SEVERAL, prepared, 0, {"mobilenet": start, "efficientnet-lite0": lite})
    facts = {"recipe": SEVERAL.resolved(), "seed": 0, "limit": None, "weights": "imagenet"}
    inputs = {"prepared": prepared, "weights": start, "weights-efficientnet-lite0": lite}
    put(store, "model", address, facts=facts, inputs=inputs)
    assert [state for _, state, _ in told(store, models=["several"])] == ["done"] * 7 + ["would run"] * 3
    why = f"seed 0 → 5; compared with {address} of 2026-01-01"
    assert ("train several", "would run", why) in told(store, models=["several"], seed=5)


def test_a_recipe_whose_optional_package_is_not_installed_is_left_out(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = IMAGENET_FILES["efficientnet-lite0"]
    absent = file.model_copy(update={"package": "no-such-package"})
    monkeypatch.setitem(IMAGENET_FILES, "efficientnet-lite0", (absent,))
    (line,) = (line for line in told(store, models=["several"]) if line[0] == "train several")
    assert line[1] == "left out"
    assert line[2].startswith("the ImageNet weights of efficientnet-lite0 are in an optional package: ")
    plan = make_plan(TrainingRequest(models=["linear", "several"]))
    prepared = put_prepared(store)
    evaluation = put(store, "evaluation", evaluation_address("linear", put_model(store, prepared, LINEAR)))
    duplicates = put(store, "duplicates", duplicates_address(prepared))
    report = put(store, "report", report_address(prepared, [evaluation], ("several",), duplicates))
    assert find_report(store, plan, allow_cpu=False) == report
    assert find_report(store, plan, allow_cpu=False, mirror_url="https://host/m") is None, "the mirror may have it"


def test_a_plan_shares_work_among_backbones_and_fetches_nothing_that_is_installed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    lines = {line.name: line for line in steps(store, dataset="cifar100", models=["backbones-frozen"])}
    assert lines["ingest weights of efficientnet-lite2"].fetched_bytes == 0
    features = [line for name, line in lines.items() if name.startswith("compute features")]
    # 60,000 rows, as they are and mirrored, of 512 + 1,024 + 1,024 + 1,280 + 1,280 features in two bytes each: 1.2 GB.
    assert sum(line.stored_bytes for line in features) == pytest.approx(60_000 * 2 * 5_120 * 2, rel=0.01)
    assert len({line.stored_bytes for line in features}) == 1
    assert all(line.seconds for line in features)


def test_a_recipe_with_several_backbones_starts_them_alike_and_from_no_file() -> None:
    plan = make_plan(TrainingRequest(models=["several"], weights=["imagenet", "none"]))
    assert [[each.weights for each in recipe.backbones] for recipe in plan.recipes] == [["imagenet"] * 2, ["none"] * 2]
    for given in ("my.h5", "s3://bucket/my.h5", "weights/mobilenet/0123456789abcdef"):
        with pytest.raises(PermanentError) as caught:
            make_plan(TrainingRequest(models=["several"], weights=given))
        assert str(caught.value) == (
            f"--weights {given} fits one backbone, and several has mobilenet, efficientnet-lite0: "
            "several backbones must start all from imagenet or all from none"
        )
    request = plan.request_for(plan.trials[1], Ref(uri="prepared/digits/1", sha256="a" * 64))
    assert make_plan(request.alone()).recipes == (plan.recipes[1],), "a worker trains the same"
