"""A person's own images in a bucket: files arrive, a scheduled ingest makes a version, and its training follows."""

import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from deployments.configuration import FILE
from tests.lib.data.own_images import CLASSES, picture, png
from tests.running_stack import Run, RunningStack

from .conftest import QUICK

pytestmark = pytest.mark.stack
NAME, PREFIX = "colours", "arriving"


def put_images(stack: RunningStack, count: int, first: int) -> str:
    """`count` images of each class, numbered from `first`, as another program brings them. Returns their address."""
    bucket = stack.environment["STORE_URI"].removeprefix("s3://").split("/")[0]
    client = boto3.client("s3", endpoint_url=stack.environment["AWS_ENDPOINT_URL_S3"])
    for name, colour in CLASSES.items():
        for number in range(first, first + count):
            client.put_object(Bucket=bucket, Key=f"{PREFIX}/{name}/{number}.png", Body=png(picture(colour, number)))
    return f"s3://{bucket}/{PREFIX}"


def with_own_deployments(folder: Path) -> Path:
    """A copy of prefect.yaml with ingest/colours and train-all/colours, as docs/deployment.md tells to add them."""
    told: dict[str, Any] = yaml.safe_load(FILE.read_text())
    for flow in ("ingest", "train-all"):
        kind = {"ingest": "ingest", "train-all": "train"}[flow]
        like = next(each for each in told["deployments"] if each["name"] == "digits" and kind in each["tags"])
        parameters = {"dataset": NAME} | ({"models": ["digits-softmax"], **QUICK} if flow == "train-all" else {})
        own = {key: value for key, value in like.items() if key != "schedules"}
        told["deployments"].append({**own, "name": NAME, "parameters": parameters})
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump(told))
    return file


def test_files_that_arrive_are_trained_on_and_nothing_new_trains_nothing(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.stack.reached_by().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    address = put_images(stack, 30, first=0)
    said = stack.command(
        sys.executable, "-m", "flows.ingest", "--from", address, "--name", NAME, "--px", "16", PREFECT_API_URL=""
    )
    assert "colours: class folders: 3 classes, 90 files" in said
    stack.deploy("--file", str(with_own_deployments(tmp_path)))
    put_images(stack, 10, first=100)
    known = {run["id"] for run in stack.runs()}

    def ingested() -> Run:
        run = stack.wait(stack.run(f"ingest/{NAME}"))
        assert run["state"]["type"] == "COMPLETED", run["state"]
        return run

    def started() -> list[Run]:
        return [each for each in stack.runs() if each["id"] not in known and each["name"].startswith("train")]

    ingested()
    (run, *_) = stack.wait_until(started, f"train-all/{NAME} to start", 60)
    assert stack.wait(run["id"])["state"]["type"] == "COMPLETED"
    (board,) = [
        report.facts["leaderboard"] for report in stack.manifests("reports").values() if report.facts["dataset"] == NAME
    ]
    assert [row["model"] for row in board] == ["digits-softmax"]
    models = [model for model in stack.manifests("models").values() if model.facts["dataset"] == NAME]
    assert len(models) == 1, "of the version of 120 images"

    known = {each["id"] for each in stack.runs()}
    ingested()
    put_images(stack, 1, first=0)  # the same bytes again
    ingested()
    runs = [each["name"] for each in stack.runs() if each["id"] not in known and each["name"].startswith("train")]
    assert runs == []
    stack.deploy()
