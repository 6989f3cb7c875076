"""Split-conformal prediction sets: classes of which one is the true one with a promised probability.

    a class belongs to the set of a case where its probability is at least its floor
    floor = 1 - q,   q: a quantile of 1 - p(true class) over calibration cases

Angelopoulos, Bates: A Gentle Introduction to Conformal Prediction and Distribution-Free Uncertainty Quantification
(2021), https://arxiv.org/abs/2107.07511. Vovk: Conditional Validity of Inductive Conformal Predictors (2012),
https://arxiv.org/abs/1209.2673 (a floor for each class).

Cases of one patient are not exchangeable with those of another. So each patient has the weight of one, shared by his or
her cases, and one more weight stands for the new patient (Lee, Barber, Willett: Distribution-free inference with
hierarchical data (2023), https://arxiv.org/abs/2306.06342). The promise is then about one case, drawn at random, of a
new patient; with one case a patient it is the usual one. Within a class it is about one case of that class, of a new
patient who has one: patients with many cases are more often among these. ``benchmarks/evidence.py refer`` measures how
often it holds.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from souron.stats.variance import Scores

FOLDS = 10  # of cross-fitting


def floors(
    probability: ArrayLike,
    label: ArrayLike,
    level: float = 0.95,
    groups: Sequence[Any] | None = None,
    each_class: bool = False,
) -> Scores:
    """Return the least probability (classes,) at which each class belongs to a set.

    ``probability`` (cases, classes) and ``label`` (cases,) are those of calibration cases, which the network has not
    learnt from; ``groups`` (cases,) name their patients. With ``each_class`` the promise holds within each true class,
    and needs patients of each. -inf where there are too few patients: then the class belongs to every set. Raises
    ValueError unless ``level`` is between 0 and 1.

    >>> table = [[0.9, 0.1]] * 15 + [[0.6, 0.4]] * 5
    >>> floors(table, [0] * 20, level=0.7).tolist()  # the 15th of 20 true classes has 0.9
    [0.9, 0.9]
    """
    table, y_true = np.asarray(probability, dtype=np.float64), np.asarray(label)
    if not 0 < level < 1:
        raise ValueError(f"a level is between 0 and 1, not {level}")
    person = np.arange(len(y_true)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    true = table[np.arange(len(y_true)), y_true]
    if not each_class:
        return np.full(table.shape[1], _floor(true, person, level))
    return np.array([_floor(true[y_true == k], person[y_true == k], level) for k in range(table.shape[1])])


def _floor(true: Scores, person: NDArray[np.int64], level: float) -> float:
    """Return the highest floor that true probabilities of the weight ``level`` reach."""
    if not len(true):
        return -math.inf
    _names, who, sizes = np.unique(person, return_inverse=True, return_counts=True)
    falling = np.argsort(-true, kind="stable")
    weight = np.cumsum(1 / (sizes[who[falling]] * (len(sizes) + 1)))
    index = int(np.searchsorted(weight, level - 1e-9))
    return float(true[falling[index]]) if index < len(weight) else -math.inf


def sets(probability: ArrayLike, least: ArrayLike) -> NDArray[np.bool_]:
    """Return which classes are in the set of each case, (..., classes); ``least`` are the ``floors``.

    >>> sets([[0.7, 0.3], [0.55, 0.45]], [0.4, 0.4]).tolist()
    [[True, False], [True, True]]
    """
    return np.asarray(probability, dtype=np.float64) >= np.asarray(least)


def cross_fitted(
    probability: ArrayLike,
    label: ArrayLike,
    level: float = 0.95,
    groups: Sequence[Any] | None = None,
    each_class: bool = False,
) -> NDArray[np.bool_]:
    """Return the sets (trainings, cases, classes) of cases that also calibrate them, in turns over patients.

    The patients are dealt into ``FOLDS`` parts, always the same ones; the floors of each part come from the others.
    ``probability`` is (trainings, cases, classes), each training with floors of its own.

    >>> cross_fitted([[[0.9, 0.1]] * 40], [0] * 40).all(1).tolist()
    [[True, False]]
    """
    table, y_true = np.asarray(probability, dtype=np.float64), np.asarray(label)
    names = np.arange(len(y_true)) if groups is None else np.asarray(groups)
    _patients, who = np.unique(names, return_inverse=True)
    part = np.random.default_rng(0).permutation(who.max() + 1)[who] % FOLDS
    found = np.zeros(table.shape, dtype=bool)
    for fold in np.unique(part):
        test, rest = part == fold, part != fold
        for row, into in zip(table, found, strict=True):
            into[test] = sets(row[test], floors(row[rest], y_true[rest], level, who[rest].tolist(), each_class))
    return found


__all__ = ["cross_fitted", "floors", "sets"]
