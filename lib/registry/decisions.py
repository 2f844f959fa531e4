"""The gate's decision as an output: its inputs are both evaluations, its facts every test with numbers and reasons."""

import time
from contextlib import suppress
from typing import Any

import numpy as np

from lib.errors import PermanentError
from lib.evaluation.calibration import apply_temperature, calibration_error, calibration_error_interval, reliability
from lib.evaluation.held_out import APART, SEED
from lib.evaluation.paired import Discordant, discordant
from lib.evaluation.per_image import per_image
from lib.evaluation.prediction_table import read_choices, read_probabilities, read_right
from lib.lineage.manifests import Manifest, Ref, commit, find, load
from lib.lineage.provenance import made_by
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.registry.gate import CalibrationError, HeldOut, Latency, Rules, first_champion
from lib.registry.gate import decide as decide_by_numbers
from lib.runtime.jobs import Emit
from lib.settings import Settings
from lib.store import Store

CHALLENGER, CHAMPION, ANEW = "evaluation-challenger", "evaluation-champion", "reevaluation-champion"
"""The inputs. ANEW is there where the champion's own evaluation is of other prepared data."""
BATCH_ROWS = 32
PAIRS, WARMING_UP = 31, 3
"""Of predictions, one of each model in turns."""


def run(
    store: Store,
    settings: Settings,
    emit: Emit,
    *,
    challenger: dict[str, Any],
    champion: dict[str, Any] | None,
    attempt: int,
    chosen_from: int,
    rules: dict[str, Any],
) -> Ref:
    """The job's entry: commit the decision, unless it is there."""
    refs = Ref.model_validate(challenger), Ref.model_validate(champion) if champion else None
    return decide(store, *refs, attempt, chosen_from, Rules.model_validate(rules), emit)


def decide(
    store: Store,
    challenger: Ref,
    champion: Ref | None,
    attempt: int = 1,
    chosen_from: int = 1,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    emit: Emit = lambda event: None,
) -> Ref:
    """Commit the decision between two evaluations; without `champion`, that there was none before.

    The challenger is the `attempt`-th on this data, and the best of `chosen_from` models on validation.

    The champion is evaluated anew where its own evaluation is of other prepared data. Latency is measured now, where
    it counts. Raises PermanentError where the two cannot be compared.
    """
    require_comparable(store, challenger, champion)
    dataset = load(store, challenger).facts["dataset"]
    count = {"attempt": attempt, "chosen_from": chosen_from}
    made_of = {"challenger": challenger, "champion": champion, **count, "gate": rules}
    address = STEPS["decision"].address(dataset_name=dataset, **made_of)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    inputs = {CHALLENGER: challenger, **({CHAMPION: champion} if champion else {})}
    if pair := _of_other_data(store, inputs):
        from lib.evaluation.reevaluation import reevaluate  # with TensorFlow, which most decisions do not need

        _start_tensorflow()
        inputs[ANEW] = reevaluate(store, emit, *pair)
    facts = _facts(store, inputs, count, rules, stated=None)
    record = made_by(time.monotonic() - started)
    manifest = Manifest(kind="decision", inputs=inputs, facts=facts, content={}, files={}, made_by=record)
    return commit(store, address, manifest)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: every test from the stored predictions. Latency is taken as it was measured."""
    inputs, stated = manifest.inputs, manifest.facts
    challenger, champion, rules = inputs[CHALLENGER], inputs.get(CHAMPION), Rules.model_validate(stated["rules"])
    count = {name: stated[name] for name in ("attempt", "chosen_from")}
    made_of = {"challenger": challenger, "champion": champion, **count, "gate": rules}
    check_address("decision", address, dataset_name=load(store, challenger).facts["dataset"], **made_of)
    names = {CHALLENGER, *([CHAMPION] if champion else [])}
    if pair := _of_other_data(store, inputs):
        names.add(ANEW)
        if ANEW in inputs:
            anew = load(store, inputs[ANEW]).inputs
            received = [anew["model"].uri, anew["prepared"].uri]
            must_equal(address, f"the model and data of {ANEW}", [each.uri for each in pair], received)
    must_equal(address, "the list of inputs", sorted(names), sorted(inputs))
    return Recomputed(
        inputs=frozenset(names),
        facts=_facts(store, inputs, count, rules, stated["tests"]),
        content={},
        files={},
    )


def require_comparable(store: Store, challenger: Ref, champion: Ref | None) -> None:
    """Raise PermanentError where the gate cannot decide between these evaluations."""
    made = load(store, challenger)
    if made.facts["limit"] is not None:
        raise PermanentError(
            f"a challenger must be trained on all images; {made.inputs['model'].uri} was on {made.facts['limit']:,} "
            "(--limit): train without a limit, or name it with --force --reason TEXT"
        )
    if champion:
        _require_same_classes(store, load(store, champion), made)


def describe(evaluation: Manifest) -> str:
    """A model in words: `digits-cnn, seed 0`."""
    return f"{evaluation.facts['recipe']}, seed {evaluation.facts['seed']}"


def _require_same_classes(store: Store, champion: Manifest, challenger: Manifest) -> None:
    own, data = (load(store, each.inputs["prepared"]).facts for each in (champion, challenger))
    for name, what in (("class_names", "classes"), ("image_shape", "shape of images")):
        if own[name] != data[name]:
            raise PermanentError(
                f"models can be compared on the same {what} only; the champion has {_shown(own[name])}, and the "
                f"challenger {_shown(data[name])}: --force --reason TEXT makes it champion without a comparison"
            )


def _shown(values: list[Any]) -> str:
    text = ", ".join(map(str, values[:5]))
    return text if len(values) <= 5 else f"{text} and {len(values) - 5:,} more"


def _of_other_data(store: Store, inputs: dict[str, Ref]) -> tuple[Ref, Ref] | None:
    """The champion's model and the challenger's data, where it must be evaluated anew on that."""
    if CHAMPION not in inputs:
        return None
    champion, prepared = load(store, inputs[CHAMPION]).inputs, load(store, inputs[CHALLENGER]).inputs["prepared"]
    return None if champion["prepared"] == prepared else (champion["model"], prepared)


def _facts(
    store: Store, inputs: dict[str, Ref], count: dict[str, int], rules: Rules, stated: dict[str, Any] | None
) -> dict[str, Any]:
    """`stated`: the tests of a decision that is verified, of which what was measured or drawn is taken."""
    challenger = load(store, inputs[CHALLENGER])
    champion = load(store, inputs[CHAMPION]) if CHAMPION in inputs else None
    decision = first_champion()
    if champion:
        scored = load(store, inputs[ANEW]) if ANEW in inputs else champion
        decision = decide_by_numbers(
            discordant(*(read_right(store, each, "validation") for each in (challenger, scored))),
            count["attempt"],
            rules,
            lambda: _held_out(store, challenger, champion, scored, stated),
            count["chosen_from"],
        )
    return {
        "dataset": challenger.facts["dataset"],
        "challenger": describe(challenger),
        "champion": describe(champion) if champion else None,
        **count,
        "rules": rules.model_dump(),
        **decision._asdict(),
    }


def _held_out(
    store: Store, challenger: Manifest, champion: Manifest, scored: Manifest, stated: dict[str, Any] | None
) -> HeldOut:
    """`scored` has the champion's predictions on the challenger's data."""
    labels = read_choices(store, challenger, "test").labels
    right = [read_right(store, each, "test") for each in (challenger, scored)]
    names = load(store, challenger.inputs["prepared"]).facts["class_names"]
    sides = {"challenger": (challenger, challenger), "champion": (scored, champion)}
    errors = {
        name: _calibration(
            read_probabilities(store, predictions, "test"),
            labels,
            evaluation.facts["temperature"],
            stated["calibration"][name] if stated else None,
        )
        for name, (predictions, evaluation) in sides.items()
    }
    return HeldOut(
        test=discordant(*right),
        classes={name: _of_class(right, labels == number) for number, name in enumerate(names)},
        champion=errors["champion"],
        challenger=errors["challenger"],
        latency=Latency(**{name: stated["latency"][name] for name in Latency._fields})
        if stated
        else _measure(store, champion, challenger),
    )


def _of_class(right: list[np.ndarray], rows: np.ndarray) -> Discordant:
    return discordant(*(each[rows] for each in right))


def _calibration(
    probabilities: np.ndarray, labels: np.ndarray, temperature: float, stated: dict[str, Any] | None
) -> CalibrationError:
    """An interval that another version of NumPy draws a little differently is taken as it is stated."""
    images = per_image(apply_temperature(probabilities, temperature), labels)
    interval = calibration_error_interval(images.confidence, images.right, SEED)
    if stated:
        given = type(interval)(stated["low"], stated["high"])
        apart = APART * (interval.high - interval.low)
        interval = given if all(abs(a - b) <= apart for a, b in zip(given, interval, strict=True)) else interval
    return CalibrationError(calibration_error(reliability(images.confidence, images.right)), interval)


def _measure(store: Store, champion: Manifest, challenger: Manifest) -> Latency:
    """Both models on the same images, in turns: what else the machine does meets both alike."""
    from lib.data.rows import open_rows
    from lib.models.networks import load_network  # with TensorFlow, as above

    _start_tensorflow()
    images = open_rows(store, load(store, challenger.inputs["prepared"]), ("validation",))["validation"].images
    batch = images.take(np.arange(min(BATCH_ROWS, len(images))))
    networks = [load_network(store, load(store, each.inputs["model"])) for each in (champion, challenger)]
    seconds = np.array([[_seconds(each, batch) for each in networks] for _ in range(WARMING_UP + PAIRS)])[WARMING_UP:]
    champion_s, challenger_s = np.median(seconds, axis=0).tolist()
    ratio = float(np.median(seconds[:, 1] / seconds[:, 0]))
    return Latency(champion_s, challenger_s, ratio, PAIRS, len(batch))


def _start_tensorflow() -> None:
    from lib.training.devices import start_tensorflow

    with suppress(RuntimeError):  # it has begun to compute, and keeps its threads
        start_tensorflow()


def _seconds(network: Any, batch: np.ndarray) -> float:
    started = time.perf_counter()
    network.predict_on_batch(batch)
    return time.perf_counter() - started
