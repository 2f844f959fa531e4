"""THE place to add a model: one `Recipe` literal in `RECIPES`. Networks are in `lib.models.networks`."""

import json
from typing import Any

from pydantic import ValidationError

from lib.errors import PermanentError, explain_validation
from lib.lineage.manifests import Manifest
from lib.models.schema import NOT_IN_KEY, SMALLEST_PX, Augmentation, Backbone, Phase, Recipe

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
    "deterministic": False,
    "precision": "mixed_float16",
}
NOTEBOOK_FINE_TUNED: dict[str, Any] = {
    "description": "The notebook's fine-tuning: SGD at 0.0001 with momentum 0.9 on all weights, a head of 1,024 units.",
    "network": "dense-1024",
    "dropout": 0.0,
    "phases": (Phase(epochs=10, optimizer="sgd", learning_rate=1e-4),),
    "batch_size": 64,
    "runs_on": "gpu",
    "deterministic": False,
    "precision": "mixed_float16",
    "baseline": True,
}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="digits-cnn",
            datasets=("digits",),
            description="Two pairs of convolutions with BatchNorm. 0.99 on test in under a minute on 2 cores.",
            network="digits-cnn",
            phases=(Phase(epochs=20, learning_rate=3e-3, **WARM_COSINE),),
            batch_size=64,
            augmentation=Augmentation(shift_px=2),
        ),
        Recipe(
            name="digits-softmax",
            datasets=("digits",),
            description="One dense layer on pixels: what any network should beat.",
            network="softmax",
            phases=(Phase(epochs=20, optimizer="adam", learning_rate=2e-3),),
            batch_size=64,
        ),
        Recipe(
            name="digits-cnn-gpu",
            datasets=("digits",),
            description="The same as digits-cnn, in mixed precision under XLA: tries a GPU worker in a minute.",
            network="digits-cnn",
            phases=(Phase(epochs=20, learning_rate=3e-3, **WARM_COSINE),),
            batch_size=64,
            augmentation=Augmentation(shift_px=2),
            runs_on="gpu",
            deterministic=False,
            precision="mixed_float16",
        ),
        Recipe(
            name="cifar-cnn",
            datasets=("cifar100",),
            description="The notebook's CIFAR network, against overfitting: shifts, flips, smoothing, one cycle.",
            network="cifar-cnn",
            phases=(Phase(epochs=30, learning_rate=2e-3, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=4, flip=True),
            label_smoothing=0.1,
        ),
        Recipe(
            name="alexnet",
            datasets=("cifar100",),
            description="AlexNet with the notebook's filters, fitted to 32 px.",
            network="alexnet",
            dropout=0.5,
            phases=(Phase(epochs=30, learning_rate=5e-4, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=4, flip=True),
            label_smoothing=0.1,
        ),
        Recipe(
            name="cifar-cnn-baseline",
            datasets=("cifar100",),
            description="The notebook's CIFAR script: Adam at 0.001, nothing against overfitting.",
            network="cifar-cnn",
            phases=(Phase(epochs=10, optimizer="adam", learning_rate=1e-3),),
            baseline=True,
        ),
        Recipe(
            name="fashion-cnn",
            datasets=("fashion-mnist",),
            description="The notebook's Fashion-MNIST network with shifts, flips and one cycle.",
            network="fashion-cnn",
            phases=(Phase(epochs=20, learning_rate=2e-3, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=2, flip=True),
        ),
        Recipe(
            name="fashion-cnn-plain",
            datasets=("fashion-mnist",),
            description="The notebook's first Fashion-MNIST script: Adam at 0.001.",
            network="fashion-cnn",
            phases=(Phase(epochs=20, optimizer="adam", learning_rate=1e-3),),
            baseline=True,
        ),
        Recipe(
            name="fashion-cnn-baseline",
            datasets=("fashion-mnist",),
            description="The notebook's second Fashion-MNIST script: early stopping, best weights, 0.01·0.1^(epoch/10)",
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
            description="ResNet50: the head alone, then all weights at a lower rate.",
            backbone=Backbone(name="resnet50", image_px=160),
            **FINE_TUNED,
        ),
        Recipe(
            name="inception-v3",
            datasets=("cifar100",),
            description="InceptionV3: the head alone, then all weights at a lower rate.",
            backbone=Backbone(name="inception-v3", image_px=160),
            **FINE_TUNED,
        ),
        Recipe(
            name="densenet121",
            datasets=("cifar100",),
            description="DenseNet121: the head alone, then all weights at a lower rate.",
            backbone=Backbone(name="densenet121", image_px=160),
            **FINE_TUNED,
        ),
        Recipe(
            name="mobilenet",
            datasets=("cifar100", "fashion-mnist"),
            description="MobileNet: the head alone, then all weights at a lower rate.",
            backbone=Backbone(name="mobilenet", image_px=128),
            **FINE_TUNED,
        ),
        Recipe(
            name="mobilenet-frozen",
            datasets=("cifar100", "fashion-mnist"),
            description="A head on the features of MobileNet, which are computed once: fine-tuning for a CPU.",
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
        raise PermanentError(f"unknown recipe {_cut(name)!r}; known: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def is_try(model: Manifest) -> bool:
    """Whether a model was trained on a part of the data, or in another way than its recipe now says."""
    resolved = model.facts.get("recipe")
    recipe = RECIPES.get(str(resolved.get("name"))) if isinstance(resolved, dict) else None
    return model.facts.get("limit") is not None or (recipe is not None and resolved != recipe.resolved())


def choose_recipes(dataset: str, models: list[str] | None, baselines: bool = False) -> list[Recipe]:
    """The recipes called `models`, or all of the dataset's own, with the notebook's baselines if asked for."""
    if models is not None:
        return [find_recipe(name) for name in dict.fromkeys(models)]
    return [r for r in RECIPES.values() if dataset in r.datasets and (baselines or not r.baseline)]


def override(recipe: Recipe, epochs: int | None, settings: dict[str, str]) -> Recipe:
    """The recipe with at most `epochs` in each phase, and with `settings` such as {"batch_size": "64"}.

    A key is a field of the recipe, a dotted path into it (`augmentation.flip`, `phases.1.learning_rate`), or a
    field of a phase, which is then set in every phase. Values are JSON, or else text. Fields that are no part of a
    model's key cannot be set: its address is the same for all who ask for it.
    Raises PermanentError where a key is unknown or a value not valid.
    """
    data = recipe.model_dump(mode="json")
    for key, text in settings.items():
        if not _set(data, key, text):
            known = sorted((set(data) - NOT_SET) | set(Phase.model_fields))
            raise PermanentError(
                f"overrides (--set KEY=VALUE) must name fields of a recipe; received {_cut(key)!r}; "
                f"known: {', '.join(known)}"
            )
    try:
        changed = Recipe.model_validate(data)
        if epochs is not None:
            most = Phase(epochs=epochs, learning_rate=1).epochs
            phases = [phase.model_copy(update={"epochs": min(phase.epochs, most)}) for phase in changed.phases]
            changed = changed.model_copy(update={"phases": tuple(phases)})
    except ValidationError as error:
        raise explain_validation(error, f"recipe {recipe.name}") from error
    check_backbone(changed)
    return changed


def settings_for(recipe: Recipe, settings: dict[str, str]) -> dict[str, str]:
    """Those of `settings` that the recipe has: without a backbone it has no `backbone.image_px`."""
    data = recipe.model_dump(mode="json")
    return {key: text for key, text in settings.items() if _set(data, key, text)}


def check_backbone(recipe: Recipe) -> None:
    """Raise PermanentError where there is no such backbone, or the images are too small for it."""
    if not (backbone := recipe.backbone):
        return
    if backbone.name not in SMALLEST_PX:
        raise PermanentError(f"unknown backbone {_cut(backbone.name)!r}; known: {', '.join(SMALLEST_PX)}")
    if backbone.image_px < (smallest := SMALLEST_PX[backbone.name]):
        raise PermanentError(
            f"{backbone.name} needs images of at least {smallest} px; "
            f"received image_px {backbone.image_px}: --set backbone.image_px={smallest}"
        )


NOT_SET = {"name"} | NOT_IN_KEY


def _set(data: dict[str, Any], key: str, text: str) -> bool:
    """Set `key` in `data` to the value in `text`; False, and nothing is set, where there is no such place."""
    last, places = key.rsplit(".", 1)[-1], _places(data, key)
    for place in places:
        place[last] = _value(key, text)
    return bool(places)


def _places(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """What in `data` has the last part of `key`: every phase, where that is a field of a phase."""
    *parents, last = key.split(".")
    if key in Phase.model_fields:
        phases = data["phases"] if isinstance(data["phases"], list) else []
        return [phase for phase in phases if isinstance(phase, dict)]
    place: Any = data
    for parent in parents:
        if isinstance(place, list):
            place = dict(zip(map(str, range(len(place))), place, strict=True))
        place = place.get(parent) if isinstance(place, dict) else None
    known = isinstance(place, dict) and last in place and (parents or [last])[0] not in NOT_SET
    return [place] if known else []


def _value(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError as error:
        raise PermanentError(f"overrides (--set KEY=VALUE): the value of {_cut(key)} is nested too deeply") from error


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
