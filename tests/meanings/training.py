"""Of the step model."""

import json
from typing import Any

import numpy as np

from lib.lineage.digests import digest_array
from tests.meanings.pinning import images, labels, moments, of_step, toy


@of_step("model")
def defaults_of_recipes() -> Any:
    """A key holds only what differs from its default, so that another default is another meaning of the same key."""
    from lib.models.schema import Augmentation, Backbone, Phase, Recipe

    def of(model: Any) -> dict[str, Any]:
        fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
        return json.loads(model.model_construct().model_dump_json(include=set(fields)))  # type: ignore[no-any-return]

    return {model.__name__: of(model) for model in (Recipe, Phase, Augmentation, Backbone)}


@of_step("model")
def augmented_chunk() -> Any:
    from lib.training.batches import PaddedImages, TrainingImages

    rows = TrainingImages(PaddedImages.of(images(24), toy().augmentation), labels(24), 8, seed=3)
    return [digest_array(part) for part in rows.chunk(epoch=1, chunk=1, chunk_steps=2)]


@of_step("model")
def chunk_of_features() -> Any:
    from lib.training.batches import TrainingFeatures

    features = np.arange(96, dtype=np.float16).reshape(24, 2, 2)
    return [digest_array(part) for part in TrainingFeatures(features, labels(24), 8, seed=3).chunk(0, 0, 2)]


@of_step("model")
def first_weights_and_those_after_a_step() -> Any:
    from lib.models.networks import build
    from lib.models.schema import Phase
    from lib.training.batches import PaddedImages, TrainingImages
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    # By SGD: of Adam's first step only the gradients' signs count, and those near 0 may differ from CPU to CPU.
    recipe = toy(phases=(Phase(epochs=2, learning_rate=0.01, optimizer="sgd"),))
    prepare_keras(recipe, allow_cpu=True)
    rows = TrainingImages(PaddedImages.of(images(8), recipe.augmentation), labels(8), 8, seed=3)
    network = build(recipe, (8, 8, 3), 3, seed=3)
    first = [moments(weight) for weight in network.get_weights()]
    trainer = Trainer(recipe, network, rows, (images(6), labels(6)), 3, lambda event: None, 30)
    trainer.start(None)
    trainer._chunk()
    return [first, [moments(weight) for weight in network.get_weights()]]


@of_step("model")
def learning_rates() -> Any:
    from lib.models.schema import Phase
    from lib.training.optimizers import _schedule

    phases = [
        Phase(epochs=2, learning_rate=0.5),
        Phase(epochs=2, learning_rate=0.5, schedule="warmup-cosine"),
        Phase(epochs=2, learning_rate=0.5, schedule="decay-per-epoch", decay_per_epoch=0.9),
    ]
    rates = [_schedule(phase, 10) for phase in phases]
    return [[float(rate(step)) if callable(rate) else rate for step in (0, 1, 2, 10, 19)] for rate in rates]


@of_step("model")
def losses() -> Any:
    from lib.training.optimizers import make_loss

    guesses = np.float32([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    return [
        np.asarray(make_loss(toy(label_smoothing=smoothing), 3)(labels(2), guesses)).tolist() for smoothing in (0, 0.1)
    ]
