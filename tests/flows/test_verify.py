"""A finished report is checked back to its data, and whatever was changed is named."""

import shutil
from pathlib import Path

import pytest

from flows.verify import address_of, split_ref
from lib.errors import PermanentError
from lib.lineage.verify import verify
from lib.store import LocalStore

from .conftest import Commands


@pytest.fixture
def store(finished: tuple[Path, str], tmp_path: Path) -> LocalStore:
    shutil.copytree(finished[0], tmp_path / "store")
    return LocalStore(tmp_path / "store")


def report_of(store: LocalStore) -> str:
    (path,) = store.root.glob("reports/*/*/manifest.json")
    return path.parent.relative_to(store.root).as_posix()


def test_an_honest_report_holds_from_its_address_or_its_file(commands: Commands, store: LocalStore) -> None:
    (page,) = store.root.glob("reports/*/*/index-*.html")
    places = report_of(store), page.as_uri()
    done = commands.run("flows.verify", *places, "--store", store.uri, MPLBACKEND="none of matplotlib's")
    assert (done.returncode, done.stderr) == (0, f"Store: {store.uri}\n")
    lines = done.stdout.splitlines()
    assert [line.split("/")[0] for line in lines[:6]] == [
        "holds: datasets", "holds: prepared", "holds: models",
        "holds: evaluations", "holds: duplicates", "holds: reports",
    ]  # fmt: skip
    assert lines[6] == lines[-1]
    assert lines[6].startswith(f"{report_of(store)} holds, and all that it was made of. sha256 ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("reports/digits/0a", "reports/digits/0a"),
        ("./reports//digits/0a/", "reports/digits/0a"),
        ("/tmp/a b/STORE/reports/digits/0a/index-1.html", "reports/digits/0a"),
        ("file:///tmp/a%20b/STORE/reports/digits/0a/index-1.html", "reports/digits/0a"),
        ("file://localhost/tmp/a%20b/STORE/reports/digits/0a", "reports/digits/0a"),
        ("/tmp/a b/STOREx/reports/digits/0a", "tmp/a b/STOREx/reports/digits/0a"),
    ],
)
def test_an_output_is_found_by_its_address_its_uri_or_its_file(text: str, address: str) -> None:
    assert address_of(text, "/tmp/a b/STORE", "REF must name an output") == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("STORE/reports/digits/0a", "reports/digits/0a"),
        ("./STORE/reports/digits/0a/", "reports/digits/0a"),
        ("STORE/../STORE/reports/digits/0a/index-1.html", "reports/digits/0a"),
        ("reports/digits/0a", "reports/digits/0a"),
        ("STORE/reports/digits/none", "STORE/reports/digits/none"),
        ("a" * 300, "a" * 300),
    ],
)
def test_an_output_is_found_by_its_path_from_the_current_folder(
    text: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "STORE/reports/digits/0a").mkdir(parents=True)
    (tmp_path / "STORE/reports/digits/0a/index-1.html").touch()
    for store in (tmp_path / "STORE", tmp_path / "STORE/../STORE"):
        assert address_of(text, str(store), "REF must name an output") == address


def test_an_output_in_s3_is_found_by_its_uri() -> None:
    assert address_of("s3://bucket/p/reports/digits/0a", "s3://bucket/p", "REF must") == "reports/digits/0a"


@pytest.mark.slow
def test_a_digest_that_was_kept_elsewhere_is_given_behind_the_address(commands: Commands, store: LocalStore) -> None:
    address = report_of(store)
    assert split_ref(f"{address}@{'0A' * 32}") == (address, "0a" * 32)
    for text in (address, f"s3://user@host/{address}"):
        assert split_ref(text) == (text, None)
    for digest in ("5460C3", "0" * 63, "g" * 64, ""):
        rule = f"^the digest behind @ must have 64 hexadecimal digits; received '{digest}'$"
        with pytest.raises(PermanentError, match=rule):
            split_ref(f"{address}@{digest}")
    done = commands.run("flows.verify", f"{address}@{'0' * 64}", "--store", store.uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {address} is not what was asked for: expected sha256 {'0' * 64}, received " in done.stderr


def test_a_file_that_an_output_does_not_have_does_not_hold(commands: Commands, store: LocalStore) -> None:
    address = report_of(store)
    (store.root / address / "nosuch.txt").write_text("hello")
    done = commands.run("flows.verify", f"{address}/nosuch.txt", "--store", store.uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: REF must name an output or one of its files; {address} has none that is called nosuch.txt" in (
        done.stderr
    )
    (store.root / address / "nosuch.txt").unlink()


def test_a_byte_flipped_in_any_file_is_found_and_its_file_named(store: LocalStore) -> None:
    lists = {"index.json", "index.html"}  # of outputs and of reports, written anew from the manifests
    files = sorted(path for path in store.root.rglob("*") if path.is_file() and path.name not in lists)
    assert {path.suffix for path in files} == {".json", ".parquet", ".keras", ".png", ".html", ".csv", ".md"}
    for path in files:
        honest = path.read_bytes()
        middle = len(honest) // 2
        path.write_bytes(honest[:middle] + bytes([honest[middle] ^ 1]) + honest[middle + 1 :])
        with pytest.raises(PermanentError) as found:
            verify(store, report_of(store))
        assert str(found.value).startswith(path.relative_to(store.root).as_posix()), found.value
        path.write_bytes(honest)


def test_content_that_its_manifest_does_not_describe_is_named(store: LocalStore) -> None:
    """Whoever changes a file and its record as well, still breaks the chain."""
    from lib.lineage.manifests import MANIFEST, Manifest, put_file

    (path,) = store.root.glob(f"evaluations/*/*/*/{MANIFEST}")
    address = path.parent.relative_to(store.root).as_posix()
    manifest = Manifest.from_json(path.read_bytes())
    metrics = store.read(manifest.files["metrics"].path).replace(b'"accuracy": 0.', b'"accuracy": 1.')
    changed = put_file(store, address, "metrics.json", metrics)
    path.write_bytes(manifest.model_copy(update={"files": {**manifest.files, "metrics": changed}}).to_json())
    with pytest.raises(PermanentError, match=rf"^{address}: metrics\.train\.accuracy must be 0\.\d+, as its inputs "):
        verify(store, address)


@pytest.mark.slow
def test_what_is_not_there_is_said_to_be_missing(commands: Commands, store: LocalStore) -> None:
    done = commands.run("flows.verify", "reports/digits/0123", "--store", store.uri)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: nothing finished lies at reports/digits/0123 in {store.uri}; name an output, such as "
        "reports/digits/<key>"
    )
