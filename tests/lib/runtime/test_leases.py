"""One worker at a time on a piece of work, and no work lost with a dead one."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.errors import NotFound, TransientError
from lib.runtime.leases import lease, owner_of
from lib.store import LocalStore, Store

PATH = "leases/toy.json"


def lease_of(host: str, pid: int, **more: object) -> bytes:
    return json.dumps({"host": host, "pid": pid, "id": "other", "renewed": 0, **more}).encode()


def processes_here() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def seconds_to_take(store: Store, lease_s: float) -> float:
    started = time.monotonic()
    with lease(store, PATH, lease_s):
        return time.monotonic() - started


def test_a_claim_stands_while_held_and_is_gone_afterwards(store: Store) -> None:
    with lease(store, PATH, 60):
        held = json.loads(store.read(PATH))
        assert (held["host"], held["pid"]) == (socket.gethostname(), os.getpid())
    assert store.list("leases") == []


def test_a_claim_is_released_when_the_work_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), lease(store, PATH, 60):
        _ = 1 / 0
    assert store.list("leases") == []


def test_a_second_taker_waits_until_the_first_releases(store: Store) -> None:
    events: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with lease(store, PATH, 1):
            events.append("second has it")

    with lease(store, PATH, 1):
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        time.sleep(1.7)  # longer than an owner may stay silent
        events.append("first releases")
    thread.join(10)
    assert events == ["first releases", "second has it"]
    assert store.list("leases") == []


def test_of_many_takers_one_at_a_time_works(store: Store) -> None:
    at_work, most, done = 0, 0, 0

    def work() -> None:
        nonlocal at_work, most, done
        with lease(store, PATH, 1):
            at_work += 1
            most = max(most, at_work)
            time.sleep(0.02)
            at_work -= 1
            done += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (most, done) == (1, 4)
    assert store.list("leases") == []


def test_the_claim_of_a_dead_process_here_is_taken_over_at_once(store: Store) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store.write(PATH, lease_of(socket.gethostname(), dead.pid, processes=processes_here(), lease_s=60))
    assert seconds_to_take(store, lease_s=60) < 1
    assert store.list("leases") == []


def test_the_claim_of_a_silent_process_elsewhere_is_taken_over_after_the_lease(store: Store) -> None:
    store.write(PATH, lease_of("another-host", 1))
    assert 0.8 < seconds_to_take(store, lease_s=0.8) < 2.5
    assert store.list("leases") == []


def test_each_renewal_elsewhere_starts_the_wait_anew(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(PATH, lease_of("another-host", 1))

    def renew_twice() -> None:
        for renewed in (1, 2):
            time.sleep(0.5)
            store.write(PATH, json.dumps({"host": "another-host", "pid": 1, "id": "o", "renewed": renewed}).encode())

    thread = threading.Thread(target=renew_twice)
    thread.start()
    assert seconds_to_take(store, lease_s=0.8) > 1.8  # two renewals, then 0.8 s of silence
    thread.join()


def test_an_owner_that_was_overtaken_leaves_the_new_claim_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with lease(store, PATH, 0.3):
        store.write(PATH, lease_of("another-host", 1))
        time.sleep(0.4)
    assert store.read(PATH) == lease_of("another-host", 1)


def test_a_store_that_fails_at_the_end_does_not_hide_how_the_work_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise TransientError("gone")

    store = LocalStore(tmp_path)
    monkeypatch.setattr(store, "read_version", fail)
    with pytest.raises(ZeroDivisionError), lease(store, PATH, 60):
        _ = 1 / 0
    store.delete(PATH)
    with lease(store, PATH, 60):
        pass


def test_who_waits_is_told_once_for_whom(store: Store) -> None:
    store.write(PATH, lease_of("another-host", 1))
    told: list[str] = []
    with lease(store, PATH, 0.8, told.append):
        pass
    assert told == ["process 1 on another-host"]


def test_who_waits_is_told_again_how_long_a_lease_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.runtime.leases.AGAIN_S", 0.2)
    store = LocalStore(tmp_path)
    owner = json.loads(lease_of("old-laptop", 12)) | {"lease_s": 86_400}
    store.write(PATH, json.dumps(owner).encode())
    told: list[str] = []

    def remove_then(owner: str) -> None:
        told.append(owner)
        if len(told) == 3:
            store.delete(PATH)

    with lease(store, PATH, 0.2, remove_then):
        pass
    assert told[0] == "process 12 on old-laptop"
    again = (
        "process 12 on old-laptop (its lease has not changed for {} s and expires after 86,400 s; if that process is "
    )
    again += f"dead, remove {PATH} in {store.uri})"
    assert len(told) == 3
    for line in told[1:]:
        assert line == again.format(line.split(" for ")[1].split()[0])


@pytest.mark.parametrize("name", ["\u00e9\n\x1b", "\udce9" * 64], ids=["a line end", "no text"])
def test_a_host_of_any_name_can_hold_a_lease(store: Store, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    with lease(store, PATH, 60) as check_ours:
        check_ours()
        assert owner_of(store.read(PATH))


def test_an_owner_that_was_overtaken_finds_out_when_it_asks(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with lease(store, PATH, 60) as check_ours:
        check_ours()
        store.write(PATH, lease_of("another-host", 7))
        with pytest.raises(TransientError, match=r"was taken over by process 7 on another-host, 0 s after this .*60 s"):
            check_ours()
        store.delete(PATH)
        with pytest.raises(TransientError, match="was taken over by another process, which is done, 0 s after"):
            check_ours()


@pytest.mark.parametrize(
    "elsewhere",
    ["another boot", "another PID namespace", None],
)
def test_a_pid_of_another_boot_or_namespace_is_not_looked_for_here(tmp_path: Path, elsewhere: str | None) -> None:
    """Two containers with one host name: that no process here has the number says nothing."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    boot, namespace = processes_here().split()
    processes = {"another boot": f"{'0' * 36} {namespace}", "another PID namespace": f"{boot} pid:[1]", None: None}
    store = LocalStore(tmp_path)
    store.write(PATH, lease_of(socket.gethostname(), dead.pid, processes=processes[elsewhere], lease_s=0.4))
    assert seconds_to_take(store, lease_s=0.2) > 0.4


def test_a_lease_stands_as_long_as_it_says_itself(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(PATH, lease_of("another-host", 1, lease_s=0.6))
    assert seconds_to_take(store, lease_s=0.1) > 0.6
    with lease(store, PATH, 7):
        assert json.loads(store.read(PATH))["lease_s"] == 7


DAMAGED = [
    b"", b"\xff", b"[]", b"null", b"3", b'"lease"', b"{}", b'[["id", "x"]]', b"[" * 100_000, b'{"pid": 1' * 20_000,
    b'{"host": "h", "pid": "one", "id": "x"}', b'{"host": "h", "pid": -1, "id": "x"}', b'{"host": 1, "pid": 1}',
    b'{"host": "h", "pid": 99999999999999999999, "id": "x"}', b'{"host": "h", "pid": 1, "id": "x", "lease_s": 1e999}',
    b'{"host": "h", "pid": 1, "id": "x", "lease_s": NaN}', b'{"host": "h", "pid": 1, "id": null}',
]  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_lease_is_passed_over_after_its_time(tmp_path: Path, data: bytes) -> None:
    store, told = LocalStore(tmp_path), list[str]()
    store.write(PATH, data)
    with lease(store, PATH, 0.05, told.append):
        pass
    assert told == [f"an unknown process: {PATH} is damaged"]


def test_an_owner_mends_its_damaged_lease_and_keeps_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with lease(store, PATH, 0.3) as check_ours:
        store.write(PATH, b"{")
        check_ours()
        deadline = time.monotonic() + 5
        while store.read(PATH) == b"{" and time.monotonic() < deadline:
            time.sleep(0.01)
        check_ours()
        assert json.loads(store.read(PATH))["pid"] == os.getpid()
    assert store.list("leases") == []


def test_a_renewal_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, said, warned = LocalStore(tmp_path), list[str](), threading.Event()

    def warn(message: str) -> None:
        said.append(message)
        warned.set()

    def fail(path: str, data: bytes, version: str) -> bool:
        raise TransientError("no answer")

    monkeypatch.setattr(store, "replace", fail)
    with lease(store, PATH, 0.3, warn=warn):
        assert warned.wait(5)
    assert said[0].startswith(f"{PATH} could not be renewed: no answer; another run may take over 0.3 s after")


def test_a_lease_that_is_released_as_it_is_taken_over_is_no_error(tmp_path: Path) -> None:
    """S3 answers a conditional write of what is gone with 404."""

    class Released(LocalStore):
        def replace(self, path: str, data: bytes, version: str) -> bool:
            self.delete(path)
            raise NotFound(f"nothing is stored at {path}")

    store = Released(tmp_path)
    store.write(PATH, lease_of("another-host", 1, lease_s=0.05))
    assert seconds_to_take(store, lease_s=0.2) < 1
