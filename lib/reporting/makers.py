"""Who made what a report shows: recorded in its manifest, since what is lost and made anew is the same, by another."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lib.lineage.manifests import MANIFEST, Manifest, Ref, foreign, load
from lib.lineage.provenance import Maker, Makers
from lib.lineage.steps import STEPS
from lib.store import Store

MAKERS = TypeAdapter(dict[str, Maker])
KINDS = {step.root: step.kind for step in STEPS.values()}
"""By the folder of the store in which outputs of the kind lie."""


def makers_of(
    store: Store, prepared: Ref, evaluations: Sequence[Ref], beside: Sequence[Ref]
) -> dict[str, dict[str, Any]]:
    """`made_by` of all that a report shows, models included, by address: as it is today."""
    refs = [prepared, *evaluations, *(load(store, each).inputs["model"] for each in evaluations), *beside]
    return {ref.uri: load(store, ref).made_by for ref in refs}


def made_by_others(store: Store, report: Manifest) -> list[str]:
    """The addresses of what was lost, or taken away, and made anew since the report was made."""
    today = makers_of(store, report.inputs["prepared"], evaluations_of(report), beside_of(report))
    recorded = report.made_by.get("makers", today)
    known = recorded if isinstance(recorded, dict) else {}
    return [address for address, maker in today.items() if known.get(address) != maker]


def shown_makers(store: Store, report: Ref, manifest: Manifest) -> Makers:
    """Those that `manifest` records; of a report that is older than the record, those of today."""
    found = makers_of(store, manifest.inputs["prepared"], evaluations_of(manifest), beside_of(manifest))
    try:
        recorded = MAKERS.validate_python(manifest.made_by.get("makers", found))
    except ValidationError as error:
        raise foreign(store, f"{report.uri}/{MANIFEST}", f"made_by.makers: {error.errors()[0]['msg']}") from error
    if lacking := found.keys() - recorded.keys():
        raise foreign(store, f"{report.uri}/{MANIFEST}", f"made_by.makers without {min(lacking)}")
    return recorded


def evaluations_of(report: Manifest) -> list[Ref]:
    """Those that it was made of."""
    return [ref for name, ref in report.inputs.items() if name == input_name(ref) and name.startswith("evaluation-")]


def beside_of(report: Manifest) -> list[Ref]:
    """What it shows besides the data and the evaluations."""
    evaluations = evaluations_of(report)
    return [ref for name, ref in report.inputs.items() if name != "prepared" and ref not in evaluations]


def input_name(output: Ref) -> str:
    """Of what a report is made of: evaluation-<recipe>-<key>, from evaluations/<dataset>/<recipe>/<key>.

    A recipe can stand there twice.
    """
    root, _, *rest = output.uri.split("/")
    return "-".join([KINDS.get(root, root), *rest])


def why_lacking(made_by: Mapping[str, Any], kind: str) -> str:
    """Why a report shows no output of this kind, as its record says; empty where that says nothing."""
    lacking = made_by.get("lacking")
    return str(lacking.get(kind, "")) if isinstance(lacking, dict) else ""
