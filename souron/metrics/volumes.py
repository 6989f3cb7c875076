"""How well a part of a volume was found: overlap, distance of the surfaces, millilitres.

Dice: Measures of the Amount of Ecologic Association Between Species (1945).
https://doi.org/10.2307/1932409
Huttenlocher, Klanderman, Rucklidge: Comparing Images Using the Hausdorff Distance (1993).
https://doi.org/10.1109/34.232073
Nikolov and others: Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy:
Deep Learning Algorithm Development and Validation Study (2021). https://doi.org/10.2196/26151

    Dice = 2 |A ∩ B| / (|A| + |B|)
    HD95 = the larger of two: what 95 % of A's surface are within of B's, and B's of A's
    surface Dice = the share of both surfaces that is within a tolerance of the other

The surface of a mask are its voxels with a face towards the outside; distances run between centres
of voxels, in millimetres. Where both masks are empty, all agree: Dice and surface Dice are 1, HD95
is 0. Where one is empty, nothing was found or nothing was there: both Dice are 0, and HD95 is the
diagonal of the volume, the farthest that two of its voxels can be apart.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Agreement(NamedTuple):
    """Of one part in one volume."""

    dice: float
    hd95: float  # mm
    surface_dice: float
    found: float  # ml
    truth: float  # ml

    @property
    def error(self) -> float:
        """Millilitres too many; below 0 too few."""
        return self.found - self.truth


def agreement(
    found: Any, truth: Any, spacing: Sequence[float], tolerance: float = 1.0
) -> Agreement:
    """Two masks (slices, rows, columns); ``spacing`` in mm in the same order, ``tolerance`` in mm.
    Raises ValueError where their shapes differ."""
    a, b = np.asarray(found, bool), np.asarray(truth, bool)
    if a.shape != b.shape or a.ndim != len(spacing):
        raise ValueError(f"{a.shape}, {b.shape}, {len(spacing)}")
    there, back = distances(a, b, spacing)
    return Agreement(
        dice(a, b),
        _hausdorff(there, back, diagonal(a.shape, spacing), 95),
        _near(there, back, tolerance),
        millilitres(a, spacing),
        millilitres(b, spacing),
    )


def dice(found: Mask, truth: Mask) -> float:
    whole = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / whole if whole else 1.0


def millilitres(mask: Mask, spacing: Sequence[float]) -> float:
    return int(mask.sum()) * float(np.prod(spacing)) / 1000


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Millimetres between the centres of two opposite corners."""
    return float(np.linalg.norm((np.array(shape) - 1) * np.array(spacing)))


def surface(mask: Mask) -> Mask:
    """The voxels with a face towards the outside; beyond the volume is outside."""
    return mask & ~scipy.ndimage.binary_erosion(mask)


def distances(
    found: Mask, truth: Mask, spacing: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Millimetres from each surface voxel of ``found`` to the nearest of ``truth``, and back;
    infinite where the other one has none."""
    both = scipy.ndimage.find_objects((found | truth).astype(np.uint8))
    if not both:
        return np.zeros(0), np.zeros(0)
    a, b = surface(found[both[0]]), surface(truth[both[0]])
    return _to(a, b, spacing), _to(b, a, spacing)


def _to(start: Mask, end: Mask, spacing: Sequence[float]) -> NDArray[np.float64]:
    if not end.any():
        return np.full(int(start.sum()), np.inf)
    return scipy.ndimage.distance_transform_edt(~end, sampling=spacing)[start]


def _hausdorff(
    there: NDArray[np.float64], back: NDArray[np.float64], most: float, percent: float
) -> float:
    if not len(there) and not len(back):
        return 0.0
    if not len(there) or not len(back):
        return most
    return float(max(np.percentile(there, percent), np.percentile(back, percent)))


def _near(there: NDArray[np.float64], back: NDArray[np.float64], tolerance: float) -> float:
    whole = len(there) + len(back)
    if not whole:
        return 1.0
    return float(((there <= tolerance).sum() + (back <= tolerance).sum()) / whole)
