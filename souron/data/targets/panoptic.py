"""Panoptic segmentation of an image: things, each separate, and stuff, which is uncountable; a
``ListColumn`` of ``Panoptic``.

A map of ids gives the segment of every pixel; 0 is void (unlabelled). No two segments overlap. A
crowd region, many things that were not annotated separately, is excluded from training and
evaluation.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.target import Target
from souron.data.targets.boxes import first_of
from souron.data.targets.classes_of_pixels import tinted
from souron.kinds.picture import Picture
from souron.kinds.segments import Segments
from souron.utils.messages import N_

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
    return Panoptic(torch.tensor(label, dtype=torch.long), torch.tensor(thing, dtype=torch.bool), ids.byte())


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


class Divided(Target):
    """Segments of each case, things and stuff."""

    counted = N_("segments")
    unit = N_("{least} to {most} segments each")
    one_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return isinstance(first_of(cases), Panoptic)

    def counts(self) -> list[int]:
        labels = torch.cat([one.label[one.pixels() > 0] for one in self.cases.target])
        return labels[labels >= 0].bincount(minlength=len(self.cases.classes)).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        for row, one in enumerate(self.cases.target):
            if (one.label[one.pixels() > 0] == label).any():
                yield row

    def words(self, row: int) -> str:
        one = self.cases.target[row].compact()
        labels = one.label[one.label >= 0].unique().tolist()
        return ", ".join(self.cases.classes[label] for label in labels)

    def image(self, row: int) -> Tensor:
        """Return the image with each thing in a different colour; stuff is unchanged."""
        one = self.cases.target[row]
        counted = (one.thing & (one.label >= 0)).cumsum(0) * (one.thing & (one.label >= 0))
        number = torch.cat([torch.zeros(1, dtype=torch.long), counted])
        return tinted(self.cases.input[row], number[one.ids.long()])

    def drawn(self, row: int) -> tuple[Image, str]:
        found = shown(self.cases.input[row], self.cases.target[row], self.cases.classes)
        return found.drawn(), self.words(row)


def shown(pixels: Tensor, one: Panoptic, classes: Sequence[str]) -> Segments:
    """Return an image (C, H, W) with its segments, without crowd regions."""
    crowd = torch.cat([torch.zeros(1, dtype=torch.bool), one.label < 0])
    one = one._replace(ids=one.ids.masked_fill(crowd[one.ids.long()], 0)).compact()
    names = [classes[label] for label in one.label.tolist()]
    things = one.thing.tolist()
    return Segments(Picture.of(pixels), one.ids.numpy(), names, things, (), classes)
