"""Dice coefficient of two masks of bool, 1 where both are empty."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from souron.metrics import volumes

ROW = "S1"


def reference(predicted: Any, true: Any) -> float:
    return volumes.dice(predicted, true)


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([[True, True, False]]), np.array([[True, False, False]])
    yield np.array([[True, False]]), np.array([[False, True]])
    yield np.ones((2, 2), bool), np.ones((2, 2), bool)
    for _case in range(8):
        yield tuple(chance.random((2, 3, 4)) < 0.5)
    yield np.zeros((2, 3), bool), np.ones((2, 3), bool)
    yield np.zeros((2, 3), bool), np.zeros((2, 3), bool)
