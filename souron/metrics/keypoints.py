"""Landmark metrics: radial errors and success rates, image by image.

Wang, Huang, Lee and others: A benchmark for comparison of dental radiography analysis algorithms
(2016). https://doi.org/10.1016/j.media.2016.02.004

    radial error: distance between a landmark and its prediction, in millimetres or pixels
    success rate within r: share of landmarks whose radial error is r or less
    OKS: the similarity of ``poses``, with the area of the box around an image's landmarks

An image's figure is the mean over its landmarks, the metric the mean over images, so that intervals
count images, or patients with several. A landmark that is not marked counts nowhere.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from souron.metrics.poses import USUAL

Array = NDArray[np.float64]

MEAN, PIXELS, NEAR = "mean radial error", "mean radial error in pixels", "within 1/50 of the side"
OKS = "OKS"
WITHIN = (2.0, 2.5, 3.0, 4.0)  # millimetres
SHARE = 0.02  # share of the side, where millimetres are not known


def errors(found: ArrayLike, true: ArrayLike) -> Array:
    """Return the radial error of each landmark in pixels, (N, K, 2), (N, K, 2) -> (N, K).

    nan where a landmark is not marked. Predictions may have more landmarks than the truth.

    >>> errors([[[3.0, 4.0], [1.0, 1.0]]], [[[0.0, 0.0]]]).tolist()
    [[5.0, nan]]
    """
    found, true = np.asarray(found, np.float64), np.asarray(true, np.float64)
    more = found.shape[1] - true.shape[1]
    if more > 0:
        true = np.pad(true, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
    return np.asarray(np.hypot(*np.moveaxis(found - true, 2, 0)))


def scores(
    error: Array, side: float, spacing: Sequence[float] = (), area: Array | None = None, sigmas: Array | float = USUAL
) -> dict[str, Array]:
    """Return each metric's scores (N,) from radial errors (N, K) in pixels.

    ``side`` is the images' side. Metrics in millimetres need the spacing of every image, OKS needs
    ``area`` (N,).

    >>> import numpy as np
    >>> found = scores(np.array([[3.0, 5.0]]), side=200, spacing=[0.5])
    >>> found["mean radial error"].tolist(), found["within 2 mm"].tolist()
    ([2.0], [0.5])
    """
    metrics: dict[str, Array] = {}
    if known(spacing):
        away = millimetres(error, spacing)
        metrics[MEAN] = mean(away)
        metrics |= {f"within {far:g} mm": within(away, far) for far in WITHIN}
    metrics |= {PIXELS: mean(error), NEAR: within(error, SHARE * side)}
    if area is not None:
        room = 2 * (area[:, None] + np.spacing(1)) * np.square(2 * np.asarray(sigmas))
        metrics[OKS] = mean(np.exp(-np.square(error) / room))
    return metrics


def area_around(true: ArrayLike) -> Array:
    """Return the area of the box around the marked landmarks in square pixels, (N, K, 2) -> (N,).

    >>> area_around([[[0.0, 0.0], [4.0, 3.0], [float("nan"), float("nan")]]]).tolist()
    [12.0]
    """
    points = np.asarray(true, np.float64)
    there = np.isfinite(points)
    high = np.where(there, points, -np.inf).max(1)
    low = np.where(there, points, np.inf).min(1)
    return np.asarray(np.where(there.any(1), high - low, 0.0).prod(1))


def known(spacing: Sequence[float]) -> bool:
    """Return whether every image has a spacing in millimetres per pixel.

    >>> known([0.1, 0.1]), known([0.1, 0.0]), known([])
    (True, False, False)
    """
    return bool(len(spacing)) and all(value > 0 for value in spacing)


def millimetres(error: Array, spacing: Sequence[float]) -> Array:
    """Convert errors (N, K) from pixels to millimetres.

    >>> import numpy as np
    >>> millimetres(np.array([[3.0, 5.0]]), [0.5]).tolist()
    [[1.5, 2.5]]
    """
    return error * np.asarray(spacing, np.float64)[:, None]


def mean(error: Array) -> Array:
    """Average errors (N, K) over the marked landmarks, shape (N,).

    >>> import numpy as np
    >>> mean(np.array([[1.0, 3.0, np.nan]])).tolist()
    [2.0]
    """
    there = np.isfinite(error)
    return np.asarray(np.where(there, error, 0).sum(1) / there.sum(1).clip(min=1))


def within(error: Array, far: float) -> Array:
    """Return the share of marked landmarks with at most that error, (N, K) -> (N,).

    >>> import numpy as np
    >>> within(np.array([[1.0, 3.0, np.nan]]), 2.0).tolist()
    [0.5]
    """
    return np.asarray((error <= far).sum(1) / np.isfinite(error).sum(1).clip(min=1))


def curve(error: Array, far: ArrayLike) -> Array:
    """Return the share of all marked landmarks with at most each error of ``far`` (n,).

    >>> import numpy as np
    >>> curve(np.array([[1.0, 3.0], [2.0, np.nan]]), [1, 2, 3]).round(2).tolist()
    [0.33, 0.67, 1.0]
    """
    errors = np.sort(error[np.isfinite(error)])
    return np.asarray(np.searchsorted(errors, np.asarray(far), "right") / max(len(errors), 1))
