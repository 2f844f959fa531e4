"""The card of a model: what Hugging Face reads of it, and what a person does."""

import ast
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from lib.evaluation.card import model_card
from lib.store import LocalStore
from tests.cards import TRAINED, metrics_of, stored_model

NAMES = ["a", "b", "c"]
HOSTILE = [
    *('"', "'", "a: b", "- a", "---", "\n---\n", "a\n---\nb", "...", "# a", "{a}", "[a](b)", "a | b", "\\", "\\n", "%"),
    *("```", "`", "\n```\n", "<script>alert(1)</script>", "{{ a }}", "{% a %}", "&amp;", "*a*", "!!python/none", "&a"),
    *("\u2028", "\u0085", "\x00\x1b", "\ufeff", "é", "猫", "🦊", "yes", "null", "1e3", " ", "", "a" * 5_000, "\r\n"),
]


def card(tmp_path: Path, names: list[str] = NAMES, **model: Any) -> str:
    store = LocalStore(tmp_path / "store")
    return model_card(store, stored_model(store, names, **model), metrics_of(names), TRAINED).decode()


def test_hugging_face_reads_the_figures_with_split_and_interval(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card(tmp_path), encoding="utf-8")
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.model_name, data.library_name, data.pipeline_tag) == ("toy-net", "keras", "image-classification")
    assert (data.license, data.data_licence) == (None, "CC0")
    assert data.eval_results
    found = {
        (each.dataset_split, each.metric_type): (each.metric_value, each.metric_args["interval"], each.metric_name)
        for each in data.eval_results
        if each.metric_args and (each.task_type, each.dataset_name) == ("image-classification", "toy")
    }
    near = [0.8 - 0.05, 0.8 + 0.04], [0.7 - 0.05, 0.7 + 0.04]  # in binary, other last bits than 0.75's
    assert found == {
        ("validation", "accuracy"): (0.8, near[0], "accuracy on validation, 95 % interval 0.7500 to 0.8400"),
        ("validation", "f1"): (0.4, [0.2, 0.4 + 0.01], "macro F1 on validation, 95 % interval 0.2000 to 0.4100"),
        ("validation", "loss"): (1 / 3, [1e-5, 2 / 3], "loss on validation, 95 % interval 0.0000 to 0.6667"),
        ("test", "accuracy"): (0.7, near[1], "accuracy on test, 95 % interval 0.6500 to 0.7400"),
        ("test", "f1"): (0.35, [0.175, 0.36], "macro F1 on test, 95 % interval 0.1750 to 0.3600"),
        ("test", "loss"): (1 / 3, [1e-5, 2 / 3], "loss on test, 95 % interval 0.0000 to 0.6667"),
    }  # fmt: skip


def test_of_six_classes_or_more_the_top_five_are_told(tmp_path: Path) -> None:
    results = ModelCard(card(tmp_path, [*"abcdef"])).data.eval_results
    assert results
    assert [each.metric_value for each in results if each.metric_type == "top_5_accuracy"] == [1.0, 1.0]


@pytest.mark.parametrize(
    "text", ["\n---\n", "a: 'b' \"", "\n```\n| # <script>", "🦊\u2028\x00\u0085", "", "".join(HOSTILE)]
)
def test_no_text_of_a_person_breaks_the_card(tmp_path: Path, text: str) -> None:
    names = [*HOSTILE, text]  # the last one is named as the class recognised least
    written = card(tmp_path, names, licence=text, source=text, description=text, weights=text)
    read = ModelCard(written).data
    assert read.data_licence == (text or "not known")
    assert [each.metric_value for each in read.eval_results or []] == [0.8, 1.0, 0.4, 1 / 3, 0.7, 1.0, 0.35, 1 / 3]
    lines = written.split("\n")
    (named,) = [line.removeprefix("names = ") for line in lines if line.startswith("names = ")]
    assert ast.literal_eval(named) == names
    assert "<script>" not in written.replace(named, "").split("\n---\n", 1)[1]
    assert [line for line in lines if line.startswith("---")] == ["---", "---"]
    fences = [line for line in lines if line.startswith("```")]
    assert fences == ["```python", "```", "```yaml", "```", "```python", "```"]


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (
            {"keep": "best"},
            "the one with the highest accuracy on validation was kept: the validation figures are",
        ),
        ({"early_stopping_epochs": 3}, "Validation decided when training ended: the validation figures may be optim"),
        ({}, ""),
    ],
)
def test_a_figure_by_which_the_epoch_was_chosen_is_said_to_be_optimistic(
    tmp_path: Path, recipe: dict[str, Any], says: str
) -> None:
    written = card(tmp_path, recipe=recipe)
    assert says in written
    assert ("the validation figures" in written) == bool(says)


def test_a_person_reads_how_the_model_was_made_and_what_is_not_known_of_it(tmp_path: Path) -> None:
    written = card(tmp_path, description="A *small* net.", epochs=9, kept_epoch=4, seed=7, weights="imagenet.h5")
    for says in (
        "# toy-net on toy",
        "Recipe toy-net: A \\*small\\* net.",
        "Training started from these weights: imagenet.h5.",
        "np.zeros((1, 6, 5, 1), np.uint8)",
        "| train | 300 |",
        "in 9 epochs with seed 7.\nIt took 75 s on A &lt;processor&gt;.\nThe state after epoch 4 was kept.",
        "| accuracy | 0.8000 (0.7500 to 0.8400) | 0.7000 (0.6500 to 0.7400) |\n| macro F1 |",
        "a uniform guess has 1.0986.",
        "The classes that were recognised least on test: c (0.7000 of 200).",
        "| test | 0.1250 (0.0625) | 0.1250 (0.0625) |",
        "calibrated = probabilities ** (1 / 1.5)",
        "- 2 classes have no test image: nothing is known of them.",
        f"by commit {'c' * 40}, with Python 3.11.7 and keras 3.15.1, numpy 2.4.6.",
        "| prepared | prepared/toy/1 | ",
        "| dataset | datasets/toy/1 | ",
    ):
        assert says in written
    assert "--limit" not in written


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    assert card(tmp_path / "a") == card(tmp_path / "b")


@pytest.mark.slow
def test_the_code_of_a_card_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lib.evaluation.calibration import apply_temperature
    from lib.models.networks import build
    from tests.toy import RECIPE

    build(RECIPE, (6, 5, 1), 2, seed=0).save(tmp_path / "model.keras")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in card(tmp_path, ["dim", 'it\'s "bright"']).split("```python\n")[1:]:
        exec(block.split("```")[0], names)
    probabilities = names["probabilities"]
    assert probabilities.shape == (1, 2)
    best = int(probabilities[0].argmax())
    assert capsys.readouterr().out.splitlines()[-1].startswith(("dim 0.", 'it\'s "bright" 0.')[best])
    assert names["calibrated"] == pytest.approx(apply_temperature(probabilities, 1.5), abs=1e-6)
