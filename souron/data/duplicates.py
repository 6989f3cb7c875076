"""Pictures that show the same: re-encoded, resized or brightened copies, found among thousands.

Two pictures are compared as small grey thumbnails, each less its mean and of length 1, so that
brightness and contrast drop out and the product of two is their correlation. What correlates at a
first, coarse look is compared again with more pixels, and in colour.

All pairs are compared, block by block, with no index: twenty thousand pictures are 200 million
products of 256 numbers, seconds on two cores (``benchmarks/duplicates.py``).
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

COARSE, FINE = 16, 32  # pixels a side
ALIKE_COARSE, ALIKE_FINE = 0.95, 0.98  # correlations
ALIKE_COLOUR = 0.9  # of what is left when the grey is taken away
COLOURFUL = 6.0  # grey levels by which colours must vary to be compared
FLAT = 2.0  # grey levels; pictures that vary less are not compared: nothing is on them
BLOCK = 2048


def near(image: Tensor) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures (N, C, H, W) uint8 that are copies of one picture."""
    found: list[tuple[int, int]] = []
    for pairs in _candidates(thumbnails(image, COARSE)):  # (candidates, 2)
        same = _same(image[pairs[:, 0]], image[pairs[:, 1]])
        found += map(tuple, pairs[same].tolist())
    return sorted(found)


def thumbnails(image: Tensor, side: int) -> Tensor:
    """(N, side * side): grey, less the mean, of length 1; all zero where the picture is flat."""
    small = []
    for some in image.split(1024):
        grey = some.float().mean(1, keepdim=True)
        pixels = F.interpolate(grey, (side, side), mode="bilinear", antialias=True).flatten(1)
        pixels = pixels - pixels.mean(1, keepdim=True)
        flat = pixels.std(1, keepdim=True) < FLAT
        small.append(F.normalize(pixels).masked_fill(flat, 0.0))
    return torch.cat(small)


def _candidates(coarse: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(coarse), BLOCK):
        block = coarse[start : start + BLOCK]
        for below in range(start, len(coarse), BLOCK):
            alike = block @ coarse[below : below + BLOCK].T > ALIKE_COARSE
            pairs = alike.nonzero() + torch.tensor([start, below])
            yield from pairs[pairs[:, 0] < pairs[:, 1]].split(BLOCK)


def _same(one: Tensor, other: Tensor) -> Tensor:
    """(pairs,) bool, of pictures (pairs, C, H, W)."""
    grey = (thumbnails(one, FINE) * thumbnails(other, FINE)).sum(1) > ALIKE_FINE
    if one.shape[1] == 1:
        return grey
    a, b = _colours(one), _colours(other)
    plain = (a.std(1) < COLOURFUL) & (b.std(1) < COLOURFUL)
    alike = F.cosine_similarity(a, b) > ALIKE_COLOUR
    return grey & (plain | alike)


def _colours(image: Tensor) -> Tensor:
    """(N, C * COARSE * COARSE): what each colour has more than the grey."""
    pixels = F.interpolate(image.float(), (COARSE, COARSE), mode="bilinear", antialias=True)
    return (pixels - pixels.mean(1, keepdim=True)).flatten(1)
