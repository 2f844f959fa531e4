"""The options that the command lines of the flows share, and their end."""

import argparse
import logging
import os
from collections.abc import Callable
from typing import NoReturn

from lib import command_line
from lib.data.datasets import DATASETS
from lib.errors import PermanentError, PipelineError, TransientError
from lib.models.recipes import RECIPES


def add_data_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--dataset", default="digits", metavar="NAME", help=f"{', '.join(DATASETS)} (default: digits)")
    options.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="use N training rows, validation and test in proportion (default: all)",
    )


WEIGHTS_HELP = "imagenet, none (a random start), or a file or s3:// address (default: the recipe's own, imagenet)"


def add_training_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--epochs", type=int, metavar="N", help="at most N epochs in each phase of a recipe")
    options.add_argument("--seed", type=seed, default=0, help="a number, or 'fresh': the date of its start; default 0")
    options.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a field of the recipes, such as learning_rate=0.001 or augmentation.flip=true; may be repeated",
    )

    options.add_argument(
        "--allow-cpu",
        action=_AllowCpu,
        nargs=0,
        help="train recipes that run on a GPU where there is none, slowly (default: ALLOW_CPU)",
    )


def recipe_names() -> str:
    return ", ".join(RECIPES)


def seed(text: str) -> int | str:
    return text if text == "fresh" else int(text)


def setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE; received {text!r}")
    return key, value


class _AllowCpu(argparse.Action):
    def __call__(self, *_: object) -> None:
        os.environ["ALLOW_CPU"] = "1"


def main_of(command: Callable[[], None]) -> NoReturn:
    """Run `command`, which runs flows, and exit as all our commands do."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)
    command_line.main_of(lambda: _checked(command))


def _checked(command: Callable[[], None]) -> None:
    try:
        command()
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        raise TransientError(
            f"the Prefect server cannot be reached: {' '.join(str(error).split())}; start it, or run without one: "
            "unset PREFECT_API_URL, and remove an .env file that a stack has left behind"
        ) from error
    except ValueError as error:
        from prefect.exceptions import ParameterTypeError

        if not isinstance(error, ParameterTypeError):
            raise
        raise PermanentError(" ".join(str(error).split())) from error


def _without_traceback(record: logging.LogRecord) -> bool:
    """Where the error is one that we explain, its traceback says nothing more."""
    if record.exc_info and isinstance(record.exc_info[1], PipelineError):
        record.exc_info = None
        record.exc_text = None
    return True
