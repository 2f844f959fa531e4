"""Put a model into a folder, to be used elsewhere: `python -m flows.get --dataset digits --to DIR`.

The folder then holds model.keras, which takes raw uint8 images and loads in plain Keras without this project,
class_names.json, temperature.json and, where there is one, the model's card as README.md. It is there whole or not at
all.
"""

import argparse

from flows.command import reach_store, settings_of
from flows.parameters import add_options
from flows.verify import start_keras_quietly
from lib.command_line import RUN_AGAIN, add_store_option, main_of, parser
from lib.lineage.manifests import load
from lib.planning.request import PredictionRequest
from lib.prediction.bundle import FORMATS, check_folder, write_bundle
from lib.prediction.choice import model_to_use

OPTIONS = {"dataset", "model"}


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, PredictionRequest, *(set(PredictionRequest.model_fields) - OPTIONS))
    options.add_argument("--to", required=True, metavar="DIR", help="the folder, which is empty or not there yet")
    options.add_argument(
        "--format",
        choices=FORMATS,
        default="keras",
        help="tflite: with weights of 8 bits, where it chooses the same class on 1,000 images of validation "
        "(default: keras)",
    )
    add_store_option(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    to = check_folder(chosen.to)
    store = reach_store(settings_of(chosen))
    evaluation = model_to_use(store, chosen.dataset, chosen.model)
    if chosen.format == "tflite":
        start_keras_quietly()
    files = write_bundle(store, evaluation, to, chosen.format)
    facts = load(store, evaluation).facts
    accuracy = facts["metrics"]["validation"]["accuracy"]
    print(f"{facts['recipe']} of {facts['dataset']}, accuracy on validation {accuracy:.1%}: {', '.join(files)}\n{to}")


if __name__ == "__main__":
    main_of(command, f"the folder was not made: {RUN_AGAIN}")
