"""Figures with named points each: people with joints, hands with finger tips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

UNMARKED, HIDDEN, SEEN = 0, 1, 2  # what is known of a point, as COCO numbers it
COCO_LINES = (  # of COCO's 17 points, from 0
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class Skeleton:
    """The points that every figure of a data set has. It stands beside each picture's figures, so
    that it goes wherever they go."""

    names: tuple[str, ...]
    lines: tuple[tuple[int, int], ...] = ()  # numbers of points that a line joins
    swap: tuple[int, ...] = ()  # which point each is in the mirror; () where it stays itself
    sigmas: tuple[float, ...] = ()  # how far off a point may be, see ``metrics.poses``; () usual

    @property
    def mirror(self) -> list[int]:
        return list(self.swap or range(len(self.names)))


class Figures(NamedTuple):
    """The figures of a picture, true ones or found ones."""

    box: Tensor  # (n, 5) label, left, top, right, bottom in pixels; (n, 6) with a score
    point: Tensor  # (n, K, 3) x, y in pixels, and what is known of it; of found ones a score
    area: Tensor  # (n,) square pixels, what distances are measured by
    skeleton: Skeleton

    def of(self, rows: Tensor) -> "Figures":
        """The figures of these rows, numbers or yes and no."""
        return Figures(self.box[rows], self.point[rows], self.area[rows], self.skeleton)


def area_of(box: Tensor) -> Tensor:
    """Boxes (n, 5) or (n, 6) -> (n,) square pixels."""
    return (box[:, 3:5] - box[:, 1:3]).prod(1)


def nothing(skeleton: Skeleton, columns: int = 6) -> Figures:
    """No figure."""
    return Figures(
        torch.zeros(0, columns), torch.zeros(0, len(skeleton.names), 3), torch.zeros(0), skeleton
    )


def sides_swapped(names: Sequence[str]) -> tuple[int, ...]:
    """Which point each is in the mirror, as its name says: the left elbow is the right one."""
    numbers = {name: number for number, name in enumerate(names)}
    other = [numbers.get(_other(name), number) for number, name in enumerate(names)]
    return tuple(to if other[to] == at else at for at, to in enumerate(other))


def _other(name: str) -> str:
    """``left_elbow`` -> ``right_elbow``"""
    for gap in ("_", " ", "-"):
        words = name.split(gap)
        if len(words) > 1 and any(word.lower() in SIDES for word in words):
            return gap.join(SIDES.get(word.lower(), word) for word in words)
    return name
