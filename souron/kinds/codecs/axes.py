"""Orientation of a volume's axes: upright, or along another volume."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

APART = 0.1  # voxels of distance up to which grids count as equal


def upright(affine: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the order of axes that turns a volume upright, and the axes to flip in that order.

    Upright axes run towards head, back and left.
    """
    return along(affine, np.eye(4)[:, [2, 1, 0, 3]])


def along(affine: Any, other: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the order of axes that aligns a volume with another, and the axes to flip."""
    way, wanted = (np.asarray(each)[:3, :3] for each in (affine, other))
    way, wanted = (each / np.linalg.norm(each, axis=0) for each in (way, wanted))
    alike = wanted.T @ way  # cosines: axes of the other x axes of the volume
    _other, order = scipy.optimize.linear_sum_assignment(-np.abs(alike))
    signs = alike[range(3), order]
    return tuple(order.tolist()), tuple(np.flatnonzero(signs < 0).tolist())


def turned(values: Any, affine: Any, order: Sequence[int], flipped: Sequence[int]) -> Any:
    """Return a volume's values and affine with reordered and flipped axes."""
    moved = np.asarray(affine)[:, [*order, 3]].copy()
    changed = np.flip(np.asarray(values).transpose(order), tuple(flipped))
    for axis in flipped:
        moved[:3, 3] += moved[:3, axis] * (changed.shape[axis] - 1)
        moved[:3, axis] *= -1
    return changed, moved


def apart(size: Sequence[int], affine: Any, other: Any) -> float:
    """Return the largest distance between corresponding corners of two grids, in voxels."""
    corners = np.array(np.meshgrid(*[(0, count - 1) for count in size])).reshape(3, -1)
    places = np.vstack([corners, np.ones(8)])
    far = np.linalg.norm(((np.asarray(affine) - np.asarray(other)) @ places)[:3], axis=0)
    return float(far.max() / np.linalg.norm(np.asarray(other)[:3, :3], axis=0).min())
