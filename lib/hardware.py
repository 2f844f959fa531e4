"""What this machine can compute on, told without loading TensorFlow."""

import os
from pathlib import Path

from lib.errors import NoGpu
from lib.models.schema import Recipe

GPU_DEVICES = ("nvidia[0-9]*", "dxg")


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA GPU is there and not hidden by CUDA_VISIBLE_DEVICES."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "any").split(",")[0] in {"", "-1"}:
        return False
    return any(True for pattern in GPU_DEVICES for _ in devices.glob(pattern))


def can_run_here(recipe: Recipe, allow_cpu: bool) -> bool:
    """Whether the recipe needs no GPU, or has one, or may do without."""
    return recipe.runs_on == "cpu" or allow_cpu or has_gpu()


def require_hardware(recipe: Recipe, allow_cpu: bool) -> None:
    """Raise NoGpu where the recipe cannot run here."""
    if not can_run_here(recipe, allow_cpu):
        raise NoGpu(f"{recipe.name} {WHY_LEFT_OUT}")


WHY_LEFT_OUT = "runs on a GPU and this machine has none; --allow-cpu (ALLOW_CPU=1) trains it here, slowly"
