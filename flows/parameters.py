"""Forms and options of the flows, made from the fields of a request (`lib.planning.request`)."""

import argparse
import inspect
from collections import Counter
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from lib.errors import PermanentError, shortened
from lib.planning.request import AnyRequest, read_request

AnyFlow = TypeVar("AnyFlow", bound=Callable[..., Any])
REQUESTS: dict[Callable[..., Any], type[BaseModel]] = {}
"""By the function of a flow: what `takes` says that it reads."""


def takes(request: type[BaseModel]) -> Callable[[AnyFlow], AnyFlow]:
    """Give each parameter of a flow the description and choices of the request's field, for Prefect's form.

    The flow reads its request itself (`read_request`): Prefect's own check of parameters ends with a traceback.
    Raises TypeError where the signature and the request do not name the same parameters with the same defaults.
    """

    def describe(flow: AnyFlow) -> AnyFlow:
        parameters = inspect.signature(flow).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        expected = {name: _default(field) for name, field in request.model_fields.items()}
        if defaults != expected:
            raise TypeError(f"{flow.__name__} must take {expected}; received {defaults}")
        for name, field in request.model_fields.items():
            # Prefect replaces a field's own description by that of a docstring; what a schema has besides is kept.
            shown = {"description": f"{field.description}.", **_extra(field)}
            annotation: Any = field.annotation
            for constraint in field.metadata:
                annotation = Annotated[annotation, constraint]
            flow.__annotations__[name] = Annotated[annotation, Field(json_schema_extra=shown)]
        REQUESTS[flow] = request
        return flow

    return describe


def add_options(options: argparse.ArgumentParser, request: type[BaseModel], *leave_out: str) -> None:
    """An option for each field of `request`, with the same description, but for those named."""
    for name, field in request.model_fields.items():
        if name not in leave_out:
            shape = next((SHAPES[kind] for kind in SHAPES if kind in _kinds(field.annotation)), {"metavar": "NAME"})
            required = {"required": True} if field.is_required() else {"default": field.default}
            flag = FLAGS.get(name, f"--{name.replace('_', '-')}")
            options.add_argument(flag, dest=name, help=_help(field), **{**required, **shape})


def read_options(kind: type[AnyRequest], chosen: argparse.Namespace) -> AnyRequest:
    """The request that the options make. Raises PermanentError where they break a rule."""
    values = {name: getattr(chosen, name) for name in kind.model_fields if hasattr(chosen, name)}
    if values.get("overrides") is not None:
        values["overrides"] = _once_each(values["overrides"])
    return read_request(kind, values)


def _once_each(settings: list[tuple[str, str]]) -> dict[str, str]:
    keys = Counter(key for key, _ in settings)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise PermanentError(
            f"{FLAGS['overrides']} must give each field once; received {shortened(repr(twice[0]))} "
            f"{keys[twice[0]]} times: leave all but one out"
        )
    return dict(settings)


def _seed(text: str) -> int | str:
    try:
        return text if text == "fresh" else int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number or fresh; received {text[:60]!r}") from error


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE; received {text!r}")
    return key, value


FLAGS = {"overrides": "--set"}
SHAPES: dict[Any, dict[str, Any]] = {
    bool: {"action": "store_true"},
    dict: {"action": "append", "type": _setting, "metavar": "KEY=VALUE"},
    list: {"nargs": "+", "action": "extend", "metavar": "NAME"},
    Literal: {"type": _seed, "metavar": "N"},
    int: {"type": int, "metavar": "N"},
    float: {"type": float, "metavar": "X"},
}
"""How an option reads its value, by the first of these that the field's type has in it."""


def _kinds(annotation: Any) -> set[Any]:
    """`int | None` → int and None; `list[str] | None` → list and None."""
    parts = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return {get_origin(part) or part for part in parts}


def _default(field: FieldInfo) -> Any:
    return inspect.Parameter.empty if field.is_required() else field.default


def _extra(field: FieldInfo) -> dict[str, Any]:
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


def _help(field: FieldInfo) -> str:
    known = _extra(field).get("enum") or _item_choices(field)
    shown = not (field.is_required() or field.default is None or field.default is False)
    default = f" (default: {field.default})" if shown else ""
    return f"{field.description}{': ' + ', '.join(known) if known else ''}{default}"


def _item_choices(field: FieldInfo) -> list[str]:
    """The choices of a list's items."""
    items = [item for part in get_args(field.annotation) for item in get_args(part) if get_origin(item) is Annotated]
    described = [info for item in items for info in item.__metadata__ if isinstance(info, FieldInfo)]
    return [choice for info in described for choice in _extra(info).get("enum", [])]
