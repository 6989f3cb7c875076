"""Objects with a mask each: a ``ListColumn`` of ``Instances``, whose masks are packed to eight
pixels per byte to save memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.quality.findings import MANY, TINY, Finding, of_rows
from souron.data.targets.boxes import Objects, first_of
from souron.data.targets.classes_of_pixels import tinted
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.utils.messages import _

LARGE = 16  # pixels of a mask that is large enough to show a shape
FULL, TWICE = 0.98, 0.9  # share of a box that its mask fills; IoU of two masks of one object


class Instances(NamedTuple):
    """The objects of an image of ``side`` pixels, annotated or predicted."""

    box: Tensor  # (n, 5) label, left, top, right, bottom in pixels; (n, 6) with a score
    bits: Tensor  # (n, side, ceil(side / 8)) uint8: rows of pixels, the first one the highest bit

    def masks(self, side: int) -> Tensor:
        """Unpack the masks, (n, side, side) bool."""
        pixels = np.unpackbits(self.bits.cpu().numpy(), axis=2, count=side)
        return torch.from_numpy(pixels).bool().to(self.bits.device)

    def of(self, rows: Tensor) -> "Instances":
        """Select the objects of these rows, given as indices or a boolean mask."""
        return Instances(self.box[rows], self.bits[rows])


def packed(box: Tensor, masks: Tensor) -> Instances:
    """Pack objects with masks (n, side, side), nonzero where a pixel belongs to the object."""
    bits = np.packbits(masks.cpu().numpy() != 0, axis=2)
    return Instances(box, torch.from_numpy(bits).to(box.device))


def numbered(box: Tensor, ids: Tensor) -> Instances:
    """Pack objects given by an instance map (side, side): 0 for the background, else a row of
    ``box`` plus one."""
    number = torch.arange(1, len(box) + 1, dtype=ids.dtype)
    return packed(box, ids == number[:, None, None])


class Masks(Objects):
    """Boxes and masks of each object."""

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return isinstance(first_of(cases), Instances)

    def image(self, row: int) -> Tensor:
        objects = self.cases.target[row]
        area = torch.zeros(self.cases.input.shape[2:], dtype=torch.long)
        for label, inside in zip(objects.box[:, 0].long(), self._masks(objects), strict=True):
            area[inside] = label + 1
        return tinted(self.cases.input[row], area)

    def drawn(self, row: int) -> tuple[Image, str]:
        objects = self.cases.target[row]
        objects = objects.of(objects.box[:, 0] >= 0)
        names = [self.cases.classes[label] for label in objects.box[:, 0].int().tolist()]
        area = self._masks(objects).numpy().astype(np.uint8)
        return Mask(Picture.of(self.cases.input[row]), area, names).drawn(), self.words(row)

    def _masks(self, objects: Instances) -> Tensor:
        return objects.masks(self.cases.side)

    def findings(self) -> Iterator[Finding]:
        """Find faults of the boxes, masks that are merely boxes, and objects annotated twice."""
        yield from super().findings()
        full = count = 0
        twice = []
        for row, objects in enumerate(self.cases.target):
            square = self._masks(objects)
            around = square.any(1).sum(1) * square.any(2).sum(1)  # pixels of the box
            area = square.flatten(1).sum(1)
            large = area >= LARGE
            full += int((large & (area >= FULL * around)).sum())
            count += int(large.sum())
            if _covering(square, objects.box[:, 0]):
                twice.append((row,))
        if count >= TINY and full > MANY * count:
            yield Finding(
                "masks like boxes",
                "warning",
                (),
                _("{count} of {all} masks fill their boxes").format(count=full, all=count),
                _("check whether boxes were written as outlines: a network would learn to fill boxes"),
            )
        yield from of_rows(
            self.cases,
            "drawn twice",
            "warning",
            twice,
            _("{count} images have objects of one label that nearly cover each other"),
            _("look at them, and keep one of each"),
            one=_("1 image has objects of one label that nearly cover each other"),
        )


def _covering(masks: Tensor, label: Tensor) -> bool:
    """Return whether two masks (n, side, side) of one label nearly cover each other."""
    flat = masks.flatten(1).float()
    area, shared = flat.sum(1), flat @ flat.T
    union = area[:, None] + area - shared
    alike = (shared > TWICE * union) & (label == label[:, None])
    return bool(alike.triu(1).any())
