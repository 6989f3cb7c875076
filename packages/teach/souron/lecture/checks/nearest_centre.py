"""The number of the nearest centre of each point, (N, D) and (K, D) -> (N,): the first step of k-means."""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.random import Generator

from souron import registry
from souron.evaluation.unsupervised import Spec

ROW = "C9"


def reference(points: Any, centres: Any) -> Any:
    system_class, config = registry.load_system("kmeans")
    kmeans = system_class(type(config)(len(centres)), Spec(centres.shape[1]))
    kmeans.centres.copy_(torch.as_tensor(centres))
    return kmeans(torch.as_tensor(points).float())


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    for count, groups, width in ((3, 2, 1), (5, 3, 2), (6, 4, 2), (8, 2, 3), (4, 5, 4), (1, 1, 2)):
        yield chance.normal(0, 2, (count, width)).round(2), chance.normal(0, 2, (groups, width)).round(2)
