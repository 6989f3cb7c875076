"""Panoptic segmentation of an image: things, each separate, and stuff, which is uncountable.

A map of ids gives the segment of every pixel; 0 is void (unlabelled). No two segments overlap. A
crowd region, many things that were not annotated separately, is excluded from training and
evaluation.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MOST = 255  # segments of an image: ids are bytes, and 0 is void


class Panoptic(NamedTuple):
    """The segments of an image, annotated or predicted."""

    label: Tensor  # (n,) int64; -1 - label for a crowd region
    thing: Tensor  # (n,) bool: True for a thing, False for stuff
    ids: Tensor  # (side, side) uint8: 0 for void, else the segment's row plus one

    def masks(self, rows: Tensor) -> Tensor:
        """Return the masks of these segments, (len(rows), side, side) bool."""
        return self.ids == (rows + 1).to(self.ids.dtype)[:, None, None]

    def pixels(self) -> Tensor:
        """Count the pixels of each segment, (n,) int64."""
        return self.ids.flatten().long().bincount(minlength=MOST + 1)[1 : len(self.label) + 1]

    def compact(self) -> "Panoptic":
        """Drop segments without pixels and renumber the rest."""
        left = self.pixels() > 0
        number = torch.zeros(MOST + 1, dtype=torch.uint8, device=self.ids.device)
        number[1 : len(left) + 1] = torch.where(left, left.cumsum(0), 0).byte()
        return Panoptic(self.label[left], self.thing[left], number[self.ids.long()])


def divided(label: Sequence[int], thing: Sequence[bool], ids: Tensor) -> Panoptic:
    """Build segments from plain lists and a map of ids."""
    return Panoptic(
        torch.tensor(label, dtype=torch.long), torch.tensor(thing, dtype=torch.bool), ids.byte()
    )


def boxes_of(one: Panoptic, rows: Tensor) -> Tensor:
    """Return the boxes of these segments, (len(rows), 5): label, left, top, right, bottom. Each
    must have pixels."""
    masks = one.masks(rows)
    edges = []
    for axis in (1, 2):  # columns, then rows
        there = masks.any(axis)
        low = there.int().argmax(1)
        high = there.shape[1] - there.flip(1).int().argmax(1)
        edges.append((low, high))
    (left, right), (top, bottom) = edges
    box = torch.stack([one.label[rows], left, top, right, bottom], 1)
    return box.float()


def stuff_of(every: Iterable[Panoptic], classes: int) -> list[int]:
    """Return the numbers of the classes that are stuff in every image."""
    stuff, things = set[int](), set[int]()
    for one in every:
        label = torch.where(one.label < 0, -1 - one.label, one.label)
        things.update(label[one.thing].tolist())
        stuff.update(label[~one.thing].tolist())
    return sorted(number for number in stuff - things if number < classes)
