"""What the columns of a Parquet file hold, by its schema and the metadata of those who write images so."""

import json
from math import prod
from typing import Any, NamedTuple

import pyarrow as pa

from lib.errors import PermanentError, counted, shortened
from lib.images.source_images import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLIT_COLUMN,
    Columns,
    find_column,
    no_column,
)

LARGEST_SIDE = 65_536
NAMES_OF = {"label": b"class_names", "coarse_label": b"superclass_names"}
"""Where this project's own tables have the names of classes."""


class Table(NamedTuple):
    """What the columns of a file hold. Files of one source must agree in it."""

    image: str
    label: str | None
    """None where labels are not asked for."""
    group: str | None
    split: str | None
    paths: bool
    """Images are paths of files beside the table."""
    shape: tuple[int, ...] | None
    """(H, W, C) where images are pixels."""
    class_names: tuple[str, ...] | None


def describe_schema(schema: pa.Schema, columns: Columns, place: str, labelled: bool = True) -> Table:
    """What the file at `place` holds. Raises PermanentError where that is no images and, if `labelled`, labels."""
    names = list(schema.names)
    if twice := [name for name in names if names.count(name) > 1]:
        raise PermanentError(f"{place} must have each column once; received {shortened(twice[0])} twice; write it anew")
    features = _features(schema)
    image, shape = _image(schema, columns.image, features, place)
    if not labelled:
        return Table(image, None, None, None, _is_text(plain(schema.field(image).type)), shape, None)
    others = [name for name in names if name != image]
    label = find_column(names if columns.label else others, columns.label, LABEL_COLUMNS, "label", place)
    label = label or find_column(others, None, _of_kind(features, "ClassLabel"), "label", place)
    if label is None:
        raise no_column(names, "a column with each image's label", "label", place)
    group = find_column(names, columns.group, (), "group", place)
    for what, name in (("label", label), ("group", group)):
        if name is not None:
            _check_values(schema.field(name).type, name, what, place)
    split = next((name for name in others if name.lower() == SPLIT_COLUMN and name not in {label, group}), None)
    if split is not None and not (is_label(kind := plain(schema.field(split).type)) or pa.types.is_null(kind)):
        raise no_split(place, str(kind))
    is_path = _is_text(plain(schema.field(image).type))
    return Table(image, label, group, split, is_path, shape, class_names_of(schema, label))


def named(value: Any, class_names: tuple[str, ...] | None) -> Any:
    """A label, by its name where numbers have names; None where it is missing.

    Raises ValueError for a number that is no class.
    """
    if class_names is None or type(value) is not int or value == -1:  # Hugging Face's number of a missing label
        return None if class_names and value == -1 else value
    if not 0 <= value < len(class_names):
        raise ValueError(f"label {value:,} of {counted(len(class_names), 'class')}")
    return class_names[value]


def plain(kind: pa.DataType) -> pa.DataType:
    """`kind` without what wraps it: an extension, a dictionary."""
    kind = getattr(kind, "storage_type", kind)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    checks = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary
    return any(check(kind) for check in checks)


def is_label(kind: pa.DataType) -> bool:
    """Whether values of `kind` can be labels."""
    return _is_text(kind) or any(
        check(kind) for check in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    )


def no_split(place: str, received: str) -> PermanentError:
    """That a value, or a kind of values, of the column split is none."""
    return PermanentError(
        f"{place} must have train, validation or test in its column split; received {shortened(received)}; correct it, "
        "or rename that column"
    )


def _check_values(kind: pa.DataType, name: str, what: str, place: str) -> None:
    if not is_label(plain(kind)):
        raise PermanentError(
            f"{place} must have a {what} that is a number or a text; received {shortened(name)} "
            f"{shortened(str(kind))}; name another column by --{what}-column"
        )


def _image(
    schema: pa.Schema, wanted: str | None, features: dict[str, Any], place: str
) -> tuple[str, tuple[int, ...] | None]:
    """The column of images: of bytes, or else of paths; and (H, W, C) where they are pixels."""
    names = list(schema.names)
    kinds = {name: plain(schema.field(name).type) for name in names}
    of_bytes = [name for name in names if _is_bytes(kinds[name])]
    found = find_column(names, wanted, (), "image", place) if wanted is not None else None
    found = found or find_column(of_bytes, None, IMAGE_COLUMNS, "image", place)
    found = found or find_column(of_bytes, None, _of_kind(features, "Image"), "image", place)
    found = found or find_column([name for name in names if _is_text(kinds[name])], None, IMAGE_COLUMNS, "image", place)
    if found is None:
        raise no_column(names, "a column with images, as bytes or paths", "image", place)
    if not _is_bytes(kinds[found]) and not _is_text(kinds[found]):
        raise PermanentError(
            f"{place} must have images as bytes, as Hugging Face's struct of bytes and path, or as paths; received "
            f"{shortened(found)} {shortened(str(kinds[found]))}; name another column by --image-column"
        )
    if not pa.types.is_fixed_size_binary(kinds[found]):
        return found, None
    return found, _shape(schema, kinds[found].byte_width, place)


def _shape(schema: pa.Schema, width: int, place: str) -> tuple[int, ...]:
    try:
        shape = tuple(json.loads((schema.metadata or {})[b"image_shape"]))
        right = len(shape) == 3 and all(type(side) is int and 0 < side <= LARGEST_SIDE for side in shape)
        if right and prod(shape) == width:
            return shape
        received = f"image_shape {shortened(str(shape))}"
    except (LookupError, ValueError, TypeError, RecursionError):
        received = "none that can be read"
    raise PermanentError(
        f"{place} must have an image_shape [H, W, C] of {width:,} bytes in its metadata, as its images are pixels; "
        f"received {received}; write it anew"
    )


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What Hugging Face's metadata says of the columns; empty where there is none that can be read."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: each for name, each in features.items() if isinstance(each, dict)}
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _of_kind(features: dict[str, Any], kind: str) -> list[str]:
    return [name.strip().lower() for name, each in features.items() if each.get("_type") == kind]


def class_names_of(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Of the column `label` of numbers; None where they have no names."""
    if not pa.types.is_integer(plain(schema.field(label).type)):
        return None
    names: Any = _features(schema).get(label, {}).get("names")
    try:
        names = names or json.loads((schema.metadata or {})[NAMES_OF[label]])
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    except (LookupError, ValueError, RecursionError):
        pass
    return None
