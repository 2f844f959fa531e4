"""THE place to add a model: one `Recipe` literal in `RECIPES`. Networks are in `lib.models.networks`."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lib.errors import PermanentError, explain_validation

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
IMAGENET, RANDOM = "imagenet", "none"


class Backbone(BaseModel):
    """A network without its head, whose average-pooled features the recipe's own layers classify."""

    model_config = FROZEN

    name: str
    """Its builder in `lib.models.backbones.BACKBONES`."""
    image_px: int = Field(gt=0)
    """Images are enlarged to squares of this side, in the model."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How they are enlarged. XLA, and so GPU recipes, knows no bicubic."""
    weights: str = IMAGENET
    """`imagenet`, `none` (a random start), or a file, s3:// or store address."""
    pooled: tuple[str, ...] = ()
    """Layers whose average-pooled maps are the features, side by side; without any, the last one."""
    frozen: bool = False
    """Never trained: its features are computed once, kept in the store, and a head is trained on them."""

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights: its BatchNorm then keeps what came with them."""
        return self.weights != RANDOM


class Phase(BaseModel):
    """A stretch of training with one optimizer and one schedule."""

    model_config = FROZEN

    epochs: int = Field(gt=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0)
    """The peak of the schedule."""
    schedule: Literal["constant", "warmup-cosine", "decay-per-epoch"] = "constant"
    decay_per_epoch: float = Field(default=1.0, gt=0, le=1)
    """Factor on the rate after each epoch, for schedule decay-per-epoch."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For sgd, with Nesterov's look-ahead off."""
    weight_decay: float = Field(default=0.0, ge=0)
    trains: Literal["all", "head"] = "all"
    """What moves: all weights, or only the layers after the backbone."""


class Augmentation(BaseModel):
    """Random changes to each training image."""

    model_config = FROZEN

    shift_px: int = Field(default=0, ge=0)
    """Move by up to this many pixels each way, the border filled with 0."""
    flip: bool = False
    """Mirror left and right, every second time."""
    cutout_px: int = Field(default=0, ge=0)
    """Blank a square with sides of this many pixels."""


class Recipe(BaseModel):
    """All that decides what a training gives, apart from data and seed."""

    model_config = FROZEN

    name: str = Field(pattern="^[a-z0-9-]+$")
    datasets: tuple[str, ...]
    """Data sets it is trained on by default."""
    about: str
    """What it is, and what it was seen to reach with which command in what time."""
    network: str
    """Its builder in `lib.models.networks.NETWORKS`: the layers between the scaled images, or the backbone's features,
    and the last layer."""
    backbone: Backbone | None = None
    dropout: float = Field(default=0.25, ge=0, lt=1)
    """Rate of the dropout layers that the network's own definition leaves open."""
    phases: tuple[Phase, ...]
    batch_size: int = Field(default=128, gt=0)
    augmentation: Augmentation = Augmentation()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    early_stopping_epochs: int | None = Field(default=None, gt=0)
    """End a phase after this many epochs without a lower dev loss."""
    keep: Literal["last", "best"] = "last"
    """The weights of the last epoch, or of the one with the highest dev accuracy."""
    runs_on: Literal["cpu", "gpu"] = "cpu"
    exact: bool = True
    """Op determinism: a resumed training ends with the same bits as an undisturbed one. Without it, a GPU uses XLA."""
    precision: Literal["float32", "mixed_float16"] = "float32"
    """What a GPU computes in. A CPU computes in float32, and so does every saved model."""
    baseline: bool = False
    """The 2023 notebook's own settings, for comparison: trained when named or with --baselines."""

    @field_validator("phases")
    @classmethod
    def _at_least_one(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        # Field(min_length=1) would also complain of a phase that is there and not valid.
        if not phases:
            raise ValueError("a recipe must have at least one phase")
        return phases

    @model_validator(mode="after")
    def _fits_its_backbone(self) -> "Recipe":
        frozen = self.backbone is not None and self.backbone.frozen
        if frozen and (self.augmentation.shift_px or self.augmentation.cutout_px):
            raise ValueError("a frozen backbone's features are computed once: of augmentation it allows flip alone")
        if self.backbone is None and any(phase.trains == "head" for phase in self.phases):
            raise ValueError("a phase that trains the head alone needs a backbone before it")
        return self

    def resolved(self) -> dict[str, Any]:
        """Every field that changes the model, overrides included: what its key is made of."""
        resolved = self.model_dump(mode="json", exclude={"datasets", "about", "baseline", "runs_on"})
        if self.backbone:
            del resolved["backbone"]["weights"]  # their content is an input of its own
        return resolved

    def starting_from(self, weights: str) -> "Recipe":
        """The recipe with other weights to start from, where it has a backbone."""
        if self.backbone is None:
            return self
        return self.model_copy(update={"backbone": self.backbone.model_copy(update={"weights": weights})})

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


WARM_COSINE: dict[str, Any] = {"schedule": "warmup-cosine", "weight_decay": 5e-4}
FINE_TUNED: dict[str, Any] = {
    "network": "dense-1024",
    "dropout": 0.3,
    "phases": (
        Phase(epochs=2, learning_rate=1e-3, trains="head"),
        Phase(epochs=12, learning_rate=1e-4, schedule="warmup-cosine", weight_decay=0.01),
    ),
    "augmentation": Augmentation(shift_px=4, flip=True),
    "label_smoothing": 0.1,
    "batch_size": 64,
    "runs_on": "gpu",
    "exact": False,
    "precision": "mixed_float16",
}
NOTEBOOK_FINE_TUNED: dict[str, Any] = {
    "about": "The notebook's fine-tuning: SGD at 0.0001 with momentum 0.9 on all weights, a head of 1,024 units.",
    "network": "dense-1024",
    "dropout": 0.0,
    "phases": (Phase(epochs=10, optimizer="sgd", learning_rate=1e-4),),
    "batch_size": 64,
    "runs_on": "gpu",
    "exact": False,
    "precision": "mixed_float16",
    "baseline": True,
}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="digits-cnn",
            datasets=("digits",),
            about="Two pairs of convolutions with BatchNorm. 0.99 on test in under a minute on 2 cores.",
            network="digits-cnn",
            phases=(Phase(epochs=20, learning_rate=3e-3, **WARM_COSINE),),
            batch_size=64,
            augmentation=Augmentation(shift_px=2),
        ),
        Recipe(
            name="digits-softmax",
            datasets=("digits",),
            about="One dense layer on pixels: what any network should beat.",
            network="softmax",
            phases=(Phase(epochs=20, optimizer="adam", learning_rate=2e-3),),
            batch_size=64,
        ),
        Recipe(
            name="cifar-cnn",
            datasets=("cifar100",),
            about="The notebook's CIFAR network, trained against its overfitting: shifts, flips, smoothing, one cycle.",
            network="cifar-cnn",
            phases=(Phase(epochs=30, learning_rate=2e-3, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=4, flip=True),
            label_smoothing=0.1,
        ),
        Recipe(
            name="alexnet",
            datasets=("cifar100",),
            about="AlexNet with the notebook's filters, fitted to 32 px.",
            network="alexnet",
            dropout=0.5,
            phases=(Phase(epochs=30, learning_rate=5e-4, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=4, flip=True),
            label_smoothing=0.1,
        ),
        Recipe(
            name="cifar-cnn-baseline",
            datasets=("cifar100",),
            about="The notebook's CIFAR script: Adam at 0.001, nothing against overfitting.",
            network="cifar-cnn",
            phases=(Phase(epochs=10, optimizer="adam", learning_rate=1e-3),),
            baseline=True,
        ),
        Recipe(
            name="fashion-cnn",
            datasets=("fashion-mnist",),
            about="The notebook's Fashion-MNIST network with shifts, flips and one cycle.",
            network="fashion-cnn",
            phases=(Phase(epochs=20, learning_rate=2e-3, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=2, flip=True),
        ),
        Recipe(
            name="fashion-cnn-plain",
            datasets=("fashion-mnist",),
            about="The notebook's first Fashion-MNIST script: Adam at 0.001.",
            network="fashion-cnn",
            phases=(Phase(epochs=20, optimizer="adam", learning_rate=1e-3),),
            baseline=True,
        ),
        Recipe(
            name="fashion-cnn-baseline",
            datasets=("fashion-mnist",),
            about="The notebook's second Fashion-MNIST script: early stopping, best weights, rate 0.01·0.1^(epoch/10).",
            network="fashion-cnn",
            phases=(
                Phase(
                    epochs=50,
                    optimizer="adam",
                    learning_rate=0.01,
                    schedule="decay-per-epoch",
                    decay_per_epoch=0.1 ** (1 / 10),
                ),
            ),
            early_stopping_epochs=10,
            keep="best",
            baseline=True,
        ),
        Recipe(
            name="resnet50",
            datasets=("cifar100", "fashion-mnist"),
            about="ResNet50 from ImageNet: the head alone, then all at a lower rate.",
            backbone=Backbone(name="resnet50", image_px=160),
            **FINE_TUNED,
        ),
        Recipe(
            name="inception-v3",
            datasets=("cifar100",),
            about="InceptionV3 from ImageNet: the head alone, then all at a lower rate.",
            backbone=Backbone(name="inception-v3", image_px=160),
            **FINE_TUNED,
        ),
        Recipe(
            name="densenet121",
            datasets=("cifar100",),
            about="DenseNet121 from ImageNet: the head alone, then all at a lower rate.",
            backbone=Backbone(name="densenet121", image_px=160),
            **FINE_TUNED,
        ),
        Recipe(
            name="mobilenet",
            datasets=("cifar100", "fashion-mnist"),
            about="MobileNet from ImageNet: the head alone, then all at a lower rate.",
            backbone=Backbone(name="mobilenet", image_px=128),
            **FINE_TUNED,
        ),
        Recipe(
            name="mobilenet-frozen",
            datasets=("cifar100", "fashion-mnist"),
            about="A head on the features of ImageNet's MobileNet, computed once: fine-tuning for a CPU.",
            network="standardised-dense-1024",
            backbone=Backbone(
                name="mobilenet",
                image_px=160,
                interpolation="bicubic",
                pooled=("conv_pw_11_relu", "conv_pw_12_relu", "conv_pw_13_relu"),
                frozen=True,
            ),
            dropout=0.5,
            phases=(Phase(epochs=12, learning_rate=1e-3, schedule="warmup-cosine", weight_decay=0.05),),
            batch_size=512,
        ),
        Recipe(
            name="resnet50-baseline",
            datasets=("cifar100", "fashion-mnist"),
            backbone=Backbone(name="resnet50", image_px=32),
            **NOTEBOOK_FINE_TUNED,
        ),
        Recipe(
            name="inception-v3-baseline",
            datasets=("cifar100",),
            backbone=Backbone(name="inception-v3", image_px=75),
            **NOTEBOOK_FINE_TUNED,
        ),
        Recipe(
            name="densenet121-baseline",
            datasets=("cifar100",),
            backbone=Backbone(name="densenet121", image_px=32),
            **NOTEBOOK_FINE_TUNED,
        ),
        Recipe(
            name="mobilenet-baseline",
            datasets=("fashion-mnist",),
            backbone=Backbone(name="mobilenet", image_px=32),
            **NOTEBOOK_FINE_TUNED,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises PermanentError naming those there are."""
    if name not in RECIPES:
        raise PermanentError(f"unknown recipe {name!r}; known: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def choose_recipes(dataset: str, models: list[str] | None, baselines: bool = False) -> list[Recipe]:
    """The recipes called `models`, or all of the data set's own, with the notebook's baselines if asked for."""
    if models is not None:
        return [find_recipe(name) for name in dict.fromkeys(models)]
    return [r for r in RECIPES.values() if dataset in r.datasets and (baselines or not r.baseline)]


def override(recipe: Recipe, epochs: int | None, settings: dict[str, str]) -> Recipe:
    """The recipe with at most `epochs` in each phase, and with `settings` such as {"batch_size": "64"}.

    A key is a field of the recipe, a dotted path into it (`augmentation.flip`, `phases.1.learning_rate`), or a
    field of a phase, which is then set in every phase. Values are JSON, or else text.
    Raises PermanentError where a key is unknown or a value not valid.
    """
    data = recipe.model_dump(mode="json")
    for key, text in settings.items():
        _set(data, key, _value(text))
    try:
        changed = Recipe.model_validate(data)
        if epochs is None:
            return changed
        most = Phase(epochs=epochs, learning_rate=1).epochs
        phases = [phase.model_copy(update={"epochs": min(phase.epochs, most)}) for phase in changed.phases]
        return changed.model_copy(update={"phases": tuple(phases)})
    except ValidationError as error:
        raise explain_validation(error, f"recipe {recipe.name}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    place: Any = data
    try:
        if key in Phase.model_fields:
            for phase in data["phases"]:
                phase[key] = value
            return
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        if key in {"name", "datasets"} or last not in place:
            raise KeyError(key)
        place[last] = value
    except (KeyError, IndexError, ValueError, TypeError) as error:
        known = sorted((set(data) - {"name", "datasets"}) | set(Phase.model_fields))
        raise PermanentError(
            f"--set takes KEY=VALUE with a field of a recipe; received {key!r}; known: {', '.join(known)}"
        ) from error
