"""A clean-up that is cut, or that cannot remove all: every manifest is whole, and the next one removes the rest."""

import re
import shutil
from pathlib import Path

import pytest

from lib.errors import PermanentError, TransientError
from lib.lineage.retention import CleanUp, apply, plan
from lib.store import LocalStore

from .made import assert_whole, clean, everything, policy


def test_a_clean_up_cut_anywhere_leaves_every_manifest_whole(history: LocalStore, tmp_path: Path) -> None:
    removals = plan(history, policy(1)).removals
    whole = tmp_path / "whole"
    shutil.copytree(history.root, whole)
    apply(LocalStore(whole), policy(1), removals)
    finished = [path for path in everything(LocalStore(whole)) if path.endswith("/manifest.json")]
    for cut_after in range(len(removals)):
        root = tmp_path / f"cut-{cut_after}"
        shutil.copytree(history.root, root)
        with pytest.raises(TransientError, match="killed"):
            apply(CutStore(root, cut_after), policy(1), removals)
        cut = LocalStore(root)
        assert_whole(cut)
        clean(cut, keep=1)
        assert_whole(cut)
        assert [path for path in everything(cut) if path.endswith("/manifest.json")] == finished
        assert plan(cut, policy(1)) == CleanUp([])
        assert everything(cut) == everything(LocalStore(whole)), "what the cut left is removed by the next clean-up"
        shutil.rmtree(root)


def test_what_a_cut_left_stays_while_a_run_makes_it_again(history: LocalStore) -> None:
    address = "models/toy/cnn/m1"
    left = [path for path in history.list(address) if not path.endswith("/manifest.json")]
    history.delete(f"{address}/manifest.json")
    lease = f"checkpoints/{address}/lease.json"
    history.write(lease, b"{}")
    assert [each.path for each in plan(history, policy()).removals if each.path in left] == []
    history.delete(lease)
    going = [each.path for each in plan(history, policy()).removals if each.path in left]
    assert going == [path for path in left if re.search("-[0-9a-f]{12}[.]", path)] != []


def test_a_file_that_cannot_be_removed_keeps_no_other(history: LocalStore) -> None:
    removals = plan(history, policy(1)).removals
    stuck = next(each.path for each in removals if each.address and not each.path.endswith("/manifest.json"))

    class StuckStore(LocalStore):
        def delete(self, path: str) -> None:
            if path == stuck:
                raise PermanentError(f"{path} may not be removed")
            super().delete(path)

    with pytest.raises(PermanentError, match=f"^{stuck} may not be removed$"):
        apply(StuckStore(history.root), policy(1), removals)
    assert clean(history, keep=1) == [stuck]


class CutStore(LocalStore):
    """Fails at a removal after so many."""

    def __init__(self, root: Path, removals: int) -> None:
        super().__init__(root)
        self.left = removals

    def delete(self, path: str) -> None:
        if self.left == 0:
            raise TransientError("killed")
        self.left -= 1
        super().delete(path)
