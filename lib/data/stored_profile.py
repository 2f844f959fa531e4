"""The profile of prepared data as it is stored. Who shows it needs no pandas."""

import json
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lib.lineage.manifests import Manifest, read_file
from lib.store import Store


class Profile(BaseModel):
    """What profile.json of prepared data says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows_per_class: dict[str, list[int]]
    missing_values: dict[str, dict[str, int]]
    channels: dict[str, list[float]]
    pixels: dict[str, list[float]]


def read_profile(store: Store, prepared: Manifest) -> Any:
    """The profile as it is stored. Raises PermanentError where it is not one of such data."""

    def read(path: Path) -> Any:
        profile = json.loads(path.read_bytes())
        Profile.model_validate(profile)
        shape, classes = prepared.facts["image_shape"], len(prepared.facts["class_names"])
        widths = {"channels": shape[-1], "pixels": prod(shape), "rows_per_class": classes}
        for name, width in widths.items():
            for each, values in profile[name].items():
                if len(values) != width:
                    raise ValueError(f"{name}.{each} has {len(values):,} values, and not {width:,}")
        if missing := {*prepared.facts["rows"]} - {*profile["rows_per_class"]}:
            raise ValueError(f"without the splits {', '.join(sorted(missing))}")
        return profile

    return read_file(store, prepared, "profile", read)
