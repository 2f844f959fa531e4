"""Who trains a model, where a run came from a deployment and its pools have no workers."""

from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from flows.train_model import train_model
from lib.errors import NoGpu
from lib.manifests import Ref
from lib.plan import make_plan
from tasks import launching

PREPARED = Ref(uri="prepared/digits/0", sha256=64 * "0")


@pytest.fixture
def deployed(prefect_api: str) -> None:
    """train-model/gpu, on a pool that no worker serves."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="gpu", type="process"), overwrite=True)
        client.create_deployment(client.create_flow(train_model), "gpu", work_pool_name="gpu")


def test_a_model_whose_pool_has_no_worker_is_left_out_in_the_end(
    deployed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "this run came from one")
    monkeypatch.setattr(launching, "LEFT_OUT_AFTER_S", 1)
    monkeypatch.setattr(launching, "POLL_S", 0.2)
    plan = make_plan("digits", ["digits-cnn-gpu"])
    asked = {plan.recipes[0]: {"dataset": "digits", "model": "digits-cnn-gpu"}}

    @flow
    def train_all() -> dict[str, Ref | BaseException]:
        return launching.train_models(train_model, plan, PREPARED, asked)

    outcome = train_all()["digits-cnn-gpu"]
    assert isinstance(outcome, NoGpu)
    assert "waited 0 minutes for a worker of the pool gpu" in str(outcome)
    with get_client(sync_client=True) as client:
        (run,) = (each for each in client.read_flow_runs() if each.name == "train digits-cnn-gpu on digits")
        assert run.state is not None
        assert run.state.is_cancelled()
