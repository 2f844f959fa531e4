"""Whatever is wrong: an exit code, one line that says the rule, what came and what to do, and an untouched store."""

import gzip
import io
import struct
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.ingest import ingest
from flows.train import train_all
from flows.train_model import train_model
from lib.data.datasets import DATASETS
from lib.errors import PermanentError

from .conftest import Commands

CLOSED = "127.0.0.1:9"  # the discard port: nothing listens there


def fashion_mirror(folder: Path, train_images: bytes) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(train_images)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(idx((60_000,)))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(idx((10_000, 28, 28)))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(idx((10_000,)))


def idx(shape: tuple[int, ...], body: int | None = None) -> bytes:
    """A gzipped IDX file of zeros whose header promises `shape`."""
    size = 1
    for length in shape:
        size *= length
    header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(header + bytes(size if body is None else body), 1)


def cifar_archive(member: str, promised: int = 4) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as out:
        entry = tarfile.TarInfo(member)
        entry.size = promised
        out.write(entry.tobuf() + b"evil".ljust(512, b"\0"))
    return buffer.getvalue()


@dataclass(frozen=True)
class Case:
    """A command, what its mirror holds, and how it must end."""

    says: str
    """In this order, separated by …, in the last line."""
    arguments: tuple[str, ...]
    code: int = 2
    module: str = "flows.ingest"
    fashion: bytes | None = None
    cifar: bytes | None = None
    environment: dict[str, str] = field(default_factory=dict)


DATASET_NAMES = ", ".join(sorted(DATASETS))
CIFAR, FASHION = ("--dataset", "cifar100"), ("--dataset", "fashion-mnist")
CASES = {
    "unknown dataset": Case(f"unknown dataset 'mnist'…known: {DATASET_NAMES}", ("--dataset", "mnist")),
    "unknown model": Case("unknown recipe 'resnet8'…known: ", ("--models", "resnet8"), module="flows.train"),
    "no epochs": Case(
        "epochs: Input should be greater than or equal to 1; received 0", ("--epochs", "0"), module="flows.train"
    ),
    "negative limit": Case(
        "limit: Input should be greater than or equal to 1; received -5", ("--limit", "-5"), module="flows.train"
    ),
    "unknown setting": Case(
        "overrides (--set KEY=VALUE) must name fields of a recipe…'colour'",
        ("--set", "colour=red"),
        module="flows.train",
    ),
    "invalid setting": Case("greater than 0; received -1", ("--set", "learning_rate=-1"), module="flows.train"),
    "truncated archive": Case(
        "train-images-idx3-ubyte.gz must be a whole gzip file…check MIRROR_URL",
        FASHION,
        fashion=idx((60_000, 28, 28))[:20_000],
    ),
    "corrupt archive": Case("cifar-100-binary.tar.gz must be a whole tar.gz", CIFAR, cifar=b"\x1f\x8b" + b"rot" * 99),
    "HTML page": Case(
        "cifar-100-binary.tar.gz must be gzip; received an HTML page…check MIRROR_URL",
        CIFAR,
        cifar=b"<!DOCTYPE html><html>Not found</html>",
        environment={"PREFECT_FLOWS_DEFAULT_RETRIES": "2", "PREFECT_TASKS_DEFAULT_RETRIES": "2"},
    ),
    "member outside": Case(
        "inside its own folder; received member '../../x'…check MIRROR_URL", CIFAR, cifar=cifar_archive("../../x")
    ),
    "another member": Case(
        "member 'cifar-100-binary/x' may have 0 bytes…check MIRROR_URL",
        CIFAR,
        cifar=cifar_archive("cifar-100-binary/x"),
    ),
    "gigabytes in tar": Case(
        "may have 153,700,000 bytes; its header promises 8,000,000,000",
        CIFAR,
        cifar=cifar_archive("cifar-100-binary/train.bin", 8_000_000_000),
    ),
    "gigabytes in IDX": Case(
        "must hold (60000, 28, 28); its header promises (4000000000, 28, 28)",
        FASHION,
        fashion=idx((4_000_000_000, 28, 28), body=100),
    ),
    "other pixels": Case(
        "fashion-mnist: train images must have sha256 2e487a6c…check MIRROR_URL", FASHION, fashion=idx((60_000, 28, 28))
    ),
    "mirror out of reach": Case("cannot be reached", CIFAR, code=3, environment={"MIRROR_URL": f"http://{CLOSED}"}),
    "store out of reach": Case(
        "cannot be reached…AWS_ENDPOINT_URL_S3",
        (),
        code=3,
        environment={
            "STORE_URI": "s3://bucket/x",
            "AWS_ENDPOINT_URL_S3": f"http://{CLOSED}",
            "AWS_MAX_ATTEMPTS": "2",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        },
    ),
}


def check(done: "object", case: Case) -> None:
    code, error = done.returncode, done.stderr  # type: ignore[attr-defined]
    last = error.splitlines()[-1]
    assert code == case.code, error
    assert last.startswith("error: ")
    place = 0
    for part in case.says.split("…"):
        assert part in last[place:], last
        place = last.index(part, place) + len(part)
    assert "Traceback" not in error
    assert code == 3 or "AwaitingRetry" not in error


ELSEWHERE = {
    "unknown model",
    "no epochs",
    "negative limit",
    "unknown setting",
    "invalid setting",
    "HTML page",
    "truncated archive",
    "corrupt archive",
    "member outside",
    "another member",
    "gigabytes in tar",
    "gigabytes in IDX",
    "other pixels",
    "mirror out of reach",
}
"""What is wrong with these is held by tests of requests, parsers and downloads too, which are quick."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ELSEWHERE)) for name in CASES])
def test_bad_input_ends_with_a_clear_line_and_an_untouched_store(name: str, commands: Commands, tmp_path: Path) -> None:
    case, store, mirror = CASES[name], tmp_path / "store", tmp_path / "mirror"
    mirror.mkdir()
    if case.fashion is not None:
        fashion_mirror(mirror, case.fashion)
    if case.cifar is not None:
        (mirror / "cifar-100-binary.tar.gz").write_bytes(case.cifar)
    places = {"STORE_URI": str(store), "MIRROR_URL": mirror.as_uri()}
    check(commands.run(case.module, *case.arguments, **{**places, **case.environment}), case)
    assert not store.exists()


REF = {"uri": "prepared/digits/0", "sha256": 64 * "0"}
BAD_PARAMETERS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "seed in words": (train_all, {"seed": "fresh2"}, "the request is not valid: seed.int: Input should be a valid int"),
    "half a seed": (train_all, {"seed": 1.5}, "the request is not valid: seed.int: Input should be a valid integer"),
    "seed of nothing": (train_all, {"seed": None}, "the request is not valid: seed.int: Input should be a valid int"),
    "vast seed": (
        train_all,
        {"seed": 10**30},
        "seed (--seed N) must be 'fresh' or from 0 to 4294967295; received 1000000000",
    ),
    "limit in words": (train_all, {"limit": "many"}, "the request is not valid: limit: Input should be a valid int"),
    "no limit": (ingest, {"limit": 0}, "the request is not valid: limit: Input should be greater than or equal to 1"),
    "dataset of 300 letters": (ingest, {"dataset": 300 * "a"}, "unknown dataset 'aaa"),
    "model of 300 letters": (train_all, {"models": [300 * "a"]}, "unknown recipe 'aaa"),
    "dataset as a list": (ingest, {"dataset": ["digits"]}, "the request is not valid: dataset: Input should be a val"),
    "models as text": (train_all, {"models": "digits-cnn"}, "the request is not valid: models: Input should be a val"),
    "overrides as text": (train_all, {"overrides": "a=1"}, "the request is not valid: overrides: Input should be a v"),
    "a number in overrides": (
        train_all,
        {"overrides": {"dropout": 7}},
        "recipe digits-cnn is not valid: dropout: Input should be less than 1; r",
    ),
    "a misspelt override": (
        train_all,
        {"overrides": {"learning_rat": "0.1"}},
        "overrides (--set KEY=VALUE) must name fields of a recipe; received 'learning_rat'",
    ),
    "nothing in overrides": (
        train_all,
        {"overrides": {"dropout": None}},
        "recipe digits-cnn is not valid: dropout: Input should be a v",
    ),
    "weights with a NUL": (train_all, {"weights": "a\0"}, "the request is not valid: weights.constrained-str: String"),
    "a password in the address of weights": (
        train_all,
        {"weights": "s3://u:secret@bucket/x"},
        "--weights at S3 must be s3://bucket/key; keys are set by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in",
    ),
    "a signature in it": (
        train_all,
        {"weights": ["none", "s3://bucket/x?sig=secret"]},
        "--weights at S3 must be s3://bucket/key, without ?, # and parts that are . or ..; received 's3://bucket/x'",
    ),
    "model as a list": (train_model, {"model": ["digits-cnn"]}, "the request is not valid: model: Input should be a"),
    "prepared as text": (train_model, {"prepared": "prepared/digits/0"}, "the request is not valid: prepared: Input"),
    "prepared of a bad digest": (
        train_model,
        {"prepared": REF | {"sha256": "0"}},
        "the request is not valid: prepared",
    ),
    "prepared that is not there": (train_model, {"prepared": REF}, "nothing finished lies at prepared/digits/0 in "),
    "prepared outside the store": (train_model, {"prepared": REF | {"uri": "../../etc"}}, "a store path is relative"),
}


@pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted")  # its task has no flow run here
@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameters_end_with_a_clear_line_and_an_untouched_store(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, parameters, says = BAD_PARAMETERS[name]
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    with pytest.raises(PermanentError) as caught:
        flow.fn(**({"model": "digits-cnn"} if flow is train_model else {}) | parameters)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["seed in words", "model as a list", "a misspelt override"])
def test_under_prefect_bad_parameters_end_with_the_same_line(name: str, caplog: pytest.LogCaptureFixture) -> None:
    flow, parameters, says = BAD_PARAMETERS[name]
    with pytest.raises(PermanentError) as caught:
        flow(**parameters)
    assert str(caught.value).startswith(says)
    assert not [words for words in ("Traceback", "direct cause", "KeyError") if words in caplog.text]


def test_a_store_that_cannot_be_written_is_named(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = commands.run("flows.ingest", "--store", str(tmp_path / "file" / "store"))
    check(done, Case("the store must be a folder…received…Not a directory…STORE_URI", ()))
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.slow
def test_without_a_server_the_error_is_the_last_line_too(tmp_path: Path) -> None:
    alone = Commands("", tmp_path / "cache")
    del alone.environment["PREFECT_API_URL"]
    places = {"PREFECT_HOME": str(tmp_path / "prefect"), "MIRROR_URL": tmp_path.as_uri()}
    done = alone.run("flows.ingest", *FASHION, "--store", str(tmp_path / "store"), **places)
    check(done, Case("the mirror must hold…No such file", ()))
    assert "Stopping temporary server" in done.stderr


@pytest.mark.slow
def test_a_wrong_s3_key_and_a_missing_bucket_are_named(commands: Commands, s3_server: "object") -> None:
    keys = s3_server.environment()  # type: ignore[attr-defined]
    bucket = s3_server.bucket  # type: ignore[attr-defined]
    wrong = {**keys, "AWS_SECRET_ACCESS_KEY": "wrong", "STORE_URI": f"s3://{bucket}/bad-input"}
    check(commands.run("flows.ingest", **wrong), Case("S3 refused s3://…check the keys in AWS_ACCESS_KEY_ID", ()))
    missing = {**keys, "STORE_URI": "s3://no-such-bucket/x"}
    check(commands.run("flows.ingest", **missing), Case("no-such-bucket…does not exist; make it", ()))


@pytest.mark.slow
def test_a_transient_error_is_tried_again_as_often_as_the_settings_say(commands: Commands, tmp_path: Path) -> None:
    places = {"STORE_URI": str(tmp_path / "store"), "MIRROR_URL": f"http://{CLOSED}", "RETRY_DELAYS_S": "[0, 0, 0]"}
    done = commands.run("flows.ingest", *CIFAR, **places)
    assert done.returncode == 3
    assert done.stderr.count("Retry ") == 3, done.stderr
