"""Planted faults are found, shown, and said before anything else; of sound data nothing is said."""

import re

import numpy as np
import pytest

from lib.data.datasets import DATASETS
from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.evaluation.duplicates import look_for_duplicates
from lib.lineage.manifests import MANIFEST, Manifest, Ref, load, put_file
from lib.lineage.steps import SPLITS
from lib.lineage.verify import check_output
from lib.reporting.doubts import SUSPECTED_LABELS
from lib.reporting.report import build_report, report_markdown
from lib.reporting.suspected_labels import find_suspects
from lib.reporting.tiles import sheet
from lib.store import LocalStore
from tests.lib.evaluation.planted import CLASSES, LEAKED_TO, prepared_with_faults, swapped_labels, true_labels

from . import made

FILES = {"train": "train", "validation": "train", "test": "test"}
"""Split → file."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Ref]:
    """One leaked test image and 5 % of labels swapped."""
    folder = tmp_path_factory.mktemp("planted")
    store = LocalStore(folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "planted", DATASETS["digits"])  # so that it is taken away again
        return store, prepared_with_faults(store, folder / "mirror")


def guesses(store: LocalStore, prepared: Ref) -> dict[str, np.ndarray]:
    """Of a model that is right on about four images of five, by their true labels."""
    found = {}
    for seed, (split, rows) in enumerate(read_rows(store, load(store, prepared), SPLITS).items()):
        true = true_labels(FILES[split])[rows.index]
        logits = np.random.default_rng(seed).normal(size=(len(true), CLASSES)) + 2.5 * np.eye(CLASSES)[true]
        powers = np.exp(2 * logits)
        found[split] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def alerts(page: str) -> list[str]:
    """What the page says first of all."""
    first = page[page.index("<header>") : page.index("</header>")]
    return [" ".join(each.split()) for each in re.findall(r"<li>(.*?)</li>", first, re.DOTALL)]


def test_a_leaked_test_image_and_swapped_labels_are_said_first_and_shown(planted: tuple[LocalStore, Ref]) -> None:
    store, prepared = planted
    guessed = guesses(store, prepared)
    evaluation = made.evaluated(store, prepared, guesses=guessed)
    beside = look_for_duplicates(store, prepared, None)
    report = build_report(store, prepared, [evaluation], beside=[beside], show_test=True)
    labels = {split: rows.labels for split, rows in read_rows(store, load(store, prepared), SPLITS).items()}
    right = guessed["test"].argmax(axis=1) == labels["test"]
    page = made.index(store, report)
    leak, swapped = alerts(page)
    assert leak == (
        "1 of 400 test images has a near duplicate in train. Without it, digits-cnn has an accuracy of "
        f"{np.delete(right, LEAKED_TO).mean():.4f} on test instead of {right.mean():.4f}."
    )
    assert re.fullmatch(
        r"\d+ of 400 validation images \(\d\.\d %\) and \d+ of 400 test images \(\d\.\d %\) seem to have a wrong "
        r"label: digits-cnn holds it for much less likely than chance\. Look at the suspected labels\.",
        swapped,
    )
    assert "train and test: " in page, "the pair, as a picture"
    assert page.count('href="#suspects"') == 12
    assert "near duplicate in train" in report_markdown(store, report)
    assert check_output(store, report) == ""


def test_at_least_half_of_swapped_labels_are_among_the_first_tenth_named(planted: tuple[LocalStore, Ref]) -> None:
    store, prepared = planted
    evaluation = load(store, made.evaluated(store, prepared, guesses=guesses(store, prepared)))
    rows = read_rows(store, load(store, prepared), SPLITS)
    (counts,), suspects = find_suspects(store, evaluation, ["validation"])
    wrong = set(swapped_labels("train")) & {*rows["validation"].index.tolist()}
    found = {int(rows["validation"].index[each.row]) for each in suspects}
    assert 12 <= len(wrong) <= 28
    assert len(found) == 12, "fewer than a tenth of 400"
    assert len(found & wrong) >= len(wrong) / 2
    assert counts.suspected >= len(wrong) / 2
    for each in suspects:
        assert each.given == rows["validation"].labels[each.row] != each.suggested


def test_without_test_figures_models_are_looked_at_on_validation_alone(planted: tuple[LocalStore, Ref]) -> None:
    store, prepared = planted
    evaluation = made.evaluated(store, prepared, guesses=guesses(store, prepared))
    beside = look_for_duplicates(store, prepared, None)
    page = made.index(store, build_report(store, prepared, [evaluation], beside=[beside]))
    leak, swapped = alerts(page)
    assert leak == "1 of 400 test images has a near duplicate in train."
    assert "validation images" in swapped
    assert "test images" not in swapped


def test_another_picture_of_suspected_labels_is_noticed(planted: tuple[LocalStore, Ref]) -> None:
    store, prepared = planted
    evaluation = made.evaluated(store, prepared, seed=1, guesses=guesses(store, prepared))
    report = build_report(store, prepared, [evaluation])
    manifest = load(store, report)
    other = put_file(store, report.uri, f"{SUSPECTED_LABELS}.png", sheet(np.zeros((12, 24, 24, 1), np.uint8)))
    forged = manifest.model_copy(update={"files": {**manifest.files, SUSPECTED_LABELS: other}})
    store.write(f"{report.uri}/{MANIFEST}", forged.to_json())
    with pytest.raises(PermanentError, match=r"suspected-labels-.* must be the picture that its inputs give"):
        check_output(store, Manifest.from_json(forged.to_json()).ref(report.uri))


def test_of_sound_data_nothing_is_said_and_what_was_not_looked_for_is(
    store: LocalStore, prepared: Ref, evaluations: list[Ref], page: str
) -> None:
    assert alerts(page) == []
    assert "Near duplicates" not in page
    why = {"duplicates": "not found, because of an error: no <room>"}
    lacking = made.index(store, build_report(store, prepared, evaluations[:1], lacking=why))
    assert alerts(lacking) == []
    assert "They were not found, because of an error: no &lt;room&gt;." in lacking


def test_digits_of_one_hand_are_no_near_duplicates(store: LocalStore, prepared: Ref, evaluations: list[Ref]) -> None:
    beside = look_for_duplicates(store, prepared, None)
    assert load(store, beside).facts["twins_in_train"] == {"validation": 0, "test": 0}
    page = made.index(store, build_report(store, prepared, evaluations, beside=[beside]))
    assert alerts(page) == []
    assert "all images with all, by pixels" in page
