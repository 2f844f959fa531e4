"""What deployments have to do with datasets: which ones their forms offer, and which one starts which training."""

from copy import deepcopy
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate

from deployments.configuration import Configuration
from deployments.schedules import Deployed
from lib.data.datasets import DATASETS


def offer_datasets(client: SyncPrefectClient, deployed: Deployed, own: list[str]) -> None:
    """Let the forms of all deployments offer the datasets `own` too: the server refuses what a form does not offer."""
    names = [*DATASETS, *own]
    for each in deployed.values():
        schema = deepcopy(each.parameter_openapi_schema or {})
        dataset = schema.get("properties", {}).get("dataset", {})
        if dataset.get("enum", names) != names:
            dataset["enum"] = names
            client.update_deployment(each.id, DeploymentUpdate(parameter_openapi_schema=schema))


def trained_on(configuration: Configuration, deployed: Deployed) -> dict[str, UUID]:
    """Dataset → the deployment train-all/NAME that a new version of it starts: the one of its own name."""
    return {
        each.name: deployed[each.full_name].id
        for each in configuration.deployments
        if each.flow.name == "train-all" and each.parameters.get("dataset") == each.name
    }
