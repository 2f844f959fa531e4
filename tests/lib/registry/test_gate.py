"""The gate: each of its tests on numbers worked out by hand, and how often it errs on simulated pairs."""

from functools import partial

import numpy as np
import pytest

from lib.evaluation.intervals import Interval
from lib.evaluation.paired import Discordant
from lib.registry.gate import CalibrationError, HeldOut, Latency, Rules, decide, first_champion, level_of
from tests.benchmarks import gate as simulated

BETTER = Discordant(600, 400, 10_000)
GOOD = HeldOut(
    test=Discordant(600, 420, 10_000),
    classes={"cat": Discordant(300, 210, 5_000), "dog": Discordant(300, 210, 5_000)},
    champion=CalibrationError(0.02, Interval(0.01, 0.03)),
    challenger=CalibrationError(0.05, Interval(0.03, 0.07)),
    latency=Latency(0.010, 0.020, 2.0, 31, 32),
)


def refused() -> HeldOut:
    raise AssertionError("test must not be read")


def test_what_is_better_and_not_worse_in_anything_is_promoted_with_the_numbers_of_each_test() -> None:
    decision = decide(BETTER, 1, Rules(), lambda: GOOD)
    assert (decision.verdict, decision.rows_needed) == ("promote", None)
    assert [*decision.tests] == ["validation", "test", "calibration", "classes", "latency"]
    assert decision.reasons[0] == (
        "On validation the challenger alone is right on 600 and the champion alone on 400 of 10,000 images: a gain of "
        "2.00 points. McNemar's exact one-sided test gives p = 1.364e-10; as challenger 1 on this data it must have at "
        "most 0.0304, and it has."
    )
    assert all(reason.endswith(".") and any(map(str.isdigit, reason)) for reason in decision.reasons)


def test_levels_of_all_challengers_on_one_version_of_the_data_sum_to_five_percent() -> None:
    assert level_of(1) == pytest.approx(0.3 / np.pi**2)
    assert level_of(2) == pytest.approx(level_of(1) / 4)
    # The rest of Σ 1/k² beyond K is about 1/K.
    assert level_of(2, chosen_from=10) == pytest.approx(level_of(2) / 10)
    assert sum(map(level_of, range(1, 1001))) == pytest.approx(0.05 - level_of(1) / 1000, rel=1e-5)


@pytest.mark.parametrize(
    ("validation", "attempt", "rules", "verdict", "says"),
    [
        # 7 and 1: p = 9 / 256 = 0.0352, more than 0.0304 and less than 0.05.
        (Discordant(7, 1, 100), 1, Rules(), "cannot-tell", "gives p = 0.03516"),
        # 8 and 1: p = 10 / 512 = 0.0195; as second challenger it must have at most 0.0304 / 4 = 0.0076.
        (Discordant(8, 1, 100), 2, Rules(), "cannot-tell", "it must have at most 0.007599"),
        (BETTER, 1, Rules(min_gain=0.03), "keep", "But the gain is below the least gain asked for, 3.00 points."),
        (Discordant(400, 600, 10_000), 1, Rules(), "keep", "below the least gain asked for, 0.20 points."),
        (Discordant(0, 0, 144), 1, Rules(min_gain=0), "cannot-tell", "no number of images shows a gain of nothing."),
    ],
)
def test_without_a_gain_on_validation_the_champion_stays_and_test_is_not_read(
    validation: Discordant, attempt: int, rules: Rules, verdict: str, says: str
) -> None:
    decision = decide(validation, attempt, rules, refused)
    assert decision.verdict == verdict
    assert says in decision.reasons[0]


def test_where_it_cannot_tell_it_says_how_many_images_it_would_take() -> None:
    # Connor: ((1.875 · √0.08 + 0.842 · √(0.08 − 0.06²)) / 0.06)² = 161; then n/4 · (1 + √(1 + 4 / (0.06 n)))² = 194.
    decision = decide(Discordant(7, 1, 100), 1, Rules(), refused)
    assert decision.rows_needed == 194
    assert f"about {decision.rows_needed} validation images" in decision.reasons[0]


@pytest.mark.parametrize(
    ("worse", "failed", "says"),
    [
        ({"test": Discordant(100, 260, 10_000)}, "test", "at least -1.00 points must be shown, and is not."),
        (
            {"challenger": CalibrationError(0.05, Interval(0.031, 0.07))},
            "calibration",
            "is 0.0500 (0.0310 to 0.0700) of the challenger and 0.0200 (0.0100 to 0.0300) of the champion",
        ),
        # 12 of 100 lost: p = 2⁻¹², of two classes 2⁻¹¹.
        ({"classes": {"cat": Discordant(0, 12, 100), "dog": Discordant(0, 0, 100)}}, "classes", "cat 12.00 points"),
        ({"latency": GOOD.latency._replace(ratio=2.01)}, "latency", "2.01 times as long as the champion"),
    ],
)
def test_each_veto_keeps_the_champion_alone(worse: dict[str, object], failed: str, says: str) -> None:
    decision = decide(BETTER, 1, Rules(), lambda: GOOD._replace(**worse))
    assert decision.verdict == "keep"
    assert [name for name, each in decision.tests.items() if each["verdict"] != "promote"] == [failed]
    assert says in " ".join(decision.reasons)


@pytest.mark.parametrize(
    "classes",
    [
        {"cat": Discordant(0, 9, 100)},  # beyond chance, and not 10 points
        {"cat": Discordant(0, 4, 20)},  # 20 points, and p = 1/16
        {"cat": Discordant(2, 12, 100), "dog": Discordant(0, 0, 0)} | {str(n): Discordant(1, 1, 50) for n in range(30)},
    ],
)
def test_a_class_is_not_lost_by_chance_or_by_little(classes: dict[str, Discordant]) -> None:
    assert decide(BETTER, 1, Rules(), lambda: GOOD._replace(classes=classes)).verdict == "promote"


def test_a_test_set_too_small_to_exclude_a_loss_cannot_tell() -> None:
    decision = decide(BETTER, 1, Rules(), lambda: GOOD._replace(test=Discordant(0, 0, 100)))
    # Where none is discordant the bound is −z² / (n + z²), which is −0.01 at n = 99 · 1.645² = 267.9.
    assert (decision.verdict, decision.rows_needed) == ("cannot-tell", 268)
    slow = GOOD._replace(test=Discordant(0, 0, 100), latency=GOOD.latency._replace(ratio=3.0))
    assert decide(BETTER, 1, Rules(), lambda: slow).verdict == "keep"


def test_a_first_model_becomes_champion_without_a_test() -> None:
    assert first_champion().verdict == "promote"
    assert first_champion().reasons[0].startswith("No champion before")


def test_of_simulated_equals_few_are_promoted_of_better_ones_most_and_of_ruined_ones_none() -> None:
    equal, higher, margin = simulated.rates(partial(simulated.pair, gain=0.0), 500)
    assert equal <= 0.066
    assert 0.4 < higher < 0.6
    assert margin > equal
    best_of_ten = simulated.rates(simulated.best_of, 100, chosen_from=10)
    assert best_of_ten[0] <= 0.066 < best_of_ten[1]
    assert simulated.rates(partial(simulated.pair, gain=0.02), 40)[0] >= 0.95
    scenes = simulated.scenes(np.random.default_rng(1))
    ruined = [name for name in scenes if "loses 60" in name or "too sure" in name or "as slow" in name]
    assert [simulated.rates(scenes[name], 15)[0] for name in ruined] == [0.0, 0.0, 0.0]


@pytest.mark.slow
def test_of_a_thousand_simulated_pairs_and_of_a_hundred_challengers_in_a_row_it_errs_as_seldom_as_promised() -> None:
    scenes = simulated.scenes(np.random.default_rng(1))
    rates = {name: simulated.rates(scene, 1_000)[0] for name, scene in scenes.items()}
    assert rates["no true difference"] <= 0.066
    assert rates["the challenger is 2 points better"] >= 0.95
    assert [rate for name, rate in rates.items() if "loses 60" in name or "sure" in name or "slow" in name] == [0, 0, 0]
    random = np.random.default_rng(2)
    assert max(simulated.replaced_in_a_row(100, 10_000, random)[0] for _ in range(100)) <= 1
