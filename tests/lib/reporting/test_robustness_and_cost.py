"""What a report says of corrupted images where that was measured, and of what models cost."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from lib.errors import PermanentError
from lib.evaluation.corrupted import VERSIONS, encode_predicted, figures
from lib.evaluation.corruptions import CORRUPTIONS
from lib.lineage.digests import digest_array
from lib.lineage.manifests import MANIFEST, Manifest, Ref, commit, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import STEPS
from lib.reporting.report import build_report
from lib.reporting.robustness import TITLES
from lib.store import LocalStore

from . import made

ROWS = 200


def test_each_corruption_has_a_title() -> None:
    assert [*TITLES] == [*CORRUPTIONS]


def robust(store: LocalStore, evaluation: Ref, lost: int) -> Ref:
    """Of its model, which has 180 of 200 images right, and with each severity `lost` fewer."""
    model = load(store, evaluation).inputs["model"]
    facts, prepared = load(store, model).facts, load(store, model).inputs["prepared"]
    names = {"dataset_name": facts["dataset"], "recipe_name": facts["recipe"]["name"]}
    address = STEPS["robustness"].address(**names, model=model)
    labels, rows = np.zeros(ROWS, np.int32), np.arange(ROWS)
    wrong = np.array([20 + lost * each.severity for each in VERSIONS])
    predicted = (rows < wrong[:, np.newaxis]).astype(np.int32)
    found = figures(predicted, labels).items()
    manifest = Manifest(
        kind="robustness",
        inputs={"model": model, "prepared": prepared},
        facts={
            **{name: facts[name] for name in ("dataset", "limit", "seed")},
            "recipe": facts["recipe"]["name"],
            "rows": ROWS,
            "figures": {name: [each.model_dump(mode="json") for each in line] for name, line in found},
        },
        content={"predicted": digest_array(predicted)},
        files={
            "predictions": put_file(store, address, "predictions.parquet", encode_predicted(rows, labels, predicted))
        },
        made_by=made_by(1.0),
    )
    return commit(store, address, manifest)


def section(page: str, name: str) -> str:
    """The words of the section of this name."""
    (found,) = re.findall(rf'<section aria-labelledby="{name}">.*?</section>', page, re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found))


def test_a_report_shows_corrupted_images_where_they_were_asked_for(
    store: LocalStore, prepared: Ref, evaluations: list[Ref], report: Ref, page: str
) -> None:
    assert 'id="robustness"' not in page
    beside = [robust(store, evaluation, lost) for evaluation, lost in zip(evaluations, (30, 10), strict=True)]
    with_it = build_report(store, prepared, evaluations, beside=beside)
    assert with_it.uri != report.uri
    assert build_report(store, prepared, evaluations, beside=beside[::-1]) == with_it
    assert load(store, with_it).facts == load(store, report).facts
    text = section(made.index(store, with_it), "robustness")
    assert "Accuracy on 200 test images as they are, and made worse in 6 ways at 3 severities." in text
    # 180 right of 200; with 10 fewer each time 170, 160 and 150, with 30 fewer 150, 120 and 90.
    assert text.index("digits-cnn 0.9000 0.8000 0.8000") < text.index("digits-softmax 0.9000 0.6000 0.6000")
    assert "Low contrast strong 0.7500 0.686 to 0.805 0.4500 " in text
    picture = local_file(store, load(store, with_it), "robustness").read_bytes()
    with Image.open(io.BytesIO(picture)) as drawn:
        assert drawn.width > drawn.height > 500
    with pytest.raises(PermanentError, match="a report shows the robustness of its own models alone"):
        build_report(store, prepared, evaluations[:1], beside=beside)


def test_costs_are_those_that_were_recorded_and_older_records_say_so(
    store: LocalStore, prepared: Ref, evaluations: list[Ref], page: str
) -> None:
    text = section(page, "cost")
    assert re.search(r"digits-cnn( not recorded){3} 0.00 MB( not recorded){4} ", text)
    evaluation = made.evaluated(store, prepared, "digits-cnn", seed=7)
    for ref, more in (
        (load(store, evaluation).inputs["model"], {"processor_seconds": 90.0, "peak_memory_bytes": 1_234_500_000}),
        (evaluation, {"processor_seconds": 2.5, "peak_memory_bytes": 650_400_000, "flops": 3_124_156,
                      "images_per_second": {"1": 412.26, "256": 31_337.4}}),
    ):  # fmt: skip
        manifest = load(store, ref)
        recorded = manifest.model_copy(update={"made_by": manifest.made_by | more})
        store.write(f"{ref.uri}/{MANIFEST}", recorded.to_json())
    text = section(made.index(store, build_report(store, prepared, [evaluation])), "cost")
    assert "digits-cnn 3.12 M 412 31,337 0.00 MB 1 min 30 s 1,234 MB 2.5 s 650 MB " in text
