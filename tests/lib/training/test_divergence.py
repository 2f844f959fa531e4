"""What a training says that diverges: first what its run set, then the rate."""

import numpy as np
import pytest

from lib.errors import PermanentError
from lib.models.overrides import override
from lib.models.recipes import RECIPES
from lib.models.schema import Phase, Recipe
from lib.training.callbacks import remedy_of

LOWER = "lower the rate: --set learning_rate="
TAKE_BACK = ": take that back, or stay nearer to the recipe"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, f"{LOWER}0.0003"),
        ({"learning_rate": "1e30"}, f"{LOWER}0.001"),
        ({"learning_rate": "1e30", "epochs": "2", "keep": "best"}, f"{LOWER}0.001"),
        ({"epochs": "2"}, f"{LOWER}0.0003"),
        ({"weight_decay": "1e6"}, f"this run changed phases.0.weight_decay 0.0005 → 1000000.0{TAKE_BACK}"),
        (
            {"weight_decay": "1e6", "learning_rate": "1", "epochs": "2"},
            "this run changed phases.0.learning_rate 0.003 → 1.0; phases.0.weight_decay 0.0005 → 1000000.0" + TAKE_BACK,
        ),
        ({"optimizer": "sgd"}, f"this run changed phases.0.optimizer adamw → sgd{TAKE_BACK}"),
        ({"label_smoothing": "0.9"}, f"this run changed label_smoothing 0.0 → 0.9{TAKE_BACK}"),
        ({"augmentation.cutout_px": "30"}, f"this run changed augmentation.cutout_px 0 → 30{TAKE_BACK}"),
    ],
)
def test_the_advice_names_what_the_run_set(settings: dict[str, str], says: str) -> None:
    recipe = override(RECIPES["digits-cnn"], None, settings)
    assert remedy_of(recipe, recipe.phases[0]) == says


def test_of_a_recipe_that_is_not_known_the_rate_is_lowered() -> None:
    phase = Phase(epochs=1, learning_rate=0.05, weight_decay=1e6)
    recipe = Recipe(name="mine", datasets=(), description="", network="softmax", phases=(phase,))
    assert remedy_of(recipe, phase) == f"{LOWER}0.001"


def test_many_settings_are_said_in_one_short_line() -> None:
    phases = [{"epochs": 1, "learning_rate": 0.1 + number} for number in range(20)]
    recipe = override(RECIPES["digits-cnn"], None, {"phases": str(phases).replace("'", '"')})
    said = remedy_of(recipe, recipe.phases[0])
    assert said.startswith("this run changed phases [")
    assert len(said) < 200


def test_a_training_that_an_absurd_decay_makes_diverge_names_the_decay() -> None:
    from lib.models.networks import build
    from lib.training.batches import PaddedImages, TrainingImages
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    recipe = override(RECIPES["digits-cnn"], 1, {"weight_decay": "1e30"})
    prepare_keras(recipe, allow_cpu=True)
    images, labels = (
        np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), np.uint8),
        np.arange(64, dtype=np.int16) % 2,
    )
    rows = TrainingImages(PaddedImages.of(images, recipe.augmentation), labels, 8, 0)
    trainer = Trainer(recipe, build(recipe, (8, 8, 1), 2), rows, (images, labels), 0, lambda event: None, 30)
    trainer.start(None)
    with pytest.raises(PermanentError) as error:
        trainer.run(lambda state: None, interval_s=60)
    assert str(error.value).startswith("digits-cnn diverged: ")
    assert str(error.value).endswith(f"; this run changed phases.0.weight_decay 0.0005 → 1e+30{TAKE_BACK}")
