"""A model as a person takes it away: one folder that needs nothing of this project."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from lib import addresses
from lib.errors import PermanentError, shortened
from lib.lineage.manifests import Ref, load, local_file
from lib.store import Store

Format = Literal["keras", "tflite"]
FORMATS: tuple[Format, ...] = get_args(Format)
RULE = "--to must be a folder that is empty, or not there yet"
CARD = "card"
"""What an evaluation calls the card of its model, where it has one. Model hubs look for it in README.md."""


def check_folder(text: str) -> Path:
    """The folder that `text` names, where a model may be put. Raises PermanentError."""
    path = addresses.folder(text, RULE).absolute()
    try:
        if (path.exists() or path.is_symlink()) and (not path.is_dir() or any(path.iterdir())):
            raise PermanentError(f"{RULE}; received {shortened(str(path))}, in which something lies")
    except OSError as error:
        raise PermanentError(f"{RULE}; received {shortened(str(path))}: {error.strerror}") from error
    return path


def write_bundle(store: Store, evaluation: Ref, to: Path, form: Format) -> list[str]:
    """Put the model of `evaluation` into the folder `to`, whole or not at all; returns the names of its files.

    Beside it class_names.json (a list), temperature.json and, where there is one, the model's card as README.md. Raises
    PermanentError where `to` is not free, or a model cannot be had in this `form` as good as it is.
    """
    evaluated = load(store, evaluation)
    model, prepared = (load(store, evaluated.inputs[kind]) for kind in ("model", "prepared"))
    with _new_folder(to) as folder:
        if form == "tflite":
            from lib.prediction.tflite import tflite_of  # loads TensorFlow

            (folder / "model.tflite").write_bytes(tflite_of(store, model))
        else:
            shutil.copyfile(local_file(store, model, "model"), folder / "model.keras")
        says = {"temperature": evaluated.facts["temperature"], "model": evaluated.inputs["model"].model_dump()}
        for name, value in (("class_names", prepared.facts["class_names"]), ("temperature", says)):
            (folder / f"{name}.json").write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if CARD in evaluated.files:
            shutil.copyfile(local_file(store, evaluated, CARD), folder / "README.md")
        return sorted(path.name for path in folder.iterdir())


@contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    """A folder beside `to`, which takes its place at the end. It is gone where an error comes."""
    made = None
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
        yield made
        mask = os.umask(0)
        os.umask(mask)
        made.chmod(0o777 & ~mask)  # mkdtemp lets nobody else in
        made.rename(to)
    except OSError as error:
        raise PermanentError(f"{RULE}, and can be written; received {shortened(str(to))}: {error.strerror}") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
