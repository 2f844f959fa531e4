"""A clean-up looks at what is ours, each file by itself, and not at all that lies in the same folder."""

import os
from pathlib import Path

import pytest

from lib.errors import PermanentError
from lib.lineage.retention import apply, plan
from lib.store import LocalStore

from .made import age, clean, everything, policy, trained


def test_a_folder_that_holds_nothing_of_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--store /` would be: a look into all of it would take hours."""
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents" / f".partial-{0:032x}").touch()
    monkeypatch.setattr(os, "walk", lambda *more, **options: pytest.fail("it must not be looked into"))
    with pytest.raises(PermanentError) as error:
        plan(LocalStore(tmp_path), policy(1))
    assert str(error.value) == (
        "a store must hold one of the folders images, datasets, prepared, weights, features, models, evaluations, "
        "robustness, duplicates, reevaluations, decisions, reports, predictions, checkpoints, raw, registry, sources, "
        f"doctor; received {tmp_path}, which holds none of them; set STORE_URI or --store to a store"
    )


def test_what_lies_beside_our_folders_is_not_looked_into(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(store, "m", 1)
    for folder in ("models", "Documents"):
        file = store.root / folder / f".partial-{0:032x}"
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (0, 0))
    seen: list[Path] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top, **options: (seen.append(Path(top)), walk(top, **options))[1])
    assert clean(store) == [f"models/.partial-{0:032x}"]
    assert store.root not in seen
    assert store.root / "Documents" not in seen


def test_each_file_that_goes_is_looked_at_alone_however_many_lie_beside_it(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(store, "m", 1)
    litter = [f"models/toy/cnn/m/loser-{number}.bin" for number in range(200)]
    for path in litter:
        (store.root / path).touch()
        age(store, path, days=2)
    planned, walked = plan(store, policy()).removals, []
    monkeypatch.setattr(os, "walk", lambda *more, **options: walked.append(more))
    apply(store, policy(), planned)
    assert walked == []
    assert not {*litter} & {*everything(store)}


def test_what_a_link_inside_of_an_output_leads_to_stays(history: LocalStore, tmp_path: Path) -> None:
    mine = [tmp_path / "mine/docs" / name for name in ("thesis.txt", "model.keras", f".partial-{0:032x}")]
    for file in mine:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"years of work")
        os.utime(file, (0, 0))
    (history.root / "checkpoints/models/toy/cnn/m4").mkdir(parents=True)
    for place in ("models/toy/cnn/m1", "models/toy/cnn/m4", "checkpoints/models/toy/cnn/m4"):
        (history.root / place / "mine").symlink_to(tmp_path / "mine")
        (history.root / place / "docs").symlink_to(tmp_path / "mine/docs")
    gone = clean(history, keep=1)
    assert [file.read_bytes() for file in mine] == [b"years of work"] * 3
    assert "models/toy/cnn/m1/manifest.json" in gone
    assert not [path for path in gone if "mine" in path or "docs" in path]
