"""What runs are called: a title says whatever of a request differs from its defaults."""

from lib.planning.plan import Plan
from lib.planning.request import TrainingRequest

LONGEST = 200


def run_title(plan: Plan) -> str:
    """`train all on digits, seed 7, at most 2 epochs`."""
    what = "all" if plan.request.models is None else ", ".join(recipe.title for recipe in plan.recipes)
    title = ", ".join([f"train {what} on {plan.dataset.name}", *asked(plan)])
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…"


def asked(plan: Plan) -> list[str]:
    """What a plan does otherwise than its recipes say: its seed, epochs, limit and overrides."""
    request, seed = plan.request, TrainingRequest.model_fields["seed"].default
    given = {
        f"seed {plan.seeds[0]}": plan.seeds[0] != seed,
        f"{len(plan.seeds)} seeds": len(plan.seeds) > 1,
        f"at most {request.epochs} epoch{'' if request.epochs == 1 else 's'}": request.epochs,
        f"{plan.limit} training images only": plan.limit,
        "with baselines": request.baselines,
        f"weights {', '.join(request.starts)}": request.models is None and request.starts,
    }
    return [said for said, differs in given.items() if differs] + [
        f"{key}={value}" for key, value in (request.overrides or {}).items()
    ]
