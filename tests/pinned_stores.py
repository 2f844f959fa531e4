"""Stores as versions of this code wrote them, in tests/stores: `python -m tests.pinned_stores` writes this version's.

A store of the version before this one is kept as its manifests alone.
"""

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from lib.command_line import parser
from lib.data.datasets import DATASETS
from lib.lineage.manifests import SCHEMA_VERSION
from lib.models.recipes import RECIPES
from tests.toy import RECIPE, SPEC, mirror

STORES = Path(__file__).with_name("stores")
PRESENT = STORES / f"version-{SCHEMA_VERSION}"
BEFORE = STORES / f"version-{SCHEMA_VERSION - 1}"
PNG = b"\x89PNG\r\n\x1a\n"


def main() -> None:
    from flows.train import train_all
    from lib.settings import read_settings
    from tasks.settings import using

    shutil.rmtree(PRESENT, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(DATASETS, {SPEC.name: SPEC}),
        mock.patch.dict(RECIPES, {RECIPE.name: RECIPE}),
        mock.patch("lib.reporting.plots.png", return_value=PNG),
        using(
            read_settings().model_copy(
                update={"store_uri": str(PRESENT), "mirror_url": mirror(Path(folder) / "mirror", 1)}
            )
        ),
    ):
        train_all(SPEC.name)


if __name__ == "__main__":
    parser(__doc__).parse_args()
    main()
