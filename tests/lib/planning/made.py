"""Where outputs of digits lie."""

from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS


def evaluation_address(recipe: str, model: Ref) -> str:
    return STEPS["evaluation"].address(dataset_name="digits", recipe_name=recipe, model=model)


def report_address(prepared: Ref, evaluations: list[Ref]) -> str:
    return STEPS["report"].address(dataset_name="digits", prepared=prepared, evaluations=evaluations)
