"""Calibration intercept and slope of predicted risks, with intervals by patients.

Cox: Two Further Applications of a Model for Binary Regression (1958), https://doi.org/10.1093/biomet/45.3-4.562;
Van Calster, McLernon, van Smeden, et al.: Calibration: the Achilles heel of predictive analytics (2019),
https://doi.org/10.1186/s12916-019-1466-7.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats.records import Measure

LEAST = 1e-6  # lowest risk, whose log-odds are finite
STEPS = 100
STEEPEST = 50.0  # slope beyond which the classes are taken as separated


@dataclass(frozen=True)
class CalibrationLine:
    """The line of the true log-odds over the predicted ones."""

    intercept: Measure  # calibration in the large: with a slope of 1; above 0 the risks are too low
    slope: Measure  # below 1 the risks are too extreme
    at_slope: float  # the intercept that belongs to the slope


def calibration_line(
    y_true: ArrayLike, risk: ArrayLike, groups: Sequence[Any] | None = None, level: float = 0.95
) -> CalibrationLine:
    """Fit calibration intercept and slope by logistic regression on the log-odds of predicted risks.

    ``y_true`` and ``risk`` (cases,) of the positive class, ``groups`` (cases,) the patients. The intervals are
    Student's with a variance that counts patients (sandwich estimator) and as many degrees of freedom as the rarer
    class has patients, less one. Where the classes are separated the slope is nan, from minus infinity to infinity.
    Raises ValueError where a class is missing.

    >>> risk = [0.2] * 10 + [0.8] * 10
    >>> found = calibration_line([1] * 2 + [0] * 8 + [1] * 8 + [0] * 2, risk)  # as predicted
    >>> abs(round(found.intercept.value, 6)), round(found.slope.value, 6)
    (0.0, 1.0)
    """
    y, p = np.asarray(y_true, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or not np.isfinite(p).all():
        raise ValueError(f"risks {p.shape} do not fit the truth {y.shape}")
    if not 0 < y.sum() < len(y):
        raise ValueError("a calibration line needs cases with and without the outcome")
    clipped = np.clip(p, LEAST, 1 - LEAST)
    odds = np.log(clipped / (1 - clipped))
    unit = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    rarer = min(len(np.unique(unit[y == 1])), len(np.unique(unit[y == 0])))
    reach = float(scipy.special.stdtrit(max(rarer - 1, 1), (1 + level) / 2))
    count = len(y), None if groups is None else int(unit.max()) + 1
    ones = np.ones((len(y), 1))
    large, large_error = _fitted(ones, y, odds, unit)
    both, errors = _fitted(np.column_stack([ones, odds]), y, np.zeros(len(y)), unit)
    intercept = _measure(large[0], large_error[0], reach, count)
    if not abs(both[1]) < STEEPEST or odds.std() < 1e-9:
        return CalibrationLine(intercept, Measure(math.nan, -math.inf, math.inf, *count), math.nan)
    return CalibrationLine(intercept, _measure(both[1], errors[1], reach, count), float(both[0]))


def _measure(value: float, error: float, reach: float, count: tuple[int, int | None]) -> Measure:
    return Measure(float(value), float(value - reach * error), float(value + reach * error), *count)


def _fitted(
    columns: NDArray[np.float64], y: NDArray[np.float64], offset: NDArray[np.float64], unit: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients of a logistic regression and their standard errors by patients."""

    def loss(weights: NDArray[np.float64]) -> float:
        line = offset + columns @ weights
        return float((np.logaddexp(0, line) - y * line).sum())

    weights = np.zeros(columns.shape[1])
    bread = np.eye(columns.shape[1])
    for _step in range(STEPS):
        fitted = scipy.special.expit(offset + columns @ weights)
        bread = np.linalg.pinv((columns * (fitted * (1 - fitted))[:, None]).T @ columns)
        step = bread @ (columns.T @ (y - fitted))
        before, size = loss(weights), 1.0
        while loss(weights + size * step) > before and size > 1e-6:
            size /= 2
        weights = weights + size * step
        if np.abs(size * step).max() < 1e-9 or np.abs(weights).max() > 2 * STEEPEST:
            break
    fitted = scipy.special.expit(offset + columns @ weights)
    units = int(unit.max()) + 1
    pull = np.zeros((units, columns.shape[1]))
    np.add.at(pull, unit, columns * (y - fitted)[:, None])
    spread = bread @ (pull.T @ pull) @ bread * units / max(units - 1, 1)
    return weights, np.sqrt(np.maximum(np.diag(spread), 0.0))


__all__ = ["CalibrationLine", "calibration_line"]
