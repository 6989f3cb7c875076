"""Patches of volumes: drawn around organs for training, slid over the whole volume for prediction."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1.0  # smoothing term of the Dice loss, in voxels
AROUND = 0.8  # share of patches around an organ
SIGMA = 0.125  # of a patch's side: the deviation of a window's weights
LEAST = 1e-3  # smallest weight of a voxel in a window


def shares(target: Tensor, labels: int) -> Tensor:
    """Return the share of voxels of each class, (labels,)."""
    return target.flatten().long().bincount(minlength=labels)[:labels] / target.numel()


def around(target: Tensor, size: tuple[int, ...], labels: int) -> tuple[slice, ...]:
    """Choose the position of a patch: around a voxel of a random organ, or anywhere.

    ``target`` (D, H, W) are the volume's classes.
    """
    middle = [int(torch.randint(count, ())) for count in target.shape]
    if torch.rand(()) < AROUND:
        there = target.flatten().long().bincount(minlength=labels)[1:].nonzero().flatten() + 1
        if len(there):
            organ = there[torch.randint(len(there), ())]
            voxels = (target == organ).nonzero()
            middle = voxels[torch.randint(len(voxels), ())].tolist()
    slices = []
    for at, count, long in zip(middle, target.shape, size, strict=True):
        first = min(max(0, at - long // 2), max(0, count - long))
        slices.append(slice(first, first + long))
    return tuple(slices)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - 2 |A and B| / (|A| + |B|), averaged over the classes in these patches.

    Milletari, Navab, Ahmadi: V-Net: Fully Convolutional Neural Networks for Volumetric Medical
    Image Segmentation (2016). https://arxiv.org/abs/1606.04797
    """
    probability = logits.softmax(1)
    true = F.one_hot(target, logits.shape[1]).movedim(-1, 1)
    axes = (0, 2, 3, 4)
    whole = true.sum(axes)
    dice = (2 * (probability * true).sum(axes) + SMOOTH) / (probability.sum(axes) + whole + SMOOTH)
    return (1 - dice)[whole > 0].mean()


def slid(network: Callable[[Tensor], Tensor], volume: Tensor, side: int, overlap: float) -> Tensor:
    """Return the class of every voxel, from windows whose logits are averaged.

    ``network`` maps (1, C, side, side, side) to logits (1, labels, side, side, side); ``volume`` is
    (C, D, H, W). Near its edge a window counts less: its weights are a Gaussian. Slices are decided
    as soon as no later window covers them, so that memory holds the logits of one row of windows.
    """
    size = volume.shape[1:]
    whole = torch.nn.functional.pad(volume, _missing(size, side), mode="replicate")
    depth, high, wide = (starts(count, side, overlap) for count in whole.shape[1:])
    weight = gaussian(side).to(volume)
    labels: list[Tensor] = []
    sums = totals = None
    for index, top in enumerate(depth):
        for row in high:
            for front in wide:
                window = whole[None, :, top : top + side, row : row + side, front : front + side]
                logits = network(window)[0].float()
                if sums is None or totals is None:
                    sums = logits.new_zeros(len(logits), side, *whole.shape[2:])
                    totals = logits.new_zeros(side, *whole.shape[2:])
                sums[:, :, row : row + side, front : front + side] += weight * logits
                totals[:, row : row + side, front : front + side] += weight
        assert sums is not None and totals is not None
        depth_done = side if index == len(depth) - 1 else depth[index + 1] - top
        labels.append((sums[:, :depth_done] / totals[:depth_done]).argmax(0))
        sums = torch.cat([sums[:, depth_done:], torch.zeros_like(sums[:, :depth_done])], 1)
        totals = torch.cat([totals[depth_done:], torch.zeros_like(totals[:depth_done])])
    before = list(_missing(size, side)[::-1][1::2])
    inner = tuple(slice(first, first + count) for first, count in zip(before, size, strict=True))
    return torch.cat(labels)[inner]


def starts(count: int, side: int, overlap: float) -> list[int]:
    """Return where windows along an axis begin; the last one ends with the axis.

    >>> starts(200, 96, 0.25)
    [0, 72, 104]
    """
    step = max(1, int(side * (1 - overlap)))
    starts = [0]
    while starts[-1] + side < count:
        starts.append(min(starts[-1] + step, count - side))
    return starts


def gaussian(side: int) -> Tensor:
    """Return the weights of a window's voxels, (side, side, side), 1 in the middle."""
    line = torch.arange(side) - (side - 1) / 2
    profile = torch.exp(-line.square() / (2 * (SIGMA * side) ** 2))
    return (profile[:, None, None] * profile[:, None] * profile).clamp(min=LEAST)


def _missing(size: torch.Size | tuple[int, ...], side: int) -> list[int]:
    """Return the padding of an axis that is shorter than a window, half of it on each side; the last axis first."""
    short = [max(0, side - count) for count in size]
    return [part for missing in reversed(short) for part in (missing // 2, missing - missing // 2)]
