"""The faults. Each is injected into a real run; `row` says how the last run of the scene must end."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.training import checkpoints
from tests.faults import full_store
from tests.faults.proxy import Fault
from tests.faults.scene import Run, Scene, wait_for

IN_EPOCH_2 = "begins with step 51 of epoch 2"
Inject = Callable[[Scene], Run]


@dataclass(frozen=True)
class Row:
    """A fault, where it is injected, and how the last run must end: completed, or with an error that says so."""

    fault: str
    where: str
    inject: Inject
    code: int = 0
    says: str = ""
    chunks: int = 1
    """At most so many may be lost."""
    folder: bool = False
    """Whether the store is a folder, not S3."""
    evaluates: bool = False
    """Whether the fault meets the evaluation too."""
    flow: bool = False
    """Whether the flow has a part in it: its signals and retries. Else its steps are run, without Prefect."""
    skip: Callable[[], str] = lambda: ""
    """Why it cannot be injected here; empty where it can."""


ROWS: list[Row] = []


def row(fault: str, where: str, **more: object) -> Callable[[Inject], Inject]:
    def add(inject: Inject) -> Inject:
        ROWS.append(Row(fault, where, inject, **more))  # type: ignore[arg-type]
        return inject

    return add


def killed(run: Run) -> Run:
    """`run`, which must have been killed."""
    assert run.end().code in {-signal.SIGKILL, -signal.SIGTERM}, run.said()
    return run


def failed(run: Run, code: int, says: str) -> Run:
    """`run`, which must have ended with `code` and an error that has `says` in it."""
    assert (run.end().code, says in run.error) == (code, True), f"{run.code}: {run.said()}"
    return run


# Kills and signals


@row("kill -9 of the trainer", "in epoch 2", flow=True)
def _(scene: Scene) -> Run:
    run = scene.start().until(IN_EPOCH_2)
    os.kill(run.job(), signal.SIGKILL)
    return run.until("killed by SIGKILL").end()


@row("kill -9 of the flow", "in epoch 2", chunks=0, flow=True)
def _(scene: Scene) -> Run:
    killed(scene.start().until(IN_EPOCH_2).signal(signal.SIGKILL))
    return scene.start().end()


@row("kill -9 of flow and trainer", "in epoch 2", flow=True)
def _(scene: Scene) -> Run:
    run = scene.start().until(IN_EPOCH_2)
    killed(run.signal_all(signal.SIGKILL))
    return scene.start().end()


@row("kill -9 of the trainer", "while the finished model goes up", flow=True)
def _(scene: Scene) -> Run:
    run = scene.start()
    scene.proxy.faults = [Fault("call", "PUT", "/model-", call=lambda: os.kill(run.job(), signal.SIGKILL))]
    return run.until("killed by SIGKILL").end()


@row("kill -9 of the trainer", "between the last file and the manifest of the model", chunks=0, flow=True)
def _(scene: Scene) -> Run:
    run = scene.start()

    def kill() -> None:
        os.kill(run.job(), signal.SIGKILL)
        raise ConnectionAbortedError("the manifest is not passed on")

    model = scene.checkpoints.removeprefix("checkpoints")
    scene.proxy.faults = [Fault("call", "PUT", f"{model}/manifest.json", call=kill)]
    return run.until("killed by SIGKILL").end()


@row("kill -9 of the evaluation", "before it predicts", evaluates=True, flow=True)
def _(scene: Scene) -> Run:
    run = scene.start()
    scene.proxy.faults = [Fault("call", "GET", "/model-", call=lambda: os.kill(run.job(), signal.SIGKILL))]
    return run.until("the evaluate process was killed by SIGKILL").end()


@row("SIGTERM to the trainer", "in epoch 2", chunks=0, flow=True)
def _(scene: Scene) -> Run:
    run = scene.start().until(IN_EPOCH_2)
    os.kill(run.job(), signal.SIGTERM)
    return run.until("asked to stop and saved its state").end()


@row("SIGTERM to the flow", "in epoch 2", chunks=0, flow=True)
def _(scene: Scene) -> Run:
    run = scene.start().until(IN_EPOCH_2).signal(signal.SIGTERM)
    failed(run, 143, "run the same command again to go on from the last checkpoint")
    return scene.start().end()


@row("Ctrl-C", "in epoch 2", chunks=0, flow=True)
def _(scene: Scene) -> Run:
    run = scene.start().until(IN_EPOCH_2).signal_all(signal.SIGINT)
    failed(run, 130, "run the same command again to go on from the last checkpoint")
    return scene.start().end()


# The S3 server, and the network before it


@row("kill -9 of the S3 server, back 3 s later", "while a checkpoint goes up", flow=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [fault := Fault("call", "PUT", "/checkpoints/", times=1, call=scene.server.kill)]
    run = scene.start()
    wait_for(lambda: fault.done, "an upload")
    time.sleep(3)
    scene.server.start()
    return run.end()


@row("kill -9 of the S3 server, back after the run", "while a checkpoint goes up", flow=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("call", "PUT", "/checkpoints/", times=1, call=scene.server.kill)]
    run = scene.start(AWS_MAX_ATTEMPTS="2", RETRY_DELAYS_S="[0]")
    failed(run, 3, "cannot be reached")
    scene.server.start()
    return scene.start().end()


@row("S3 answers 500", "every 4th request", chunks=0, evaluates=True, flow=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("500", every=4, times=999)]
    return scene.start().end()


@row("S3 answers 503 SlowDown", "5 uploads in a row", chunks=0, evaluates=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("503", "PUT", times=5)]
    return scene.start().end()


@row("S3 is slow", "each answer 0.3 s late", chunks=0, evaluates=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("late", times=9999, seconds=0.3)]
    return scene.start().end()


@row("S3 stops answering", "one download and one upload for 25 s", chunks=0, evaluates=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault(kind="stalled", method=method, seconds=25) for method in ("GET", "PUT")]
    return scene.start().end()


@row("connection reset", "in the middle of every 3rd upload", chunks=0, evaluates=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("request reset", "PUT", every=3, times=999)]
    return scene.start().end()


@row("connection reset", "in the middle of every 3rd download", chunks=0, evaluates=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("answer cut", "GET", every=3, times=999)]
    return scene.start().end()


@row("connection reset", "after each manifest and lease is stored, before S3 says so", chunks=0, evaluates=True)
def _(scene: Scene) -> Run:
    scene.proxy.faults = [Fault("answer lost", "PUT", ".json", every=2, times=999)]
    return scene.start().end()


# Damage in the store


def stop_in_epoch_2(scene: Scene) -> None:
    """Leave two checkpoints."""
    scene.start().until(IN_EPOCH_2).signal_all(signal.SIGINT).end()


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@row("truncated checkpoint", "the last one, between two runs")
def _(scene: Scene) -> Run:
    stop_in_epoch_2(scene)
    scene.change("checkpoints/models/*/*/*/*.npz", lambda data: data[: len(data) // 2])
    return scene.start().until("does not match its digest; going back to the one before").end()


@row("corrupted checkpoint", "a byte of the last one, between two runs")
def _(scene: Scene) -> Run:
    stop_in_epoch_2(scene)
    scene.change("checkpoints/models/*/*/*/*.npz", flip)
    return scene.start().until("does not match its digest; going back to the one before").end()


@row("swapped checkpoint", "a whole one of another seed, as the last")
def _(scene: Scene) -> Run:
    stop_in_epoch_2(scene)
    store = scene.store()
    last = [path for path in store.list("checkpoints") if path.endswith(".npz")][-1]
    address = last.rpartition("/")[0]
    _, state = next(checkpoints.newest_first(store, address, 1 << 30))
    assert isinstance(state, checkpoints.State)
    other = "checkpoints/models/digits/digits-cnn/other"
    checkpoints.save(store, other, state)
    (swapped,) = store.list(other)
    store.write(f"{address}/{Path(swapped).name}", store.read(swapped))
    store.delete(swapped)
    store.delete(last)
    return scene.start().until("is of another training").end()


@row("corrupted Parquet", "a byte of the training data", code=2, says="does not match its digest", chunks=0)
def _(scene: Scene) -> Run:
    scene.change("datasets/*/*/train-*.parquet", flip)
    return scene.start().end()


@row("data file changed after ingest", "two images swapped", code=2, says="does not match its digest", chunks=0)
def _(scene: Scene) -> Run:
    def swap(data: bytes) -> bytes:
        start = len(data) // 2
        return data[:start] + data[start + 1024 : start + 2048] + data[start : start + 1024] + data[start + 2048 :]

    scene.change("datasets/*/*/train-*.parquet", swap)
    return scene.start().end()


@row("corrupted manifest", "a byte of the prepared data's", code=2, says="was changed after it was written", chunks=0)
def _(scene: Scene) -> Run:
    scene.change("prepared/*/*/manifest.json", flip)
    return scene.start().end()


@row("hostile manifest", "the prepared data's, 100,000 lists deep", code=2, says="was changed after it", chunks=0)
def _(scene: Scene) -> Run:
    scene.change("prepared/*/*/manifest.json", lambda _: b"[" * 100_000)
    return scene.start().end()


@row("deleted manifest", "the prepared data's, between two runs", chunks=0)
def _(scene: Scene) -> Run:
    stop_in_epoch_2(scene)
    scene.change("prepared/*/*/manifest.json", lambda _: None)
    return scene.start().end()


# The machine


@row("disk full", "files of at most 200 kB, then without the limit", folder=True)
def _(scene: Scene) -> Run:
    limit = 200_000
    run = scene.start(limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    failed(run, 2, "File too large")
    return scene.start().end()


@row("store full", "at each write in turn, some of them again", folder=True, chunks=6, evaluates=True)
def _(scene: Scene) -> Run:
    scene.module = "tests.faults.full_store"
    run = scene.start(**full_store.environment(scene.folder))
    run.until("writes met a full store", within_s=1500).end()  # each is a training begun anew
    (met,) = (int(line.split()[0]) for line in run.lines if "writes met a full store" in line)
    # The lease, six checkpoints, network, history and manifest; the evaluation's lease, predictions, metrics, manifest.
    assert met >= 14, met
    return run


@row("memory limit", "2.2 GB for each process; alexnet needs 3.5", code=2, says="ran out of memory", chunks=0)
def _(scene: Scene) -> Run:
    limit = 2_200_000_000
    return scene.start(
        training=("--dataset", "digits", "--models", "alexnet", "--limit", "1200", "--set", "batch_size=400"),
        limits=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    ).end()  # fmt: skip


def clock_off(scene: Scene, seconds: float) -> dict[str, str]:
    """An environment in which Python starts with a wrong clock."""
    (scene.folder / "sitecustomize.py").write_text(
        "import datetime, time_machine\n"
        f"now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds={seconds})\n"
        "time_machine.travel(now, tick=True).start()\n"
    )
    return {"PYTHONPATH": str(scene.folder)}


@row("wrong clock", "10 minutes fast, killed there and finished with the right one")
def _(scene: Scene) -> Run:
    run = scene.start(**clock_off(scene, 600)).until(IN_EPOCH_2)
    killed(run.signal_all(signal.SIGKILL))
    return scene.start().end()


@row("wrong clock", "2 hours fast", code=2, says="its clock and this machine's are too far apart", chunks=0)
def _(scene: Scene) -> Run:
    return scene.start(**clock_off(scene, 7200)).end()


# Several at once, and the training itself


@row("two runs at once", "on one store", chunks=0)
def _(scene: Scene) -> Run:
    first, second = scene.start(), scene.start()
    assert first.end().code == 0, first.said()
    return second.end()


@row("retention beside a run", "again and again, of a store whose data are three days old", chunks=0, folder=True)
def _(scene: Scene) -> Run:
    at = time.time() - 3 * 86_400
    for path in Path(scene.uri).rglob("*"):
        os.utime(path, (at, at))
    run = scene.start()
    while run.process.poll() is None:
        clean_up = scene.command("flows.retention", "--keep", "1", "--delete").end()
        assert clean_up.code == 0, clean_up.said()
    return run.end()


APART = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A command that follows runs in a PID namespace of its own, as in a container, with this machine's host name."""


def no_namespaces() -> str:
    if shutil.which(APART[0]) is None:
        return "there is no unshare"
    done = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


@row(
    "the trainer hangs in another PID namespace",
    "of the same host; another run waits, then takes over",
    flow=True,
    skip=no_namespaces,
)
def _(scene: Scene) -> Run:
    hung = scene.start(within=APART, LEASE_S="3").until(IN_EPOCH_2)
    job = hung.job()
    os.kill(job, signal.SIGSTOP)
    second = scene.start(LEASE_S="3").until("waits for process")
    assert second.end().code == 0, second.said()
    os.kill(job, signal.SIGCONT)
    return hung.until("was taken over").end()


@row("an owner on another machine died", "its lease still stands", chunks=0)
def _(scene: Scene) -> Run:
    lease = {"host": "another-host", "pid": 1, "id": "other", "renewed": 0}
    scene.store().write(f"{scene.checkpoints}/lease.json", json.dumps(lease).encode())
    return scene.start(LEASE_S="2").until("waits for process 1 on another-host").end()


@row("the trainer hangs", "in epoch 2; another run takes over and ends, then it wakes", flow=True)
def _(scene: Scene) -> Run:
    hung = scene.start(LEASE_S="2").until(IN_EPOCH_2)
    job = hung.job()
    os.kill(job, signal.SIGSTOP)
    second = scene.start(LEASE_S="2").end()
    assert second.code == 0, second.said()
    os.kill(job, signal.SIGCONT)
    return hung.until("was taken over").end()


@row("NaN in training", "a rate of 1e30", code=2, says="diverged: the loss is", chunks=0)
def _(scene: Scene) -> Run:
    return scene.start("--set", "learning_rate=1e30").end()
