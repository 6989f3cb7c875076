"""How far landmarks were found from where they are, film by film.

Wang, Huang, Lee and others: A benchmark for comparison of dental radiography analysis algorithms
(2016). https://doi.org/10.1016/j.media.2016.02.004

    radial error: the distance between a landmark and what was found, in millimetres or pixels
    success rate within r: the share of landmarks whose radial error is r or less
    OKS: the likeness of ``poses``, with the area of the box around a film's landmarks

A film's figure is the mean over its landmarks, the metric the mean over films, so that intervals
count films, or patients with several. A landmark that is not marked counts nowhere.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from souron.metrics.poses import USUAL

Array = NDArray[np.float64]

MEAN, PIXELS, NEAR = "mean radial error", "mean radial error in pixels", "within 1/50 of the side"
OKS = "OKS"
WITHIN = (2.0, 2.5, 3.0, 4.0)  # millimetres
SHARE = 0.02  # of the side, where millimetres are not known


def errors(found: ArrayLike, true: ArrayLike) -> Array:
    """(N, K, 2), (N, K, 2) -> (N, K) pixels; not a number where a landmark is not marked. What is
    found may have more landmarks than are known here."""
    found, true = np.asarray(found, np.float64), np.asarray(true, np.float64)
    more = found.shape[1] - true.shape[1]
    if more > 0:
        true = np.pad(true, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
    return np.asarray(np.hypot(*np.moveaxis(found - true, 2, 0)))


def scores(
    error: Array, side: float, spacing: Sequence[float] = (), area: Array | None = None,
    sigmas: Array | float = USUAL,
) -> dict[str, Array]:  # fmt: skip
    """Each metric's scores (N,) of radial errors (N, K) in pixels of films of that side;
    millimetres only where the spacing of every film is known, OKS where ``area`` (N,) is given."""
    made: dict[str, Array] = {}
    if known(spacing):
        away = millimetres(error, spacing)
        made[MEAN] = mean(away)
        made |= {f"within {far:g} mm": within(away, far) for far in WITHIN}
    made |= {PIXELS: mean(error), NEAR: within(error, SHARE * side)}
    if area is not None:
        room = 2 * (area[:, None] + np.spacing(1)) * np.square(2 * np.asarray(sigmas))
        made[OKS] = mean(np.exp(-np.square(error) / room))
    return made


def area_around(true: ArrayLike) -> Array:
    """(N, K, 2) -> (N,): square pixels of the box around the landmarks that are marked."""
    points = np.asarray(true, np.float64)
    there = np.isfinite(points)
    high = np.where(there, points, -np.inf).max(1)
    low = np.where(there, points, np.inf).min(1)
    return np.asarray(np.where(there.any(1), high - low, 0.0).prod(1))


def known(spacing: Sequence[float]) -> bool:
    """Whether every film tells its millimetres a pixel."""
    return bool(len(spacing)) and all(value > 0 for value in spacing)


def millimetres(error: Array, spacing: Sequence[float]) -> Array:
    return error * np.asarray(spacing, np.float64)[:, None]


def mean(error: Array) -> Array:
    """(N, K) -> (N,), over the landmarks that are marked."""
    there = np.isfinite(error)
    return np.asarray(np.where(there, error, 0).sum(1) / there.sum(1).clip(min=1))


def within(error: Array, far: float) -> Array:
    """(N, K) -> (N,): the share of the marked landmarks with that error or a smaller one."""
    return np.asarray((error <= far).sum(1) / np.isfinite(error).sum(1).clip(min=1))


def curve(error: Array, far: ArrayLike) -> Array:
    """The share of all marked landmarks with at most each error of ``far`` (n,)."""
    each = np.sort(error[np.isfinite(error)])
    return np.asarray(np.searchsorted(each, np.asarray(far), "right") / max(len(each), 1))
