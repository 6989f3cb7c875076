"""Figures with keypoints: people with joints, hands with finger tips; a ``ListColumn`` of
``Figures``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.targets.boxes import Objects, first_of
from souron.kinds.graphics.overlay import Canvas, colour
from souron.kinds.picture import Picture
from souron.utils.messages import N_

UNMARKED, HIDDEN, SEEN = 0, 1, 2  # visibility of a keypoint, numbered as in COCO
COCO_LINES = (  # pairs of COCO's 17 keypoints, from 0
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class Skeleton:
    """The keypoints that every figure of a data set has. Stored with each image's figures, so that
    it accompanies them everywhere."""

    names: tuple[str, ...]
    lines: tuple[tuple[int, int], ...] = ()  # pairs of keypoints joined by a line
    swap: tuple[int, ...] = ()  # the keypoint that each becomes when mirrored; () if unchanged
    sigmas: tuple[float, ...] = ()  # tolerance of each, see ``metrics.poses``; () for the default

    @property
    def mirror(self) -> list[int]:
        return list(self.swap or range(len(self.names)))


class Figures(NamedTuple):
    """The figures of an image, annotated or predicted."""

    box: Tensor  # (n, 5) label, left, top, right, bottom in pixels; (n, 6) with a score
    point: Tensor  # (n, K, 3) x, y in pixels, and visibility; for predictions a score
    area: Tensor  # (n,) square pixels, the scale of distances
    skeleton: Skeleton

    def of(self, rows: Tensor) -> "Figures":
        """Select the figures of these rows, given as indices or a boolean mask."""
        return Figures(self.box[rows], self.point[rows], self.area[rows], self.skeleton)


def area_of(box: Tensor) -> Tensor:
    """Return the areas of boxes (n, 5) or (n, 6) in square pixels, (n,)."""
    return (box[:, 3:5] - box[:, 1:3]).prod(1)


def nothing(skeleton: Skeleton, columns: int = 6) -> Figures:
    """Return an empty set of figures."""
    return Figures(torch.zeros(0, columns), torch.zeros(0, len(skeleton.names), 3), torch.zeros(0), skeleton)


def sides_swapped(names: Sequence[str]) -> tuple[int, ...]:
    """Return the keypoint that each becomes when mirrored, inferred from names: the left elbow
    becomes the right one."""
    numbers = {name: number for number, name in enumerate(names)}
    other = [numbers.get(_other(name), number) for number, name in enumerate(names)]
    return tuple(to if other[to] == at else at for at, to in enumerate(other))


def _other(name: str) -> str:
    """Swap left and right in a name: ``left_elbow`` -> ``right_elbow``."""
    for gap in ("_", " ", "-"):
        words = name.split(gap)
        if len(words) > 1 and any(word.lower() in SIDES for word in words):
            return gap.join(SIDES.get(word.lower(), word) for word in words)
    return name


class Poses(Objects):
    """Boxes and keypoints of each figure."""

    counted = N_("figures")
    unit = N_("{least} to {most} figures each")

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return isinstance(first_of(cases), Figures)

    def drawn(self, row: int) -> tuple[Image, str]:
        """Return the image with each figure and its labelled keypoints, and a description."""
        figures = self.cases.target[row]
        figures = figures.of(figures.box[:, 0] >= 0)
        names = [self.cases.classes[label] for label in figures.box[:, 0].int().tolist()]
        canvas = Canvas(Picture.of(self.cases.input[row]))
        for name, box, points in zip(names, figures.box, figures.point.tolist(), strict=True):
            places = [at[:2] if at[2] > 0 else None for at in points]
            canvas.bones(places, figures.skeleton.lines)
            canvas.box(box[1:5].tolist(), name, colour(int(box[0])))
        return canvas.image, self.words(row)
