"""Options for a dataset of a person's own images, of the commands that ingest and train."""

import argparse
from typing import Annotated

from pydantic import AfterValidator, TypeAdapter, ValidationError

from lib import addresses
from lib.data.own import check_name
from lib.errors import PermanentError, explain_validation, shortened
from lib.images.own_source import OwnSource
from lib.images.source_files import RULE
from lib.planning.request import IngestRequest
from lib.settings import Settings
from lib.store import Store

FLAGS = {"uri": "--from"}
METAVARS = {"uri": "PLACE", "px": "N", "max_bad": "SHARE"}


def add_own_options(options: argparse.ArgumentParser) -> None:
    """An option for each field of `OwnSource`, with the same description."""
    group = options.add_argument_group("your own images")
    for name, field in OwnSource.model_fields.items():
        default = "" if field.is_required() or field.default is None else f" (default: {field.default})"
        group.add_argument(
            _flag(name),
            dest=f"own_{name}",
            metavar=METAVARS.get(name, "NAME"),
            help=f"{field.description}{default}",
        )


def own_source(chosen: argparse.Namespace) -> OwnSource | None:
    """The source that the options name; None where they name none. Raises PermanentError where they break a rule."""
    given = {name: getattr(chosen, f"own_{name}") for name in OwnSource.model_fields}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    if empty := [name for name, value in given.items() if not value]:
        raise PermanentError(f"{_flag(empty[0])} must not be empty; leave it out, or give it a value")
    for name, why in (("uri", "--from PLACE says where your images lie"), ("name", "--name NAME names the dataset")):
        if name not in given:
            raise PermanentError(f"{why}: give both, or neither; received {', '.join(map(_flag, given))}")
    if chosen.dataset not in {given["name"], IngestRequest.model_fields["dataset"].default}:
        raise PermanentError(
            f"--name says which dataset the images of --from are; received {shortened(given['name'])} and --dataset "
            f"{shortened(chosen.dataset)}; leave --dataset out"
        )
    if not given["uri"].startswith("s3:"):
        given["uri"] = str(addresses.folder(given["uri"], RULE).absolute())
    try:
        return TypeAdapter(Annotated[OwnSource, AfterValidator(check_name)]).validate_python(given)
    except ValidationError as error:
        raise explain_validation(error, "your own dataset") from error


def show_layout(source: OwnSource, store: Store, settings: Settings) -> None:
    """Say what lies there, before anything is started. Raises PermanentError where that cannot be a dataset."""
    from lib.images.collect import look  # with its libraries: other commands need none of them
    from lib.images.sources import check_apart

    check_apart(source.uri, store.uri)
    print(f"{source.name}: {look(source, settings.cache_dir).description}")


def _flag(name: str) -> str:
    return FLAGS.get(name, f"--{name.replace('_', '-')}")
