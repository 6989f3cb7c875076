"""Voxel grids in space, as readers of volumes return them, and their limits."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from souron.kinds.codecs.limits import trouble
from souron.utils.messages import UserError, _

MOST_VOXELS = 300_000_000
MOST_BYTES = 1_000_000_000  # bytes of a file
MOST_SLICES = 5000
FARTHEST = 10_000.0  # mm from the origin


class Grid(NamedTuple):
    """Values and affine of a volume."""

    values: np.ndarray  # (slices, rows, columns) int16 or float32
    affine: np.ndarray  # (4, 4): (slice, row, column, 1) -> millimetres towards left, back, head
    series: str = ""
    notes: tuple[str, ...] = ()  # changes made to the file's own values
    uid: str = ""  # UID of a DICOM series


class Placed(NamedTuple):
    """Size and position of a volume, from its headers."""

    size: tuple[int, ...]  # slices, rows, columns
    affine: np.ndarray  # as in ``Grid``
    patient: str = ""  # a pseudonym, where DICOM names one


def check_size(path: Path, size: Sequence[int]) -> None:
    """Validate the size of a volume before its values are read. Raises UserError."""
    if len(size) != 3 or min(size) < 1:
        raise trouble(
            path,
            "not a volume",
            _("values in the shape {shape}").format(shape=" x ".join(map(str, size))),
            _("three dimensions"),
        )
    if math.prod(size) > MOST_VOXELS:
        raise trouble(
            path,
            "too large",
            _("the volume has {size} voxels").format(size=" x ".join(map(str, size))),
            _("at most {count} million voxels").format(count=MOST_VOXELS // 1_000_000),
        )


def stored(values: np.ndarray) -> np.ndarray:
    """Convert to int16 where that is lossless, else to float32. Raises ValueError."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(_("numbers that are not finite"))
    if values.dtype == np.int16:
        return values
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if low >= -(2**15) and high < 2**15:
        whole = values.astype(np.int16)
        if np.array_equal(whole, values):
            return whole
    return values.astype(np.float32)


def upright(spacing: Sequence[float]) -> np.ndarray:
    """Return the affine of a grid of which only the spacing is known.

    ``spacing``: millimetres between columns, rows and slices, which are assumed to run to the left,
    the back and the head.
    """
    columns, rows, slices = spacing
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, columns], [0, rows, 0], [slices, 0, 0]]
    return affine


def spacing_of(affine: np.ndarray) -> list[float]:
    """Return millimetres between columns, rows and slices."""
    return [float(step) for step in np.linalg.norm(affine[:3, 2::-1], axis=0)]


def no_geometry(path: Path, why: str) -> UserError:
    """Return the UserError for a file without voxel positions."""
    found = _("the position of its voxels is not stated: {why}").format(why=why)
    wrong = trouble(path, "no geometry", found, "spacing=X,Y,Z")
    wrong.fix = _("give the millimetres between columns, rows and slices: {option}").format(
        option="spacing=0.7,0.7,1.5"
    )
    return wrong
