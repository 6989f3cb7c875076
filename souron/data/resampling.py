"""Volumes and maps of classes at other spacings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

TIE = 1e-4  # of a voxel: what has so much more is more


def sizes(size: Sequence[int], steps: Any, wanted: Sequence[float]) -> tuple[int, ...]:
    """Voxels of a volume, one for every so many millimetres."""
    return tuple(
        max(1, round(count * float(step) / want))
        for count, step, want in zip(size, steps, wanted, strict=True)
    )


def resampled(volume: Tensor, size: Sequence[int]) -> Tensor:
    """(C, D, H, W) -> (C, *size): voxels that become larger are averaged, those that become smaller
    are linear between."""
    small = volume
    for axis, count in enumerate(size, 1):
        if count < small.shape[axis]:
            share = shares(small.shape[axis], count).to(small)
            small = (small.movedim(axis, -1) @ share.T).movedim(-1, axis)
    return F.interpolate(small[None], list(size), mode="trilinear")[0]


def shares(many: int, few: int) -> Tensor:
    """(few, many): how much of each wide part of a line each narrow one fills."""
    narrow = torch.arange(many + 1, dtype=torch.float64) / many
    wide = torch.arange(few + 1, dtype=torch.float64) / few
    low = torch.maximum(narrow[None, :-1], wide[:-1, None])
    high = torch.minimum(narrow[None, 1:], wide[1:, None])
    return (high - low).clamp(min=0) * few


def resampled_labels(area: Tensor, size: Sequence[int], classes: int) -> Tensor:
    """Classes (d, h, w) -> (D, H, W) uint8: the class of which most is there. Where two have as
    much, that of the first corner: the background would make everything thinner."""
    if tuple(area.shape) == tuple(size):
        return area
    corner = F.interpolate(area.float()[None, None], list(size), mode="nearest")[0, 0]
    best = torch.zeros(tuple(size))
    said = torch.zeros(tuple(size), dtype=torch.uint8)
    for label in range(classes):
        share = resampled((area == label).float()[None], size)[0] + TIE * (corner == label)
        better = share > best
        said[better] = label
        best = torch.maximum(best, share)
    return said
