"""All commands: `python -m flows COMMAND …` does what `python -m flows.COMMAND …` does."""

import runpy
import sys
from functools import partial
from typing import NoReturn

from lib.command_line import main_of
from lib.errors import PermanentError, shortened

COMMANDS = {
    "train": "train the models of a dataset and rank them: the main job",
    "train_model": "train and evaluate one recipe: the unit that a worker runs",
    "promote": "compare a model with the champion of its dataset; promote it if it is better",
    "ingest": "fetch a dataset into the store and prepare it",
    "get": "put a model into a folder, to be used elsewhere with Keras or TensorFlow Lite",
    "predict": "predict images with a model, and say whether they are like those it was validated on",
    "verify": "verify an output and everything it was made from",
    "retention": "list files that are no longer needed, or delete them",
}


def main() -> None:
    name = sys.argv[1].replace("-", "_") if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        sys.argv = sys.argv[1:]
        runpy.run_module(f"flows.{name}", run_name="__main__", alter_sys=True)
    listed = "\n".join(f"  {command:<12} {does}" for command, does in COMMANDS.items())
    known = f"usage: python -m flows COMMAND [--help]\n\n{listed}"
    if name in {"", "__help", "_h"}:
        main_of(lambda: print(known))
    main_of(partial(_refuse, sys.argv[1]))


def _refuse(name: str) -> NoReturn:
    raise PermanentError(f"unknown command {shortened(repr(name))}; known: {', '.join(COMMANDS)}")


if __name__ == "__main__":
    main()
