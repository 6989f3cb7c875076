"""Logistic regression whose coefficients have variances by patients and by trainings.

The coefficients' influence values, one for each case, are what ``stats.variance.spread`` takes: their sums within
patients give the cluster-robust sandwich variance, and several trainings add the variance between trainings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from souron.stats.variance import Scores, spread

STEPS = 60  # of Newton's method
SMALL = 1e-9  # gradient of a mean log-likelihood at its maximum
FLAT = 1e-7  # least curvature of a mean log-likelihood; flatter ones have no maximum that is finite


@dataclass(frozen=True)
class Fit:
    """Coefficients (K,) of a logistic regression, and the influence (N, K) of each case on them."""

    coefficients: Scores
    influence: Scores  # sums to about 0 over all cases


def fit(
    columns: ArrayLike, outcome: ArrayLike, offset: ArrayLike | None = None, groups: Sequence[Any] | None = None
) -> Fit | None:
    """Fit P(outcome) = 1 / (1 + exp(-(offset + columns @ coefficients))) by maximum likelihood.

    ``columns`` (N, K), one of them constant where an intercept is wanted, ``outcome`` (N,) 0 or 1, ``offset`` (N,).
    ``groups`` (N,) name the patients: the influence of a case is computed with the information of all other patients,
    (G - 1) / G A_(-g)^-1 x (y - p), so that ``spread`` has the variance of a jackknife over G patients in one step
    (the sandwich "CR3" of Bell and McCaffrey, "Bias Reduction in Standard Errors for Linear Regression with
    Multi-Stage Samples", 2002). The plain sandwich is too small for few patients. None where the likelihood has no
    finite maximum, as where a column separates the outcomes, or a single patient's cases decide whether it has.

    >>> made = fit([[1.0]] * 4, [1, 0, 0, 0])
    >>> round(float(made.coefficients[0]), 3)  # log(1 / 3)
    -1.099
    >>> fit([[1.0, -1.0], [1.0, 1.0]], [0, 1]) is None  # separated
    True
    """
    x, y = np.asarray(columns, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    shift = np.zeros(len(y)) if offset is None else np.asarray(offset, dtype=np.float64)
    basis, scale = np.linalg.qr(x)  # orthonormal columns: the curvature has a scale of its own
    if np.abs(np.diag(scale)).min(initial=math.inf) <= 1e-10 * np.abs(scale).max(initial=0.0):
        return None
    basis, scale = basis * math.sqrt(len(y)), scale / math.sqrt(len(y))
    coefficients = _maximum(basis, y, shift)
    if coefficients is None:
        return None
    p = scipy.special.expit(shift + basis @ coefficients)
    weighted = basis * (p * (1 - p))[:, None]
    information = weighted.T @ basis
    influence = _influence(basis, weighted, information, y - p, groups)
    if influence is None:
        return None
    back = np.linalg.inv(scale)
    return Fit(back @ coefficients, influence @ back.T)


def _maximum(x: Scores, y: Scores, shift: Scores) -> Scores | None:
    """Return the coefficients at the maximum by Newton's method with halved steps; None where it is not reached."""
    at = np.zeros(x.shape[1])

    def loss(there: Scores) -> float:
        logits = shift + x @ there
        return float((np.logaddexp(0.0, logits) - y * logits).mean())

    value = loss(at)
    for _step in range(STEPS):
        p = scipy.special.expit(shift + x @ at)
        gradient = x.T @ (y - p) / len(y)
        if np.abs(gradient).max() < SMALL:
            return at
        # Newton step, halved until the loss does not rise
        curvature = (x * (p * (1 - p))[:, None]).T @ x / len(y)
        try:
            step = np.linalg.solve(curvature + 1e-12 * np.eye(len(at)), gradient)
        except np.linalg.LinAlgError:
            return None
        for _half in range(40):
            there = loss(at + step)
            if there <= value + 1e-14:
                break
            step = step / 2
        at, value = at + step, there
    return None


def _influence(
    x: Scores, weighted: Scores, information: Scores, residual: Scores, groups: Sequence[Any] | None
) -> Scores | None:
    """Return (G - 1) / G A_(-g)^-1 x (y - p) of each case; None where one patient makes the fit possible."""
    who = np.arange(len(x)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    own = np.zeros((int(who.max()) + 1, *information.shape))
    np.add.at(own, who, weighted[:, :, None] * x[:, None, :])
    others = information - own  # (G, K, K)
    if float(np.linalg.eigvalsh(others)[:, 0].min()) < FLAT * len(x):
        return None
    steps = np.einsum("nkl,nl->nk", np.linalg.inv(others)[who], x * residual[:, None])
    return steps * (len(own) - 1) / len(own)


def scores_of(fits: Sequence[Fit]) -> Scores:
    """Return values (S, N, K) whose means are the coefficients of each fit, and whose spread is theirs.

    >>> made = fit([[1.0]] * 4, [1, 0, 0, 0])
    >>> table = scores_of([made])
    >>> table.shape, bool(np.isclose(table.mean(), made.coefficients[0]))
    ((1, 4, 1), True)
    """
    influence = np.stack([fit.influence for fit in fits])
    centered = influence - influence.mean(1, keepdims=True)
    return np.stack([fit.coefficients for fit in fits])[:, None] + centered * influence.shape[1]


def covariance(scores: Scores, groups: Sequence[Any] | None = None, trainings: ArrayLike | None = None) -> Scores:
    """Return the covariance (K, K) of the means of scores (S, N, K), each by ``stats.variance.spread``.

    The covariances follow from the variances of sums and differences. Components of variance make no positive
    semidefinite matrix by themselves: negative eigenvalues are set to 0.

    >>> covariance(np.array([[[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]])).round(3).tolist()
    [[0.333, 0.667], [0.667, 1.333]]
    """
    k = scores.shape[2]
    matrix = np.zeros((k, k))
    for i in range(k):
        for j in range(i + 1):
            both = spread(scores[..., i] + scores[..., j], groups, trainings)[0]
            apart = spread(scores[..., i] - scores[..., j], groups, trainings)[0]
            matrix[i, j] = matrix[j, i] = (both - apart) / 4
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


__all__ = ["Fit", "covariance", "fit", "scores_of"]
