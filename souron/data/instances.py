"""Objects with a mask each, packed to eight pixels per byte to save memory."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.poses import Figures


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


def boxes_of(objects: Iterable[Tensor | Instances | Figures]) -> list[Tensor]:
    """Return the boxes of each image, without masks and keypoints."""
    return [each if isinstance(each, Tensor) else each.box for each in objects]
