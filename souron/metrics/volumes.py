"""Volume segmentation metrics: Dice, surface distances, millilitres.

Dice: Measures of the Amount of Ecologic Association Between Species (1945).
https://doi.org/10.2307/1932409

Huttenlocher, Klanderman, Rucklidge: Comparing Images Using the Hausdorff Distance (1993).
https://doi.org/10.1109/34.232073

Nikolov and others: Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy:
Deep Learning Algorithm Development and Validation Study (2021). https://doi.org/10.2196/26151

    Dice = 2 |A ∩ B| / (|A| + |B|)
    HD95 = the larger 95th percentile of the distances from A's surface to B's, and from B's to A's
    surface Dice = the share of both surfaces that is within a tolerance of the other

The surface of a mask consists of its voxels with a face towards the outside; distances run between
centres of voxels, in millimetres. Where both masks are empty they agree: Dice and surface Dice are
1, HD95 is 0. Where one is empty, both Dice are 0, and HD95 is the diagonal of the volume, the
largest distance between two of its voxels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Agreement(NamedTuple):
    """Agreement of the predicted and the true mask of one structure."""

    dice: float
    hd95: float  # mm
    surface_dice: float
    found: float  # ml
    truth: float  # ml

    @property
    def error(self) -> float:
        """Volume error in millilitres; below 0 where the prediction is too small."""
        return self.found - self.truth


def agreement(found: Any, truth: Any, spacing: Sequence[float], tolerance: float = 1.0) -> Agreement:
    """Compare two masks (slices, rows, columns).

    ``spacing`` in mm in the same order, ``tolerance`` in mm. Raises ValueError where the shapes
    differ.

    >>> import numpy as np
    >>> truth, found = np.zeros((2, 1, 4, 4, 4), bool)
    >>> truth[0, 1:3, 1:3, 1:3], found[0, 1:3, 1:3, 1:4] = True, True
    >>> agreement(found[0], truth[0], spacing=(1, 1, 1))
    Agreement(dice=0.8, hd95=1.0, surface_dice=1.0, found=0.012, truth=0.008)
    """
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
    """Return the Dice coefficient of two masks; 1 where both are empty.

    >>> import numpy as np
    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    whole = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / whole if whole else 1.0


def millilitres(mask: Mask, spacing: Sequence[float]) -> float:
    """Return the volume of a mask in millilitres; ``spacing`` in mm.

    >>> import numpy as np
    >>> millilitres(np.ones((10, 10, 10), bool), spacing=(1, 1, 2))
    2.0
    """
    return int(mask.sum()) * float(np.prod(spacing)) / 1000


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the distance in mm between the centres of two opposite corner voxels.

    >>> diagonal((1, 4, 5), spacing=(1, 1, 1))
    5.0
    """
    return float(np.linalg.norm((np.array(shape) - 1) * np.array(spacing)))


def surface(mask: Mask) -> Mask:
    """Return the voxels with a face towards the outside; beyond the volume is outside.

    >>> import numpy as np
    >>> surface(np.ones((3, 3), bool)).astype(int)
    array([[1, 1, 1],
           [1, 0, 1],
           [1, 1, 1]])
    """
    return mask & ~scipy.ndimage.binary_erosion(mask)


def distances(found: Mask, truth: Mask, spacing: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances in mm between the surfaces of two masks, there and back.

    From each surface voxel of ``found`` to the nearest of ``truth``, and the reverse. Infinite
    where the other mask is empty.

    >>> import numpy as np
    >>> there, back = distances(np.eye(1, 4, 0) > 0, np.eye(1, 4, 3) > 0, spacing=(1, 1))
    >>> there.tolist(), back.tolist()
    ([3.0], [3.0])
    """
    both = scipy.ndimage.find_objects((found | truth).astype(np.uint8))
    if not both:
        return np.zeros(0), np.zeros(0)
    a, b = surface(found[both[0]]), surface(truth[both[0]])
    return _to(a, b, spacing), _to(b, a, spacing)


def _to(start: Mask, end: Mask, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the distance of each surface voxel of ``start`` to the nearest one of ``end``."""
    if not end.any():
        return np.full(int(start.sum()), np.inf)
    return scipy.ndimage.distance_transform_edt(~end, sampling=spacing)[start]


def _hausdorff(there: NDArray[np.float64], back: NDArray[np.float64], most: float, percent: float) -> float:
    """Return the larger percentile of the distances, ``most`` where one surface is empty."""
    if not len(there) and not len(back):
        return 0.0
    if not len(there) or not len(back):
        return most
    return float(max(np.percentile(there, percent), np.percentile(back, percent)))


def _near(there: NDArray[np.float64], back: NDArray[np.float64], tolerance: float) -> float:
    """Return the share of distances within the tolerance; 1 without a surface."""
    whole = len(there) + len(back)
    if not whole:
        return 1.0
    return float(((there <= tolerance).sum() + (back <= tolerance).sum()) / whole)
