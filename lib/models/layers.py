"""Layers of each backbone by name, as a table that is read without TensorFlow: those that `Backbone.pooled` can name.

`make docs` adds what is missing, `python -m lib.models.layers` lists all anew; a test holds it true.
"""

import argparse
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lib.models.backbone_schema import SMALLEST_PX

TABLE = Path(__file__).with_suffix(".json")


@cache
def read_layers() -> dict[str, list[str]]:
    """Backbone → names of its layers, in their order."""
    table: dict[str, list[str]] = json.loads(TABLE.read_text())
    return table


def list_layers(name: str) -> list[str]:
    """Build the backbone and list its layers. Loads TensorFlow.

    A layer without a name of its own is not among them: Keras numbers it by what the process has built before.
    """
    from lib.models.backbones import BACKBONES

    side = SMALLEST_PX[name]
    first, second = (
        BACKBONES[name].build(include_top=False, weights=None, input_shape=(side, side, 3)) for _ in range(2)
    )
    lasting = {layer.name for layer in second.layers}
    return [layer.name for layer in first.layers if layer.name in lasting]


def update(known: Mapping[str, list[str]]) -> None:
    """Write the table anew: `known` layers as they are, and what is missing among them listed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    table = {name: known.get(name) or list_layers(name) for name in SMALLEST_PX}
    TABLE.write_text(json.dumps(table, indent=2) + "\n")
    read_layers.cache_clear()


def make_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m lib.models.layers",
        description="List the layers of each backbone, and write lib/models/layers.json. `make docs` lists only "
        "what the table lacks.",
    )


if __name__ == "__main__":
    make_parser().parse_args()
    update({})
