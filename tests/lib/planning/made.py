"""Where outputs of digits lie."""

from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS


def evaluation_address(recipe: str, model: Ref) -> str:
    return STEPS["evaluation"].address(dataset_name="digits", recipe_name=recipe, model=model)


def duplicates_address(prepared: Ref, features: Ref | None = None) -> str:
    return STEPS["duplicates"].address(dataset_name="digits", prepared=prepared, features=features)


def report_address(prepared: Ref, evaluations: list[Ref], left_out: tuple[str, ...] = (), *beside: Ref) -> str:
    named = {"dataset_name": "digits", "left_out": list(left_out), "beside": list(beside), "show_test": False}
    return STEPS["report"].address(prepared=prepared, evaluations=evaluations, **named)
