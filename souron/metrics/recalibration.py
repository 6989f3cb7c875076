"""Recalibration of predicted risks: of the mean, of mean and spread, or by a rising step function.

    intercept  logit q = a + logit p       the mean risk is right afterwards
    slope      logit q = a + b logit p     and risks are neither too extreme nor too moderate
    isotonic   q = the best function of p that never falls

The first two are "recalibration in the large" and "logistic recalibration" (Cox 1958; Steyerberg, "Clinical Prediction
Models", 2019, chapter 20; Platt 1999). The third needs about a thousand cases (Niculescu-Mizil and Caruana, "Predicting
good probabilities with supervised learning", 2005, https://doi.org/10.1145/1102351.1102430). What a case teaches is
never used to judge it: ``cross_fitted`` leaves its patient out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from souron.metrics.risk_calibration import EXTREME
from souron.stats import logistic
from souron.stats.variance import Scores

KINDS = ("intercept", "slope", "isotonic")
PARTS = 10  # of the patients, each recalibrated by the others


@dataclass(frozen=True)
class Recalibration:
    """A function from a predicted risk to a recalibrated one.

    >>> Recalibration(0.0, 0.5).of([0.9, 0.1]).round(2).tolist()
    [0.75, 0.25]
    """

    intercept: float = 0.0
    slope: float = 1.0
    steps: tuple[tuple[float, float], ...] = ()  # isotonic: (risk, recalibrated risk), linear in between

    def of(self, risk: ArrayLike) -> Scores:
        """Return recalibrated risks, of any shape."""
        p = np.asarray(risk, dtype=np.float64)
        if self.steps:
            before, after = np.array(self.steps).T
            return np.interp(p, before, after)
        return scipy.special.expit(self.intercept + self.slope * _logits(p))


def fitted(kind: str, risk: ArrayLike, outcome: ArrayLike) -> Recalibration | None:
    """Fit a recalibration of one of ``KINDS`` on risks (cases,) and their outcome (cases,) of 0 or 1.

    None where it cannot be fitted: one outcome only, and for ``slope`` risks that are equal or separate the outcomes.

    >>> made = fitted("slope", [0.1, 0.9] * 10, [0, 1, 0, 1, 1, 0, 0, 1] * 2 + [0, 1, 0, 1])  # 80 % right
    >>> made.of([0.1, 0.9]).round(2).tolist()
    [0.2, 0.8]
    >>> fitted("isotonic", [0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1]).steps
    ((0.1, 0.0), (0.2, 0.5), (0.3, 0.5), (0.4, 1.0))
    """
    p, y = np.asarray(risk, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if len(np.unique(y)) < 2:
        return None
    if kind == "isotonic":
        values, index, counts = np.unique(p, return_inverse=True, return_counts=True)
        means = np.bincount(index, y) / counts
        rising = scipy.optimize.isotonic_regression(means, weights=counts).x
        new = np.diff(rising, prepend=-1.0, append=2.0) != 0
        corners = new[:-1] | new[1:]  # both ends of what is level
        return Recalibration(steps=tuple(zip(values[corners].tolist(), rising[corners].tolist(), strict=True)))
    ones, logits = np.ones(len(y)), _logits(p)
    if kind == "intercept":
        fit = logistic.fit(ones[:, None], y, logits)
        return None if fit is None else Recalibration(float(fit.coefficients[0]))
    fit = logistic.fit(np.stack([ones, logits], 1), y)
    return None if fit is None else Recalibration(*fit.coefficients.tolist())


def cross_fitted(
    kind: str, risk: ArrayLike, outcome: ArrayLike, groups: Sequence[Any] | None = None, seed: int = 0
) -> Scores | None:
    """Return risks (S, cases) that are recalibrated by the cases of other patients; None where one cannot be fitted.

    ``outcome`` (cases,). ``groups`` (cases,) name the patients, who are divided into ``PARTS`` parts with about equal
    shares of the outcome, by ``seed``. Each training has recalibrations of its own.

    >>> risk, outcome = [[0.1, 0.9] * 50], [0, 1, 0, 1, 1, 0, 0, 1, 0, 1] * 10
    >>> cross_fitted("slope", risk, outcome)[0, :2].round(1).tolist()
    [0.2, 0.8]
    """
    table, y = np.atleast_2d(np.asarray(risk, dtype=np.float64)), np.asarray(outcome, dtype=np.float64)
    part = _parts(y, groups, seed)
    recalibrated_risks = np.empty_like(table)
    for own, row in zip(recalibrated_risks, table, strict=True):
        for number in np.unique(part):
            others = part != number
            recalibration = fitted(kind, row[others], y[others])
            if recalibration is None:
                return None
            own[~others] = recalibration.of(row[~others])
    return recalibrated_risks


def _parts(y: Scores, groups: Sequence[Any] | None, seed: int) -> Any:
    """Return the part of each case, (cases,); those of a patient share one."""
    who = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    share = np.bincount(who, y) / np.bincount(who)
    order = np.random.default_rng(seed).permutation(len(share))
    order = order[np.argsort(share[order], kind="stable")]
    part = np.empty(len(share), dtype=np.int64)
    part[order] = np.arange(len(share)) % PARTS
    return part[who]


def _logits(risk: Scores) -> Scores:
    return scipy.special.logit(np.clip(risk, EXTREME, 1 - EXTREME))


__all__ = ["KINDS", "Recalibration", "cross_fitted", "fitted"]
