"""What a report says first, worked out by hand: who won, which class collapsed, what changed since the last report."""

import re
import shlex
import shutil
from math import comb
from pathlib import Path

import numpy as np
import pytest

from flows.parameters import read_options
from flows.train import make_parser
from lib.errors import PermanentError
from lib.evaluation.intervals import wilson
from lib.evaluation.metrics import ClassMetrics, SplitMetrics
from lib.evaluation.paired import interval_of_difference, p_of_difference
from lib.lineage.manifests import Ref, load
from lib.planning.request import TrainingRequest
from lib.reporting.alerts import collapsed
from lib.reporting.changed import changed, fisher
from lib.reporting.classes import (
    Superclasses,
    extremes,
    grouped,
    groups_of,
    order_of_classes,
    pairs,
    superclass_accuracy,
)
from lib.reporting.decision import decide
from lib.reporting.matrix import frame_of, matrix
from lib.reporting.previous import ClassRecord, Previous
from lib.reporting.report import build_report, read_report, recompute
from lib.reporting.reproduce import commands
from lib.store import LocalStore
from tests.lib.lineage.forger import Forger, read

from . import made

NBSP = "\N{NO-BREAK SPACE}"
AT = "2026-11-20T10:00:00+00:00"


def right(*shares: tuple[int, int]) -> np.ndarray:
    """(1, N): so many images right, then so many wrong, and so on."""
    return np.concatenate([np.full(count, each % 2 == 0) for each, count in enumerate(np.ravel(shares))])[np.newaxis]


def of(confusion: list[list[int]]) -> SplitMetrics:
    counts = np.array(confusion)
    rows, named, hits = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    per_class = [
        ClassMetrics(
            name=f"class_{number}",
            recall=hits[number] / max(rows[number], 1),
            precision=hits[number] / max(named[number], 1),
            f1=0,
            rows=int(rows[number]),
        )
        for number in range(len(counts))
    ]
    return SplitMetrics(
        rows=int(counts.sum()),
        loss=1,
        accuracy=float(hits.sum() / counts.sum()),
        top5_accuracy=1,
        macro_f1=0,
        per_class=per_class,
        confusion=confusion,
    )


@pytest.fixture
def own_store(store: LocalStore, prepared: Ref, tmp_path: Path) -> LocalStore:
    """One with prepared data and no report."""
    for folder in ("datasets", prepared.uri):
        shutil.copytree(store.root / folder, tmp_path / folder)
    return LocalStore(tmp_path)


def rows_of(*models: np.ndarray, ranks: list[int]) -> list[dict[str, object]]:
    """Of a leaderboard: a, b and so on, each of (seeds, N) bool."""
    ends = [wilson(int(model[0].sum()), model.shape[1]) for model in models]
    return [
        {
            "model": "abc"[place],
            "rank": rank,
            "validation_accuracy": model.mean(),
            "validation_accuracy_low": low,
            "validation_accuracy_high": high,
        }
        for place, (model, rank, (low, high)) in enumerate(zip(models, ranks, ends, strict=True))
    ]


def test_a_clear_winner_is_named_with_its_lead_and_its_p() -> None:
    first, second = right((90, 10)), right((70, 30))
    said = decide(rows_of(first, second, ranks=[1, 2]), [first, second])
    assert said.headline.replace(NBSP, " ") == (
        "a is best on validation: 90.0 % of 100 images right (95 % interval 82.6 % to 94.5 %)."
    )
    assert said.reason.startswith("It leads b by 20.0 percentage points (95 % interval of the difference +")
    assert said.reason.endswith(": more than chance (p < 0.001, McNemar's exact test on the same images).")
    three = decide(rows_of(first, second, second, ranks=[1, 2, 2]), [first, second, second])
    assert three.reason.endswith("Each of the other models can be told from it.")


def test_models_that_the_images_cannot_tell_apart_share_the_win() -> None:
    """3 images gained and 1 lost: p = 2 · (1 + 4) / 2⁴ = 0.625."""
    first, second = right((96, 1), (3, 0)), right((97, 3))
    assert comb(4, 0) + comb(4, 1) == 5
    headline, said = decide(rows_of(first, second, second, ranks=[1, 1, 1]), [first, second, second])
    assert headline.startswith("a leads on validation, and that may be chance: 99.0")
    assert "It leads b by 2.0 percentage points" in said
    assert "that may be chance (p = 0.62, McNemar" in said
    assert said.endswith("These images cannot tell it from b and c: they share rank 1.")


def test_models_that_are_level_are_said_to_be() -> None:
    first, second = right((90, 10)), right((90, 10))
    headline, said = decide(rows_of(first, second, ranks=[1, 1]), [first, second])
    assert headline.startswith("a and others are level on validation: 90.0")
    assert said.startswith("It is level with b (95 % interval of the difference ")
    assert said.endswith("), and comes first by its loss. These images cannot tell it from b: they share rank 1.")


def test_of_several_seeds_the_mean_is_compared_and_its_interval_agrees_with_its_p() -> None:
    first, second = np.vstack([right((90, 10)), right((94, 6))]), np.vstack([right((88, 12)), right((90, 10))])
    said = decide(rows_of(first, second, ranks=[1, 1]), [first, second])
    assert f"92.0{NBSP}% of 100 images right, the mean of 2 seeds (95 % interval" in said.headline
    assert "It leads b by 3.0 percentage points" in said.reason
    assert "t test over the same images and over seeds" in said.reason
    low, high = interval_of_difference(first, second)
    assert (low + high) / 2 == pytest.approx(0.03)
    assert (low > 0) == (p_of_difference(first, second) <= 0.05)
    assert interval_of_difference(first, second, p_of_difference(first, second))[0] == pytest.approx(0, abs=1e-9)


def test_one_model_or_none_has_nothing_to_be_compared_with() -> None:
    only = right((9, 1))
    assert decide(rows_of(only, ranks=[1]), [only]).reason.startswith("It is the only model")
    assert decide([], []).headline == "No model was trained."


def test_a_class_that_is_hardly_found_has_collapsed_where_that_is_more_than_chance() -> None:
    """Others at 9 of 10: of 10 images none is right with 0.55¹⁰ = 0.0025 at half of that; of 3, with 0.17."""
    assert 0.55**10 < 0.05 / 4 < 0.55**3
    others = [[9, 1, 0, 0], [1, 9, 0, 0], [0, 1, 9, 0]]
    assert collapsed("a", of([*others, [5, 5, 0, 0]])) == [
        "A class has collapsed: of its validation images, a finds hardly any of class 3 (0 of 10), "
        f"where half of all classes have 90.0{NBSP}% or more."
    ]
    assert collapsed("a", of([*others, [3, 0, 0, 0]])) == []
    assert collapsed("a", of([*others, [3, 2, 0, 5]])) == []
    assert collapsed("a", of([*others, [0, 0, 0, 0]])) == []


def test_the_first_screen_says_that_a_class_collapsed_and_what_it_lost_since_the_last_report(
    own_store: LocalStore, prepared: Ref
) -> None:
    first = build_report(own_store, prepared, [made.evaluated(own_store, prepared, right=(1, 1, 1))])
    fallen = made.evaluated(own_store, prepared, right=(1, 1, 1), seed=1, collapsed=3)
    report = build_report(own_store, prepared, [fallen])
    rows = load(own_store, prepared).facts["rows"]["validation"]
    images = read_report(own_store, report).models[0].metrics["validation"].per_class[3].rows
    screen = re.sub(r"\s+", " ", made.index(own_store, report).split("<nav")[0])
    assert f"digits-cnn finds hardly any of 3 (0 of {images})" in screen
    assert "A class is found much less often than in the last report: 3 (100.0 % then, 0.0 % now)." in screen
    assert f"fell by {images / rows * 100:.1f} percentage points: more than chance." in screen
    assert "To be looked at first" not in made.index(own_store, first)
    assert "What changed" not in made.index(own_store, first)
    found = read_report(own_store, report).findings.changed
    assert found is not None
    assert [(each.name, each.then, each.now) for each in found.lost] == [("3", 1.0, 0.0)]
    assert found.gained == []
    assert found.beyond_chance == 1
    assert "Both were compared on the same 144 images." in found.said


def test_a_report_stays_the_same_when_the_one_before_it_is_gone(own_store: LocalStore, prepared: Ref) -> None:
    first = build_report(own_store, prepared, [made.evaluated(own_store, prepared, right=(1, 0.5, 1))])
    report = build_report(own_store, prepared, [made.evaluated(own_store, prepared, seed=1)])
    shutil.rmtree(own_store.root / first.uri)
    found, manifest = read_report(own_store, report), load(own_store, report)
    assert found.findings.changed is not None
    assert "by 40.3 percentage points" in found.findings.changed.short  # 130 of 144 right, and 72
    assert manifest.made_by["previous"]["report"]["uri"] == first.uri
    recompute(own_store, report.uri, manifest)


def test_a_limited_report_is_not_compared_with_a_full_one(own_store: LocalStore, prepared: Ref) -> None:
    build_report(own_store, prepared, [made.evaluated(own_store, prepared)])
    limited = made.prepared_digits(own_store, 100)
    report = build_report(own_store, limited, [made.evaluated(own_store, limited)])
    assert load(own_store, report).made_by["previous"] is None


@pytest.mark.parametrize("wrong", [{"previous": {"report": 3}}, {"commands": ["python"]}])
def test_a_record_that_is_none_is_named(own_store: LocalStore, prepared: Ref, wrong: dict[str, object]) -> None:
    report = build_report(own_store, prepared, [made.evaluated(own_store, prepared)])
    Forger(own_store, "report").manifest(made_by=read(own_store, "report").made_by | wrong)
    with pytest.raises(PermanentError, match=rf"made_by\.{next(iter(wrong))}: "):
        read_report(own_store, report)


def test_other_images_are_compared_by_fishers_test() -> None:
    """Of Fisher's tea: 3 of 4 and 1 of 4, two-sided p = 34/70."""
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)
    record = ClassRecord(rows=4, right=3, rows_then=4, right_then=1)
    before = {"report": Ref(uri="reports/toy/0", sha256="0" * 64), "at": AT, "model_then": "b", "same_model": False}
    found = changed("a", Previous(**before, same_images=False, classes={"oak_tree": record}))
    (oak,) = found.gained
    assert (oak.name, oak.then, oak.now, oak.beyond_chance) == ("oak tree", 0.25, 0.75, False)
    assert oak.p == pytest.approx(34 / 70)
    assert "The data were prepared anew: 4 images then, 4 others now." in found.said
    none = changed("a", Previous(**before, same_images=False, classes={}))
    assert "nothing can be compared" in none.said


def test_superclasses_follow_from_the_labels_or_are_none() -> None:
    assert pairs(np.array([0, 1, 2, 0]), np.array([1, 0, 1, 1]), 3, 2) == [1, 0, 1]
    assert pairs(np.array([0, 1, 2, 0]), np.array([1, 0, 1, 0]), 3, 2) is None, "class 0 lies in two"
    assert pairs(np.array([0, 1]), None, 2, 2) is None


def test_superclasses_count_a_mistake_within_them_as_right() -> None:
    metrics = of([[6, 4, 0], [0, 10, 0], [0, 5, 5]])
    superclasses = Superclasses(["pets", "plants"], [0, 0, 1])
    assert superclass_accuracy(metrics, superclasses) == 25 / 30
    pets, plants = grouped(metrics, superclasses)
    assert (pets.name, pets.classes, pets.recall, pets.right, pets.rows) == ("pets", 2, 0.8, 1.0, 20)
    assert (plants.name, plants.recall, plants.right, plants.rows) == ("plants", 0.5, 0.5, 10)


def test_best_and_worst_classes_are_shown_where_they_differ() -> None:
    best, worst = extremes(of([[4, 0, 0, 0], [1, 3, 0, 0], [2, 0, 2, 0], [0, 0, 0, 0]]))
    assert [each.name for each in best] == ["class_0"]
    assert [each.name for each in worst] == ["class_2"]
    assert extremes(of([[4, 0], [0, 4]])) == ([], [])


def test_classes_stand_by_superclass_or_beside_those_that_they_are_taken_for() -> None:
    confusion = (np.eye(6, dtype=int) * 9).tolist()
    confusion[0][5] = confusion[5][0] = confusion[1][3] = confusion[3][1] = 5
    superclasses = Superclasses(["x", "y"], [1, 0, 1, 0, 1, 0])
    assert order_of_classes(confusion, None, few=6) == [0, 1, 2, 3, 4, 5]
    by_superclass = order_of_classes(confusion, superclasses, few=2)
    assert by_superclass == [1, 3, 5, 0, 2, 4]
    assert groups_of(by_superclass, superclasses) == [("x", 0, 3), ("y", 3, 3)]
    clustered = order_of_classes(confusion, None, few=2)
    assert sorted(clustered) == [0, 1, 2, 3, 4, 5]
    for one, other in ((0, 5), (1, 3)):
        assert abs(clustered.index(one) - clustered.index(other)) == 1


def test_a_matrix_says_where_its_images_are() -> None:
    metrics = of([[7, 1], [0, 4]])
    drawn = matrix(metrics, frame_of(metrics, None), made.PNG)
    assert drawn.cells == [0, 0, 7, 0, 1, 1, 1, 1, 4]
    assert drawn.rows == [8, 4]
    assert drawn.numbers() == [(0, 0, 7, True), (0, 1, 1, False), (1, 1, 4, True)]


def test_the_command_of_a_report_makes_its_models_anew(own_store: LocalStore, prepared: Ref) -> None:
    refs = [
        *(made.evaluated(own_store, prepared, seed=seed) for seed in (4, 5, 6, 9)),
        *(made.evaluated(own_store, prepared, "digits-softmax", seed=seed) for seed in (4, 5, 6)),
        made.evaluated(own_store, prepared, seed=4, dropout=0.5),
        made.evaluated(own_store, prepared, seed=4, network="of another version"),
    ]
    models = [load(own_store, load(own_store, ref).inputs["model"]) for ref in refs]
    found = commands("digits", 100, models, show_test=True)
    start, end = "python -m flows.train --dataset digits --limit 100 --models", "--show-test"
    assert found.lines == [
        f"{start} digits-cnn digits-softmax --seed 4 --seeds 3 {end}",
        f"{start} digits-cnn --seed 9 {end}",
        f"{start} digits-cnn --seed 4 --set dropout=0.5 {end}",
    ]
    assert found.without == 1
    options = read_options(TrainingRequest, make_parser().parse_args(shlex.split(found.lines[2])[3:]))
    assert options.overrides == {"dropout": "0.5"}
    assert (options.seed, options.models, options.show_test) == (4, ["digits-cnn"], True)
