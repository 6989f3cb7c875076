"""Intersection over union (IoU) of two boxes: left, top, right, bottom."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from souron.metrics.detection import overlaps

ROW = "D2"


def reference(one: Any, other: Any) -> float:
    return float(overlaps(np.array([one], float), np.array([other], float))[0, 0])


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield [0, 0, 10, 10], [5, 0, 15, 10]
    yield [0, 0, 4, 4], [0, 0, 4, 4]
    yield [0, 0, 4, 4], [10, 10, 12, 12]  # apart in both directions
    yield [0, 0, 4, 4], [0, 9, 4, 12]  # apart in one
    yield [0, 0, 9, 9], [3, 3, 6, 6]  # one within the other
    yield [0, 0, 4, 4], [4, 0, 8, 4]  # only an edge in common
    for _case in range(12):
        corners = np.sort(chance.integers(0, 12, (2, 2, 2)), axis=1) + np.array([[0, 0], [1, 1]])
        yield tuple(corners.reshape(2, 4).tolist())
