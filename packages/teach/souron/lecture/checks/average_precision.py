"""Average precision of detections by falling score, as COCO interpolates it: the mean of the best precision at recalls
of 0, 0.01, ... 1."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from souron.metrics.detection import coco

ROW = "D4"


def reference(right: Any, objects: int) -> float:
    """Build an image with so many boxes in a row, and detections that hit the next one or nothing."""
    truth = np.array([[0, 20 * k, 0, 20 * k + 10, 10] for k in range(objects)], float)
    found, hits = [], 0
    for place, hit in enumerate(right):
        left, top = (20 * hits, 0) if hit else (20 * place, 50)
        found.append([0, left, top, left + 10, top + 10, 1 - 0.01 * place])
        hits += bool(hit)
    return coco([truth], [np.array(found, float).reshape(-1, 6)], labels=1)["AP50"]


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield [True, True], 2
    yield [True, False, True], 2
    yield [False, True], 1
    yield [True], 4
    yield [False, False], 3
    yield [], 2
    for _case in range(6):
        objects = int(chance.integers(2, 7))
        yield chance.permutation([True] * (objects - 1) + [False] * 3).tolist(), objects
