"""The section of a report on corrupted test images, where it was asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.errors import PermanentError
from lib.evaluation.corrupted import UNCHANGED, Figure, mean_accuracy, read_figures
from lib.lineage.manifests import Manifest, Ref, load
from lib.reporting.leaderboard import Group
from lib.reporting.sections import address
from lib.store import Store

Row = Mapping[str, Any]
"""Of the leaderboard, that of the group in the same place."""
PICTURE = "robustness"
"""Its name in the report's manifest."""
MOST_DRAWN = 5
"""Models whose lines can be told apart; the table has all."""
SEVERITY_NAMES = ("none", "weak", "medium", "strong")
TITLES = {
    "gaussian_noise": "Gaussian noise",
    "gaussian_blur": "Gaussian blur",
    "brightness": "Too bright",
    "contrast": "Low contrast",
    "pixelate": "Coarse pixels",
    "jpeg_compression": "JPEG compression",
}
"""Of CORRUPTIONS."""


@dataclass(frozen=True)
class RobustModel:
    """One model on corrupted images."""

    name: str
    figures: dict[str, list[Figure]]

    @property
    def unchanged(self) -> Figure:
        return self.figures[UNCHANGED][0]

    @property
    def mean(self) -> float:
        """Accuracy over all corruptions and severities."""
        return mean_accuracy(self.figures)

    def of(self, corruption: str) -> float:
        """The mean of its severities."""
        return mean_accuracy({corruption: self.figures[corruption]})


@dataclass(frozen=True)
class RobustnessSection:
    """What a template shows. Models are in the order of the leaderboard."""

    rows: int
    """Test images."""
    models: list[RobustModel]
    titles: dict[str, str]
    """Corruption → its name in words."""
    severities: Sequence[str]
    picture: str
    """data: address"""
    drawn: int = MOST_DRAWN
    """Models on it, at most."""


def robust_models(
    store: Store, groups: Sequence[Group], rows: Sequence[Row], beside: Iterable[Ref]
) -> tuple[list[RobustModel], int]:
    """The best model of each of `groups` of which `beside` has the robustness, and of how many images that is.

    `rows` of the leaderboard have their names. Raises PermanentError where one in `beside` is of another model.
    """
    own = {entry.evaluation.inputs["model"].uri for group in groups for entry in group}
    found: dict[str, Manifest] = {}
    figures: dict[str, dict[str, list[Figure]]] = {}
    for ref in beside:
        if (manifest := load(store, ref)).kind == "robustness":
            if (model := manifest.inputs["model"].uri) not in own:
                raise PermanentError(f"a report shows the robustness of its own models alone; received {ref.uri}")
            found[model], figures[model] = manifest, read_figures(store, ref, manifest)
    names = {
        group[0].evaluation.inputs["model"].uri: str(row["model"]) for group, row in zip(groups, rows, strict=True)
    }
    models = [RobustModel(name, figures[model]) for model, name in names.items() if model in found]
    return models, max((manifest.facts["rows"] for manifest in found.values()), default=0)


def robustness_section(
    store: Store,
    groups: Sequence[Group],
    rows: Sequence[Row],
    beside: Iterable[Ref],
    pictures: Mapping[str, bytes],
) -> RobustnessSection | None:
    """None where nothing in `beside` is of robustness; `pictures` are those of the report, by name."""
    models, images = robust_models(store, groups, rows, beside)
    return RobustnessSection(images, models, TITLES, SEVERITY_NAMES, address(pictures[PICTURE])) if models else None


def draw_robustness(
    store: Store, groups: Sequence[Group], rows: Sequence[Row], beside: Iterable[Ref]
) -> dict[str, bytes]:
    """PICTURE as a PNG; nothing where there is no such section."""
    models, _ = robust_models(store, groups, rows, beside)
    if not models:
        return {}
    from lib.reporting.robustness_plot import robustness_png  # with matplotlib

    return {PICTURE: robustness_png(models)}
