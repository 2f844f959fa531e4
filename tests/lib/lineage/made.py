"""A store's outputs, each of one small file."""

import hashlib
import json
import os
import time
from typing import Any

from lib.lineage.kept import Policy
from lib.lineage.manifests import Ref, commit, put_file
from lib.lineage.retention import apply, plan
from lib.store import LocalStore, Store
from tests.whole import whole_manifest


def output(store: Store, address: str, kind: Any, inputs: dict[str, Ref], day: int = 1, **facts: Any) -> Ref:
    """Commit an output of one file, which a folder says was made on that day of the month before last."""
    new = not store.exists(f"{address}/manifest.json")
    ref = commit(
        store,
        address,
        whole_manifest(
            kind,
            address,
            inputs=inputs,
            facts=facts,
            files={"data": put_file(store, address, "data.bin", address.encode())},
            made_by={"at": f"2026-01-{day:02d}T00:00:00+00:00"},
        ),
    )
    if new and isinstance(store, LocalStore):
        age(store, address, days=60 - day)
    return ref


def age(store: LocalStore, place: str, days: float) -> None:
    """As if `place`, a file or a folder's files, had been written so long ago."""
    at = time.time() - days * 86_400
    top = store.root / place
    for path in [top] if top.is_file() else top.rglob("*"):
        os.utime(path, (at, at))


def prepared_data(store: Store, limit: int | None = None) -> Ref:
    dataset = output(store, "datasets/toy/d", "dataset", {}, dataset="toy")
    return output(store, f"prepared/toy/{limit}", "prepared", {"dataset": dataset}, dataset="toy", limit=limit)


def computed_features(store: Store, key: str) -> Ref:
    inputs = {
        "prepared": prepared_data(store),
        "weights": output(store, "weights/net/w", "weights", {}, backbone="net"),
    }
    return output(store, f"features/toy/{key}", "features", inputs, dataset="toy")


def trained(
    store: Store,
    key: str,
    day: int,
    recipe: str = "cnn",
    limit: int | None = None,
    features: Ref | None = None,
    accuracy: float = 0.5,
    epochs: int = 20,
) -> Ref:
    """The evaluation of a new model, which reached `accuracy` on validation."""
    prepared = prepared_data(store, limit)
    facts: dict[str, Any] = {"dataset": "toy", "limit": limit}
    inputs = {"prepared": prepared, **({"features": features} if features else {})}
    model = output(
        store, f"models/toy/{recipe}/{key}", "model", inputs, day, recipe={"name": recipe, "epochs": epochs}, **facts
    )
    inputs = {"model": model, "prepared": prepared}
    metrics = {"validation": {"accuracy": accuracy}}
    facts |= {"recipe": recipe, "metrics": metrics}
    return output(store, f"evaluations/toy/{recipe}/{key}", "evaluation", inputs, day, **facts)


def reported(store: Store, key: str, day: int, *evaluations: Ref, limit: int | None = None) -> Ref:
    inputs = {"prepared": prepared_data(store, limit), **{ref.uri: ref for ref in evaluations}}
    return output(store, f"reports/toy/{key}", "report", inputs, day, dataset="toy", limit=limit)


def everything(store: LocalStore) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file())


def addresses(store: LocalStore, folder: str) -> list[str]:
    """What is finished in `folder`, without its name."""
    paths = (p for p in everything(store) if p.startswith(f"{folder}/") and p.endswith("/manifest.json"))
    return [path.removeprefix(f"{folder}/").removesuffix("/manifest.json") for path in paths]


def assert_whole(store: LocalStore) -> None:
    """Every manifest's files are there with the right bytes, and so are the manifests of its inputs."""
    for manifest in store.root.rglob("manifest.json"):
        fields = json.loads(manifest.read_bytes())
        for file in fields["files"].values():
            assert hashlib.sha256((store.root / file["path"]).read_bytes()).hexdigest() == file["sha256"]
        for ref in fields["inputs"].values():
            assert (store.root / ref["uri"] / "manifest.json").is_file(), f"{manifest} refers to {ref['uri']}"


def policy(keep: int | None = None, grace_s: float = 0) -> Policy:
    """A try has other epochs than 20, or a limit."""
    return Policy(
        keep, grace_s, lambda model: model.facts["recipe"]["epochs"] != 20 or model.facts["limit"] is not None
    )


def clean(store: Store, keep: int | None = None, grace_s: float = 0) -> list[str]:
    """Clean up, and say what went."""
    gone: list[str] = []
    apply(
        store, policy(keep, grace_s), plan(store, policy(keep, grace_s)).removals, lambda each: gone.append(each.path)
    )
    return gone
