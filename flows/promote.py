"""Compare a model with the champion, and promote it if it is better: `python -m flows.promote --dataset digits`.

Without --model it takes the best model on validation of the newest report. Both are compared on the same images. It
prints the verdict (promote, keep, or cannot tell) with its reasons, and exits with 0 whichever it is. docs/promotion.md
explains the tests. A comparison that was made before is not repeated: its record is printed.
"""

import argparse

from prefect import flow
from prefect.runtime import flow_run

from flows.command import add_place_options, check_ready, main_of, reach_store, settings_of
from flows.parameters import add_options, read_options, takes
from flows.tables import show_history
from lib.command_line import RUN_AGAIN, parser
from lib.data.own import find_dataset
from lib.planning.request import PromotionRequest, read_request
from lib.registry import promotion
from lib.registry.history import Record, read_history
from lib.registry.promotion import Promotion, find_challenger, look_ahead, roll_back
from lib.registry.wording import ahead_of, reasons, summary
from lib.store import Store
from tasks.endings import completed, started_by
from tasks.promotion import promote_model
from tasks.retries import with_retries
from tasks.settings import current_store, using

BY_HAND = "hand, on the command line"


@flow(name="promote", flow_run_name="promote on {dataset}", retries=0, validate_parameters=False)
@takes(PromotionRequest)
def promote(
    dataset: str = "digits",
    model: str | None = None,
    min_gain: float = 0.002,
    max_slowdown: float = 2.0,
    rollback: bool = False,
    force: bool = False,
    reason: str = "",
) -> Promotion:
    """Compare, or do what a person decided. Returns the record, and whether it is new."""
    store, request = current_store(), read_request(PromotionRequest, locals())
    find_dataset(dataset, store)
    if record := by_a_person(store, request, started_by(), str(flow_run.id)):
        made = Promotion(record, new=True)
    else:
        challenger, chosen_from = find_challenger(store, dataset, model)
        made = with_retries(promote_model)(dataset, challenger, chosen_from, request.rules, started_by())
    return completed(made, summary(store, dataset, made.record))


def by_a_person(store: Store, request: PromotionRequest, by: str, run: str | None = None) -> Record | None:
    """The record of what a person decided; None where the gate is to decide."""
    if request.rollback:
        return roll_back(store, request.dataset, by, request.reason, run)
    if request.force:
        challenger, _ = find_challenger(store, request.dataset, request.model)
        return promotion.force(store, request.dataset, challenger, by, request.reason, run)
    return None


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, PromotionRequest)
    shown = options.add_mutually_exclusive_group()
    shown.add_argument("--plan", action="store_true", help="show which models would be compared; run nothing")
    shown.add_argument("--history", action="store_true", help="show all records of the dataset; run nothing")
    add_place_options(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    settings, request = settings_of(chosen), read_options(PromotionRequest, chosen)
    store = reach_store(settings)
    find_dataset(request.dataset, store)
    if chosen.history:
        show_history(request.dataset, read_history(store, request.dataset).records)
        return
    if not chosen.plan and (record := by_a_person(store, request, BY_HAND)):
        show(store, request.dataset, record)
        return
    challenger, chosen_from = find_challenger(store, request.dataset, request.model)
    ahead = look_ahead(store, request.dataset, challenger)
    if chosen.plan or ahead.done:
        print("\n".join(ahead_of(request.dataset, ahead, chosen_from)))
        if ahead.done and not chosen.plan:
            show(store, request.dataset, ahead.done)
        return
    check_ready(store)
    with using(settings):
        show(store, request.dataset, promote(**dict(request)).record)


def show(store: Store, dataset: str, record: Record) -> None:
    """Print the reasons, and the verdict as the last line."""
    for sentence in reasons(store, record):
        print(f"- {sentence}")
    said = summary(store, dataset, record)
    print(said[0].upper() + said[1:])


if __name__ == "__main__":
    main_of(command, f"{RUN_AGAIN}; of --rollback and --force look at --history first")
