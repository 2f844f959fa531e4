"""Drift of images and predicted classes, on numbers worked out by hand and on real photographs."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from lib.prediction.drift import FIGURES, LEAST_IMAGES, Drift, Reference, compare, figures
from tests.conftest import DATASETS

NAMES = [f"class {number}" for number in range(10)]


def predicted_by(accuracy: float, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """How often each class is predicted by a model that is right so often, and else guesses."""
    random = np.random.default_rng(seed)
    wrong = random.random(len(labels)) >= accuracy
    guessed = random.integers(0, classes, len(labels))
    return np.bincount(np.where(wrong, guessed, labels), minlength=classes)


def reference_of(found: np.ndarray, classes: int = 10, accuracy: float = 0.93, rows: int = 5_000) -> Reference:
    return Reference(found, predicted_by(accuracy, np.arange(rows) % classes, classes, 0), 0.9, 0.92)


def test_figures_are_those_that_a_pencil_finds() -> None:
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, 0, 0] = 255, 0, 0
    pixels[0, 1, 1] = 255, 255, 255
    # Grey values 1/3, 0 and 0, 1: neighbours differ by 1/3 and 1 in both directions.
    expected = [
        1 / 3,
        np.std([1 / 3, 0, 0, 1]),
        2 * (1 / 9 + 1) / 2,
        1 / 4,
        (1 / 2 + 1 / 4) / 2 - 1 / 4,
        4 / 12,
        8 / 12,
    ]
    assert figures(pixels)[0] == pytest.approx(expected, rel=1e-6)
    grey = np.full((1_500, 1, 3, 1), 51, np.uint8)
    assert figures(grey) == pytest.approx(np.tile([0.2, 0, 0, 0, 0, 0, 0], (1_500, 1)), abs=1e-6)


def test_images_that_are_darker_raise_the_alarm_and_others_do_not() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (3_000, 4, 4, 1), np.uint8)
    reference, even = reference_of(figures(noise[:2_000])), np.full(10, 100)
    like = compare(reference, figures(noise[2_000:]), even, 0.9, NAMES)
    darker = compare(reference, figures(noise[2_000:] // 2), even, 0.7, NAMES)
    assert (like.verdict, like.expected_accuracy) == ("no drift", 0.9)
    assert darker.verdict == "drift"
    assert darker.figures["brightness"].alarm
    assert not darker.figures["red_green"].alarm
    assert darker.said[0] == "These 1,000 images are not like those of validation."
    assert darker.said[1].startswith("Brightness differs from validation: mean 0.24")
    assert darker.said[-1].startswith("Expected accuracy, from calibrated confidence: 70.0%; on validation")


def test_few_images_cannot_tell() -> None:
    reference = reference_of(np.zeros((500, len(FIGURES)), np.float32))
    few = np.bincount(np.zeros(LEAST_IMAGES - 1, int), minlength=10)
    drift = compare(reference, np.ones((len(few), len(FIGURES)), np.float32), few, 0.5, NAMES)
    assert (drift.verdict, drift.figures, drift.classes) == ("too few to tell", {}, None)
    assert "199; it takes 200" in drift.said[0]
    assert compare(reference, np.empty((0, len(FIGURES))), np.zeros(10, int), float("nan"), NAMES).said == [
        "Too few images to tell whether they are like validation: 0; it takes 200."
    ]


@pytest.mark.parametrize(("classes", "accuracy"), [(10, 0.93), (10, 0.7), (20, 0.8)])
def test_a_missing_class_raises_the_alarm_at_1000_images(classes: int, accuracy: float) -> None:
    same = np.zeros((1_000, len(FIGURES)), np.float32)
    names = [f"class {number}" for number in range(classes)]
    reference = reference_of(same, classes, accuracy)
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(0, classes, 1_000)
        without = np.where(labels == 3, 4 + seed % 5, labels)
        drift = compare(reference, same, predicted_by(accuracy, without, classes, seed), 0.9, names)
        assert drift.classes
        assert (drift.verdict, drift.classes.missing) == ("drift", ["class 3"])
        clean = compare(reference, same, predicted_by(accuracy, labels, classes, seed), 0.9, names)
        assert clean.verdict == "no drift"


def test_shares_of_classes_that_change_raise_the_alarm() -> None:
    same = np.zeros((1_000, len(FIGURES)), np.float32)
    shares = np.array([200, 200, 150, 100, 100, 50, 50, 50, 50, 50])  # total variation 0.25 of 100 each
    drift = compare(reference_of(same), same, shares, 0.9, NAMES)
    assert drift.classes
    assert drift.classes.total_variation == pytest.approx(0.25, abs=0.01)
    assert (drift.verdict, drift.classes.alarm) == ("drift", True)


def photographs(pattern: str) -> np.ndarray:
    """(N, 32, 32, 3): CIFAR-100's, from mosaics of 25 × 40."""
    mosaics = (np.asarray(Image.open(path).convert("RGB")) for path in sorted((DATASETS / "cifar100").glob(pattern)))
    return np.concatenate(
        [each.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3) for each in mosaics]
    )


def edited(images: np.ndarray, edit: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(edit(Image.fromarray(each))) for each in images])


EDITS: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "inverted": (lambda image: image.point(lambda value: 255 - value), "yellow_blue"),
    "grey": (lambda image: image.convert("L").convert("RGB"), "red_green"),
    "blurred by 0.8 px": (lambda image: image.filter(ImageFilter.GaussianBlur(0.8)), "gradient_energy"),
    "contrast × 0.9": (lambda image: ImageEnhance.Contrast(image).enhance(0.9), "share_light"),
}


@pytest.mark.real_data
def test_cifar_100_edited_raises_the_alarm_and_clean_sets_do_not() -> None:
    if not (DATASETS / "cifar100").is_dir():
        pytest.skip(f"the real datasets are not beside this repository in {DATASETS}")
    reference, test = reference_of(figures(photographs("train_0[0-4].webp"))), photographs("test_*.webp")
    even = np.full(10, 100)

    def drift(images: np.ndarray) -> Drift:
        return compare(reference, figures(images), even, 0.9, NAMES)

    for name, (edit, alarming) in EDITS.items():
        found = drift(edited(test[:1_000], edit))
        assert found.verdict == "drift", name
        assert found.figures[alarming].alarm, name
    of_all, random = figures(test), np.random.default_rng(0)
    draws = (random.choice(len(test), 1_000, replace=False) for _ in range(60))
    assert sum(compare(reference, of_all[rows], even, 0.9, NAMES).verdict == "drift" for rows in draws) <= 1
    few = compare(reference, of_all[:100], np.full(10, 10), 0.9, NAMES)
    assert few.verdict == "too few to tell"
