"""A group, or the source, says which split an image is in: one that equals it in another group is not trained on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ingest import rows
from lib.data.ingest import ingest
from lib.data.own import find_dataset, record
from lib.data.prepare import prepare
from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.images.collect import collect, look
from lib.images.own_source import OwnSource
from lib.images.sides import side_of
from lib.lineage.manifests import Ref, load
from lib.lineage.verify import verify
from lib.store import LocalStore

from .own_images import CLASSES, picture, png, source, write_folder


@pytest.fixture
def here(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def prepared(store: LocalStore, own: OwnSource) -> Ref:
    record(store, own, collect(own, look(own, Path(store.uri) / "cache"), store, None, lambda count: None))
    spec = find_dataset(own.name, store)
    return prepare(spec, store, ingest(spec, store, None, lambda *_: None), None)


def groups_in(split: str) -> Iterator[str]:
    return (name for name in map(str, range(1_000)) if side_of(name, None, frozenset()) == split)


def test_an_image_that_equals_one_of_another_groups_in_validation_or_test_is_left_out_of_train(
    here: LocalStore, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "own", 12)
    train, validation, test = (groups_in(split) for split in ("train", "validation", "test"))
    lines = ["path,label,patient"]
    for name, colour in CLASSES.items():
        lines += [f"{name}/{number}.png,{name},{next(train)}" for number in range(12)]
        for number, group in ((0, next(validation)), (1, next(test)), (100, next(validation))):
            path = folder / f"again {name} {number}.png"
            path.write_bytes(png(picture(colour, number)))
            lines.append(f"{path.name},{name},{group}")
    (folder / "list.csv").write_text("\n".join(lines))
    ref = prepared(here, source(folder / "list.csv", group_column="patient"))
    manifest = load(here, ref)
    assert manifest.facts["rows"] == {"train": 3 * 10, "validation": 3 * 2, "test": 3}
    assert manifest.facts["duplicates"] == {
        "train_in_test": 3,
        "train_repeated": 3,  # those of validation: they follow, and test lies elsewhere
        "train_grouped": 6,
        "conflicting_groups": 0,
        "train_in_validation": 3,
    }
    splits = read_rows(here, manifest, ("train", "validation", "test"))
    pixels = {name: {image.tobytes() for image in split.images} for name, split in splits.items()}
    assert not pixels["train"] & (pixels["validation"] | pixels["test"])
    assert rows(here, ref) == (
        "30 train, 6 validation, 3 test rows; left out of train, equal to one of validation or test: 6"
    )
    verify(here, ref.uri)


@pytest.mark.parametrize(("other", "says"), [("validation", "of test"), ("train", "of validation or test")])
def test_a_split_whose_images_are_all_in_another_one_is_refused(
    here: LocalStore, tmp_path: Path, other: str, says: str
) -> None:
    for place, split in enumerate(("train", "validation", "test")):
        write_folder(tmp_path / "own" / split, 5, first=0 if split in {other, "test"} else 10 * place)
    with pytest.raises(
        PermanentError, match=f"^colours: {other} must have an image that is in no other split; .*{says}"
    ):
        prepared(here, source(tmp_path / "own"))
