"""A network for volumes, planned from the data: levels, kernels, patch and intensities.

Isensee, Jaeger, Kohl, Petersen, Maier-Hein: nnU-Net: a self-configuring method for deep learning-based biomedical
image segmentation (2021), online methods. https://doi.org/10.1038/s41592-020-01008-z

    patch      as long in mm on each axis, no longer than a volume, with about ``voxels`` voxels
    strides    an axis is halved while at least 2 x 4 voxels are left, and while its voxels are less than twice as long
               as the shortest: thick slices wait
    kernels    1 along an axis whose voxels are at least twice as long as the shortest, 3 from the level on where not
    intensity  clipped to the percentiles 0.5 and 99.5 of the foreground of the training cases, then standardised by
               the foreground's mean and standard deviation

Differs from the paper: no graphics memory is estimated, the number of voxels stands for it; the number of channels,
the loss and the rate are the network's own; volumes of all modalities are treated as CT is.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

NARROWEST = 4  # voxels of an axis at the coarsest level
THICK = 2.0  # ratio of spacings from which an axis waits
MOST_SAMPLED = 2_000_000  # voxels whose percentiles are computed
PERCENTILES = (0.005, 0.995)

Axes = tuple[int, ...]  # one number for slices, rows and columns


@dataclass(frozen=True)
class Plan:
    """Patch, and the kernel and the stride of each level; the first level has stride 1."""

    patch: Axes  # voxels
    kernels: tuple[Axes, ...]
    strides: tuple[Axes, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def fixed(patch: Sequence[int], levels: int) -> Plan:
    """Return the plan of a network that halves every axis between two levels.

    >>> fixed((8, 8, 8), 2).strides
    ((1, 1, 1), (2, 2, 2))
    """
    return Plan(tuple(patch), ((3, 3, 3),) * levels, ((1, 1, 1), *((2, 2, 2),) * (levels - 1)))


def plan(size: Sequence[int], spacing: Sequence[float], voxels: int, levels: int) -> Plan:
    """Plan a network for volumes of this size in voxels and this spacing in mm.

    ``voxels`` of a patch and ``levels`` are upper limits.

    >>> made = plan((20, 128, 128), (6.0, 1.0, 1.0), 60_000, 5)
    >>> made.patch, made.strides, made.kernels[:3]
    ((10, 64, 64), ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2)), ((1, 3, 3), (1, 3, 3), (3, 3, 3)))
    """
    patch = _patch(size, spacing, voxels)
    strides: list[Axes] = [(1, 1, 1)]
    kernels: list[Axes] = [_kernel(spacing, (1, 1, 1))]
    remaining, steps = list(patch), list(spacing)
    while len(strides) < levels:
        roomy = [axis for axis in range(3) if remaining[axis] >= 2 * NARROWEST]
        if not roomy:
            break
        shortest = min(steps[axis] for axis in roomy)
        stride = tuple(2 if axis in roomy and steps[axis] < THICK * shortest else 1 for axis in range(3))
        remaining = [math.ceil(count / by) for count, by in zip(remaining, stride, strict=True)]
        steps = [step * by for step, by in zip(steps, stride, strict=True)]
        strides.append(stride)
        kernels.append(_kernel(steps, kernels[-1]))
    whole = [math.prod(axis) for axis in zip(*strides, strict=True)]
    return Plan(
        tuple(max(by, count // by * by) for count, by in zip(patch, whole, strict=True)), tuple(kernels), tuple(strides)
    )


def _kernel(spacing: Sequence[float], before: Axes) -> Axes:
    shortest = min(spacing)
    return tuple(
        3 if kernel == 3 or step < THICK * shortest else 1 for step, kernel in zip(spacing, before, strict=True)
    )


def _patch(size: Sequence[int], spacing: Sequence[float], voxels: int) -> Axes:
    """Return the sides of a patch that is as long in mm on each axis, where the volume is so long."""
    patch = [float(count) for count in size]
    open_axes = [0, 1, 2]
    while open_axes and math.prod(patch) > voxels:
        fixed_area = math.prod(patch[axis] for axis in range(3) if axis not in open_axes)
        long = (voxels / fixed_area * math.prod(spacing[axis] for axis in open_axes)) ** (1 / len(open_axes))  # mm
        short = [axis for axis in open_axes if long / spacing[axis] >= size[axis]]
        if not short:
            for axis in open_axes:
                patch[axis] = long / spacing[axis]
            break
        open_axes = [axis for axis in open_axes if axis not in short]
    return tuple(max(1, int(side + 1e-6)) for side in patch)


def intensities(volumes: Tensor, target: Tensor) -> tuple[float, float, float, float]:
    """Return the lower and the upper percentile, mean and standard deviation of the foreground.

    ``volumes`` (N, C, D, H, W), ``target`` (N, D, H, W); of at most two million voxels, at regular distances. Without
    any foreground all voxels count.

    >>> volumes = torch.arange(1000.0).view(1, 1, 10, 10, 10)
    >>> low, high, mean, deviation = intensities(volumes, (volumes[:, 0] >= 500).long())
    >>> round(low), round(high), mean, round(deviation)
    (502, 997, 749.5, 144)
    """
    inside = [volume[:, classes > 0].flatten() for volume, classes in zip(volumes, target, strict=True)]
    values = torch.cat(inside).double()
    if not len(values):
        values = volumes.flatten().double()
    values = values[:: math.ceil(len(values) / MOST_SAMPLED)]
    low, high = torch.quantile(values, torch.tensor(PERCENTILES, dtype=torch.float64)).tolist()
    return low, high, float(values.mean()), max(float(values.std(correction=0)), 1e-6)
