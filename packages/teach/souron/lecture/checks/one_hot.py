"""Class numbers as one-hot vectors, (N,) -> (N, classes)."""

from collections.abc import Iterator
from typing import Any

from numpy.random import Generator

from souron.data import preprocessing

ROW = "C2"


def reference(labels: Any, classes: int) -> Any:
    return preprocessing.one_hot(labels, classes)


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield [0, 2, 1], 3
    for _case in range(8):
        classes = int(chance.integers(2, 6))
        yield chance.integers(0, classes, int(chance.integers(1, 6))).tolist(), classes
