"""Where a user's own images lie: folders as people and systems leave them, files, and buckets."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.errors import NotFound, PermanentError, TooLarge
from lib.images.source_files import place_of
from lib.images.sources import FolderSource, Source, check_apart, open_source

SET_UP = "--from must be a folder, a file of the kinds .parquet, .csv, .tsv, .jsonl, or s3://bucket/prefix"


def put(folder: Path, *paths: str) -> None:
    """Files that hold their own paths."""
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(path))


def opened(folder: Path) -> Source:
    return open_source(str(folder), folder.parent / "cache")


def listed(source: Source) -> list[str]:
    return [*source.paths()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


NAMES = ["a b.jpg", "line\nend.jpg", "\U0001f33b.jpg", "caf\udce9.jpg", "back\\slash.jpg", "é.jpg", "-rf", "$HOME.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_listed_and_read(folder: Path, name: str) -> None:
    put(folder, f"cat/{name}")
    source = opened(folder)
    assert listed(source) == [f"cat/{name}"]
    assert source.read(f"cat/{name}", 100) == b"cat/" + os.fsencode(name)
    assert source.local(f"cat/{name}").read_bytes() == b"cat/" + os.fsencode(name)


def test_places_can_be_written_and_no_two_look_the_same() -> None:
    shown = [place_of(name) for name in NAMES]
    assert shown[:5] == ["a b.jpg", r"line\nend.jpg", "\U0001f33b.jpg", r"caf\udce9.jpg", r"back\\slash.jpg"]
    assert "\n".join(shown).encode().count(b"\n") == len(NAMES) - 1
    assert place_of("a\\nb") != place_of("a\nb")


def test_files_are_sorted_by_the_bytes_of_their_paths(folder: Path) -> None:
    put(folder, "b/1", "a/10", "a/9", "a.x", "B/1", "é", "z", "\udcff")
    # By bytes: capitals before small letters, . (2e) before / (2f), é (c3 a9) behind z, the byte ff last.
    assert listed(opened(folder)) == ["B/1", "a.x", "a/10", "a/9", "b/1", "z", "é", "\udcff"]


@pytest.mark.parametrize(
    "path",
    ["cat/.DS_Store", "cat/Thumbs.db", "thumbs.DB", "cat/desktop.ini", "cat/@eaDir/1.jpg", "__MACOSX/cat/1.jpg",
     ".git/x.jpg", "cat/.hidden.jpg", "cat/._1.jpg", ".cache/deep/1.jpg"],
)  # fmt: skip
def test_what_systems_leave_beside_images_is_ignored(folder: Path, path: str) -> None:
    put(folder, "cat/1.jpg", path)
    source = opened(folder)
    assert (listed(source), source.refused) == (["cat/1.jpg"], [])


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


OUT = "a link that leads out of the folder; copy what it leads to"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link out of it": (lambda at: at.symlink_to("/etc/passwd"), OUT),
    "a link to a folder out of it": (lambda at: at.symlink_to("/etc"), OUT),
    "a link to a folder whose name begins as its own": (lambda at: at.symlink_to("../own-secret"), OUT),
    "a link that leads nowhere": (lambda at: at.symlink_to("nothing"), "a link that leads nowhere"),
    "a link to itself": (lambda at: at.symlink_to("odd"), "a link that leads nowhere"),
    "a link to the folder itself": (lambda at: at.symlink_to("."), "a link that leads back to a folder it lies in"),
    "a FIFO": (os.mkfifo, "a FIFO"),
    "a socket": (a_socket, "a socket"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_file_of_the_folder_is_refused_and_never_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make, reason = REFUSED[name]
    monkeypatch.chdir(folder)
    put(folder, "cat/1.jpg")
    put(folder.parent, "own-secret/1.jpg")
    make(folder / "odd")
    source = opened(folder)
    assert (listed(source), source.refused) == (["cat/1.jpg"], [("odd", reason)])
    with pytest.raises(PermanentError):
        source.read("odd", 100)


def test_a_link_to_a_device_is_refused(folder: Path) -> None:
    put(folder, "cat/1.jpg")
    (folder / "zero").symlink_to("/dev/zero")
    with pytest.raises(PermanentError, match=r"^a path must stay in .*/own; received zero; copy it there$"):
        opened(folder).read("zero", 100)


def test_links_inside_are_followed_once(folder: Path) -> None:
    put(folder, "pool/1.jpg", "pool/2.jpg")
    (folder / "cat").mkdir()
    (folder / "cat/one.jpg").symlink_to("../pool/1.jpg")
    (folder / "dog").symlink_to("pool")
    (folder / "pool/up").symlink_to("..")
    (folder / "pool/cats").symlink_to("../cat")
    source = opened(folder)
    real, by_cats = ["pool/1.jpg", "pool/2.jpg"], "pool/cats/one.jpg"
    assert listed(source) == ["cat/one.jpg", "dog/1.jpg", "dog/2.jpg", *real]
    further = "a link in a folder that a link leads to"
    assert source.refused == [
        ("dog/cats", further),
        ("dog/up", further),
        (by_cats, further),
        ("pool/up", "a link that leads back to a folder it lies in"),
    ]
    assert source.read("dog/2.jpg", 100) == b"pool/2.jpg"


@pytest.mark.timeout(20)
def test_folders_that_lead_to_each_other_end(folder: Path) -> None:
    for one in range(30):
        put(folder, f"{one}/x.jpg")
        for other in range(30):
            (folder / f"{one}/to-{other}").symlink_to(f"../{other}")
    # 30 files, and each again by each of the 870 links that do not lead to their own folder.
    assert len(listed(opened(folder))) == 30 + 870


def test_the_folder_may_itself_be_a_link(folder: Path) -> None:
    put(folder, "cat/1.jpg")
    (folder.parent / "link").symlink_to(folder)
    source = opened(folder.parent / "link")
    assert (listed(source), source.uri) == (["cat/1.jpg"], str(folder.parent / "link"))


@pytest.mark.parametrize("path", ["../own-secret/1.jpg", "/etc/passwd", "cat/../../x", "cat\0", "../own/../x"])
def test_no_path_leads_out_of_a_source(folder: Path, path: str) -> None:
    put(folder, "cat/1.jpg")
    put(folder.parent, "own-secret/1.jpg", "x")
    with pytest.raises(PermanentError, match=r"^a path must stay in "):
        opened(folder).read(path, 100)


def test_a_file_has_its_bound(folder: Path) -> None:
    (folder / "vast").touch()
    os.truncate(folder / "vast", 1 << 40)
    put(folder, "1234567890")
    source = opened(folder)
    assert source.read("1234567890", 10) == b"1234567890"
    with pytest.raises(TooLarge, match=r"^1234567890 in .* must have at most 9 bytes; received 10; make it smaller$"):
        source.read("1234567890", 9)
    with pytest.raises(TooLarge):
        source.read("vast", 1_000)
    with pytest.raises(NotFound, match=r"^nothing lies at cat/2\.jpg in .*/own$"):
        source.read("cat/2.jpg", 10)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "A.CSV"])
def test_a_table_is_the_only_file_of_its_source_and_files_beside_it_can_be_read(folder: Path, name: str) -> None:
    put(folder, name, "cat/1.jpg")
    for source in (opened(folder / name), open_source((folder / name).as_uri(), folder)):
        assert (source.table, listed(source), source.refused) == (name, [name], [])
        assert source.uri == str(folder / name)
        assert source.read("cat/1.jpg", 100) == b"cat/1.jpg"


def test_a_table_that_was_named_may_be_a_link_to_anywhere(folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "blobs/1234")
    (folder / "a.parquet").symlink_to("../blobs/1234")
    source = opened(folder / "a.parquet")
    assert listed(source) == ["a.parquet"]
    assert source.local("a.parquet").read_bytes() == b"blobs/1234"


WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", f"{SET_UP}; received nothing"),
    "a missing folder": ("{}/no", f"{SET_UP}; received {{}}/no: No such file or directory"),
    "a file of another kind": (
        "{}/a.zip", f"{SET_UP}; received {{}}/a.zip, another file; unpack or convert it, or name its folder",
    ),
    "a FIFO": ("{}/pipe.csv", f"{SET_UP}; received {{}}/pipe.csv, a FIFO; unpack or convert it, or name its folder"),
    "a device": ("/dev/zero", f"{SET_UP}; received /dev/zero, a device; unpack or convert it, or name its folder"),
    "a path beyond a file": ("{}/a.zip/x", f"{SET_UP}; received {{}}/a.zip/x: Not a directory"),
    "an empty folder": ("{}/none", "--from must name a place with files; received {}/none, which has none"),
    "a folder of a system's files": ("{}/mac", "--from must name a place with files; received {}/mac, which has none"),
    "a folder of a link": (
        "{}/hub",
        "--from must name a place with files; received {}/hub, which has none; 1 refused, such as 1.jpg: "
        f"{OUT}",
    ),
    "a web page": ("https://u:p@example.org/x.csv", f"{SET_UP}; received 'https://example.org/x.csv'"),
    "a misspelt scheme": ("s4://bucket/x", f"{SET_UP}; received 's4://bucket/x'"),
    "no bucket": ("s3:///x", f"{SET_UP}, without ?, # and parts that are . or ..; received 's3:///x'"),
    "keys in it": (
        "s3://key:secret@bucket/x",
        f"{SET_UP}; keys are set by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in the address",
    ),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", WRONG)
def test_a_place_without_files_is_refused_on_one_line(folder: Path, name: str) -> None:
    uri, says = WRONG[name]
    put(folder, "a.zip", "mac/.DS_Store", "mac/__MACOSX/x")
    (folder / "none").mkdir()
    (folder / "hub").mkdir()
    (folder / "hub/1.jpg").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(PermanentError) as caught:
        open_source(uri.format(folder), folder).paths()
    assert str(caught.value) == says.format(folder)


def test_a_denied_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "cat/1.jpg", "dog/1.jpg")

    def denied(path: str) -> object:  # modes do not keep root out
        if path.endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(PermanentError) as caught:
        opened(folder).paths()
    assert str(caught.value) == (
        f"{folder} must be readable; received Permission denied at dog; allow it, or name another place by --from"
    )


def test_100_000_files_are_listed_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, folder: str, number: int) -> None:
            self.name, self.path = f"{number:05}", f"{folder}/{number:05}"
            self._is_folder = folder == str(tmp_path)

        def is_symlink(self) -> bool:
            return False

        def is_dir(self, follow_symlinks: bool) -> bool:
            return self._is_folder

        def stat(self, follow_symlinks: bool) -> os.stat_result:
            return status

    class Folder(list[Entry]):
        def __enter__(self) -> "Folder":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    (tmp_path / "x").touch()
    status = (tmp_path / "x").stat()
    many = {True: 1_000, False: 100}
    monkeypatch.setattr(os, "scandir", lambda at: Folder(Entry(at, n) for n in range(many[at == str(tmp_path)])))
    started = time.process_time()
    paths = FolderSource(tmp_path).paths()
    assert (len(paths), paths[-1]) == (100_000, "00999/00099")
    assert time.process_time() - started < 3


APART = [("{}/own", "{}/own store"), ("{}/store/x.csv", "{}/store/x"), ("{}/own", "s3://own"), ("s3://b/own", "s3://b/own2"),
         ("s3://b/x", "s3://c/x"), ("s3://b/arriving", "s3://b"), ("{}/own/arriving", "{}/own")]  # fmt: skip
NOT_APART = [("{}/own", "{}/own/results"), ("{}/own", "{}/own"), ("{}/own/models/a", "{}/own"),
             ("file://{}/own/images", "{}/own"), ("{}/link", "{}/own/results"), ("{}/own", "{}/link/results"),
             ("s3://b/own/", "s3://b/own/x"),
             ("s3://b/own/raw/x", "s3://b/own"), ("s3://b", "s3://b/x"), ("s3://b/own/", "s3://b/own")]  # fmt: skip


@pytest.mark.parametrize(("source", "store"), [*APART, *NOT_APART])
def test_a_source_must_not_hold_the_store_nor_lie_in_a_folder_of_its_own(folder: Path, source: str, store: str) -> None:
    (folder.parent / "link").symlink_to(folder)
    given = source.format(folder.parent), store.format(folder.parent)
    if (source, store) in APART:
        check_apart(*given)
        return
    with pytest.raises(PermanentError, match=r"^--from must not hold the store, nor lie in .*; received .*; name "):
        check_apart(*given)
