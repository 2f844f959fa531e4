"""While flows run, what they use stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.lineage.kept import GRACE_S
from lib.lineage.manifests import find
from lib.lineage.retention import Removal, apply, plan
from lib.store import LocalStore

from .made import addresses, age, assert_whole, clean, computed_features, policy, reported, trained


def test_what_is_young_stays_and_all_that_it_was_made_of(store: LocalStore) -> None:
    old = trained(store, "old", 1, features=computed_features(store, "f"))
    for day in (2, 3):
        reported(store, f"r{day}", day, trained(store, f"m{day}", day))
    reported(store, "young", 4, old)
    store.write("models/toy/cnn/m3/loser.bin", b"loser")
    store.write("checkpoints/models/toy/cnn/m3/lease.json", b"{}")
    age(store, "reports/toy/young", days=0.9)
    age(store, "checkpoints", days=0.9)
    gone = clean(store, keep=1, grace_s=GRACE_S)
    assert addresses(store, "models") == ["toy/cnn/m3", "toy/cnn/old"]
    assert addresses(store, "reports") == ["toy/young"]
    assert addresses(store, "features") == ["toy/f"]
    assert not [path for path in gone if "/m3/" in path]
    assert_whole(store)


@pytest.mark.parametrize(
    "work", ["models/toy/cnn/new/lease.json", "features/toy/new/lease.json", "models/toy/cnn/n/1.npz"]
)
def test_while_a_training_is_under_way_nothing_old_of_its_dataset_goes(history: LocalStore, work: str) -> None:
    history.write(f"checkpoints/{work}", b"{}")
    age(history, f"checkpoints/{work}", days=0.5)
    gone = [each for each in plan(history, policy(1, GRACE_S)).removals if each.reason.startswith("old")]
    assert gone == []
    age(history, f"checkpoints/{work}", days=2)
    assert [each for each in plan(history, policy(1, GRACE_S)).removals if each.reason.startswith("old")]


class Meanwhile(LocalStore):
    """Does something else just before the first removal of an old output."""

    def __init__(self, root: Path, what: Callable[[LocalStore], object]) -> None:
        super().__init__(root)
        self.what = what

    def ages(self, prefix: str) -> dict[str, float]:
        if prefix == "checkpoints" and (what := self.what):
            self.what = lambda store: None
            what(LocalStore(self.root))
        return super().ages(prefix)


def report_on_m1(store: LocalStore) -> None:
    found = find(store, "evaluations/toy/cnn/m1")
    assert found
    reported(store, "just-now", 59, found[0])
    age(store, "reports/toy/just-now", days=0)


@pytest.mark.parametrize(
    ("meanwhile", "spared"),
    [
        (report_on_m1, "m1"),
        (lambda store: store.write("checkpoints/models/toy/cnn/other/lease.json", b"{}"), "m2"),
        (lambda store: store.write("registry/champion.json", b'{"uri": "models/toy/cnn/m2"}'), "m2"),
    ],
    ids=["a report is made of it", "a training begins", "it is promoted"],
)
def test_what_comes_into_use_between_plan_and_removal_stays(
    history: LocalStore, meanwhile: Callable[[LocalStore], object], spared: str
) -> None:
    removals = plan(history, policy(1, GRACE_S)).removals
    assert f"models/toy/cnn/{spared}/manifest.json" in [each.path for each in removals]
    apply(Meanwhile(history.root, meanwhile), policy(1, GRACE_S), removals)
    assert f"toy/cnn/{spared}" in addresses(history, "models")
    assert_whole(history)


def test_a_file_that_is_written_anew_between_plan_and_removal_stays(history: LocalStore) -> None:
    """A run makes an old output again: its files are up, and its manifest is not there yet."""
    removals = plan(history, policy(1, GRACE_S)).removals
    (file,) = {each.path for each in removals if each.path.startswith("models/toy/cnn/m1/") and each.size_bytes == 17}
    honest = history.read(file)

    def write_again(removal: Removal) -> None:
        if removal.path == "models/toy/cnn/m1/manifest.json":
            history.write(file, honest)

    apply(history, policy(1, GRACE_S), removals, write_again)
    assert history.read(file) == honest
