"""Measure a training that streams its rows against one in memory: `python -m tests.benchmarks.streaming [SEEDS]`.

`cifar-fast` cut to six epochs of 12, 16 and 24 px, on CIFAR-100 from the store (STORE_URI): processor seconds an epoch,
validation included, and validation accuracy at the end. Each training is a process of its own, in turn. One seed, where
no number is given.
"""

import json
import statistics
from typing import Any

from lib.data.own import find_dataset
from lib.models.recipes import RECIPES
from lib.models.schema import Augmentation, Recipe, Size
from lib.planning.outputs import find_prepared
from lib.training.devices import prepare_keras, start_tensorflow
from lib.training.fit import Trainer
from lib.training.task import TrainingTask
from tests.benchmarks.measuring import Measured, given, over, own_process, processor_seconds, said, show
from tests.benchmarks.reading import prepared

MODULE, TRAIN = "tests.benchmarks.streaming", "train"
EPOCHS = 6
SIZES = (Size(epochs=2, px=12, augmentation=Augmentation(flip=True)), Size(epochs=2, px=16), Size(epochs=2, px=24))


def recipe(streams: bool) -> Recipe:
    whole = RECIPES["cifar-fast"]
    phase = whole.phases[0].model_copy(update={"epochs": EPOCHS, "sizes": SIZES})
    changes: dict[str, Any] = {"phases": (phase,), "stream_above_mb": 0 if streams else whole.stream_above_mb}
    return whole.model_copy(update=changes)


def train(streams: bool, seed: int) -> dict[str, list[float]]:
    """Processor seconds and validation accuracy of each epoch."""
    chosen, (store, data) = recipe(streams), prepared("cifar100")
    prepare_keras(chosen, allow_cpu=False)
    ref = find_prepared(store, find_dataset("cifar100", store), None)
    assert ref
    inputs = TrainingTask(chosen, ref, seed).inputs(store, data)
    found = {"seconds": [processor_seconds()], "accuracy": list[float]()}

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            found["seconds"].append(processor_seconds())
            found["accuracy"].append(event["validation_accuracy"])

    trainer = Trainer(chosen, inputs.model, inputs.rows, inputs.validation, seed, emit, 600)
    trainer.start(None)
    trainer.run(lambda state: None, interval_s=1e9)
    return found


def run(streams: bool, seed: int) -> tuple[float, float]:
    """Processor seconds an epoch, and the last validation accuracy. The first epoch of a size compiles its step."""
    found = json.loads(own_process(MODULE, TRAIN, str(int(streams)), str(seed)))
    seconds = [after - before for before, after in zip(found["seconds"], found["seconds"][1:], strict=False)]
    return sum(seconds[1::2]) / (EPOCHS / 2), found["accuracy"][-1]


def measure(seeds: int) -> list[Measured]:
    ours, theirs = zip(*[(run(True, seed), run(False, seed)) for seed in range(seeds)], strict=True)
    seconds, accuracy = ([[each[field] for each in side] for side in (ours, theirs)] for field in (0, 1))
    return [
        Measured("an epoch of CIFAR-100, streamed", said(seconds[0], "processor s"),
                 f"in memory: {said(seconds[1], 'processor s')}", over(*seconds), "≤ 1.05"),
        Measured("its validation accuracy after six", _spread(accuracy[0]), f"in memory: {_spread(accuracy[1])}",
                 over(*accuracy), "alike"),
    ]  # fmt: skip


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def main() -> None:
    what = given(__doc__)
    if what[:1] != [TRAIN]:
        return show(measure(int(what[0]) if what else 1))
    start_tensorflow()
    return print(json.dumps(train(bool(int(what[1])), int(what[2]))))


if __name__ == "__main__":
    main()
