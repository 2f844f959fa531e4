"""What deployments have to do with datasets: which ones their forms offer, and which one starts which training."""

from uuid import UUID

from deployments.configuration import Configuration
from deployments.schedules import Deployed
from lib.data.own import own_names
from lib.errors import PipelineError
from lib.store import Store
from lib.store.probe import require_answer


def own_names_there(store: Store) -> list[str]:
    """Datasets of people's own in `store`; none, and a note, where a machine that deploys does not reach it."""
    try:
        require_answer(store)
        return own_names(store)
    except PipelineError as error:
        print(f"note: the forms offer built-in datasets alone: {error}")
        return []


def trained_on(configuration: Configuration, deployed: Deployed) -> dict[str, UUID]:
    """Dataset → the deployment train-all/NAME that a new version of it starts: the one of its own name."""
    return {
        each.name: deployed[each.full_name].id
        for each in configuration.deployments
        if each.flow.name == "train-all" and each.parameters.get("dataset") == each.name
    }
