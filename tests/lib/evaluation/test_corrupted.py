"""Figures of corrupted images, worked out by hand."""

import numpy as np
import pytest

from lib.evaluation.corrupted import UNCHANGED, VERSIONS, figures, mean_accuracy


def test_there_are_six_corruptions_of_three_severities_beside_the_images_as_they_are() -> None:
    assert len(VERSIONS) == 1 + 6 * 3
    assert VERSIONS[0].column == "unchanged"
    assert VERSIONS[3].column == "gaussian_noise_3"


def test_each_version_has_its_share_of_right_images_and_wilsons_interval() -> None:
    labels = np.zeros(10, np.int32)
    # The k-th version has k wrong, and from the tenth on all.
    predicted = np.array([[1] * min(k, 10) + [0] * (10 - min(k, 10)) for k in range(len(VERSIONS))])
    found = figures(predicted, labels)
    assert [each.accuracy for each in found[UNCHANGED]] == [1.0]
    # Wilson at 10 of 10: 10 / (10 + 1.96²).
    assert found[UNCHANGED][0].interval == pytest.approx((10 / (10 + 1.959964**2), 1), abs=1e-6)
    assert [(each.severity, each.accuracy) for each in found["gaussian_blur"]] == [(1, 0.6), (2, 0.5), (3, 0.4)]
    # Right in the 18: 0.9, 0.8, …, 0.1, and then none.
    assert mean_accuracy(found) == pytest.approx(sum(range(10)) / 10 / 18)
