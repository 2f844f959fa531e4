"""What probabilities say of each image."""

from math import log

import numpy as np
import pytest

from lib.evaluation.metrics import measure
from lib.evaluation.per_image import per_image


def test_a_small_example_gives_the_values_worked_out_by_hand() -> None:
    ranked = [0.30, 0.25, 0.20, 0.12, 0.08, 0.05]
    images = per_image(np.array([ranked] * 3, np.float32), np.array([0, 4, 5]))
    assert images.confidence == pytest.approx([0.3] * 3)
    assert images.right.tolist() == [True, False, False]
    assert images.in_top5.tolist() == [True, True, False]
    assert images.loss == pytest.approx([-log(0.30), -log(0.08), -log(0.05)])


@pytest.mark.parametrize("classes", [3, 6, 40])
def test_their_means_are_the_metrics(classes: int) -> None:
    random = np.random.default_rng(classes)
    raw = np.exp(random.normal(size=(300, classes)) * 3).round(1)  # with zeros and equals
    raw[:, 0] += 0.1
    probabilities, labels = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32), random.integers(0, classes, 300)
    metrics, images = measure(probabilities, labels, [str(n) for n in range(classes)]), per_image(probabilities, labels)
    assert images.right.mean() == metrics.accuracy
    assert images.in_top5.mean() == metrics.top5_accuracy
    assert images.loss.mean() == pytest.approx(metrics.loss, rel=1e-9)
