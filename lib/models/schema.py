"""What a recipe can say. The recipes themselves are in `lib.models.recipes`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS
from lib.models.backbone_schema import IMAGENET, LARGEST_PX, RANDOM, Backbone
from lib.models.values import Described, Float32

NOT_IN_KEY = {"datasets", "description", "baseline", "runs_on"}
"""Fields of a recipe that change no model."""
SHOWN_IF_SET = {
    "averaging", "beside", "both_views", "class_weight", "early_stopping_on", "nesterov", "sizes", "stream_above_mb",
    "warmup",
}  # fmt: skip
"""Fields that are younger than the pages of reports: a page without them still is what its recipe gives."""

# Names alone, since the builders load TensorFlow: `lib.models.networks.NETWORKS`.
IMAGE_NETWORKS = {"alexnet": 29, "cifar-cnn": 16, "digits-cnn": 8, "fashion-cnn": 1, "whitened-resnet": 1}
"""Those of images, and the least side in pixels: of smaller ones a pooling or a convolution would leave nothing."""
ANY_SIZE_NETWORKS = {"whitened-resnet"}
"""Those whose weights fit images of any size: they can be trained on smaller ones first."""
HEAD_UNITS = {"dense-1024": 1024, "standardised-dense-2048": 2048}
"""Networks of a backbone's features, and the width of their layer."""
NETWORKS = {*IMAGE_NETWORKS, *HEAD_UNITS, "softmax"}
"""All by name; softmax takes images and features."""
MOST_EPOCHS = 10_000
MOST_PHASES = 20
MOST_BESIDE = 9
ALL_ALIKE = f"several backbones must start all from {IMAGENET} or all from {RANDOM}"


class Augmentation(Described):
    """Random changes to each training image."""

    shift_px: int = Field(default=0, ge=0, le=LARGEST_PX)
    """Move by up to this many pixels each way, the border filled with 0."""
    flip: bool = False
    """Mirror left and right, every second time."""
    cutout_px: int = Field(default=0, ge=0, le=LARGEST_PX)
    """Blank a square with sides of this many pixels."""


class Size(Described):
    """Epochs on images of another size."""

    epochs: int = Field(gt=0, le=MOST_EPOCHS)
    px: int = Field(gt=0, le=LARGEST_PX)
    """The sides that images are resized to."""
    augmentation: Augmentation | None = None
    """In place of the recipe's, and no stronger: what helps on large images slows down what is learned on small ones
    (Tan and Le, 2021, arXiv:2104.00298)."""


class Phase(Described):
    """A stretch of training with one optimizer and one schedule."""

    epochs: int = Field(gt=0, le=MOST_EPOCHS)
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: Float32 = Field(gt=0)
    """The peak of the schedule."""
    schedule: Literal["constant", "warmup-cosine", "decay-per-epoch"] = "constant"
    decay_per_epoch: Float32 = Field(default=1.0, gt=0, le=1)
    """Factor on the rate after each epoch, for schedule decay-per-epoch."""
    warmup: Float32 = Field(default=0.1, gt=0, lt=1)
    """For schedule warmup-cosine: the share of steps in which the rate rises to its peak, before it falls to 0."""
    momentum: Float32 = Field(default=0.9, ge=0, lt=1)
    """For sgd."""
    nesterov: bool = False
    """For sgd: with Nesterov's look-ahead."""
    weight_decay: Float32 = Field(default=0.0, ge=0)
    """For adamw and sgd: the share of its value, times the rate, that a kernel loses in a step."""
    averaging: Float32 = Field(default=0.0, ge=0, lt=1)
    """Above 0: keep a moving average of the weights with this momentum. It is what is validated and kept."""
    sizes: tuple[Size, ...] = Field(default=(), max_length=20)
    """Train the first epochs on images of other sizes, which for smaller ones takes less time."""
    trains: Literal["all", "head"] = "all"
    """What moves: all weights, or only the layers after the backbone."""

    def size_of(self, epoch: int) -> Size | None:
        """What is trained on in its epoch `epoch`, from 0; None where it is images as they are."""
        for size in self.sizes:
            if epoch < size.epochs:
                return size
            epoch -= size.epochs
        return None


class Recipe(Described):
    """All that decides what a training gives, apart from data and seed."""

    name: str = Field(pattern="^[a-z0-9-]+$")
    datasets: tuple[str, ...] = ()
    """Datasets it is trained on by default."""
    description: str
    """What it is, and what it was seen to reach with which command in what time."""
    network: str
    """Its builder in `lib.models.networks.NETWORKS`: the layers between the scaled images, or the backbone's features,
    and the last layer."""
    backbone: Backbone | None = None
    beside: tuple[Backbone, ...] = Field(default=(), max_length=MOST_BESIDE)
    """More frozen backbones, whose features stand beside those of `backbone`."""
    dropout: Float32 = Field(default=0.25, ge=0, lt=1)
    """Rate of the dropout layers that the network's own definition leaves open."""
    phases: tuple[Phase, ...]
    batch_size: int = Field(default=128, gt=0, le=65_536)
    augmentation: Augmentation = Augmentation()
    label_smoothing: Float32 = Field(default=0.0, ge=0, lt=1)
    class_weight: Literal["none", "balanced"] = "none"
    """Balanced: all classes weigh alike in the loss, however many images each has."""
    both_views: bool = False
    """The finished model gives the mean of what its network says of an image and of its mirror image."""
    early_stopping_epochs: int | None = Field(default=None, gt=0, le=MOST_EPOCHS)
    """End a phase after this many epochs without a better validation figure."""
    early_stopping_on: Literal["loss", "accuracy"] = "loss"
    """Which figure that is: a lower loss, or a higher accuracy."""
    stream_above_mb: int = Field(default=1_000, ge=0, le=1_000_000_000)
    """Training images, or features, of more megabytes stay on disk and are read a part at a time, in an order that is
    random in parts and within some of them together. It counts what they take, not what a machine has: everywhere, the
    model is the same."""
    keep: Literal["last", "best"] = "last"
    """The weights of the last epoch, or of the one with the highest validation accuracy."""
    runs_on: Literal["cpu", "gpu"] = "cpu"
    deterministic: bool = True
    """Op determinism: a resumed training ends with the same bits as an undisturbed one. Without it, a GPU uses XLA."""
    precision: Literal["float32", "mixed_float16"] = "float32"
    """What a GPU computes in. A CPU computes in float32, and so does every saved model."""
    baseline: bool = False
    """The 2023 notebook's own settings, for comparison: trained when named or with --baselines."""

    @field_validator("network")
    @classmethod
    def _known(cls, network: str) -> str:
        if network not in NETWORKS:
            raise ValueError(f"unknown network; known: {', '.join(sorted(NETWORKS))}")
        return network

    @field_validator("phases")
    @classmethod
    def _at_least_one(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        # Field(min_length=1) would also complain of a phase that is there and not valid.
        if not phases:
            raise ValueError("a recipe must have at least one phase")
        if len(phases) > MOST_PHASES:
            raise ValueError(f"a recipe must have at most {MOST_PHASES} phases")
        return phases

    @model_validator(mode="after")
    def _fits_its_backbone(self) -> "Recipe":
        if self.frozen and (self.augmentation.shift_px or self.augmentation.cutout_px):
            raise ValueError("a frozen backbone's features are computed once: of augmentation it allows flip alone")
        if self.backbone is None and any(phase.trains == "head" for phase in self.phases):
            raise ValueError("a phase that trains the head alone needs a backbone before it")
        if any(phase.sizes for phase in self.phases) and self.network not in ANY_SIZE_NETWORKS:
            raise ValueError(f"images of other sizes need one of the networks {', '.join(sorted(ANY_SIZE_NETWORKS))}")
        if self.both_views and self.backbone is not None:
            raise ValueError("both_views is for networks without a backbone; with a frozen one, augmentation.flip is")
        if self.backbone is None and self.network in HEAD_UNITS:
            raise ValueError(f"network {self.network} needs a backbone before it")
        if self.backbone and self.network in IMAGE_NETWORKS:
            raise ValueError(f"network {self.network} takes images, and cannot follow backbone {self.backbone.name}")
        if self.under_xla and any(each.interpolation == "bicubic" for each in self.backbones):
            raise ValueError(
                "a recipe that runs on a GPU is compiled by XLA, which knows no bicubic interpolation: "
                "use bilinear, or set deterministic=true"
            )
        return self

    @model_validator(mode="after")
    def _sizes_have_no_stronger_augmentation(self) -> "Recipe":
        most = self.augmentation
        for given in (size.augmentation for phase in self.phases for size in phase.sizes if size.augmentation):
            if given.shift_px > most.shift_px or given.cutout_px > most.cutout_px or given.flip > most.flip:
                raise ValueError("the augmentation of a size must not be stronger than the recipe's own")
        return self

    @model_validator(mode="after")
    def _stand_side_by_side(self) -> "Recipe":
        names = [each.name for each in self.backbones]
        if self.beside and not (self.frozen and all(each.frozen for each in self.beside)):
            raise ValueError("beside is for frozen backbones: backbone, and each one beside it, must have frozen=true")
        if len(set(names)) < len(names):
            raise ValueError(f"backbones that stand side by side must differ; received {', '.join(names)}")
        starts = dict.fromkeys(each.weights for each in self.backbones)
        if self.beside and (len(starts) > 1 or not starts.keys() <= {IMAGENET, RANDOM}):
            raise ValueError(f"{ALL_ALIKE}; received {', '.join(starts)}")
        return self

    def resolved(self) -> dict[str, Any]:
        """What its key is made of: fields that change the model and differ from their default, overrides included.

        Without the defaults, a new optional field moves no key.
        """
        return self._settings(exclude_defaults=True)

    def settings(self) -> dict[str, Any]:
        """Every field that changes the model, for people to read."""
        shown, given = self._settings(exclude_defaults=False), self._settings(exclude_defaults=True)
        pairs = [(shown, given), *zip(shown["phases"], given["phases"], strict=True)]
        for fields, differing in pairs:
            for name in SHOWN_IF_SET & fields.keys() - differing.keys():
                del fields[name]
        return shown

    def _settings(self, exclude_defaults: bool) -> dict[str, Any]:
        settings = self.model_dump(mode="json", exclude=NOT_IN_KEY, exclude_defaults=exclude_defaults)
        for backbone in [settings.get("backbone"), *settings.get("beside", ())]:
            if backbone:
                backbone.pop("weights", None)  # their content is an input of its own
        return settings

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """All of them, in the order of their features."""
        return (self.backbone, *self.beside) if self.backbone else ()

    def alone(self, backbone: Backbone) -> "Recipe":
        """The same with `backbone` as its only one."""
        return self.model_copy(update={"backbone": backbone, "beside": ()})

    def inputs_of(self, kind: str) -> dict[str, str]:
        """What its model calls the weights or features (`kind`) of each backbone, by the backbone's name."""
        return {each.name: f"{kind}-{each.name}" if each in self.beside else kind for each in self.backbones}

    @property
    def under_xla(self) -> bool:
        """Whether a GPU that it is trained on compiles its steps."""
        return self.runs_on == "gpu" and not self.deterministic

    @property
    def pretrained(self) -> bool:
        """Whether it has a backbone that starts from weights."""
        return self.backbone is not None and self.backbone.pretrained

    @property
    def frozen(self) -> bool:
        """Whether it has a backbone that is never trained."""
        return self.backbone is not None and self.backbone.frozen

    def key_values(self, seed: int, weights: Mapping[str, Ref]) -> dict[str, Any]:
        """Of `lib.lineage.steps`, what follows from the recipe, a seed and the weights of each backbone, by name."""
        resolved = self.resolved()
        starts = [weights[each.name] for each in self.backbones if each.name in weights]
        start = starts[0] if starts and not self.beside else starts or None
        values = {"recipe_name": self.name, "recipe": resolved, "seed": seed, "weights": start}
        if self.backbone and not self.beside:
            values |= {"backbone_name": self.backbone.name, "backbone": resolved["backbone"]}
            # Of a frozen backbone's features only a random start depends on the seed.
            values |= {"mirrored": self.augmentation.flip, "start": start or {"seed": seed}}
        return values

    def starting_from(self, weights: str) -> "Recipe":
        """The recipe with other weights to start from, where it has backbones."""
        if self.backbone is None:
            return self
        backbone, *beside = (each.model_copy(update={"weights": weights}) for each in self.backbones)
        return self.model_copy(update={"backbone": backbone, "beside": tuple(beside)})

    @property
    def title(self) -> str:
        """Its name, and the weights that it starts from where they are not ImageNet's."""
        if self.backbone is None or self.backbone.weights == IMAGENET:
            return self.name
        return f"{self.name} (weights: {self.backbone.weights})"

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)


def settings_of(resolved: dict[str, Any]) -> dict[str, Any]:
    """`Recipe.settings` of a resolved recipe; as it is where another version of this code resolved it."""
    try:
        return Recipe(datasets=(), description="", **resolved).settings()
    except ValidationError:
        return resolved


def features_address(dataset: str, recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None) -> str:
    """Where the features of the recipe's one frozen backbone lie."""
    starts = {each.name: weights for each in recipe.backbones if weights}
    values = recipe.key_values(seed, starts)
    return STEPS["features"].address(dataset_name=dataset, prepared=prepared, **values)


def model_address(
    dataset: str, recipe: Recipe, prepared: Ref, seed: int, weights: Mapping[str, Ref] = MappingProxyType({})
) -> str:
    """Where the recipe's model lies; `weights` are those of each backbone, by its name."""
    return STEPS["model"].address(dataset_name=dataset, prepared=prepared, **recipe.key_values(seed, weights))
