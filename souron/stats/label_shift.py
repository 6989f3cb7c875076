"""The prevalence of classes among cases without labels, from a classifier's probabilities.

Saerens, Latinne, Decaestecker: Adjusting the Outputs of a Classifier to New a Priori Probabilities: A Simple Procedure
(2002), https://doi.org/10.1162/089976602753284446. It holds under label shift alone: images of a class look alike in
both places, only the shares of the classes differ; and the probabilities must be calibrated where they were trained.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from souron.stats.records import Measure

STEPS = 1000
CONVERGED = 1e-6
DRAWS = 200  # bootstrap samples
MOST_VALUES = 20_000_000  # of all bootstrap samples together; with more values there are fewer samples


def estimated_prevalence(
    probability: ArrayLike, prior: ArrayLike, groups: Sequence[Any] | None = None, level: float = 0.95, seed: int = 0
) -> list[Measure]:
    """Estimate the prevalence of each class by expectation-maximisation, with a bootstrap interval by patients.

    ``probability`` (cases, classes) is that of a classifier whose training data had the shares ``prior`` (classes,);
    ``groups`` (cases,) name the patients. The interval counts the patients that were drawn, not a calibration that is
    wrong. Raises ValueError for shapes that do not fit and for a class without a prior.

    >>> p = np.array([[0.9, 0.1]] * 80 + [[0.1, 0.9]] * 20)  # half of each in training, 10 % wrong
    >>> [round(one.value, 3) for one in estimated_prevalence(p, [0.5, 0.5])]
    [0.875, 0.125]
    """
    table, before = np.asarray(probability, dtype=np.float64), np.asarray(prior, dtype=np.float64)
    if table.ndim != 2 or not len(table) or before.shape != table.shape[1:] or not np.isfinite(table).all():
        raise ValueError(f"probabilities {table.shape} do not fit the prior {before.shape}")
    if not (before > 0).all():
        raise ValueError("each class needs a prior above 0")
    ratio = np.maximum(table, 1e-12) / (before / before.sum())
    unit = np.arange(len(table)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(unit.max()) + 1
    draws = max(20, min(DRAWS, MOST_VALUES // table.size))
    random = np.random.default_rng(seed)
    weights = random.multinomial(units, np.full(units, 1 / units), draws)[:, unit].astype(np.float64)
    value = _maximised(ratio, np.ones((1, len(table))))[0]
    # a draw without any weight cannot happen: each has as many patients as there are
    samples = _maximised(ratio, weights)
    low, high = np.quantile(samples, ((1 - level) / 2, (1 + level) / 2), axis=0)
    count = len(table), None if groups is None else units
    return [
        Measure(float(v), float(min(v, a)), float(max(v, b)), *count) for v, a, b in zip(value, low, high, strict=True)
    ]


def _maximised(ratio: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the prevalences (draws, classes) at which the weighted likelihood is highest.

    ``ratio`` (cases, classes) is probability / prior, ``weights`` (draws, cases).
    """
    share = np.full((len(weights), ratio.shape[1]), 1 / ratio.shape[1])
    weights = weights / weights.sum(1, keepdims=True)
    for _step in range(STEPS):
        mixture = np.maximum(share @ ratio.T, 1e-300)  # (draws, cases)
        new = share * ((weights / mixture) @ ratio)
        new /= new.sum(1, keepdims=True)
        change = float(np.abs(new - share).max())
        share = new
        if change < CONVERGED:
            break
    return share


__all__ = ["estimated_prevalence"]
