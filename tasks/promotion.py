"""Compare a challenger with the champion, and write the record of it."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.errors import one_line
from lib.lineage.manifests import Ref
from lib.registry.gate import Rules
from lib.registry.history import Evaluated, Record
from lib.registry.promotion import Promotion, promote
from lib.registry.wording import name_of, reasons, summary
from lib.store import Store
from tasks.processes import run_alone
from tasks.settings import current_store


@task(task_run_name="promote on {dataset}", cache_policy=NO_CACHE)
def promote_model(dataset: str, challenger: Evaluated, chosen_from: int, rules: Rules, by: str) -> Promotion:
    """The record of the challenger's comparison with the champion, and whether it is new; reasons go to the log."""
    store, name = current_store(), name_of(challenger)

    def decide(challenger: Ref, champion: Ref | None, attempt: int) -> Ref:
        count = {"attempt": attempt, "chosen_from": chosen_from}
        return run_alone("decision", name, "cpu", challenger=challenger, champion=champion, **count, rules=rules)

    promotion = promote(store, dataset, challenger, by, decide)
    for sentence in reasons(store, promotion.record):
        get_run_logger().info(sentence)
    try:
        _show(store, dataset, promotion.record)
    except Exception as error:
        said = one_line(error)
        get_run_logger().warning(
            "record %s is in the store; Prefect does not show it: %s", promotion.record.number, said
        )
    return promotion


def _show(store: Store, dataset: str, record: Record) -> None:
    """The champion and why it is, as an artifact of the dataset."""
    said = summary(store, dataset, record)
    why = "".join(f"- {sentence}\n" for sentence in reasons(store, record))
    create_markdown_artifact(f"**{said[0].upper()}{said[1:]}.**\n\n{why}", key=f"champion-{dataset}", description=said)
