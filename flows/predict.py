"""Predict images with a model of a dataset: `python -m flows.predict --dataset digits --input FOLDER`.

Any image that ingest reads, read in the same way; no labels are needed. A file that cannot be read is a row that says
why. Rows are stored in parts of 2,000: stopped at any moment, the same command goes on with the part that it was at.
What is predicted already is told from the store. It also says whether the images are like those of validation.
"""

import argparse
from collections.abc import Iterable

from prefect import flow
from prefect.runtime import flow_run

from flows.command import add_place_options, check_ready, main_of, reach_store, settings_of
from flows.parameters import add_options, read_options, takes
from lib import addresses
from lib.command_line import RUN_AGAIN, parser
from lib.errors import printable, shortened
from lib.lineage.manifests import Ref, find, load
from lib.planning.request import PredictionRequest, read_request
from lib.prediction.choice import model_to_use
from lib.prediction.export import check_output, export
from lib.prediction.inputs import RULE, InputSource
from lib.prediction.summary import check_bad, summary
from tasks.endings import completed
from tasks.prediction import export_predictions, predict_images, tell_of_drift
from tasks.retries import with_retries
from tasks.settings import current_store, using


def _run_name() -> str:
    given = flow_run.parameters
    return f"predict {shortened(str(given['input']))} with a model of {shortened(str(given['dataset']))}"


@flow(name="predict", flow_run_name=_run_name, retries=0, validate_parameters=False)
@takes(PredictionRequest)
def predict(
    input: str,
    dataset: str = "digits",
    model: str | None = None,
    output: str | None = None,
    top: int = 5,
    max_bad: float = 0.05,
    image_column: str | None = None,
) -> Ref:
    """Predict images, in parts that a run which was stopped goes on from. Returns the prediction's ref.

    It fails where more images than `max_bad` cannot be read; all rows are there and exported even so.
    """
    request = read_request(PredictionRequest, locals())
    if output is not None:
        check_output(output)
    prediction = with_retries(predict_images)(dataset, model, source_of(request), top)
    with_retries(tell_of_drift)(dataset, prediction)
    if output is not None:
        with_retries(export_predictions)(prediction, output)
    store = current_store()
    made = load(store, prediction)
    check_bad(store, prediction, made, max_bad)
    return completed(prediction, " ".join(summary(made)))


def source_of(request: PredictionRequest) -> InputSource:
    """Where its images lie, seen from any folder."""
    uri = request.input
    if not uri.startswith("s3:"):
        uri = str(addresses.folder(uri, RULE).absolute())
    return InputSource(uri=uri, image_column=request.image_column)


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, PredictionRequest)
    add_place_options(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    from lib.prediction.predictions import Asked  # with its libraries: --help needs none of them

    request = read_options(PredictionRequest, chosen := make_parser().parse_args(arguments))
    settings = settings_of(chosen)
    if request.output is not None:
        check_output(request.output)
    store = reach_store(settings)
    evaluation = model_to_use(store, request.dataset, request.model)
    asked = Asked.of(store, evaluation, source_of(request), request.top, settings)
    _show([f"{asked.images.uri}: {asked.images.description}"])
    done = find(store, asked.address)
    if not done:
        check_ready(store)
        with using(settings):
            prediction = predict(**dict(request))
    elif request.output is not None:
        export(store, done[1], request.output, settings)
    ref, made = done or (prediction, load(store, prediction))
    _show([*summary(made), *([f"All rows: {request.output}"] if request.output else []), f"{store.uri}/{ref.uri}"])
    check_bad(store, ref, made, request.max_bad)


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(line))


if __name__ == "__main__":
    main_of(command, RUN_AGAIN)
