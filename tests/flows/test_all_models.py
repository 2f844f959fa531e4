"""The whole line-up on the real CIFAR-100, with the real ImageNet weights of MobileNet."""

from pathlib import Path

import pytest

from flows.command import main_of
from flows.train import command
from lib.manifests import MANIFEST, Manifest, Ref
from lib.models.recipes import RECIPES, choose_recipes, find_recipe
from lib.models.schema import Phase
from lib.reporting.report import leaderboard_table
from lib.store import LocalStore

from .conftest import Commands

pytestmark = [pytest.mark.real_data, pytest.mark.slow, pytest.mark.usefixtures("clean_environment")]
ALL = ("--dataset", "cifar100", "--limit", "500", "--epochs", "1", "--allow-cpu", "--weights", "none")


def reports(store: Path) -> list[list[str]]:
    """The models that each report in `store` ranks."""
    found = []
    for path in store.glob(f"reports/*/*/{MANIFEST}"):
        address = path.parent.relative_to(store).as_posix()
        ref: Ref = Manifest.from_json(path.read_bytes()).ref(address)
        found.append(sorted(row["Model"] for row in leaderboard_table(LocalStore(store), ref)))
    return found


def test_all_models_of_cifar100_reach_the_leaderboard_and_one_that_fails_loses_itself_alone(
    commands: Commands, real_mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    done = commands.run("flows.train", *ALL, "--store", str(store), MIRROR_URL=real_mirror, timeout_s=1700)
    assert done.returncode == 0, done.stderr
    names = sorted(recipe.name for recipe in choose_recipes("cifar100", None))
    assert names == [
        "alexnet", "cifar-cnn", "densenet121", "inception-v3", "mobilenet", "mobilenet-frozen", "resnet50",
    ]  # fmt: skip
    assert reports(store) == [names]
    assert done.stdout.splitlines()[-1].startswith("Report: file://")

    diverges = find_recipe("cifar-cnn").model_copy(
        update={"name": "diverges", "phases": (Phase(epochs=1, learning_rate=1e38, optimizer="sgd"),)}
    )
    monkeypatch.setitem(RECIPES, "diverges", diverges)
    for name, value in {"MIRROR_URL": real_mirror, "STORE_URI": "", "ALLOW_CPU": ""}.items():
        monkeypatch.setenv(name, value)  # the options set the last two
    with pytest.raises(SystemExit) as ended:
        main_of(lambda: command([*ALL, "--store", str(store)]))
    assert ended.value.code == 4
    assert reports(store) == [names], "the others have their results"


def test_real_imagenet_weights_are_worth_more_than_a_random_start(
    commands: Commands, real_mirror: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    asked = ("--dataset", "cifar100", "--models", "mobilenet-frozen", "--limit", "2000")
    done = commands.run(
        "flows.train", *asked, "--weights", "imagenet", "none", "--store", str(store),
        MIRROR_URL=real_mirror, timeout_s=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = store.glob(f"reports/*/*/{MANIFEST}")
    rows = Manifest.from_json(path.read_bytes()).facts["leaderboard"]
    assert [row["model"] for row in rows] == [
        "mobilenet-frozen, weights imagenet", "mobilenet-frozen, weights none",
    ]  # fmt: skip
    assert rows[0]["test_accuracy"] > 0.4
    assert rows[1]["test_accuracy"] < 0.2
