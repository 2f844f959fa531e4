"""Pictures that lie in a dataset twice, found again; values by brute force."""

from collections.abc import Mapping

import numpy as np
import pytest

from lib.data.grouped import GroupedRows
from lib.evaluation import near_duplicates
from lib.evaluation.near_duplicates import (
    LEAST_CORRELATION,
    LEAST_CORRELATION_OF_GREY,
    find_near_duplicates,
    nearest,
    pool,
)
from lib.evaluation.shifted_correlation import shifted_correlation

SIDE = 32


def pictures(rows: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """(rows, side, side, 3) uint8: patches of random colours with soft edges, each picture another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (rows, side // 4 + 1, side // 4 + 1, 3))
    fine = np.kron(coarse, np.ones((1, 4, 4, 1)))
    soft = np.mean([fine[:, y : y + side, x : x + side] for y in range(4) for x in range(4)], axis=0)
    return soft.astype(np.uint8)


def grouped(rows: np.ndarray, sizes: int = 7) -> GroupedRows:
    """`rows` in groups of that size, the last one perhaps smaller."""
    parts = np.split(rows, range(sizes, len(rows), sizes))
    return GroupedRows([len(part) for part in parts], rows.shape[1:], rows.dtype.type, parts.__getitem__)


def of_splits(splits: Mapping[str, np.ndarray]) -> dict[str, GroupedRows]:
    return {name: grouped(rows) for name, rows in splits.items()}


def places(
    images: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray] | None = None, alone: int = 0
) -> set[tuple]:
    found = find_near_duplicates(of_splits(images), of_splits(features) if features else None, alone)
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)
    return {pair[:4] for pair in found}


def best_crop(left: np.ndarray, right: np.ndarray) -> float:
    """Brute force: the middle of each against every crop of the other and of its mirror image."""
    edge, middle = len(left) // 8, slice(len(left) // 8, len(left) - len(left) // 8)
    found = []
    for one, other in ((left, right), (right, left)):
        for image in (other, other[:, ::-1]):
            for y in range(2 * edge + 1):
                for x in range(2 * edge + 1):
                    crop = image[y : y + len(left) - 2 * edge, x : x + len(left) - 2 * edge]
                    found.append(np.corrcoef(one[middle, middle].ravel(), crop.ravel())[0, 1])
    return float(max(found))


def test_correlation_is_the_best_of_all_crops_as_brute_force_finds_it() -> None:
    left, right = pictures(4, 1, 16), pictures(4, 2, 16)
    right[0] = np.roll(left[0], (2, -1), (0, 1))
    right[1] = left[1][:, ::-1] // 2 + 40
    expected = [best_crop(one, other) for one, other in zip(left, right, strict=True)]
    assert shifted_correlation(left, right) == pytest.approx(expected, abs=1e-4)
    assert shifted_correlation(right, left) == pytest.approx(expected, abs=1e-4)
    assert expected[:2] == pytest.approx([1, 1], abs=0.001)
    assert max(expected[2:]) < LEAST_CORRELATION


def test_an_image_of_one_colour_correlates_with_nothing() -> None:
    one_colour = np.full((1, 16, 16, 3), 200, np.uint8)
    assert shifted_correlation(one_colour, pictures(1, side=16)).tolist() == [0]
    assert shifted_correlation(one_colour, one_colour).tolist() == [0]


def test_the_nearest_rows_are_those_of_brute_force_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(53, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    expected = np.argsort(-cosines, axis=1)[:, :4]
    for rows in (1, 10, 53, 1_000):
        monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", rows)
        others, values = nearest(vectors, 4)
        assert others.tolist() == expected.tolist()
        assert values == pytest.approx(np.take_along_axis(cosines, expected, 1), abs=1e-6)
        told = list[tuple[int, int]]()

        def tell(done: int, of: int, told: list[tuple[int, int]] = told) -> None:
            told.append((done, of))

        assert nearest(vectors, 4, 31, tell)[0].tolist() == expected[31:].tolist()
        assert told[-1] == (53 * 54 // 2 - 31 * 32 // 2, 53 * 54 // 2 - 31 * 32 // 2)


def test_copies_are_found_within_a_split_and_between_splits_and_nothing_else() -> None:
    train, validation, test = pictures(40, 1), pictures(15, 2), pictures(20, 3)
    test[4] = train[30]
    test[5] = np.roll(train[31], (2, 1), (0, 1))
    test[6] = (train[32] * 0.7 + 20).astype(np.uint8)
    train[3] = train[9]
    validation[14] = test[19]
    found = places({"train": train, "validation": validation, "test": test})
    between = {
        *(("train", row, "test", 4 + number) for number, row in enumerate((30, 31, 32))),
        ("validation", 14, "test", 19),
    }
    assert found == {*between, ("train", 3, "train", 9)}
    assert places({"train": train, "validation": validation, "test": test}, alone=1) == between


def test_features_find_a_mirrored_copy_and_pixels_reject_other_pictures_of_the_same_features() -> None:
    train, test = pictures(40, 1), pictures(20, 2)
    random = np.random.default_rng(0)
    views = {"train": random.normal(size=(40, 2, 30)), "test": random.normal(size=(20, 2, 30))}
    test[7] = train[11][:, ::-1]
    views["test"][7] = views["train"][11][::-1]
    views["test"][8] = views["train"][12]  # its picture is another
    views["test"][9] = views["train"][13]  # half of its picture is another
    test[9] = train[13] // 2 + test[9] // 2
    assert 0.65 < shifted_correlation(train[13:14], test[9:10])[0] < LEAST_CORRELATION
    features = {name: values.astype(np.float16) for name, values in views.items()}
    assert places({"train": train, "test": test}, features) == {("train", 11, "test", 7)}


def test_of_grey_images_only_copies_are_found() -> None:
    """Any two sevens of one hand correlate with more than 0.9."""
    train, test = (pictures(40, seed)[..., :1] for seed in (1, 2))
    test[3] = (0.75 * train[5] + 0.25 * test[3]).astype(np.uint8)
    test[4] = np.roll(train[6], (1, -2), (0, 1)) // 2 + 60
    assert 0.9 < shifted_correlation(train[5:6], test[3:4])[0] < LEAST_CORRELATION_OF_GREY
    assert places({"train": train, "test": test}) == {("train", 6, "test", 4)}


def test_what_has_many_neighbours_as_near_is_no_duplicate() -> None:
    """Of 30 skies each is as near to the others as the two photographs of one thing are to each other."""
    skies = np.stack([np.eye(60)[0] * 3 + np.eye(60)[10 + number] for number in range(30)])
    things = np.stack([np.eye(60)[1] * 3 + np.eye(60)[40], np.eye(60)[1] * 3 + np.eye(60)[41]])
    others = np.random.default_rng(0).normal(size=(20, 60))
    vectors = np.concatenate([skies, things, others])[:, np.newaxis].astype(np.float16)
    same = np.repeat(pictures(1), len(vectors), axis=0)  # so that pixels confirm all of them
    assert places({"train": same}, {"train": vectors}) == {("train", 30, "train", 31)}


def test_pixels_that_all_pictures_share_confirm_nothing() -> None:
    """As of trousers: any two correlate with more than 0.9, and only copies with more than others."""
    common, own = pictures(1).astype(float), pictures(40, 1).astype(float)
    images = (0.85 * common + 0.15 * own).astype(np.uint8)
    assert shifted_correlation(images[:1], images[1:2]) > 0.9
    features = np.random.default_rng(0).normal(size=(40, 1, 30)).astype(np.float16)
    features[[7, 11]] = features[[6, 10]]
    images[11] = images[10]
    assert places({"train": images}, {"train": features}) == {("train", 10, "train", 11)}


def test_each_of_more_copies_than_neighbours_is_found() -> None:
    images = pictures(50)
    images[:20] = images[0]
    found = places({"train": images})
    assert {row for _, *rows in found for row in rows if isinstance(row, int)} == {*range(20)}


def test_large_images_are_pooled_by_means_and_small_ones_are_left_as_they_are() -> None:
    images = np.arange(2 * 5 * 4 * 1, dtype=np.uint8).reshape(2, 5, 4, 1)
    assert pool(images, 5).tolist() == images.tolist()
    # Of 5 rows 3 make one of two: 2 are left over. Of 4 columns 2 each.
    assert pool(images, 2)[0, 0, :, 0].tolist() == [(0 + 1 + 4 + 5 + 8 + 9) / 6, (2 + 3 + 6 + 7 + 10 + 11) / 6]


def test_copies_of_large_images_are_found_in_the_pooled_ones() -> None:
    train, test = (np.kron(pictures(30, seed), np.ones((1, 3, 3, 1), np.uint8)) for seed in (1, 2))
    test[2] = train[8]
    assert places({"train": train, "test": test}) == {("train", 8, "test", 2)}
