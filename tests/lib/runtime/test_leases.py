"""One worker at a time on a piece of work, and no work lost with a dead one."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from lib.errors import TransientError
from lib.runtime.leases import lease
from lib.store import LocalStore, Store, open_store

PATH = "leases/toy.json"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), tmp_path / "cache")
    server = request.getfixturevalue("s3_environment")
    return open_store(f"s3://{server.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")


def lease_of(host: str, pid: int) -> bytes:
    return json.dumps({"host": host, "pid": pid, "id": "other", "renewed": 0}).encode()


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
    store.write(PATH, lease_of(socket.gethostname(), dead.pid))
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
    assert json.loads(store.read(PATH)) == {"host": "another-host", "pid": 1, "id": "other", "renewed": 0}


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


def test_an_owner_that_was_overtaken_finds_out_when_it_asks(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with lease(store, PATH, 60) as check_ours:
        check_ours()
        store.write(PATH, lease_of("another-host", 7))
        with pytest.raises(TransientError, match="was taken over by process 7 on another-host; run again"):
            check_ours()
        store.delete(PATH)
        with pytest.raises(TransientError, match="was taken over by another process, which is done; run again"):
            check_ours()
