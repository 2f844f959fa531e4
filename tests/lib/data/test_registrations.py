"""The records of people's own datasets: whose each is, which are offered, and what to do where the images are gone."""

import shutil
from pathlib import Path

import pytest

from lib.data.own import collected_summary, find_dataset, own_names, read_registration, record
from lib.errors import PermanentError
from lib.images.collect import collect, look
from lib.images.own_source import OwnSource
from lib.images.shards import SHARD
from lib.lineage.manifests import MANIFEST, Manifest, Ref, load
from lib.store import LocalStore

from .own_images import source, write_folder


@pytest.fixture
def here(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def own(tmp_path: Path) -> OwnSource:
    return source(write_folder(tmp_path / "colours", 12))


def collected(own: OwnSource, store: LocalStore, newest: Ref | None = None) -> Ref:
    ref = collect(own, look(own, Path(store.uri) / "cache"), store, newest, lambda count: None)
    record(store, own, ref)
    return ref


def test_a_record_under_another_name_is_refused_and_neither_is_changed(here: LocalStore, own: OwnSource) -> None:
    collected(own, here)
    record_of_colours = here.read("sources/colours.json")
    here.write("sources/roses.json", record_of_colours)
    here.write("sources/tulips.json", record_of_colours.replace(b'"colours"', b'"tulips"'))
    for name in ("roses", "tulips"):
        with pytest.raises(
            PermanentError,
            match=rf"^sources/{name}.json must be the record of {name}; received that of (colours|tulips), whose "
            rf"images lie in images/colours; remove it from .*, and ingest with --from and --name$",
        ):
            read_registration(here, name)
    assert find_dataset("colours", here).name == "colours"


def test_only_names_that_can_be_used_are_offered(here: LocalStore, own: OwnSource) -> None:
    collected(own, here)
    whole = here.read("sources/colours.json")
    for name in ("flowers (copy).json", "digits.json", "roses.json", "below/colours.json", "notes.txt", "old.json.bak"):
        here.write(f"sources/{name}", whole)
    here.write("sources/damaged.json", b"{")
    assert own_names(here) == ["colours"]
    with pytest.raises(PermanentError, match="known: cifar100, digits, fashion-mnist, colours; to add"):
        find_dataset("flowers (copy)", here)


def test_a_folder_in_the_place_of_a_record_is_said_before_images_are_read(here: LocalStore) -> None:
    (here.root / "sources" / "colours.json").mkdir(parents=True)
    with pytest.raises(PermanentError, match=r"sources/colours.json must be a regular file; .* remove it"):
        read_registration(here, "colours")
    assert own_names(here) == []


def test_a_train_of_one_class_is_refused(here: LocalStore, tmp_path: Path) -> None:
    for place, split in enumerate(("train", "validation", "test")):
        write_folder(tmp_path / "own" / split, 5, first=10 * place)
    for name in ("red", "green"):
        shutil.rmtree(tmp_path / "own" / "train" / name)
    with pytest.raises(PermanentError, match=r"^train must have images of at least two classes; all others of .*/own "):
        collected(source(tmp_path / "own"), here)
    assert here.list("images") == here.list("sources") == []


@pytest.mark.parametrize("lost", [MANIFEST, SHARD])
def test_a_newest_version_that_is_gone_is_said_with_what_makes_it_again_and_that_does(
    here: LocalStore, own: OwnSource, lost: str
) -> None:
    newest = collected(own, here)
    for path in here.list(newest.uri):
        if lost in path or path.endswith(MANIFEST):
            here.delete(path)
    with pytest.raises(PermanentError, match=r"; python -m flows.ingest --dataset colours makes it again, where its"):
        find_dataset("colours", here)
    assert collected(own, here, newest) == newest
    assert find_dataset("colours", here).images == newest
    assert any(SHARD in path for path in here.list(newest.uri))


def test_a_shard_that_is_gone_does_not_keep_new_images_from_a_version(here: LocalStore, own: OwnSource) -> None:
    newest = collected(own, here)
    for path in here.list(newest.uri):
        if SHARD in path:
            here.delete(path)
    write_folder(Path(own.uri), 3, first=100)
    again = load(here, collected(own, here, newest))
    assert sum(again.facts["rows"].values()) == 3 * 15


def test_a_number_of_one_is_said_in_the_singular(here: LocalStore, own: OwnSource) -> None:
    images = load(here, collected(own, here))
    facts = {**images.facts, "classes_without_training": 1, "unreadable": 1}
    said = collected_summary(Manifest.model_validate({**images.model_dump(), "facts": facts}))
    assert "colours: without an image in train, and so never recognised: 1 class" in said
    assert any(line.startswith("colours: unreadable: 1 file; images/colours/") for line in said)
