"""Where the meaning of a step's code changes, its version must be raised: stored outputs are else taken for its own."""

from typing import Any

import numpy as np
import pytest

from lib.lineage.steps import STEPS
from lib.training.batches import TrainingImages
from tests import code_meaning
from tests.code_meaning import MEANINGS, alike, changes


def said(found: list[tuple[str, str, bool]]) -> str:
    return "; ".join(
        f"what the step {kind!r} makes has changed ({name}): "
        f"{'raise its version in lib/lineage/steps.py, then ' if must_raise else ''}run python -m tests.code_meaning"
        for kind, name, must_raise in found
    )


def test_every_step_means_what_it_meant_when_its_version_was_set() -> None:
    assert not (found := changes()), said(found)


def test_each_step_is_watched() -> None:
    assert {kind for kind, _ in MEANINGS} == set(STEPS)


def test_a_changed_augmentation_is_noticed_and_the_step_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def upside_down(self: TrainingImages, rows: np.ndarray, *how: Any) -> np.ndarray:
        return np.ascontiguousarray(augmented(self, rows, *how)[:, ::-1])

    augmented = TrainingImages._augmented
    only = {each: MEANINGS[each] for each in (("model", "augmented_chunk"), ("evaluation", "metrics"))}
    monkeypatch.setattr(code_meaning, "MEANINGS", only)
    monkeypatch.setattr(TrainingImages, "_augmented", upside_down)
    assert said(changes()) == (
        "what the step 'model' makes has changed (augmented_chunk): "
        "raise its version in lib/lineage/steps.py, then run python -m tests.code_meaning"
    )
    with pytest.raises(
        SystemExit, match=r"raise the version in lib/lineage/steps\.py of what has changed: model: augm"
    ):
        code_meaning.main()


def test_a_new_optional_field_is_no_change_and_another_default_is_one() -> None:
    assert alike({"batch_size": 128}, {"batch_size": 128, "colour_jitter": 0.0})
    assert not alike({"batch_size": 128}, {"batch_size": 64, "colour_jitter": 0.0})
    assert not alike({"batch_size": 128}, {})


def test_numbers_may_differ_in_their_last_bits() -> None:
    assert alike([0.5, "a"], [0.500001, "a"])
    assert not alike([0.5], [0.501])
    assert not alike([1], [2])
