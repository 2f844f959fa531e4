"""Look for near duplicates in prepared data, in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.errors import one_line
from lib.evaluation.comparing import choose_features, duplicates_address, too_many
from lib.lineage.manifests import Ref, find, load
from tasks.inputs import untraced
from tasks.processes import run_alone
from tasks.retries import with_retries
from tasks.settings import current_store


@task(task_run_name="look for near duplicates in {dataset}", cache_policy=NO_CACHE)
def look_for_duplicates(dataset: str, prepared: Ref) -> Ref:
    """Prepared data → pairs of images that show the same picture."""
    store = current_store()
    features = choose_features(store, prepared)
    if done := find(store, duplicates_address(store, prepared, features)):
        return done[0]  # no process has to start for that
    return run_alone("duplicates", "near duplicates", "cpu", prepared=prepared, features=features)


def find_duplicates(dataset: str, prepared: Ref, asked: bool) -> tuple[list[Ref], dict[str, str]]:
    """Near duplicates for a report, or none and why: a report without them is better than none.

    `asked`: also where there are more images than are compared by default.
    """
    if not asked and (why := too_many(load(current_store(), prepared).facts["rows"])):
        get_run_logger().info("near duplicates were %s", why)
        return [], {"duplicates": why}
    try:
        return [with_retries(look_for_duplicates)(dataset, untraced(prepared))], {}
    except Exception as error:
        said = one_line(error)
        get_run_logger().warning("near duplicates were not found, and the report says so: %s", said)
        return [], {"duplicates": f"not found, because of an error: {said}"}
