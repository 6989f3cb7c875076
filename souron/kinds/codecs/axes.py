"""In which directions a volume's axes run: the patient upright, and one volume along another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

APART = 0.1  # voxels that grids of one place may lie apart


def upright(affine: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """In which order a volume's axes run towards head, back and left, and which of them, in that
    order, the other way."""
    return along(affine, np.eye(4)[:, [2, 1, 0, 3]])


def along(affine: Any, other: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """In which order a volume's axes run as those of another one, and which of them, in that order,
    the other way."""
    way, wanted = (np.asarray(each)[:3, :3] for each in (affine, other))
    way, wanted = (each / np.linalg.norm(each, axis=0) for each in (way, wanted))
    alike = wanted.T @ way  # cosines: axes of the other one x axes of the volume
    _other, order = scipy.optimize.linear_sum_assignment(-np.abs(alike))
    signs = alike[range(3), order]
    return tuple(order.tolist()), tuple(np.flatnonzero(signs < 0).tolist())


def turned(values: Any, affine: Any, order: Sequence[int], flipped: Sequence[int]) -> Any:
    """A volume's values and its affine, its axes in that order, some of them the other way."""
    moved = np.asarray(affine)[:, [*order, 3]].copy()
    changed = np.flip(np.asarray(values).transpose(order), tuple(flipped))
    for axis in flipped:
        moved[:3, 3] += moved[:3, axis] * (changed.shape[axis] - 1)
        moved[:3, axis] *= -1
    return changed, moved


def apart(size: Sequence[int], affine: Any, other: Any) -> float:
    """How far the corners of a grid lie from those of another one at most, in voxels."""
    corners = np.array(np.meshgrid(*[(0, count - 1) for count in size])).reshape(3, -1)
    places = np.vstack([corners, np.ones(8)])
    far = np.linalg.norm(((np.asarray(affine) - np.asarray(other)) @ places)[:3], axis=0)
    return float(far.max() / np.linalg.norm(np.asarray(other)[:3, :3], axis=0).min())
