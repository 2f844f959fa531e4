"""Rows that are streamed give what rows in memory would give in the same order."""

from typing import Any

import numpy as np
import pytest

from lib.data import grouped
from lib.data.grouped import GroupedRows
from lib.models.schema import Augmentation, Phase, Recipe, Size
from lib.training.batches import PaddedImages, TrainingFeatures, TrainingImages, TrainingRows, ValidationRows
from lib.training.checkpoints import State
from lib.training.streamed import StreamedFeatures, StreamedImages

STRONG = Augmentation(shift_px=2, flip=True, cutout_px=3)
ROWS, GROUP = 53, 8


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups of images at a time."""
    monkeypatch.setattr(grouped, "BUFFER_BYTES", 2 * GROUP * 6 * 7 * 3)


def in_groups(rows: np.ndarray) -> GroupedRows:
    sizes = [len(rows[first : first + GROUP]) for first in range(0, len(rows), GROUP)]
    return GroupedRows(
        sizes, rows.shape[1:], rows.dtype.type, lambda number: rows[number * GROUP : (number + 1) * GROUP]
    )


IMAGES = np.random.default_rng(0).integers(1, 256, (ROWS, 6, 7, 3), np.uint8)
LABELS = np.arange(ROWS, dtype=np.int32)


def same_order(kind: type[TrainingRows], rows: GroupedRows, *options: Any) -> TrainingRows:
    """Rows in memory, in the order of streamed ones."""

    class InTheirOrder(kind):  # type: ignore[misc, valid-type]
        def _shuffled(self, random: np.random.Generator) -> np.ndarray:
            return rows.shuffled(random)

    return InTheirOrder(*options)  # type: ignore[no-any-return]


@pytest.mark.parametrize("augmentation", [STRONG, Augmentation(), Augmentation(shift_px=1), Augmentation(flip=True)])
def test_streamed_images_are_augmented_as_those_in_memory(
    augmentation: Augmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.training.streamed.CROPPED_TOGETHER", 5)
    rows = in_groups(IMAGES)
    streamed = StreamedImages(rows, augmentation, LABELS, batch_size=4, seed=3)
    kept = same_order(TrainingImages, rows, PaddedImages.of(IMAGES, augmentation), LABELS, 4, 3)
    for epoch in range(2):
        for chunk in range(5):
            for other in (None, Augmentation()):
                ours, theirs = (each.chunk(epoch, chunk, 3, other) for each in (streamed, kept))
                assert np.array_equal(ours[0], theirs[0])
                assert np.array_equal(ours[1], theirs[1])


def test_streamed_features_are_chosen_as_those_in_memory() -> None:
    features = np.random.default_rng(0).normal(size=(ROWS, 2, 5)).astype(np.float16)
    rows = in_groups(features)
    streamed = StreamedFeatures(rows, LABELS, batch_size=4, seed=3)
    kept = same_order(TrainingFeatures, rows, features, LABELS, 4, 3)
    for chunk in range(5):
        ours, theirs = (each.chunk(1, chunk, 3) for each in (streamed, kept))
        assert ours[0].dtype == np.float32
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])


def test_an_epoch_has_each_row_once_and_any_chunk_is_known_without_those_before_it() -> None:
    def new() -> TrainingRows:
        return StreamedImages(in_groups(IMAGES), STRONG, LABELS, batch_size=4, seed=3)

    whole = new()
    chunks = [whole.chunk(2, chunk, 3) for chunk in range(5)]
    assert sorted(np.concatenate([labels for _, labels in chunks])) == list(range(ROWS))
    for number in (3, 1):
        images, labels = new().chunk(2, number, 3)
        assert np.array_equal(images, chunks[number][0])
        assert np.array_equal(labels, chunks[number][1])
    assert not np.array_equal(chunks[0][1], new().chunk(1, 0, 3)[1]), "another order in another epoch"


@pytest.mark.parametrize("size", [None, Size(epochs=1, px=4)])
def test_streamed_validation_is_that_in_memory(size: Size | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.training.batches.EVALUATION_BATCH", 10)
    found = [ValidationRows(inputs, LABELS).of(size) for inputs in (in_groups(IMAGES), IMAGES)]
    for _ in range(2):  # as often as it is asked for
        for ours, theirs in zip(*found, strict=True):
            assert np.array_equal(ours[0], theirs[0])
            assert np.array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("chunk", [1, 3, 6, 13])
def test_a_training_that_is_resumed_within_a_buffer_ends_with_the_same_bits(
    chunk: int, undisturbed: tuple[Any, dict[int, State]]
) -> None:
    one, states = undisturbed
    other = trainer()
    other.start(states[chunk])
    other.run(lambda state: None, interval_s=60)
    assert other.state().digest() == one.state().digest()


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[int, State]]:
    """One epoch of 14 steps, each a chunk of its own: four to a buffer; and the state after each."""
    monkeypatch.setattr("lib.training.fit.CHUNK_STEPS", 1)
    states: dict[int, State] = {}

    def save(state: State) -> None:
        states[state.progress.chunk or 14 * state.progress.epoch] = state

    one = trainer()
    one.start(None)
    one.run(save, interval_s=0)
    return one, states


def trainer() -> Any:
    from lib.models.networks import build
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    phases = (Phase(epochs=1, learning_rate=0.01),)
    recipe = Recipe(name="toy", description="", network="softmax", phases=phases, batch_size=4, augmentation=STRONG)
    prepare_keras(recipe, allow_cpu=True)
    rows = StreamedImages(in_groups(IMAGES), STRONG, LABELS % 2, recipe.batch_size, 0)
    return Trainer(recipe, build(recipe, (6, 7, 3), 2), rows, (in_groups(IMAGES), LABELS % 2), 0, lambda _: None, 30)
