"""Chunks of training rows, against the same draws made one image at a time."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.models.schema import Augmentation
from lib.training import batches
from lib.training.batches import PaddedImages, TrainingFeatures, TrainingImages
from lib.training.streams import Use, seed_layers, stream

PLAIN = Augmentation()


def numbered(rows: int, shape: tuple[int, int, int] = (4, 5, 1)) -> np.ndarray:
    """Images of one value throughout, the row number plus one: no pixel is the 0 of a border."""
    return np.repeat(np.arange(1, rows + 1, dtype=np.uint8), np.prod(shape)).reshape(rows, *shape)


def numpy_stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def noise(rows: int, shape: tuple[int, int, int] = (6, 7, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (rows, *shape), np.uint8)


def rows_of(
    images: np.ndarray, labels: np.ndarray | None = None, augmentation: Augmentation = PLAIN, **changes: int
) -> TrainingImages:
    labels = np.arange(len(images)) if labels is None else labels
    options = {"batch_size": 4, "seed": 3, **changes}
    return TrainingImages(PaddedImages.of(images, augmentation), labels, **options)  # type: ignore[arg-type]


def test_shifted_crops_are_those_of_padding_and_slicing_each_image() -> None:
    images = noise(20)
    chunk, labels = rows_of(images, augmentation=Augmentation(shift_px=2)).chunk(epoch=1, chunk=1, chunk_steps=3)
    order = numpy_stream(3, 0, 1).permutation(20)[12:24]
    draws = numpy_stream(3, 1, 1, 1)
    down, right = draws.integers(5, size=8), draws.integers(5, size=8)
    assert labels.tolist() == order.tolist()
    for found, row, y, x in zip(chunk, order, down, right, strict=True):
        padded = np.pad(images[row], ((2, 2), (2, 2), (0, 0)))
        assert np.array_equal(found, padded[y : y + 6, x : x + 7])


def test_a_weaker_augmentation_in_place_of_the_rows_own_crops_around_the_middle() -> None:
    images = noise(20)
    rows = rows_of(images, augmentation=Augmentation(shift_px=3, flip=True, cutout_px=2))
    as_they_are, labels = rows.chunk(1, 0, 5, PLAIN)
    assert np.array_equal(as_they_are, images[labels])
    shifted, labels = rows.chunk(1, 0, 5, Augmentation(shift_px=1))
    alone, same = rows_of(images, augmentation=Augmentation(shift_px=1)).chunk(1, 0, 5)
    assert np.array_equal(shifted, alone)
    assert np.array_equal(labels, same)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 20])
def test_all_augmentations_together_are_those_of_one_image_after_the_other(size: int) -> None:
    images, augmentation = noise(40), Augmentation(shift_px=2, flip=True, cutout_px=size)
    chunk, labels = rows_of(images, augmentation=augmentation, batch_size=30).chunk(epoch=1, chunk=0, chunk_steps=1)
    draws = numpy_stream(3, 1, 1, 0)
    down, right = draws.integers(5, size=30), draws.integers(5, size=30)
    mirrored = draws.random(30) < 0.5
    assert set(mirrored.tolist()) == {True, False}
    tops = draws.integers(-(size // 2), 6 - size // 2, 30) if size else np.zeros(30, int)
    lefts = draws.integers(-(size // 2), 7 - size // 2, 30) if size else np.zeros(30, int)
    for number, row in enumerate(labels):
        padded = np.pad(images[row], ((2, 2), (2, 2), (0, 0)))
        crop = padded[down[number] : down[number] + 6, right[number] : right[number] + 7].copy()
        crop = crop[:, ::-1] if mirrored[number] else crop
        for y in range(6):
            for x in range(7):
                if 0 <= y - tops[number] < size and 0 <= x - lefts[number] < size:
                    crop[y, x] = 0
        assert np.array_equal(chunk[number], crop)


def test_shifts_reach_as_far_as_promised_each_way() -> None:
    images = np.zeros((2_000, 5, 5, 1), np.uint8)
    images[:, 2, 2] = 255
    rows = rows_of(images, augmentation=Augmentation(shift_px=2), batch_size=2_000)
    _, ys, xs, _ = np.nonzero(rows.chunk(0, 0, 1)[0])
    assert set(zip(ys.tolist(), xs.tolist(), strict=True)) == {(y, x) for y in range(5) for x in range(5)}


def test_without_augmentation_the_pixels_are_the_originals() -> None:
    images = noise(10)
    found, labels = rows_of(images).chunk(epoch=0, chunk=0, chunk_steps=3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, images[labels])


@pytest.mark.parametrize("chunk_steps", [1, 2, 3, 100])
def test_each_row_comes_once_an_epoch_with_its_label(chunk_steps: int) -> None:
    rows = rows_of(numbered(22), np.arange(22) + 100)  # 6 steps: 4·5 + 2
    chunks = [rows.chunk(5, chunk, chunk_steps) for chunk in range(-(-6 // chunk_steps))]
    images, labels = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    assert images[:, 0, 0, 0].tolist() == (labels - 99).tolist()
    assert sorted(labels.tolist()) == list(range(100, 122))


def test_the_order_is_the_same_however_an_epoch_is_cut() -> None:
    rows = rows_of(numbered(22))
    whole = rows.chunk(0, 0, 6)[1]
    pieces = np.concatenate([rows.chunk(0, chunk, 2)[1] for chunk in range(3)])
    assert whole.tolist() == pieces.tolist()


def test_a_chunk_is_a_function_of_seed_epoch_and_chunk_alone() -> None:
    images, augmentation = noise(40), Augmentation(shift_px=3, flip=True, cutout_px=2)
    first = rows_of(images, augmentation=augmentation)
    for chunk in (0, 1, 2):
        first.chunk(0, chunk, 2)
    again = rows_of(images, augmentation=augmentation)  # has made no other chunk before
    assert np.array_equal(first.chunk(4, 2, 2)[0], again.chunk(4, 2, 2)[0])
    assert np.array_equal(first.chunk(4, 2, 2)[0], again.chunk(4, 2, 2)[0])


def test_no_two_uses_epochs_chunks_or_layers_share_a_stream() -> None:
    # Zeros are what NumPy pads with: [seed, epoch] and [seed, epoch, 0] are one stream to it.
    places = [
        (),
        *((epoch,) for epoch in range(3)),
        *((e, c) for e in range(3) for c in range(3)),
        (0, 0, 0),
        (0, 0, 1),
    ]
    drawn = [stream(seed, use, *place).integers(2**63) for seed in (0, 1, 2**32) for use in Use for place in places]
    assert len(drawn) == len(set(drawn)) == 3 * 3 * 15


def test_each_layer_that_draws_is_seeded_from_its_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[np.ndarray] = []
    layers = [SimpleNamespace(seed_generator=SimpleNamespace(state=SimpleNamespace(assign=given.append))) for _ in "ab"]
    seed_layers(SimpleNamespace(layers=layers), 3, 4, 5)
    for number, state in enumerate(given):
        expected = stream(3, Use.LAYER_SEEDS, 4, 5, number).integers(2**32, size=2, dtype=np.uint32)
        assert np.array_equal(state, expected)
    assert len(given) == 2


def test_the_order_is_drawn_once_an_epoch_however_many_chunks_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Use, int]] = []

    def noting(seed: int, use: Use, epoch: int, *place: int) -> np.random.Generator:
        drawn.append((use, epoch))
        return stream(seed, use, epoch, *place)

    monkeypatch.setattr(batches, "stream", noting)
    rows = rows_of(numbered(40))
    for epoch, chunk in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        rows.chunk(epoch, chunk, 2)
    assert [epoch for use, epoch in drawn if use == Use.ORDER] == [0, 1]


def test_seed_and_epoch_change_the_order_and_chunks_differ_in_their_draws() -> None:
    images = numbered(40)
    order = rows_of(images).chunk(0, 0, 10)[1].tolist()
    assert rows_of(images, seed=4).chunk(0, 0, 10)[1].tolist() != order
    assert rows_of(images).chunk(1, 0, 10)[1].tolist() != order
    same = np.zeros((16, 5, 5, 1), np.uint8)
    same[:, 2, 2] = 255
    shifted = rows_of(same, augmentation=Augmentation(shift_px=2))
    assert not np.array_equal(shifted.chunk(0, 0, 2)[0], shifted.chunk(0, 1, 2)[0])


def test_about_every_second_image_is_mirrored_left_and_right_and_the_others_are_as_they_were() -> None:
    images = noise(400)
    rows = rows_of(images, augmentation=Augmentation(flip=True))
    found, labels = rows.chunk(0, 0, 100)
    straight = (found == images[labels]).all(axis=(1, 2, 3))
    mirrored = (found == images[labels][:, :, ::-1]).all(axis=(1, 2, 3))
    assert (straight ^ mirrored).all()
    assert 160 < mirrored.sum() < 240  # 200 ± 4 deviations of 10


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_cutout_blanks_a_rectangle_of_at_most_its_size(size: int) -> None:
    images = numbered(200, (6, 7, 2))
    found, labels = rows_of(images, augmentation=Augmentation(cutout_px=size)).chunk(0, 0, 50)
    areas = []
    for image, row in zip(found, labels, strict=True):
        ys, xs, _ = np.nonzero(image == 0)
        assert len(ys)
        height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
        assert max(height, width) <= size
        assert len(ys) == height * width * 2  # a full rectangle, in both channels
        assert (image[image != 0] == row + 1).all()
        areas.append(height * width)
    assert max(areas) == size * size


def test_the_originals_are_never_written_to() -> None:
    images = noise(30)
    before = images.copy()
    rows = rows_of(images, augmentation=Augmentation(shift_px=1, flip=True, cutout_px=3))
    rows.chunk(0, 0, 8)
    assert np.array_equal(images, before)
    plain = rows_of(images, augmentation=Augmentation(flip=True, cutout_px=3))
    plain.chunk(0, 0, 8)
    assert np.array_equal(images, before)


@pytest.mark.parametrize(("rows", "steps", "last"), [(8, 2, 4), (9, 3, 1), (11, 3, 3), (3, 1, 3)])
def test_the_last_step_of_an_epoch_may_have_fewer_rows(rows: int, steps: int, last: int) -> None:
    training = rows_of(numbered(rows))
    assert training.steps == steps
    images, labels = training.chunk(0, steps - 1, 1)
    assert (len(images), len(labels)) == (last, last)


def test_of_an_images_views_a_random_one_is_given_each_epoch() -> None:
    # Feature 0 is the row's number, feature 1 the view's.
    features = np.array([[[row, view] for view in range(2)] for row in range(100)], np.float16)
    rows = TrainingFeatures(features, np.arange(100), batch_size=10, seed=0)
    assert rows.steps == 10
    views = []
    for epoch in range(2):
        found, labels = rows.chunk(epoch, 0, 10)
        assert found.dtype == np.float32
        assert found[:, 0].tolist() == labels.tolist()
        views.append(found[np.argsort(labels), 1])
    for chosen in views:
        assert 30 < chosen.sum() < 70
    assert views[0].tolist() != views[1].tolist()
    again, _ = TrainingFeatures(features, np.arange(100), batch_size=10, seed=0).chunk(1, 0, 10)
    assert np.array_equal(again, rows.chunk(1, 0, 10)[0])
