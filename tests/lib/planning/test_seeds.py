"""With which seeds a plan trains, and what its trainings are called."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lib.errors import PermanentError
from lib.models import recipes
from lib.models.schema import Phase, Recipe
from lib.planning.dates import Start, fresh_seed
from lib.planning.plan import Plan, make_plan
from lib.planning.request import TrainingRequest, read_request
from lib.planning.titles import asked

TOYS = {
    name: Recipe(
        name=name, datasets=("digits",), description="", network="softmax", phases=(Phase(epochs=8, learning_rate=0.1),)
    )
    for name in ("one", "two")
}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", TOYS)


def planned(**request: Any) -> Plan:
    return make_plan(read_request(TrainingRequest, request))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_a_seed_within_range_is_taken_as_it_is(seed: int) -> None:
    assert planned(seed=seed).seeds == (seed,)


def test_a_fresh_seed_is_the_date_of_the_runs_start() -> None:
    late = datetime(2024, 3, 9, 23, 59, tzinfo=UTC)
    request = TrainingRequest(seed="fresh")
    assert make_plan(request, lambda: Start(late)).seeds == (20240309,)
    assert make_plan(request, lambda: Start(late.astimezone(ZoneInfo("Europe/Berlin")))).seeds == (20240310,)


def test_several_seeds_train_each_recipe_several_times_under_titles_of_their_own() -> None:
    plan = planned(models=["two", "one"], seed=7, seeds=2)
    assert [plan.title(trial) for trial in plan.trials] == [
        *("two, seed 7", "two, seed 8"),
        *("one, seed 7", "one, seed 8"),
    ]
    assert asked(plan) == ["seed 7", "2 seeds"]


def test_further_seeds_of_a_date_are_of_no_other_date() -> None:
    noon, next_day = (datetime(2031, 12, day, 12, tzinfo=UTC) for day in (1, 2))
    request = TrainingRequest(seed="fresh", seeds=20)
    starts = [Start(noon), Start(noon, 1), Start(noon, 99), Start(next_day)]
    seeds = [seed for start in starts for seed in make_plan(request, lambda start=start: start).seeds]
    assert seeds[:3] == [20311201, 120311201, 220311201]
    assert len(set(seeds)) == 80
    assert max(seeds) < 2**32


def test_further_starts_on_one_date_have_seeds_of_their_own() -> None:
    noon = datetime(2031, 12, 1, 12, tzinfo=UTC)
    assert [fresh_seed(Start(noon, earlier)) for earlier in (0, 1, 99)] == [20311201, 2031120101, 2031120199]
    with pytest.raises(
        PermanentError, match=r"at most 100 starts a day; this is number 101 of those planned for 2031-12-01"
    ):
        fresh_seed(Start(noon, 100))


def test_a_fresh_seed_without_a_start_is_todays() -> None:
    before = datetime.now().astimezone()
    (seed,) = planned(seed="fresh").seeds
    assert seed in {int(f"{day:%Y%m%d}") for day in (before, before + timedelta(minutes=1))}


def test_a_recipe_without_any_of_its_seeds_is_named_once() -> None:
    plan = planned(models=["two", "one"], seeds=2)
    first, second, third, _ = plan.trials
    assert plan.by_title({first: "a", second: "b", third: "c"}) == {"two": "a", "one, seed 0": "c"}
