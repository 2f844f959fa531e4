"""Refs, digests and commit records."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.errors import NotFound, PermanentError
from lib.lineage.digests import digest_array, digest_arrays, digest_json
from lib.lineage.index import read_index
from lib.lineage.manifests import Manifest, OtherVersion, Ref, commit, find, load, local_file, put_file
from lib.lineage.steps import STEPS
from lib.store import LocalStore
from tests.whole import whole_manifest

BASE = Manifest(
    kind="toy",
    inputs={"prepared": Ref(uri="prepared/toy/1", sha256="a" * 64)},
    facts={"rows": 3},
    content={"weights": "b" * 64},
    files={},
    made_by={"seconds": 1.0},
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def changed(**fields: Any) -> Manifest:
    return BASE.model_copy(update=fields)


def test_the_first_commit_wins_and_both_get_its_ref(store: LocalStore) -> None:
    first = commit(store, "models/toy/1", BASE)
    second = commit(store, "models/toy/1", changed(facts={"rows": 4}))
    assert first == second
    assert load(store, second).facts == {"rows": 3}


def test_of_many_commits_at_once_one_is_kept(store: LocalStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda n: commit(store, "models/toy/1", changed(facts={"rows": n})), range(8)))
    assert len(set(refs)) == 1
    assert load(store, refs[0]).ref("models/toy/1") == refs[0]


def test_files_and_maker_leave_the_ref_as_it_is(store: LocalStore) -> None:
    file = put_file(store, "models/toy/1", "model.keras", b"hello")
    other = changed(files={"model": file}, made_by={"seconds": 9.0, "commit": "abc"})
    assert other.ref("models/toy/1") == BASE.ref("models/toy/1")


@pytest.mark.parametrize(
    "other",
    [
        changed(kind="report"),
        changed(facts={"rows": 4}),
        changed(content={"weights": "c" * 64}),
        changed(inputs={"prepared": Ref(uri="prepared/toy/1", sha256="c" * 64)}),
        changed(inputs={"prepared": Ref(uri="prepared/toy/2", sha256="a" * 64)}),
        changed(inputs={}),
    ],
    ids=["kind", "facts", "content", "input's digest", "input's address", "no input"],
)
def test_what_the_output_is_changes_the_ref(other: Manifest) -> None:
    assert other.ref("models/toy/1").sha256 != BASE.ref("models/toy/1").sha256


def test_a_ref_is_the_same_before_and_after_the_store(store: LocalStore) -> None:
    manifest = changed(facts={"shape": (32, 32, 3), "mean": 0.1 + 0.2, "name": "Übung", "none": None})
    assert commit(store, "models/toy/1", manifest) == manifest.ref("models/toy/1")


def test_load_refuses_another_digest_than_was_asked_for(store: LocalStore) -> None:
    ref = commit(store, "models/toy/1", BASE)
    asked = Ref(uri=ref.uri, sha256="0" * 64)
    with pytest.raises(PermanentError) as error:
        load(store, asked)
    assert str(error.value) == (
        f"models/toy/1 is not what was asked for: expected sha256 {'0' * 64}, received {ref.sha256}"
    )


def test_what_is_not_finished_is_not_found(store: LocalStore) -> None:
    put_file(store, "models/toy/1", "model.keras", b"hello")
    assert find(store, "models/toy/1") is None
    with pytest.raises(NotFound, match="nothing finished lies at models/toy/1 in"):
        load(store, Ref(uri="models/toy/1", sha256="0" * 64))


def nested(depth: int) -> bytes:
    """A manifest with the right checksum, as far as one can be made of it."""
    text = BASE.to_json().decode()
    return text.replace('"rows": 3', f'"rows": {"[" * depth}{"]" * depth}').encode()


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"\xff", BASE.model_dump_json().encode(), nested(60), nested(900), nested(200_000)]
)
def test_what_is_no_manifest_of_this_version_is_refused(store: LocalStore, text: bytes) -> None:
    store.write("models/toy/1/manifest.json", text)
    with pytest.raises(
        PermanentError, match=r"models/toy/1/manifest\.json in .* was changed after it was written; remove it"
    ):
        find(store, "models/toy/1")


def of_version(version: int) -> bytes:
    """BASE as another version of this code would have written it: with other fields, and whole."""
    fields = {**BASE.model_dump(mode="json"), "schema_version": version, "mood": "fine"}
    return json.dumps({**fields, "checksum": digest_json(fields)}, indent=2).encode()


@pytest.mark.parametrize("version", [2, 4])
def test_what_another_version_of_this_code_wrote_is_told_from_damage(store: LocalStore, version: int) -> None:
    store.write("models/toy/1/manifest.json", of_version(version))
    with pytest.raises(OtherVersion) as caught:
        find(store, "models/toy/1")
    assert str(caught.value) == (
        f"models/toy/1 in {store.uri} was written by another version of this code: its schema has version {version}, "
        "and this code reads 3; make it anew, and remove the folder when you no longer need it"
    )
    store.write("models/toy/1/manifest.json", of_version(version).replace(b"fine", b"damp"))
    with pytest.raises(PermanentError, match="was changed after it was written"):
        find(store, "models/toy/1")


def without(manifest: Manifest, place: str) -> bytes:
    """It, whole but for what stands at `place`."""
    fields = manifest.model_dump(mode="json")
    inner = fields
    *parents, last = place.split(".")
    for name in parents:
        inner = inner[name]
    del inner[last]
    return Manifest(**fields).to_json()


PLACES = [(kind, place) for kind, step in STEPS.items() for place in step.says]


@pytest.mark.parametrize(("kind", "place"), PLACES, ids=[f"{kind} {place}" for kind, place in PLACES])
def test_a_manifest_that_does_not_say_what_its_kind_must_is_refused(store: LocalStore, kind: str, place: str) -> None:
    address = f"{STEPS[kind].root}/toy/1"
    manifest = whole_manifest(kind, address)
    store.write(f"{address}/manifest.json", without(manifest, place))
    with pytest.raises(PermanentError) as refused:
        find(store, address)
    assert str(refused.value) == (
        f"{address}/manifest.json in {store.uri} does not say what a manifest of kind {kind} must ({place} is "
        "missing); remove it and run again"
    )
    store.write(f"{address}/manifest.json", manifest.to_json())
    assert find(store, address) == (manifest.ref(address), manifest)


@pytest.mark.parametrize(
    ("kind", "parts", "why"),
    [
        ("model", {"facts": {"recipe": [1]}}, "facts.recipe.name is missing"),
        ("model", {"facts": {"seed": True}}, "facts.seed: Input should be a valid integer; received True"),
        (
            "prepared",
            {"facts": {"class_names": [1]}},
            "facts.class_names: Input should be a valid string; received [1]",
        ),
        ("report", {"made_by": {"changes": 3}}, "made_by.changes: Input should be a valid dictionary; received 3"),
    ],
)
def test_a_manifest_of_other_types_than_its_kind_asks_for_is_refused(
    store: LocalStore, kind: str, parts: dict[str, Any], why: str
) -> None:
    address = f"{STEPS[kind].root}/toy/1"
    manifest = whole_manifest(kind, address)
    changes = {part: getattr(manifest, part) | values for part, values in parts.items()}
    store.write(f"{address}/manifest.json", manifest.model_copy(update=changes).to_json())
    with pytest.raises(PermanentError) as refused:
        find(store, address)
    assert f"must ({why})" in str(refused.value)
    assert list(read_index(store, store.list(STEPS[kind].root)).damaged) == [address]


@pytest.mark.parametrize("copied", ["models/toy/2", "models/other/1", "evaluations/toy/1"])
def test_the_manifest_of_another_output_is_refused_and_the_one_that_was_read_is_named(
    store: LocalStore, copied: str
) -> None:
    file = put_file(store, "models/toy/1", "model.keras", b"hello")
    ref = commit(store, "models/toy/1", whole_manifest("model", "models/toy/1", files={"model": file}))
    store.write(f"{copied}/manifest.json", store.read(f"{ref.uri}/manifest.json"))
    for read in (lambda: find(store, copied), lambda: load(store, Ref(uri=copied, sha256=ref.sha256))):
        with pytest.raises(PermanentError) as refused:
            read()
        assert str(refused.value) == (
            f"{copied}/manifest.json in {store.uri} must name files that lie beside it; received some at models/toy/1: "
            "it is another output's; remove it and run again"
        )
    index = read_index(store, store.list("models") + store.list("evaluations"))
    assert ([*index.outputs], [*index.damaged]) == (["models/toy/1"], [copied])


def test_each_byte_of_a_manifest_counts() -> None:
    whole = BASE.to_json()
    assert Manifest.from_json(whole) == BASE
    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises(ValueError):  # noqa: PT011 - of many kinds: JSON's, pydantic's and our own
            Manifest.from_json(damaged)


def test_a_file_bears_its_digest_in_its_name(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"hello")
    for data in (b"hello", tmp_path / "local"):
        file = put_file(store, "models/toy/1", "model.keras", data)
        assert file.path == "models/toy/1/model-2cf24dba5fb0.keras"
        assert file.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        assert file.size_bytes == 5
    assert local_file(store, changed(files={"model": file}), "model").read_bytes() == b"hello"


def test_a_file_changed_behind_our_back_is_refused(store: LocalStore) -> None:
    file = put_file(store, "models/toy/1", "model.keras", b"hello")
    store.write(file.path, b"jello")
    with pytest.raises(PermanentError, match=r"model-2cf24dba5fb0\.keras in the store does not match its digest"):
        local_file(store, changed(files={"model": file}), "model")


def test_a_file_that_is_gone_is_said_with_what_to_do(store: LocalStore) -> None:
    file = put_file(store, "models/toy/1", "model.keras", b"hello")
    store.delete(file.path)
    with pytest.raises(PermanentError) as caught:
        local_file(store, changed(files={"model": file}), "model")
    assert str(caught.value) == (
        f"nothing is stored at {file.path} in {store.uri}; remove models/toy/1/manifest.json and run again, "
        "which makes it anew"
    )


def test_of_a_raw_file_that_is_gone_the_manifest_of_its_dataset_is_named(store: LocalStore) -> None:
    raw, table = put_file(store, "raw/toy", "t.gz", b"raw"), put_file(store, "datasets/toy/1", "t.parquet", b"table")
    dataset = whole_manifest("dataset", "datasets/toy/1", files={"raw/t.gz": raw, "train": table, "test": table})
    commit(store, "datasets/toy/1", dataset)
    store.delete(raw.path)
    with pytest.raises(PermanentError, match=r"; remove datasets/toy/1/manifest\.json and run again"):
        local_file(store, dataset, "raw/t.gz")


def test_json_is_digested_with_sorted_keys_and_no_spaces() -> None:
    assert digest_json({"b": [1, 2], "a": "ü"}) == hashlib.sha256('{"a":"ü","b":[1,2]}'.encode()).hexdigest()


def test_an_array_is_digested_by_its_bytes_in_c_order() -> None:
    array = np.array([[1, 2], [3, 4]], np.uint8)
    assert digest_array(array) == hashlib.sha256(bytes([1, 2, 3, 4])).hexdigest()
    assert digest_array(array.T) == hashlib.sha256(bytes([1, 3, 2, 4])).hexdigest()
    assert digest_array(np.empty((0, 2), np.uint8)) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        np.zeros(4, np.float32).reshape(2, 2),
        np.zeros(4, np.int32),
        np.zeros(2, np.float64),
        np.zeros((4, 1), np.float32),
    ],
    ids=["2×2", "int32", "float64", "4×1"],
)
def test_equal_bytes_of_another_type_or_shape_differ(other: np.ndarray) -> None:
    plain = np.zeros(4, np.float32)
    assert other.tobytes() == plain.tobytes()
    assert digest_arrays([("w", other)]) != digest_arrays([("w", plain)])


def test_names_and_order_of_arrays_count() -> None:
    one, two = np.array([1]), np.array([2])
    digests = {
        digest_arrays([("a", one), ("b", two)]),
        digest_arrays([("b", two), ("a", one)]),
        digest_arrays([("a", two), ("b", one)]),
    }
    assert len(digests) == 3
