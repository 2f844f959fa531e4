"""What the command lines of the flows share: options, exit codes, and the one line that says what went wrong."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lib.data.datasets import DATASETS
from lib.errors import PermanentError, PipelineError
from lib.models.recipes import RECIPES

EXIT_CODES = """exit codes: 0 done; 2 bad input, trying again will not help; 3 something did not answer, after
its retries; 4 some models failed, the others have results; 130 interrupted. The last line on standard error
is the error."""
INTERRUPTED = 130


def parser(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_data_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--dataset", default="digits", metavar="NAME", help=f"{', '.join(DATASETS)} (default: digits)")
    options.add_argument(
        "--limit", type=int, metavar="N", help="use N training rows, and dev and test in proportion (default: all)"
    )


WEIGHTS_HELP = "imagenet, none (a random start), or a file or s3:// address (default: the recipe's own, imagenet)"


def add_training_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--epochs", type=int, metavar="N", help="at most N epochs in each phase of a recipe")
    options.add_argument("--seed", type=seed, default=0, help="a number, or 'fresh': today's date (default: 0)")
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


def add_store_option(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--store",
        metavar="URI",
        type=use_store,
        help="a folder or s3://bucket/prefix (default: STORE_URI, or .store)",
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


def use_store(uri: str) -> str:
    # The environment is where flows, tasks and the training process all look.
    os.environ["STORE_URI"] = uri
    return uri


class _AllowCpu(argparse.Action):
    def __call__(self, *_: object) -> None:
        os.environ["ALLOW_CPU"] = "1"


def main_of(command: Callable[[], None]) -> NoReturn:
    """Run `command` and exit with the code its errors ask for, the error being the last line on standard error."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)
    try:
        command()
    except KeyboardInterrupt:
        _exit(INTERRUPTED, "interrupted; run the same command again to go on from the last checkpoint")
    except PipelineError as error:
        _exit(error.exit_code, str(error))
    except ValueError as error:
        from prefect.exceptions import ParameterTypeError

        if not isinstance(error, ParameterTypeError):
            raise
        _exit(PermanentError.exit_code, " ".join(str(error).split()))
    sys.exit(0)


def _exit(code: int, message: str) -> NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Where the error is one that we explain, its traceback says nothing more."""
    if record.exc_info and isinstance(record.exc_info[1], PipelineError):
        record.exc_info = None
        record.exc_text = None
    return True
