"""Predictions of a model on the rows of each split."""

from typing import Any

import numpy as np

from lib.evaluation.predictions import predict_rows


def test_batches_are_halved_where_memory_does_not_suffice() -> None:
    tried: list[int] = []

    class Network:
        def predict(self, inputs: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
            tried.append(batch_size)
            if batch_size > 100:
                raise MemoryError
            return inputs / 2

    network: Any = Network()
    assert predict_rows(network, np.arange(4.0)).tolist() == [0, 0.5, 1, 1.5]
    assert tried == [512, 256, 128, 64]
