"""The share of cases whose class is among the k most probable ones, (N, classes) and (N,) -> a number."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from sklearn.metrics import top_k_accuracy_score

ROW = "V8"


def reference(probabilities: Any, labels: Any, k: int) -> float:
    return float(top_k_accuracy_score(labels, probabilities, k=k, labels=range(probabilities.shape[1])))


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    for count, classes, k in ((4, 3, 1), (4, 3, 2), (6, 5, 1), (6, 5, 3), (8, 6, 5), (1, 4, 2)):
        scores = chance.permuted(np.tile(np.arange(1.0, classes + 1), (count, 1)), axis=1)
        yield scores / scores.sum(1, keepdims=True), chance.integers(0, classes, count), k
