"""How often the gate of the registry errs, on simulated pairs of models: `python -m tests.benchmarks.gate`.

It prints the table of docs/promotion.md: how often each rule replaces the champion.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from lib.command_line import main_of, parser
from lib.evaluation.calibration import calibration_error, calibration_error_interval, reliability
from lib.evaluation.intervals import Interval
from lib.evaluation.paired import Discordant
from lib.registry.gate import PROMOTE, CalibrationError, HeldOut, Latency, Rules, decide

IMAGES = 10_000
"""Of validation, and of test."""
CLASSES = 100
DISCORDANCE = 0.1
"""The share of images on which two trainings of one recipe differ: that of cifar-cnn is about twice this."""
REPORTED = 10
"""Models in a report, of which the best is the challenger."""
MARGIN = 0.005
"""What a fixed margin asks for."""
RULES = Rules()
CALIBRATED = CalibrationError(0.02, Interval(0.01, 0.03))
AS_FAST = Latency(0.01, 0.01, 1.0, 31, 32)
Pair = Callable[[np.random.Generator], tuple[Discordant, HeldOut]]
"""Validation and test of one challenger."""


def drawn(random: np.random.Generator, gain: float, rows: int, classes: int) -> list[Discordant]:
    """Of each class, where the challenger truly gains `gain` of accuracy."""
    shares = [(DISCORDANCE + gain) / 2, (DISCORDANCE - gain) / 2, 1 - DISCORDANCE]
    counts = random.multinomial(rows // classes, shares, classes)
    return [Discordant(int(gained), int(lost), rows // classes) for gained, lost, _ in counts]


def pair(
    random: np.random.Generator,
    gain: float,
    images: int = IMAGES,
    class_loss: float = 0.0,
    challenger: CalibrationError = CALIBRATED,
    latency: Latency = AS_FAST,
) -> tuple[Discordant, HeldOut]:
    """Two models that differ by `gain`; one class of CLASSES may lose `class_loss` on test."""
    validation = total(drawn(random, gain, images, 1))
    classes = drawn(random, gain, images, CLASSES)
    if class_loss:
        gained, lost, _ = random.multinomial(images // CLASSES, [0.05, 0.05 + class_loss, 0.9 - class_loss])
        classes[7] = Discordant(int(gained), int(lost), images // CLASSES)
    named = {str(number): each for number, each in enumerate(classes)}
    return validation, HeldOut(total(classes), named, CALIBRATED, challenger, latency)


def total(pairs: list[Discordant]) -> Discordant:
    return Discordant(*(sum(column) for column in zip(*pairs, strict=True)))


def miscalibrated(random: np.random.Generator, resamples: int = 100) -> CalibrationError:
    """Of a model that is 0.7 to 1 sure and right ten points less often than it says."""
    confidence = random.uniform(0.7, 1.0, IMAGES)
    right = random.random(IMAGES) < confidence - 0.1
    interval = calibration_error_interval(confidence, right, seed=0, resamples=resamples)
    return CalibrationError(calibration_error(reliability(confidence, right)), interval)


def of_the_gate(validation: Discordant, held_out: HeldOut, attempt: int = 1, chosen_from: int = 1) -> bool:
    return decide(validation, attempt, RULES, lambda: held_out, chosen_from).verdict == PROMOTE


def of_the_higher_number(validation: Discordant, held_out: HeldOut) -> bool:
    return validation.gained > validation.lost


def of_a_margin(validation: Discordant, held_out: HeldOut) -> bool:
    return validation.gained - validation.lost >= MARGIN * validation.rows


RULES_COMPARED = ("the gate", "the higher number wins", "half a point more wins")


def rates(scene: Pair, tries: int, seed: int = 0, chosen_from: int = 1) -> list[float]:
    """Of RULES_COMPARED, the share of `tries` in which each replaces the champion: on the same pairs."""
    random = np.random.default_rng(seed)
    pairs = [scene(random) for _ in range(tries)]
    rules = (partial(of_the_gate, chosen_from=chosen_from), of_the_higher_number, of_a_margin)
    return [float(np.mean([rule(*each) for each in pairs])) for rule in rules]


def best_of(random: np.random.Generator, models: int = REPORTED) -> tuple[Discordant, HeldOut]:
    """The most accurate on validation of so many models that are all equal to the champion."""
    hard = round(2 * DISCORDANCE * IMAGES)  # of these each model has half right, by chance
    right = random.random((models + 1, hard)) < 0.5
    champion, best = right[0], max(right[1:], key=np.sum)
    gained, lost = (int(np.sum(each)) for each in _apart(best, champion))
    return Discordant(gained, lost, IMAGES), pair(random, 0.0)[1]


def replaced_in_a_row(challengers: int, rows: int, random: np.random.Generator) -> list[int]:
    """How often each rule replaces the champion in a row of challengers that are all equal to it, on the same images.

    Each image is as hard for all of them, so that about DISCORDANCE of the images differ between any two.
    """
    hard = random.random(rows) < 2 * DISCORDANCE  # of these each model has half right, by chance
    test = total(drawn(random, 0.0, IMAGES, 1))
    held_out = HeldOut(test, {"all": test}, CALIBRATED, CALIBRATED, AS_FAST)
    champions = [random.random(int(hard.sum())) < 0.5] * len(RULES_COMPARED)
    replaced = [0] * len(RULES_COMPARED)
    for attempt in range(1, challengers + 1):
        challenger = random.random(len(champions[0])) < 0.5
        for number, rule in enumerate((partial(of_the_gate, attempt=attempt), of_the_higher_number, of_a_margin)):
            gained, lost = (int(np.sum(each)) for each in _apart(challenger, champions[number]))
            if rule(Discordant(gained, lost, rows), held_out):
                replaced[number] += 1
                champions[number] = challenger
    return replaced


def _apart(challenger: np.ndarray, champion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return challenger & ~champion, champion & ~challenger


def scenes(random: np.random.Generator) -> dict[str, Pair]:
    """By what a table calls them."""
    ruined = [miscalibrated(random) for _ in range(10)]
    return {
        "no true difference": partial(pair, gain=0.0),
        "the challenger is 1 point better": partial(pair, gain=0.01),
        "the challenger is 2 points better": partial(pair, gain=0.02),
        "the challenger is 1 point worse": partial(pair, gain=-0.01),
        "2 points better, and one class of 100 loses 30": partial(pair, gain=0.02, class_loss=0.3),
        "2 points better, and one class of 100 loses 60": partial(pair, gain=0.02, class_loss=0.6),
        "2 points better, and 10 points too sure": lambda random: pair(
            random, 0.02, challenger=ruined[random.integers(len(ruined))]
        ),
        "2 points better, and three times as slow": partial(pair, gain=0.02, latency=AS_FAST._replace(ratio=3.0)),
        "no true difference, 144 and 360 images": _of_digits,
        "2 points better, 144 and 360 images": partial(_of_digits, gain=0.02),
    }


def _of_digits(random: np.random.Generator, gain: float = 0.0) -> tuple[Discordant, HeldOut]:
    validation, test = (drawn(random, gain, rows, 1)[0] for rows in (144, 360))
    return validation, HeldOut(test, {"all": test}, CALIBRATED, CALIBRATED, AS_FAST)


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument("--tries", type=int, metavar="N", default=1_000, help="of each row (default: 1,000)")
    return options


def command() -> None:
    tries = make_parser().parse_args().tries
    print(f"| {IMAGES:,} images each of validation and test | {' | '.join(RULES_COMPARED)} |")
    print("|---" * (1 + len(RULES_COMPARED)) + "|")
    for name, scene in scenes(np.random.default_rng(1)).items():
        print(f"| {name} | {' | '.join(f'{100 * rate:.1f} %' for rate in rates(scene, tries))} |", flush=True)
    of_best = (f"{100 * rate:.1f} %" for rate in rates(best_of, tries, chosen_from=REPORTED))
    print(f"| the best of {REPORTED} models, none better | {' | '.join(of_best)} |")
    random = np.random.default_rng(2)
    rows = [replaced_in_a_row(100, IMAGES, random) for _ in range(max(1, tries // 10))]
    said = (f"{np.mean(each):.2f} times, at most {max(each)}" for each in zip(*rows, strict=True))
    print(f"| 100 challengers in a row, none better: replaced | {' | '.join(said)} |")


if __name__ == "__main__":
    main_of(command)
