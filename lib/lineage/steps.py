"""THE table of steps: each kind of output, where it lies, what makes it, how it is verified and how long it is kept.

Addresses, jobs, verify, retention and plans read it. To add a step, write one entry here, its module, its task and its
flow. An output's address is a function of its inputs, so that finished work is found without being told. Raise a step's
version when the meaning of its code changes: its outputs, and all that follow from them, are then made anew.
`tests/test_code_meaning.py` notices such a change.
"""

from typing import Any, Literal

from lib.lineage.said import OF_A_MODEL, OF_DATA, OF_ITS_MAKER
from lib.lineage.step import Kept, Step

SPLITS = ("train", "validation", "test")


STEPS: dict[str, Step] = {
    step.kind: step
    for step in (
        Step(
            kind="images",
            version=1,
            does="collect the images of {dataset_name}",
            folder="images/{dataset_name}",
            key=("collected",),
            per="source",
            verified_by="lib.images.collect:recompute",
            kept=Kept.ALWAYS,
            says={
                "facts.dataset": str,
                "facts.source": str,
                "facts.layout": str,
                "facts.channels": int,
                "facts.class_names": list[str],
                "facts.classes_without_training": int,
                "facts.conversions": dict[str, int],
                "facts.unreadable": int,
                **{f"facts.rows.{split}": int for split in SPLITS},
                "files.unreadable": Any,
                "made_by.at": str,
            },
        ),
        Step(
            kind="dataset",
            version=3,
            does="ingest {dataset_name}",
            folder="datasets/{dataset_name}",
            key=("spec",),
            per="dataset",
            verified_by="lib.data.ingest:recompute",
            kept=Kept.ALWAYS,
            says={
                "facts.dataset": str,
                "facts.source": str,
                "facts.licence": str,
                **{f"facts.rows.{split}": int for split in ("train", "test")},
                **OF_DATA,
                "files.train": Any,
                "files.test": Any,
                "made_by.at": str,
            },
        ),
        Step(
            kind="prepared",
            version=3,
            does="prepare {dataset_name}",
            folder="prepared/{dataset_name}",
            key=("dataset", "rules", "limit"),
            per="dataset",
            verified_by="lib.data.prepare:recompute",
            kept=Kept.ALWAYS,
            says={
                "inputs.dataset": Any,
                "facts.dataset": str,
                "facts.limit": int | None,
                **{f"facts.rows.{split}": int for split in SPLITS},
                **OF_DATA,
                "files.splits": Any,
                "files.profile": Any,
                "made_by.at": str,
            },
            job="lib.data.prepare:run",
        ),
        Step(
            kind="weights",
            version=4,
            does="ingest weights of {backbone_name}",
            folder="weights/{backbone_name}",
            key=("file",),
            per="backbone",
            verified_by="lib.models.weights:recompute",
            kept=Kept.ALWAYS,
            says={
                "facts.backbone": str,
                "facts.name": str,
                "facts.layout": Literal["topological", "keras-3", "torch"],
                "files.weights": Any,
            },
            only_for="pretrained",
        ),
        Step(
            kind="features",
            version=2,
            does="compute features of {backbone_name} for {title}",
            folder="features/{dataset_name}",
            key=("backbone", "mirrored", "prepared", "start"),
            per="backbone",
            verified_by="lib.training.features:recompute",
            kept=Kept.WHILE_USED,
            says={"inputs.prepared": Any, "facts.dataset": str, "facts.backbone": dict, "facts.rows": int},
            job="lib.training.features:run",
            only_for="frozen",
        ),
        Step(
            kind="model",
            version=5,
            does="train {title}",
            folder="models/{dataset_name}/{recipe_name}",
            key=("recipe", "prepared", "seed", "weights"),
            per="model",
            verified_by="lib.training.task:recompute",
            kept=Kept.NEWEST_N,
            says={**OF_A_MODEL, "facts.recipe.name": str, "files.model": Any, "files.history": Any},
            job="lib.training.fit:run",
        ),
        Step(
            kind="evaluation",
            version=5,
            does="evaluate {title}",
            folder="evaluations/{dataset_name}/{recipe_name}",
            key=("model",),
            per="model",
            verified_by="lib.evaluation.predictions:recompute",
            kept=Kept.WITH_INPUTS,
            says={
                **OF_A_MODEL,
                "inputs.model": Any,
                "facts.recipe": str,
                **{
                    f"facts.metrics.{split}.{metric}": float
                    for split in SPLITS
                    for metric in ("loss", "accuracy", "top5_accuracy", "macro_f1")
                },
                "files.metrics": Any,
                "files.predictions": Any,
            },
            job="lib.evaluation.predictions:run",
        ),
        Step(
            kind="robustness",
            version=1,
            does="measure robustness of {title}",
            folder="robustness/{dataset_name}/{recipe_name}",
            key=("model",),
            per="model",
            verified_by="lib.evaluation.robustness:recompute",
            kept=Kept.WITH_INPUTS,
            says={
                "inputs.model": Any,
                "inputs.prepared": Any,
                "facts.dataset": str,
                "facts.recipe": str,
                "facts.rows": int,
                "facts.figures": dict[str, list[dict[str, Any]]],
                "files.predictions": Any,
                **OF_ITS_MAKER,
            },
            job="lib.evaluation.robustness:run",
            asked_by="robustness",
        ),
        Step(
            kind="duplicates",
            version=1,
            does="look for near duplicates in {dataset_name}",
            folder="duplicates/{dataset_name}",
            key=("prepared", "features"),
            per="prepared",
            verified_by="lib.evaluation.duplicates:recompute",
            kept=Kept.WITH_INPUTS,
            says={
                "inputs.prepared": Any,
                "facts.compared": str,
                "facts.features": str | None,
                "facts.pairs": dict[str, int],
                **{f"facts.twins_in_train.{split}": int for split in SPLITS[1:]},
                "files.pairs": Any,
            },
            job="lib.evaluation.duplicates:run",
        ),
        Step(
            kind="reevaluation",
            version=1,
            does="evaluate the champion on the data of its challenger",
            folder="reevaluations/{dataset_name}/{recipe_name}",
            key=("model", "prepared"),
            per="promotion",
            verified_by="lib.evaluation.reevaluation:recompute",
            kept=Kept.WHILE_USED,
            says={"inputs.model": Any, "inputs.prepared": Any, "facts.dataset": str, "files.predictions": Any},
        ),
        Step(
            kind="decision",
            version=1,
            does="compare a challenger with the champion of {dataset_name}",
            folder="decisions/{dataset_name}",
            key=("attempt", "challenger", "champion", "chosen_from", "gate"),
            per="promotion",
            verified_by="lib.registry.decisions:recompute",
            kept=Kept.WHILE_USED,
            says={
                "inputs.evaluation-challenger": Any,
                "facts.dataset": str,
                "facts.challenger": str,
                "facts.champion": str | None,
                "facts.attempt": int,
                "facts.chosen_from": int,
                "facts.rules.min_gain": float,
                "facts.rules.max_slowdown": float,
                "facts.verdict": Literal["promote", "keep", "cannot-tell"],
                "facts.reasons": list[str],
                "facts.rows_needed": int | None,
                "facts.tests": dict[str, Any],
                "made_by.at": str,
            },
            job="lib.registry.decisions:run",
        ),
        Step(
            kind="report",
            version=5,
            does="report on {dataset_name}",
            folder="reports/{dataset_name}",
            key=("prepared", "evaluations", "left_out", "beside", "show_test"),
            per="report",
            verified_by="lib.reporting.report:recompute",
            kept=Kept.NEWEST_N,
            says={
                "inputs.prepared": Any,
                "facts.dataset": str,
                "facts.limit": int | None,
                "facts.leaderboard": list[dict[str, Any]],
                "facts.left_out": list[str],
                "facts.show_test": bool,
                **{f"files.{name}": Any for name in ("captions", "index", "leaderboard")},
                "made_by.at": str,
                "made_by.packages": dict[str, str],
                "made_by.left_out": dict[str, str],
                "made_by.started_by": str,
                "made_by.changes": dict[str, list[str]],
            },
        ),
    )
}
"""In the order in which they run: no step is made of what a later one makes."""


def checkpoints_address(output: str) -> str:
    """Working state of what is made for the address `output`."""
    return f"checkpoints/{output}"
