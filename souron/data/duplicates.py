"""Pictures that show the same: re-encoded, resized or brightened copies, found among thousands.

Two pictures are compared as small thumbnails, each colour less its mean and all of length 1, so
that brightness and contrast drop out and the product of two is their correlation. What correlates
at a first, coarse look is compared again with more pixels.

All pairs are compared, block by block, with no index: twenty thousand pictures are 200 million
products of 768 numbers, seconds on two cores (``benchmarks/duplicates.py``).
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

COARSE, FINE = 16, 32  # pixels a side
ALIKE_COARSE, ALIKE_FINE = 0.95, 0.97  # correlations
FLAT = 2.0  # levels of 256; pictures that vary less are not compared: nothing is on them
FLAT_DEEP = FLAT / 256  # where there are finer steps than bytes
BLOCK = 2048


def near(image: Tensor) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures (N, C, H, W) in 0..255 that are copies of one picture."""
    found: list[tuple[int, int]] = []
    for pairs in _candidates(thumbnails(image, COARSE)):  # (candidates, 2)
        one, other = (thumbnails(image[rows], FINE) for rows in pairs.T)
        found += map(tuple, pairs[(one * other).sum(1) > ALIKE_FINE].tolist())
    return sorted(found)


def thumbnails(image: Tensor, side: int) -> Tensor:
    """(N, C * side * side): each colour less its mean, of length 1; zero where it is flat."""
    small, least = [], FLAT_DEEP if image.is_floating_point() else FLAT
    for some in image.split(1024):
        pixels = F.interpolate(some.float(), (side, side), mode="bilinear", antialias=True)
        pixels = (pixels - pixels.mean((2, 3), keepdim=True)).flatten(1)
        flat = pixels.std(1, keepdim=True, correction=0) < least
        small.append(F.normalize(pixels).masked_fill(flat, 0.0))
    return torch.cat(small)


def _candidates(coarse: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(coarse), BLOCK):
        block = coarse[start : start + BLOCK]
        for below in range(start, len(coarse), BLOCK):
            alike = block @ coarse[below : below + BLOCK].T > ALIKE_COARSE
            pairs = alike.nonzero() + torch.tensor([start, below])
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            if len(pairs):
                yield from pairs.split(BLOCK)
