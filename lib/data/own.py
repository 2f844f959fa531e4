"""Datasets of a person's own: where the images of each lie, and which version is the newest. Data, not code.

A record in the store, `sources/<name>.json`, says both. What the images are, the step `images` says.
"""

from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from lib.data.datasets import DATASETS, OWN_IMAGES, DatasetSpec
from lib.errors import InTheWay, NotFound, PermanentError, counted, explain_validation, shortened
from lib.images.own_source import NAME, OwnSource
from lib.lineage.folders import SOURCES
from lib.lineage.manifests import Manifest, Ref, load
from lib.lineage.steps import STEPS
from lib.store import Store


class Registration(BaseModel):
    """What the store knows of a dataset of a person's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: OwnSource
    images: Ref
    """Its newest version."""


def check_name(source: OwnSource) -> OwnSource:
    """`source`, if its name is none of a built-in dataset. Raises ValueError."""
    if source.name in DATASETS:
        raise ValueError(
            f"name must be none of the built-in {', '.join(sorted(DATASETS))}; choose another than {source.name}"
        )
    return source


def own_names(store: Store) -> list[str]:
    """Those of all datasets of people's own in the store that can be used, sorted."""
    names = [PurePosixPath(path).stem for path in store.list(SOURCES)]
    return [name for name in dict.fromkeys(names) if name not in DATASETS and _is_registered(store, name)]


def _is_registered(store: Store, name: str) -> bool:
    try:
        return read_registration(store, name) is not None
    except PermanentError:  # whoever names it is told
        return False


def read_registration(store: Store, name: str) -> Registration | None:
    """What the store knows of the dataset `name`; None where that is none of a person's own.

    Raises PermanentError where the record is damaged, or another dataset's.
    """
    if not NAME.fullmatch(name):
        return None
    remedy = f"remove it from {store.uri}, and ingest with --from and --name"
    try:
        registration = Registration.model_validate_json(store.read(_path(name)))
    except InTheWay:  # no version could be recorded there
        raise
    except NotFound:
        return None
    except ValidationError as error:
        raise PermanentError(f"{explain_validation(error, _path(name))}; {remedy}") from error
    folder = registration.images.uri.rpartition("/")[0]
    if registration.source.name != name or folder != STEPS["images"].folder.format(dataset_name=name):
        other = f"{registration.source.name}, whose images lie in {folder}"
        raise PermanentError(f"{_path(name)} must be the record of {name}; received that of {other}; {remedy}")
    return registration


def record(store: Store, source: OwnSource, images: Ref) -> None:
    """Say that `images` is the newest version of what lies at `source`."""
    path, data = _path(source.name), Registration(source=source, images=images).model_dump_json(indent=2).encode()
    while True:
        try:
            known, version = store.read_version(path)
        except NotFound:
            if store.create(path, data):
                return
        else:
            if known == data or store.replace(path, data, version):
                return


def find_dataset(name: str, store: Store | None = None) -> DatasetSpec:
    """The built-in dataset `name`, or the newest version of a person's own in `store`.

    Raises PermanentError naming those there are.
    """
    if name in DATASETS:
        return DATASETS[name]
    registration = read_registration(store, name) if store else None
    if store is None or registration is None:
        known = [*sorted(DATASETS), *(own_names(store) if store else [])]
        raise PermanentError(
            f"unknown dataset {shortened(repr(name))}; known: {', '.join(known)}; to add your own images: "
            f"python -m flows.ingest --from FOLDER --name NAME"
        )
    return own_spec(_load_images(store, name, registration.images), registration.images, registration.source.px)


def _load_images(store: Store, name: str, images: Ref) -> Manifest:
    """Raises PermanentError where they are gone, or are not what they were, with what makes them again."""
    try:
        return load(store, images)
    except PermanentError as error:
        raise PermanentError(
            f"{error}; python -m flows.ingest --dataset {name} makes it again, where its source has not changed"
        ) from error


def own_spec(images: Manifest, ref: Ref, px: int) -> DatasetSpec:
    """The dataset that `images`, an output of the step of that name at `ref`, are at `px` × `px` pixels."""
    facts = images.facts
    rows = facts["rows"]
    return DatasetSpec(
        name=facts["dataset"],
        title=facts["dataset"],
        format=OWN_IMAGES,
        image_shape=(px, px, facts["channels"]),
        rows={"train": rows["train"] + rows["validation"], "test": rows["test"]},
        class_names=tuple(facts["class_names"]),
        images=ref,
        validation_rows=rows["validation"],
        validation="given",
        max_imbalance=None,
        source=facts["source"],
        licence="",
        citation="",
    )


def collected_summary(images: Manifest) -> list[str]:
    """What a person should know of `images`, an output of the step of that name, in lines."""
    facts = images.facts
    rows, converted = facts["rows"], facts["conversions"]
    counts = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    lines = [f"{counted(sum(rows.values()), 'image')} of {counted(len(facts['class_names']), 'class')}: {counts}"]
    if converted:
        lines.append(f"converted: {', '.join(f'{name} {n:,}' for name, n in converted.items())}")
    if without := facts["classes_without_training"]:
        lines.append(f"without an image in train, and so never recognised: {counted(without, 'class')}")
    if unreadable := facts["unreadable"]:
        lines.append(f"unreadable: {counted(unreadable, 'file')}; {images.files['unreadable'].path} says why of each")
    return [f"{facts['dataset']}: {line}" for line in lines]


def spec_of(store: Store, dataset: Manifest) -> DatasetSpec:
    """The spec of which `dataset` is the output, whichever version is the newest."""
    name = dataset.facts["dataset"]
    if name in DATASETS:
        return DATASETS[name]
    images = dataset.inputs["images"]
    return own_spec(_load_images(store, name, images), images, dataset.facts["image_shape"][0])


def _path(name: str) -> str:
    return f"{SOURCES}/{name}.json"
