"""What a picture is divided into: things, each by itself, and stuff, which has no parts to count.

A map of ids says of every pixel which segment it is of; 0 is void, what nobody knows. No two
segments overlap. A crowd region, many things that nobody told apart, is neither learnt nor counted.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MOST = 255  # segments of a picture: a map is of bytes, and 0 is void


class Panoptic(NamedTuple):
    """The segments of a picture, true ones or found ones."""

    label: Tensor  # (n,) int64; of a crowd region -1 - label
    thing: Tensor  # (n,) bool: a thing, not stuff
    ids: Tensor  # (side, side) uint8: 0 for void, else one more than the segment's row

    def masks(self, rows: Tensor) -> Tensor:
        """(len(rows), side, side) bool: the pixels of these segments."""
        return self.ids == (rows + 1).to(self.ids.dtype)[:, None, None]

    def pixels(self) -> Tensor:
        """(n,) int64: how many each of them has."""
        return self.ids.flatten().long().bincount(minlength=MOST + 1)[1 : len(self.label) + 1]

    def compact(self) -> "Panoptic":
        """Without segments that have no pixel."""
        left = self.pixels() > 0
        number = torch.zeros(MOST + 1, dtype=torch.uint8, device=self.ids.device)
        number[1 : len(left) + 1] = torch.where(left, left.cumsum(0), 0).byte()
        return Panoptic(self.label[left], self.thing[left], number[self.ids.long()])


def divided(label: Sequence[int], thing: Sequence[bool], ids: Tensor) -> Panoptic:
    """From plain lists and a map of ids."""
    return Panoptic(
        torch.tensor(label, dtype=torch.long), torch.tensor(thing, dtype=torch.bool), ids.byte()
    )


def boxes_of(one: Panoptic, rows: Tensor) -> Tensor:
    """(len(rows), 5): label, left, top, right, bottom of the pixels of these segments, which have
    some."""
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
    """The numbers of the classes that are stuff wherever they are."""
    stuff, things = set[int](), set[int]()
    for one in every:
        label = torch.where(one.label < 0, -1 - one.label, one.label)
        things.update(label[one.thing].tolist())
        stuff.update(label[~one.thing].tolist())
    return sorted(number for number in stuff - things if number < classes)
