"""Do probabilities mean what they say? Temperature, scores, and the calibration curve.

A network says 99 % too often. One number, the temperature, chosen on validation cases, makes its
probabilities milder or bolder without changing which label is the most probable (Guo, Pleiss, Sun
and Weinberger, "On Calibration of Modern Neural Networks", 2017,
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
SPREAD = 0.5  # of the logarithm of temperatures, before anything is known
LEAST = 1e-12  # a probability; its logarithm is finite
FEWEST = 10  # cases in a bin of the curve


@dataclass(frozen=True)
class Bin:
    """Cases of which the system was about equally sure."""

    confidence: float  # mean probability of the most probable label
    share: float  # how often that label was right
    low: float  # of the share
    high: float
    n: int  # cases


def temperature(probability: ArrayLike, label: ArrayLike) -> float:
    """The T with which ``cool`` has the lowest log loss, within 0.05..20, on validation cases.

    ``probability`` (cases, labels), ``label`` (cases,). Few cases can be told apart by luck, and
    the lowest loss is then at no temperature at all; so T is the most probable one where ln T is
    normal around 0 with the standard deviation ``SPREAD``, which decides among few cases and is
    lost in many. 1.0 without cases, and where all labels are always equally probable.
    ``benchmarks/temperature.py`` shows what it saves.
    """
    logits, y_true = _logits(probability, label)
    row = np.arange(len(y_true))

    def loss(log_t: float) -> float:
        log_p = scipy.special.log_softmax(logits / np.exp(log_t), axis=1)
        return (log_t / SPREAD) ** 2 / 2 - float(log_p[row, y_true].sum())

    # both parts are convex in 1 / T down to T = 1 / e: there is one minimum above it
    ends = float(np.log(COLDEST)), float(np.log(HOTTEST))
    found = scipy.optimize.minimize_scalar(
        loss, bounds=ends, method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def cool(probability: ArrayLike, t: float) -> Scores:
    """softmax(log p / T) of probabilities (..., labels): milder for T > 1, bolder for T < 1.

    Raises ValueError unless T > 0.
    """
    if not t > 0:
        raise ValueError(f"a temperature is above 0, not {t}")
    logits = np.log(np.maximum(np.asarray(probability, dtype=np.float64), LEAST))
    return np.exp(scipy.special.log_softmax(logits / t, axis=-1))


def brier(probability: ArrayLike, label: ArrayLike) -> Scores:
    """Brier's score of each case: the sum over the labels of (p - y)^2, y = 1 for the true label.

    0 is best, 2 worst; of two labels this is twice the score that counts the positive label alone
    (Brier, "Verification of forecasts expressed in terms of probability", 1950). (cases, labels) ->
    (cases,), (repeats, cases, labels) -> (repeats, cases).
    """
    table, y_true = _checked(probability, label)
    return ((table - np.eye(table.shape[-1])[y_true]) ** 2).sum(-1)


def expected_error(probability: ArrayLike, label: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the most probable label: the mean of |confidence - share right|
    over ``bins`` bins with about as many cases each; equally sure cases stay together.

    From Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", 2015, https://doi.org/10.1609/aaai.v29i1.9602, with bins of equal count. It is too
    high in small samples, since absolute values do not cancel: a perfectly calibrated system that
    is right with probability p gets about 0.8 sqrt(bins p (1 - p) / n) on n cases, not 0; with
    p = 0.8, n = 200 and 15 bins that is 0.09. Hence no interval; compare it at equal n only.
    Repeats are taken together. Raises ValueError without cases.
    """
    confidence, right, _case = _answers(probability, label)
    total = 0.0
    for rows in _binned(confidence, bins):
        total += abs(float((confidence[rows] - right[rows]).sum()))
    return total / len(confidence)


def curve(
    probability: ArrayLike,
    label: ArrayLike,
    bins: int = 10,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
) -> list[Bin]:
    """How often the most probable label is right, by the predicted probability.

    At most ``bins`` bins with about as many cases each, ten cases at least; equally sure cases stay
    together. ``groups`` (cases,) name the patients that the intervals count; repeats of one case
    count as one patient's. Raises ValueError without cases.
    """
    confidence, right, case = _answers(probability, label)
    repeated = len(case) > int(case.max()) + 1
    unit = case if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1][case]
    found = []
    for rows in _binned(confidence, max(1, min(bins, (int(case.max()) + 1) // FEWEST))):
        who = None if groups is None and not repeated else unit[rows].tolist()
        share = intervals.interval(right[rows], who, level)
        sure = float(confidence[rows].mean())
        count = len(np.unique(case[rows]))
        found.append(Bin(sure, share.value, share.low, share.high, count))
    return found


def _binned(confidence: Scores, bins: int) -> list[NDArray[np.int64]]:
    """Rows by rising confidence in bins of about equal count, none of which divides equal ones."""
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order]
    cut = np.arange(1, bins) * len(order) // bins
    cut = np.unique(np.searchsorted(rising, rising[cut]))
    return [rows for rows in np.split(order, cut) if len(rows)]


def _answers(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Of every answer: how sure, right (1) or wrong (0), and of which case; (answers,) each."""
    table, y_true = _checked(probability, label)
    if not table.size:
        raise ValueError("there are no cases")
    confidence, right = table.max(-1), table.argmax(-1) == y_true
    case = np.broadcast_to(np.arange(len(y_true)), confidence.shape)
    return confidence.ravel(), right.ravel().astype(np.float64), case.ravel()


def _logits(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, NDArray[np.int64]]:
    table, y_true = _checked(probability, label)
    if table.ndim != 2:
        raise ValueError("each training has a temperature of its own: (cases, labels)")
    return np.log(np.maximum(table, LEAST)), y_true


def _checked(probability: ArrayLike, label: ArrayLike) -> tuple[Scores, NDArray[np.int64]]:
    table, y_true = np.asarray(probability, dtype=np.float64), np.asarray(label)
    if table.ndim not in (2, 3) or y_true.shape != table.shape[-2:-1]:
        raise ValueError(f"probabilities {table.shape} do not fit labels {y_true.shape}")
    if not np.isfinite(table).all():
        raise ValueError("probabilities must be finite")
    return table, y_true.astype(np.int64)
