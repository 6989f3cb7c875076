"""Detect labelled volumes that are mirrored relative to the others, due to a wrong orientation in
their files.

The labels of each volume are compared with the mean of all others, unchanged and mirrored along
each axis. A minority that fits clearly better mirrored is suspicious, such as a liver on the left.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

GRID = (12, 16, 16)  # slices, rows, columns of the comparison
FEWEST = 4  # volumes; with fewer it is ambiguous which one is mirrored
CLEARER = 0.1  # required increase of the similarity (a cosine, 0..1)


def mirrored(area: Tensor, classes: int) -> list[tuple[int, int]]:
    """Return (row, axis) of the label maps (N, D, H, W) that fit better when mirrored along an axis
    0 to 2.

    >>> mirrored(torch.zeros(9, 8, 8, 8, dtype=torch.uint8), 2)
    []
    """
    if len(area) < FEWEST:
        return []
    small = torch.stack(
        [
            torch.stack([adaptive_avg_pool3d((one == label).float()[None], GRID)[0] for label in range(1, classes)])
            for one in area
        ]
    )  # (N, classes - 1, *GRID)
    total, found = small.sum(0), []
    for row, own in enumerate(small):
        others = total - own
        alike = _cosine(own, others)
        fits = [_cosine(own.flip(1 + axis), others) for axis in range(3)]
        best = max(range(3), key=fits.__getitem__)
        if fits[best] > alike + CLEARER:
            found.append((row, best))
    return found if len(found) < len(area) / 2 else []


def _cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-9))
