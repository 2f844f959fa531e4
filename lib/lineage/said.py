"""What manifests of several steps say: place → type (`Step.says`)."""

from typing import Any

OF_DATA = {
    "facts.image_shape": list[int],
    "facts.class_names": list[str],
    "facts.superclass_names": list[str],
}
OF_ITS_MAKER = {
    "made_by.at": str,
    "made_by.seconds": float,
    "made_by.commit": str | None,
    "made_by.uncommitted_changes": bool | None,
    "made_by.python": str,
    "made_by.packages": dict[str, str],
    "made_by.hardware.cpu": str,
}
OF_A_MODEL = {
    "inputs.prepared": Any,
    "facts.dataset": str,
    "facts.description": str,
    "facts.baseline": bool,
    "facts.limit": int | None,
    "facts.seed": int,
    "facts.weights": str | None,
    "facts.parameters": int,
    "facts.trainable_parameters": int,
    "facts.epochs": int,
    "facts.kept_epoch": int,
    **OF_ITS_MAKER,
}
"""Of it and its evaluation."""
