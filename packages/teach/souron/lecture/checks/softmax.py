"""Scores as probabilities, (N,) -> (N,), also where the scores are large."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

ROW = "C3"


def reference(scores: Any) -> Any:
    return torch.as_tensor(scores).softmax(0)


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield (np.array([2.0, 1.0, 0.0]),)
    for _case in range(6):
        yield (chance.normal(0, 3, int(chance.integers(2, 8))).round(2),)
    yield (np.array([1000.0, 1001.0]),)
    yield (np.array([-1000.0, -999.0, -1000.0]),)
