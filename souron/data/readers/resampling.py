"""Resample volumes and label maps to other spacings."""

from collections.abc import Sequence
from typing import Any

import scipy
import torch
from torch import Tensor
from torch.nn import functional as F

TIE = 1e-4  # of a voxel: smaller differences are ties


def sizes(size: Sequence[int], steps: Any, wanted: Sequence[float]) -> tuple[int, ...]:
    """Return the size of a volume in voxels at the spacing ``wanted``."""
    return tuple(
        max(1, round(count * float(step) / want)) for count, step, want in zip(size, steps, wanted, strict=True)
    )


def resampled(volume: Tensor, size: Sequence[int]) -> Tensor:
    """Resample (C, D, H, W) to (C, *size): downscaled axes are averaged by area, upscaled ones
    interpolated linearly."""
    return _applied(volume, [weights(*pair) for pair in zip(volume.shape[1:], size, strict=True)])


def _applied(volume: Tensor, axes: Sequence[Tensor]) -> Tensor:
    """Apply a matrix to each of the last three axes of (C, D, H, W), the one that shrinks most
    first."""
    ratios = [matrix.shape[0] / matrix.shape[1] for matrix in axes]
    for axis in sorted(range(len(axes)), key=ratios.__getitem__):
        matrix = axes[axis].to(volume)
        volume = (volume.movedim(axis + 1, -1) @ matrix.T).movedim(-1, axis + 1)
    return volume.contiguous()


def weights(many: int, count: int) -> Tensor:
    """Return the resampling matrix (count, many) from ``many`` to ``count`` cells of a line: area
    weights for downscaling, linear interpolation for upscaling."""
    if count == many:
        return torch.eye(many)
    if count < many:
        narrow = torch.arange(many + 1, dtype=torch.float64) / many
        wide = torch.arange(count + 1, dtype=torch.float64) / count
        low = torch.maximum(narrow[None, :-1], wide[:-1, None])
        high = torch.minimum(narrow[None, 1:], wide[1:, None])
        return ((high - low).clamp(min=0) * count).float()
    place = (torch.arange(count, dtype=torch.float64) + 0.5) * many / count - 0.5
    far = (place.clamp(0, many - 1)[:, None] - torch.arange(many)).abs()
    return (1 - far).clamp(min=0).float()


def resampled_labels(area: Tensor, size: Sequence[int], classes: int) -> Tensor:
    """Resample a label map (d, h, w) to (D, H, W) uint8: the class with the largest share in each
    voxel. Ties go to the class of the first corner, since the background would make all structures
    thinner."""
    if tuple(area.shape) == tuple(size):
        return area
    matrices = [weights(*pair) for pair in zip(area.shape, size, strict=True)]
    corner = F.interpolate(area.float()[None, None], list(size), mode="nearest")[0, 0]
    ground = torch.ones(tuple(size))
    best = torch.zeros(tuple(size))
    said = torch.zeros(tuple(size), dtype=torch.uint8)
    parts = scipy.ndimage.find_objects(area.numpy(), max_label=classes - 1)
    for label, cut in enumerate(parts, 1):
        if cut is None:
            continue
        own = [matrix[:, part] for matrix, part in zip(matrices, cut, strict=True)]
        rows = [_filled(matrix) for matrix in own]
        near = [matrix[row] for matrix, row in zip(own, rows, strict=True)]
        share = _applied((area[cut] == label).float()[None], near)[0]
        place = tuple(rows)
        ground[place] -= share
        share += TIE * (corner[place] == label)
        said[place][share > best[place]] = label
        best[place] = torch.maximum(best[place], share)
    said[ground + TIE * (corner == 0) > best - TIE / 10] = 0
    return said


def _filled(matrix: Tensor) -> slice:
    """Return the slice from the first to the last nonzero row."""
    rows = matrix.any(1).nonzero().flatten().tolist()
    return slice(rows[0], rows[-1] + 1)
