"""Calibration of probabilities: temperature scaling, Brier score, expected error, curve.

A network is often overconfident: it predicts 99 % too often. One number, the temperature, chosen on
validation cases, flattens or sharpens its probabilities without changing which label is the most
probable (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017,
https://arxiv.org/abs/1706.04599).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats import intervals
from souron.stats.variance import Scores

COLDEST, HOTTEST = 0.05, 20.0
SPREAD = 0.5  # standard deviation of the prior on the logarithm of the temperature
LEAST = 1e-12  # lowest probability, whose logarithm is finite
FEWEST = 10  # cases in a bin of the curve


@dataclass(frozen=True)
class Bin:
    """One confidence bin of a calibration curve."""

    confidence: float  # mean probability of the most probable label
    share: float  # accuracy: how often that label was right
    low: float  # interval of the share
    high: float
    n: int  # cases


def temperature(probability: ArrayLike, label: ArrayLike) -> float:
    """Fit the temperature T at which ``cool`` has the lowest log loss on validation cases.

    ``probability`` (cases, labels), ``label`` (cases,). T lies within 0.05..20. Few cases can be
    separated by chance, and then no finite temperature minimises the loss; so T is a maximum a
    posteriori estimate, with a normal prior on ln T around 0 with standard deviation ``SPREAD``.
    The prior decides among few cases and vanishes among many. Returns 1.0 without cases, and where
    all labels are always equally probable. ``benchmarks/temperature.py`` shows the gain. Raises
    ValueError unless ``probability`` has two axes.

    >>> overconfident = [[0.9, 0.1]] * 10
    >>> t = temperature(overconfident, [0] * 6 + [1] * 4)  # 90 % confident, 60 % right
    >>> t > 1, cool([0.9, 0.1], t).round(2).tolist()
    (True, [0.78, 0.22])
    """
    logits, y_true = _logits(probability, label)
    row = np.arange(len(y_true))

    def loss(log_t: float) -> float:
        log_p = scipy.special.log_softmax(logits / np.exp(log_t), axis=1)
        return (log_t / SPREAD) ** 2 / 2 - float(log_p[row, y_true].sum())

    # both parts are convex in 1 / T down to T = 1 / e: there is one minimum above it
    ends = float(np.log(COLDEST)), float(np.log(HOTTEST))
    minimum = scipy.optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(minimum.x))


def cool(probability: ArrayLike, t: float) -> Scores:
    """Scale probabilities by a temperature: softmax(log p / T), shape (..., labels).

    T > 1 makes them less confident, T < 1 more. Raises ValueError unless T > 0.

    >>> cool([0.9, 0.1], 2.0).round(2).tolist()
    [0.75, 0.25]
    """
    if not t > 0:
        raise ValueError(f"a temperature is above 0, not {t}")
    logits = np.log(np.maximum(np.asarray(probability, dtype=np.float64), LEAST))
    return np.exp(scipy.special.log_softmax(logits / t, axis=-1))


def brier(probability: ArrayLike, label: ArrayLike) -> Scores:
    """Return the Brier score of each case.

    It is the sum over labels of (p - y)^2 with y = 1 for the true label: 0 is best, 2 worst; with
    two labels it is twice the score that counts the positive label alone (Brier, "Verification of
    forecasts expressed in terms of probability", 1950). Shapes: (cases, labels) -> (cases,),
    (repeats, cases, labels) -> (repeats, cases).

    >>> brier([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], [0, 0, 0]).tolist()
    [0.0, 0.5, 2.0]
    """
    table, y_true = _checked(probability, label)
    return ((table - np.eye(table.shape[-1])[y_true]) ** 2).sum(-1)


def expected_error(probability: ArrayLike, label: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error (ECE) of the most probable label.

    It is the mean of |confidence - accuracy| over ``bins`` bins of about equal count; cases of
    equal confidence stay in one bin. From Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning", 2015, https://doi.org/10.1609/aaai.v29i1.9602, with bins
    of equal count.

    The ECE is biased upwards in small samples, since absolute values do not cancel: a perfectly
    calibrated system that is right with probability p gets about 0.8 sqrt(bins p (1 - p) / n) on n
    cases, not 0; with p = 0.8, n = 200 and 15 bins that is 0.09. Hence no interval; compare it at
    equal n only. Repeats are pooled. Raises ValueError without cases.

    >>> round(expected_error([[0.9, 0.1]] * 10, [0] * 6 + [1] * 4), 2)  # |0.9 - 0.6|
    0.3
    """
    confidence, right, _case = _answers(probability, label)
    total = 0.0
    for rows in _binned(confidence, bins):
        total += abs(float((confidence[rows] - right[rows]).sum()))
    return total / len(confidence)


def curve(
    probability: ArrayLike, label: ArrayLike, bins: int = 10, groups: Sequence[Any] | None = None, level: float = 0.95
) -> list[Bin]:
    """Compute the calibration curve: accuracy of the most probable label by confidence.

    At most ``bins`` bins of about equal count, at least ten cases each; cases of equal confidence
    stay in one bin. ``groups`` (cases,) name the patients, which the intervals count; repeats of
    one case count as one patient. Raises ValueError without cases.

    >>> [only] = curve([[0.9, 0.1]] * 10, [0] * 6 + [1] * 4)
    >>> only.confidence, only.share, only.n
    (0.9, 0.6, 10)
    """
    confidence, right, case = _answers(probability, label)
    repeats = len(case) > int(case.max()) + 1
    unit = case if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1][case]
    curve = []
    for rows in _binned(confidence, max(1, min(bins, (int(case.max()) + 1) // FEWEST))):
        who = None if groups is None and not repeats else unit[rows].tolist()
        share = intervals.interval(right[rows], who, level)
        sure = float(confidence[rows].mean())
        count = len(np.unique(case[rows]))
        curve.append(Bin(sure, share.value, share.low, share.high, count))
    return curve


def _binned(confidence: Scores, bins: int) -> list[NDArray[np.int64]]:
    """Sort rows by confidence into bins of about equal count that never split equal values."""
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order]
    edges = np.arange(1, bins) * len(order) // bins
    edges = np.unique(np.searchsorted(rising, rising[edges]))
    return [rows for rows in np.split(order, edges) if len(rows)]


def _answers(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Return confidence, correctness (1 or 0) and case number of every answer, (answers,) each."""
    table, y_true = _checked(probability, label)
    if not table.size:
        raise ValueError("there are no cases")
    confidence, right = table.max(-1), table.argmax(-1) == y_true
    case = np.broadcast_to(np.arange(len(y_true)), confidence.shape)
    return confidence.ravel(), right.ravel().astype(np.float64), case.ravel()


def _logits(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, NDArray[np.int64]]:
    """Return log probabilities (cases, labels) and labels. Raises ValueError for repeats."""
    table, y_true = _checked(probability, label)
    if table.ndim != 2:
        raise ValueError("each training has a temperature of its own: (cases, labels)")
    return np.log(np.maximum(table, LEAST)), y_true


def _checked(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, NDArray[np.int64]]:
    """Validate shapes and values. Raises ValueError."""
    table, y_true = np.asarray(probability, dtype=np.float64), np.asarray(label)
    if table.ndim not in (2, 3) or y_true.shape != table.shape[-2:-1]:
        raise ValueError(f"probabilities {table.shape} do not fit labels {y_true.shape}")
    if not np.isfinite(table).all():
        raise ValueError("probabilities must be finite")
    return table, y_true.astype(np.int64)
