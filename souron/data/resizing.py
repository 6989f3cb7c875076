"""Another size for pictures that are tensors already."""

from torch import Tensor
from torch.nn import functional as F


def resized(image: Tensor, side: int | None) -> Tensor:
    """Square pictures (N, C, H, H) uint8 -> (N, C, side, side) uint8, bilinear, antialiased.

    ``None`` leaves them as they are.
    """
    if side is None or side == image.shape[-1]:
        return image
    large = image.new_empty((*image.shape[:2], side, side))
    for here, there in zip(image.split(1024), large.split(1024), strict=True):
        there.copy_(F.interpolate(here, size=(side, side), mode="bilinear", antialias=True))
    return large
