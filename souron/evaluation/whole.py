"""For tasks that describe a whole data set: points of pictures and tables, and learning anew on
other points, such as a half of them or shuffled ones."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset
from souron.training.loop import Run

MOST_STEPS = 10**6


class Points:
    """Points (N, D) as what a system without gradients learns from."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    def all(self) -> Tensor:
        return self.points

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        """The points again and again, for systems that take batches."""
        while True:
            yield from ((some,) for some in self.points.split(size))


def moments(data: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of a table; nothing for pictures."""
    if data.input.ndim > 2:
        return (), ()
    mean, std = data.input.mean(0), data.input.std(0)
    std = torch.where(std > 0, std, torch.ones_like(std))
    return tuple(mean.tolist()), tuple(std.tolist())


def as_points(rows: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(B, D): pictures in 0..1, columns of a table standardised."""
    if not mean:
        return rows.flatten(1).float() / 255
    return (rows - torch.tensor(mean)) / torch.tensor(std)


def evenly(count: int, most: int) -> Tensor:
    """At most so many rows of ``count``, evenly spaced."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def learn_anew(system: Any, spec: Any, data: Points, steps: int = 0) -> Iterator[tuple[float, Any]]:
    """A new system of the same config learns from other points, for as many ``steps`` (0: until it
    is done): how far it is, 0..1, and the system."""
    steps = steps or MOST_STEPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = type(system)(system.config, spec)
        for progress in twin.fit(data, Run(steps, batch=len(data))):
            yield min(0.99, (progress.step + 1) / steps), twin
    yield 1.0, twin.eval()
