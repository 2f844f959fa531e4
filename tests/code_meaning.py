"""What the code of each step means: small results on fixed input, pinned in code_meaning.json.

`python -m tests.code_meaning` pins them anew. It refuses where a result has changed and its step's version has not been
raised: stored outputs would otherwise be taken for those of the changed code.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from lib.lineage.steps import STEPS
from tests.meanings import data, judging, training
from tests.meanings.pinning import MEANINGS

__all__ = ["data", "judging", "training"]
"""Imported for what they note in MEANINGS."""

PINNED = Path(__file__).with_suffix(".json")
TOLERANCE = 1e-4
"""Relative; floating-point sums differ in their last bits from one CPU to another."""


def changes() -> list[tuple[str, str, bool]]:
    """Step, what of it is not as it was pinned, and whether the step's version must be raised for it."""
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    found = []
    for (kind, name), meaning in MEANINGS.items():
        step = pinned.get(kind, {"version": None, "results": {}})
        raised, new = step["version"] != STEPS[kind].version, name not in step["results"]
        if raised or new or not alike(step["results"][name], meaning()):
            found.append((kind, name, not (raised or new)))
    return found


def alike(pinned: Any, result: Any) -> bool:
    """Whether two results are the same: numbers within TOLERANCE, and of a pinned table each entry it has."""
    if isinstance(pinned, dict) and isinstance(result, dict):
        return all(name in result and alike(value, result[name]) for name, value in pinned.items())
    if isinstance(pinned, list | tuple) and isinstance(result, list | tuple):
        return len(pinned) == len(result) and all(map(alike, pinned, result))
    if isinstance(pinned, float) and isinstance(result, float | int):
        return math.isclose(pinned, result, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 10)
    return bool(pinned == result)


def main() -> None:
    if changed := [f"{kind}: {name}" for kind, name, must_raise in changes() if must_raise]:
        sys.exit(f"error: raise the version in lib/lineage/steps.py of what has changed: {', '.join(changed)}")
    pinned: dict[str, Any] = {kind: {"version": step.version, "results": {}} for kind, step in STEPS.items()}
    for (kind, name), meaning in MEANINGS.items():
        pinned[kind]["results"][name] = meaning()
    PINNED.write_text(json.dumps(pinned, indent=1) + "\n")


if __name__ == "__main__":
    main()
