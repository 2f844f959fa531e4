"""Which settings of a recipe change nothing without another one.

Set for a run, they would give its model another address, and be taken for what made a difference.
"""

from collections.abc import Callable

from lib.models.schema import Phase, Recipe

FIXED_DROPOUT = {"fashion-cnn", "softmax"}
"""Networks that leave no dropout open for a recipe to set."""

OF_A_PHASE: dict[str, tuple[Callable[[Recipe, Phase], bool], str]] = {
    "momentum": (lambda recipe, phase: phase.optimizer == "sgd", "optimizer sgd"),
    "nesterov": (lambda recipe, phase: phase.optimizer == "sgd" and phase.momentum > 0, "optimizer sgd and momentum"),
    "weight_decay": (lambda recipe, phase: phase.optimizer != "adam", "optimizer adamw or sgd"),
    "warmup": (lambda recipe, phase: phase.schedule == "warmup-cosine", "schedule warmup-cosine"),
    "decay_per_epoch": (lambda recipe, phase: phase.schedule == "decay-per-epoch", "schedule decay-per-epoch"),
    "schedule": (
        lambda recipe, phase: phase.schedule != "decay-per-epoch" or phase.decay_per_epoch < 1,
        "a decay_per_epoch below 1",
    ),
    "trains": (lambda recipe, phase: recipe.backbone is not None and not recipe.frozen, "a backbone that is trained"),
}
OF_A_RECIPE: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "dropout": (lambda recipe: recipe.network not in FIXED_DROPOUT, "a network whose dropout is not fixed"),
    "early_stopping_on": (lambda recipe: recipe.early_stopping_epochs is not None, "early_stopping_epochs"),
    "precision": (lambda recipe: recipe.runs_on == "gpu", "a recipe that runs on a GPU"),
}
"""Field → whether it counts, and what it needs to count."""


def lacks(recipe: Recipe, key: str) -> str:
    """What `key`, as --set has it, needs of `recipe` to change anything; empty where it does."""
    *parents, last = key.split(".")
    if key in OF_A_RECIPE:
        counts, needs = OF_A_RECIPE[key]
        return "" if counts(recipe) else needs
    if key == "phases":
        given = [(name, phase) for phase in recipe.phases for name in OF_A_PHASE if name in phase.model_fields_set]
        idle = [name for name, phase in given if not OF_A_PHASE[name][0](recipe, phase)]
        return f"{OF_A_PHASE[idle[0]][1]} (for {idle[0]})" if idle else ""
    if last in OF_A_PHASE and parents in ([], ["phases", *parents[1:]]):
        counts_in, needs = OF_A_PHASE[last]
        phases = [recipe.phases[int(parents[1])]] if parents else recipe.phases
        return "" if any(counts_in(recipe, phase) for phase in phases) else needs
    return ""
