"""Shared parts of tasks that describe their own training cases without labels.

Points from images and tables, and refitting on other points, such as a half of them or shuffled
ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Rows, check_classes
from souron.data.splits import Split
from souron.evaluation.answers import Setup, Step
from souron.training.loop import Run
from souron.utils.messages import UserError, _

MOST = 5000  # points evaluated: every pair is compared
FEWEST = 20
MOST_STEPS = 10**6


@dataclass(frozen=True)
class Spec:
    """Properties of the points needed to build a system."""

    features: int
    cases: int = 0  # number of training cases
    mean: tuple[float, ...] = ()  # of each column of a table; () for images
    std: tuple[float, ...] = ()


class Batch(NamedTuple):
    point: Tensor  # (B, features): images in 0..1, table columns standardised


class Points:
    """Training data of points (N, D) for a system without gradients."""

    def __init__(self, points: Tensor) -> None:
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    def all(self) -> Tensor:
        return self.points

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        """Yield the points again and again, for systems that take batches."""
        while True:
            yield from ((points,) for points in self.points.split(size))


class Unsupervised:
    """The part of a ``Task`` that prepares data for a system."""

    held_out = False

    def check(self, data: Dataset, options: Any) -> None:
        check_classes(data)
        if len(data) < FEWEST:
            raise UserError(
                "few cases",
                _("{count} cases in {data}").format(count=len(data), data=data.name),
                expected=_("{count} or more").format(count=FEWEST),
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        if train.input.ndim > 2:
            return Spec(train.input[0].numel(), len(train))
        mean, std = train.input.mean(0), train.input.std(0)
        std = torch.where(std > 0, std, torch.ones_like(std))
        return Spec(len(mean), len(train), tuple(mean.tolist()), tuple(std.tolist()))

    def example(self, system: Any, size: str) -> Spec:
        return Spec(28 * 28, 100)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        if not spec.mean:
            return Batch(rows.input.flatten(1).float() / 255)
        points = rows.input
        return Batch((points - points.new_tensor(spec.mean)) / points.new_tensor(spec.std))

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        """Use all cases, or ``MOST`` of them, evenly spaced."""
        rows = torch.linspace(0, len(data) - 1, min(len(data), MOST)).round().long()
        yield Step(1.0, result=Setup(options, data.only(rows)))


def learn_anew(system: Any, points: Tensor, steps: int = 0) -> Iterator[tuple[float, Any]]:
    """Train a new system of the same config on other points; yield (fraction done 0..1, system).

    ``steps`` of 0 trains until it is done.
    """
    steps = steps or MOST_STEPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = type(system)(system.config, replace(system.spec, cases=len(points)))
        for progress in twin.fit(Points(points), Run(steps, batch=len(points))):
            yield min(0.99, (progress.step + 1) / steps), twin
    yield 1.0, twin.eval()
