"""Labels that are probably wrong: of an example worked out by hand, and of made data with planted errors."""

import numpy as np

from lib.evaluation.label_errors import suspect_labels


def test_a_small_example_gives_the_rows_worked_out_by_hand() -> None:
    # Thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.6 + 0.2) / 3 = 0.5. Of each label, one row of
    # three is surely of the other class.
    zero, labels = np.array([0.9, 0.8, 0.1, 0.3, 0.4, 0.8]), np.array([0, 0, 0, 1, 1, 1])
    suspected = suspect_labels(np.stack([zero, 1 - zero], axis=1), labels)
    assert suspected.rows.tolist() == [2, 5], "their labels have 0.1 and 0.2"
    assert suspected.suggested.tolist() == [1, 0]


def test_a_row_that_reaches_no_threshold_is_not_suspected() -> None:
    # Class 0 has the threshold 0.75 and class 1 0.6: row 3, of class 1, is rather taken for 0, with 0.6.
    zero, labels = np.array([0.8, 0.7, 0.2, 0.6]), np.array([0, 0, 1, 1])
    assert suspect_labels(np.stack([zero, 1 - zero], axis=1), labels).rows.tolist() == []


def test_the_share_of_wrong_labels_counts_for_rows_that_are_not_surely_of_any_class() -> None:
    # Thresholds: class 0 2.6 / 6 = 0.433, class 1 0.8. Of label 0, row 0 is surely of 0 and row 5 of 1: half of six.
    zero, labels = np.array([0.9, 0.4, 0.4, 0.4, 0.4, 0.1, 0.2, 0.2]), np.array([0] * 6 + [1] * 2)
    suspected = suspect_labels(np.stack([zero, 1 - zero], axis=1), labels)
    assert suspected.rows.tolist() == [5, 1, 2]
    assert suspected.suggested.tolist() == [1, 1, 1]


def test_no_row_is_surely_of_a_class_that_has_none() -> None:
    probabilities = np.array([[0.1, 0.1, 0.8], [0.6, 0.2, 0.2], [0.1, 0.9, 0.0]])
    assert suspect_labels(probabilities, np.array([0, 0, 1])).rows.tolist() == []


def test_perfect_predictions_suspect_nothing_and_equal_suspicions_come_in_the_order_of_rows() -> None:
    labels = np.arange(50) % 5
    assert suspect_labels(np.eye(5, dtype=np.float32)[labels], labels).rows.tolist() == []
    swapped = labels.copy()
    swapped[[30, 7, 19]] = (labels[[30, 7, 19]] + 1) % 5
    suspected = suspect_labels(np.eye(5, dtype=np.float32)[labels], swapped)
    assert suspected.rows.tolist() == [7, 19, 30]
    assert suspected.suggested.tolist() == labels[[7, 19, 30]].tolist()


def test_at_least_half_of_planted_errors_are_among_the_first_tenth() -> None:
    """A model that is right on three rows of four and 5 % of labels swapped: the same planted fault as of reports."""
    random = np.random.default_rng(0)
    rows, classes = 2_000, 10
    true = random.integers(0, classes, rows)
    logits = random.normal(size=(rows, classes)) + 2.4 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert 0.65 < (probabilities.argmax(axis=1) == true).mean() < 0.85
    wrong = random.choice(rows, rows // 20, replace=False)
    labels = true.copy()
    labels[wrong] = (true[wrong] + random.integers(1, classes, len(wrong))) % classes
    suspected = suspect_labels(probabilities.astype(np.float32), labels)
    first = suspected.rows[: rows // 10]
    assert np.isin(wrong, first).sum() >= len(wrong) / 2
    place = dict(zip(suspected.rows.tolist(), suspected.suggested.tolist(), strict=True))
    assert np.mean([place[row] == true[row] for row in wrong.tolist() if row in place]) > 0.7
