"""Objects with a mask each: eight pixels a byte, so that thousands of pictures fit in memory."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.poses import Figures


class Instances(NamedTuple):
    """The objects of a picture of ``side`` pixels, true ones or found ones."""

    box: Tensor  # (n, 5) label, left, top, right, bottom in pixels; (n, 6) with a score
    bits: Tensor  # (n, side, ceil(side / 8)) uint8: rows of pixels, the first one the highest bit

    def masks(self, side: int) -> Tensor:
        """(n, side, side) bool"""
        pixels = np.unpackbits(self.bits.cpu().numpy(), axis=2, count=side)
        return torch.from_numpy(pixels).bool().to(self.bits.device)

    def of(self, rows: Tensor) -> "Instances":
        """The objects of these rows, numbers or yes and no."""
        return Instances(self.box[rows], self.bits[rows])


def packed(box: Tensor, masks: Tensor) -> Instances:
    """With masks (n, side, side), not 0 where a pixel belongs to its object."""
    bits = np.packbits(masks.cpu().numpy() != 0, axis=2)
    return Instances(box, torch.from_numpy(bits).to(box.device))


def numbered(box: Tensor, ids: Tensor) -> Instances:
    """With a map of ids (side, side): 0 for the background, else one more than a row of ``box``."""
    number = torch.arange(1, len(box) + 1, dtype=ids.dtype)
    return packed(box, ids == number[:, None, None])


def boxes_of(objects: Iterable[Tensor | Instances | Figures]) -> list[Tensor]:
    """The boxes of each picture alone."""
    return [each if isinstance(each, Tensor) else each.box for each in objects]
