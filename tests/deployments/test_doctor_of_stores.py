"""What the doctor says of stores, and of the leases in them."""

import json
import threading
import time
from pathlib import Path

import pytest

from deployments.checks import (
    Verdict,
    check_leases,
    check_store,
    file_system,
)
from lib.errors import PermanentError
from lib.store import LocalStore, Store

KEPT = "reads, writes, creates only if absent, replaces only if unchanged"
FOLDER = "a folder, for the workers of this machine only"
LEASE = "checkpoints/models/digits/digits-cnn/abc/lease.json"


def lease(renewed: int = 0) -> bytes:
    return json.dumps({"host": "x", "pid": 12, "id": "other", "renewed": renewed}).encode()


def test_a_store_that_keeps_its_promises_is_well_and_nothing_stays_in_it(store: Store) -> None:
    reach = f"; {FOLDER}" if isinstance(store, LocalStore) else ""
    assert check_store(store) == Verdict("store", "ok", f"{store.uri}: {KEPT}{reach}")
    assert store.list("doctor") == []
    if isinstance(store, LocalStore):
        assert not store.root.exists()


def test_folders_that_the_check_made_are_removed_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for place in ("there/x/new", "there/y", "there/z/../w", "there"):
        assert check_store(LocalStore(tmp_path / place)).level == "ok"
        assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_folders_of_a_store_that_is_none_are_removed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStore, "_link", lambda *_: (_ for _ in ()).throw(PermanentError("no links")))
    with pytest.raises(PermanentError, match="no links"):
        check_store(LocalStore(tmp_path / "x" / "new"))
    assert list(tmp_path.iterdir()) == []


def test_what_another_command_has_stored_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, delete = LocalStore(tmp_path / "x" / "new"), LocalStore.delete

    def stored_meanwhile(self: LocalStore, path: str) -> None:
        (store.root / "raw").mkdir(exist_ok=True)
        delete(self, path)

    monkeypatch.setattr(LocalStore, "delete", stored_meanwhile)
    assert check_store(store).level == "ok"
    assert [path.name for path in store.root.iterdir()] == ["raw"]


def test_a_folder_is_for_one_machine_unless_it_lies_on_a_file_system_of_several(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\nhost:/x /shared\\040data nfs4 rw 0 0\n/dev/b /shared\\040data/own xfs rw 0 0\n"
    )
    kinds = {
        "/": "ext4",
        "/shared": "ext4",
        "/shared data": "nfs4",
        "/shared data/a/b": "nfs4",
        "/shared data/own/x": "xfs",
    }
    assert {path: file_system(Path(path), mounts) for path in kinds} == kinds
    assert file_system(tmp_path, tmp_path / "none") == "unknown"


class CreatesAlways(LocalStore):
    """As an S3 server that passes over If-None-Match."""

    def create(self, path: str, data: bytes) -> bool:
        self.write(path, data)
        return True


class ReplacesAlways(LocalStore):
    """As an S3 server that passes over If-Match."""

    def replace(self, path: str, data: bytes, version: str) -> bool:
        self.write(path, data)
        return True


@pytest.mark.parametrize(
    ("kind", "broken"),
    [(CreatesAlways, "creates only what is absent"), (ReplacesAlways, "replaces only what is unchanged")],
)
def test_a_store_that_ignores_conditions_must_not_be_used(tmp_path: Path, kind: type[LocalStore], broken: str) -> None:
    assert str(check_store(kind(tmp_path))) == (
        f"FAIL  store        {tmp_path}: a store {broken}; this one does not; "
        "do not use it: two runs could overwrite each other's work"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, lease()[:-9], lease().replace(b"x", b"\\n")]
)
def test_a_damaged_lease_is_told(damaged: bytes, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(LEASE, damaged)
    assert str(check_leases(store, 0.1)) == (
        f"warn  leases       {LEASE} has stood unchanged for 0.15 s (it is damaged); "
        "a run takes over by itself after 0.1 s; if none does: remove it"
    )


def test_a_claim_that_nobody_renews_is_told(store: Store) -> None:
    store.write(LEASE, lease())
    verdict = check_leases(store, 0.4)
    assert str(verdict) == (
        f"warn  leases       {LEASE} has stood unchanged for 0.6 s (owner process 12 on host x); "
        "a run takes over by itself after 0.4 s; if none does: remove it"
    )
    assert store.read(LEASE) == lease()


def test_claims_that_are_renewed_or_removed_are_no_fault(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    done = LEASE.replace("abc", "def")
    store.write(LEASE, lease())
    store.write(done, lease())

    def work() -> None:
        store.write(LEASE, lease(renewed=1))
        store.delete(done)

    thread = threading.Timer(0.3, work)
    thread.start()
    verdict = check_leases(store, 4)
    thread.join()
    assert verdict == Verdict("leases", "ok", f"2 runs at work: {LEASE}, {done}")


def test_without_a_claim_nothing_is_waited_for(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(LEASE.replace("lease.json", "state.json"), b"{}")
    started = time.monotonic()
    assert check_leases(store, 60) == Verdict("leases", "ok", "none stands")
    assert time.monotonic() - started < 1


def test_a_folder_on_a_network_share_is_for_the_workers_of_all_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.checks.file_system", lambda place: "nfs4")
    assert "on nfs4, for the workers of all machines" in str(check_store(LocalStore(tmp_path)))
