"""Pretrained weights as data: fetched once, checked, kept in the store, and read from there."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from lib.data.fetch import Progress, fetch, remedy
from lib.data.upstream import UpstreamFile
from lib.errors import LeftOut, PermanentError, one_line
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, check_address
from lib.models.backbone_schema import IMAGENET, RANDOM, Backbone
from lib.models.imagenet import IMAGENET_FILES, installed, why_not_installed
from lib.models.schema import Recipe
from lib.models.torch_files import START, read_torch
from lib.redaction import without_secrets
from lib.store import Store
from lib.temporary import temporary_folder

LARGEST_BYTES = 2_000_000_000
MOST_DATASETS = 100_000
WHAT_TO_SET = f"--weights {RANDOM} (a random start), a file or s3:// address, or MIRROR_URL"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def find_weights(store: Store, backbone: Backbone) -> Ref | None:
    """The weights that `backbone` starts from, if the store has them; None for a random start too.

    A file is looked for by its digest. What lies at an s3:// address is not read, so not found. Raises PermanentError
    where they cannot be weights of `backbone`.
    """
    source = backbone.weights
    if source == RANDOM or source.startswith("s3://"):
        return None
    if backbone.weights_lie_in_the_store:
        return _named(store, source, backbone)
    if source == IMAGENET:
        addresses = [_imagenet_address(backbone, file) for file in IMAGENET_FILES[backbone.name]]
    else:
        addresses = [_given_address(backbone, _existing(source))]
    found = [output for address in addresses if (output := find(store, address))]
    return found[0][0] if found else None


def ingest_weights(store: Store, backbone: Backbone, mirror_url: str | None, progress: Progress) -> Ref | None:
    """Commit the weights that `backbone` starts from, unless they are there; None for a random start.

    Raises PermanentError where they cannot be had, or are no whole HDF5 file: a random start is never silent.
    """
    if (done := find_weights(store, backbone)) or backbone.weights == RANDOM:
        return done
    started = time.monotonic()
    with temporary_folder() as folder:
        if backbone.weights == IMAGENET:
            file, path, origin = _fetch_imagenet(backbone, mirror_url, folder, progress)
            address, name = _imagenet_address(backbone, file), IMAGENET
        else:
            path = _fetch_given(backbone.weights, folder, progress)
            address, name, origin = _given_address(backbone, path), path.name, backbone.weights
        layout = _layout(path, origin, from_torch=backbone.weights == IMAGENET)
        stored = put_file(store, address, path.name, path)
    manifest = Manifest(
        kind="weights",
        inputs={},
        facts={"backbone": backbone.name, "name": name, "layout": layout},
        content={"file": stored.sha256},
        files={"weights": stored},
        made_by=made_by(time.monotonic() - started, fetched_from=without_secrets(origin)),
    )
    return commit(store, address, manifest)


def why_without_weights(store: Store, recipe: Recipe, mirror_url: str | None) -> str:
    """Why `recipe` cannot have its weights, as far as that shows without asking a server; empty where it may."""
    asked = [each for each in recipe.backbones if each.weights == IMAGENET and not mirror_url]
    missing = ((each, why) for each in asked if (why := why_not_installed(each.name)))
    return next((why for each, why in missing if not find_weights(store, each)), "")


def check_start(recipe: Recipe, weights: Mapping[str, Ref]) -> None:
    """Raise PermanentError where a pretrained backbone has no weights: a random start is never silent.

    `weights` are those of each backbone, by its name.
    """
    if any(each.pretrained and each.name not in weights for each in recipe.backbones):
        raise PermanentError(f"{recipe.name} starts from weights and received none; set {WHAT_TO_SET}")


def weights_files(store: Store, weights: Mapping[str, Ref], folder: Path) -> dict[str, Path]:
    """The weights of each backbone, by its name, under a name in `folder` that tells their layout."""
    return {name: _weights_file(store, load(store, ref), folder / name) for name, ref in weights.items()}


def _weights_file(store: Store, manifest: Manifest, path: Path) -> Path:
    endings = {"topological": ".h5", "keras-3": ".weights.h5", "torch": ".pth"}
    file = path.with_name(path.name + endings[manifest.facts["layout"]])
    file.symlink_to(local_file(store, manifest, "weights").absolute())
    return file


def weights_address(backbone: str, file: dict[str, Any]) -> str:
    """Where the weights of `backbone` lie that `file` tells from all others."""
    return STEPS["weights"].address(backbone_name=backbone, file=file)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the file is, and that a file said to be ImageNet's is one of those accepted as such."""
    backbone, name = manifest.facts["backbone"], manifest.facts["name"]
    path, stored = local_file(store, manifest, "weights"), PurePosixPath(manifest.files["weights"].path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    given_name = f"{stored.stem.removesuffix(f'-{sha256[:12]}')}{stored.suffix}"
    keys: dict[str, dict[str, Any]] = {given_name: {"sha256": sha256}}
    if name == IMAGENET:
        accepted = [file for file in IMAGENET_FILES.get(backbone, ()) if file.sha256 in {None, sha256}]
        keys = {file.name: _imagenet_key(file) for file in accepted}
        if given_name not in keys:
            raise PermanentError(f"{address} must hold ImageNet weights of {backbone}; received {given_name} {sha256}")
    check_address("weights", address, backbone_name=backbone, file=keys[given_name])
    return Recomputed(
        facts={
            "backbone": backbone,
            "name": IMAGENET if name == IMAGENET else given_name,
            "layout": _layout(path, str(manifest.made_by.get("fetched_from")), from_torch=name == IMAGENET),
        },
        content={"file": sha256},
        files={"weights": given_name},
    )


def _imagenet_key(file: UpstreamFile) -> dict[str, Any]:
    return file.model_dump(include={"name", "md5", "sha256"}) | {"name": file.name}


def _named(store: Store, address: str, backbone: Backbone) -> Ref:
    found = find(store, address)
    if found is None:
        raise PermanentError(f"no weights lie at {address} in {store.uri}; set {WHAT_TO_SET}")
    if (received := found[1].facts.get("backbone")) != backbone.name:
        raise PermanentError(f"weights for {backbone.name} were asked for; {address} holds those of {received}")
    return found[0]


def _imagenet_address(backbone: Backbone, file: UpstreamFile) -> str:
    return weights_address(backbone.name, _imagenet_key(file))


def _given_address(backbone: Backbone, path: Path) -> str:
    with path.open("rb") as stream:
        return weights_address(backbone.name, {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()})


def _fetch_imagenet(
    backbone: Backbone, mirror_url: str | None, folder: Path, progress: Progress
) -> tuple[UpstreamFile, Path, str]:
    """The file, where it is now, and where it came from."""
    problems = []
    for file in IMAGENET_FILES[backbone.name]:
        here = installed(file)
        if file.only_in_mirrors and not (here or mirror_url):
            continue
        origin = f"the package {file.package}" if here else mirror_url or file.url
        try:
            path = here or fetch(file, mirror_url, folder, progress)
            _check_digest(file, path, origin, "install it anew" if here else remedy(bool(mirror_url)))
            return file, path, origin
        except PermanentError as error:
            problems.append(str(error))
    if why := why_not_installed(backbone.name):
        raise LeftOut("; ".join([why, *problems]))
    raise PermanentError(
        f"the ImageNet weights of {backbone.name} cannot be had: {'; '.join(problems)}; or set {WHAT_TO_SET}"
    )


def _check_digest(file: UpstreamFile, path: Path, origin: str, what_helps: str) -> None:
    # A mirror may pack an archive anew, and its content is checked; weights are used as they are.
    for algorithm, expected in (("md5", file.md5), ("sha256", file.sha256)):
        with path.open("rb") as stream:
            if expected and (received := hashlib.file_digest(stream, algorithm).hexdigest()) != expected:
                raise PermanentError(
                    f"{file.name} from {origin} must have {algorithm} {expected}; received {received}; {what_helps}"
                )


def _fetch_given(source: str, folder: Path, progress: Progress) -> Path:
    if not source.startswith("s3://"):
        return _existing(source)
    return fetch(UpstreamFile(role="weights", url=source, max_bytes=LARGEST_BYTES), None, folder, progress)


def _existing(source: str) -> Path:
    """The file called `source`, of which no more is read than tells that it can be weights."""
    rule = f"--weights must be {IMAGENET}, {RANDOM}, a file, an s3:// address or weights/BACKBONE/KEY of the store"
    try:
        path = Path(source).expanduser()
        # Of a device or pipe nothing is read: it may never end. Files of /proc that do not end have size 0.
        size = path.stat().st_size if path.is_file() else None
        start = b""
        if size and size <= LARGEST_BYTES:
            with path.open("rb") as stream:
                start = stream.read(len(HDF5_SIGNATURE))
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PermanentError(f"{rule}; {source[:200]!r} cannot be read: {reason}") from error
    if size is None:
        raise PermanentError(f"{rule}; received {source[:200]!r}, and no file is there")
    if size > LARGEST_BYTES:
        raise PermanentError(f"weights must have at most {LARGEST_BYTES:,} bytes; {source} has {size:,}")
    if start != HDF5_SIGNATURE:
        raise PermanentError(f"weights must be a whole HDF5 file; {source} does not begin as one")
    return path


def _layout(path: Path, origin: str, from_torch: bool) -> str:
    """`topological` (Keras 2, `…no_top.h5`), `keras-3` (`….weights.h5`) or, where it may be `from_torch`, `torch`."""
    if from_torch and _begins_with(path, START):
        read_torch(path)
        return "torch"
    try:
        with h5py.File(path) as file:
            _check_size(file)
            _check_links(file)
            if "layer_names" in file.attrs or "model_weights" in file:
                return "topological"
            if "layers" in file or "_layer_checkpoint_dependencies" in file:
                return "keras-3"
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = one_line(error)[:300]
        raise PermanentError(
            f"weights must be a whole HDF5 file; received {path.name} from {origin}: {reason}"
        ) from error
    raise PermanentError(f"weights must be an HDF5 file that Keras wrote; received {origin}")


def _begins_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(start)) == start


def _check_links(file: h5py.File) -> None:
    """What lies in other files is no part of the digest, and would be another thing on another machine."""

    def is_elsewhere(name: str, link: object) -> str | None:
        return None if isinstance(link, h5py.HardLink) else name

    if name := file.visititems_links(is_elsewhere):
        raise ValueError(f"{name} is a link, not its content")


def _check_size(file: h5py.File) -> None:
    """A dataset may promise any size in a small file, and reading it would take as much memory."""
    seen = promised = 0

    def add(name: str, found: h5py.Group | h5py.Dataset) -> None:
        nonlocal seen, promised
        seen += 1
        if isinstance(found, h5py.Dataset):
            promised += found.nbytes
            if found.external or found.is_virtual:
                raise ValueError(f"the values of {name} lie in other files")
        if seen > MOST_DATASETS or promised > LARGEST_BYTES:
            raise ValueError(f"it promises {promised:,} bytes in {seen:,} datasets")

    file.visititems(add)
