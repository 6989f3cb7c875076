"""One divided by the rank of the best right item among scores, 0 where no item is right; no two scores are equal."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from souron.metrics import retrieval

ROW = "L8"


def reference(scores: Any, right: Any) -> float:
    return float(retrieval.reciprocal(retrieval.rank(scores, right)))


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([0.9, 0.2, 0.5]), np.array([False, True, False])
    yield np.array([0.1, 0.8, 0.4]), np.array([False, True, True])
    yield np.array([0.1, 0.8]), np.array([False, False])
    for _case in range(8):
        count = int(chance.integers(2, 7))
        yield chance.permutation(count) / 10, chance.random(count) < 0.4
