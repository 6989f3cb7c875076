"""Variance components of scores: between trainings, between cases, between groups of cases."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

LENT = 5  # most groups that another label's count as in the intraclass correlation
MOST_FREEDOM = 1e9  # from here on Student's t is the normal distribution

Scores = NDArray[np.float64]
Counts = NDArray[np.int64]


class Components(Protocol):
    """Variance components of a mean, or of a difference of two."""

    @property
    def n(self) -> int:
        """Return the units: cases, or groups of cases."""

    @property
    def k(self) -> tuple[int, ...]:
        """Return the seeds of each system; none where the trained networks are fixed."""

    def total(self) -> tuple[float, float]:
        """Return the variance of the mean and its degrees of freedom."""

    def expected(self, n: Counts, more_seeds: Counts) -> tuple[Scores, Scores]:
        """Predict variance and degrees of freedom for numbers of units and further seeds."""


@dataclass(frozen=True)
class Variation:
    """Variance components of a mean over trainings and cases, or of a difference of two."""

    n: int  # units: cases, or groups of cases
    cases: float  # variance of a unit's mean (difference), without the noise
    k: tuple[int, ...] = ()  # seeds of each system; none: the trained networks are fixed
    seeds: tuple[float, ...] = ()  # variance of a training's mean over n units, with noise / n
    noise: tuple[float, ...] = ()  # interaction of training and case, in one unit
    pseudo: int = 0  # 1 where scores have a range, such as 0 or 1: a unit half won, half lost is added
    sure: float | None = None  # degrees of freedom of the units' variance; None: n - 1
    reach: float = 1.0  # that range: the largest difference of a unit

    def total(self) -> tuple[float, float]:
        """Return the variance of the mean and its degrees of freedom."""
        if self.n + self.pseudo < 2:
            return math.inf, 1.0
        variance, freedom = self._combined(self.seeds, self.n, self.k)
        return float(variance), float(freedom)

    def expected(self, n: Counts, more_seeds: Counts) -> tuple[Scores, Scores]:
        """Predict variance and degrees of freedom for numbers of units and further seeds."""
        seeds = [
            max(between - noise / self.n, 0) + noise / n for between, noise in zip(self.seeds, self.noise, strict=True)
        ]
        return self._combined(seeds, n, [k + more_seeds for k in self.k])

    def _combined(self, seeds: Any, n: Any, k: Any) -> tuple[Any, Any]:
        """Combine the components for n units and k seeds of each system."""
        trainings = [between / count for between, count in zip(seeds, k, strict=True)]
        least = sum(noise / count for noise, count in zip(self.noise, k, strict=True)) / n
        cases = self.cases / n + self.pseudo * self.reach**2 / (n * (n + self.pseudo))
        total = np.maximum(sum(trainings), least) + cases
        if self.sure is None:
            doubt = cases**2 / (n + self.pseudo - 1)
        else:  # few units: their variance contains the noise, and is as uncertain
            doubt = (cases + least) ** 2 / (self.sure * n / self.n)
        doubt = doubt + sum(part**2 / (count - 1) for part, count in zip(trainings, k, strict=True))
        return total, satterthwaite(total, doubt)


@dataclass(frozen=True)
class Crossed:
    """Variance components of a mean over repeated cross-validation, or of a difference of two.

    Each repeat tests every case, each fold by a training of its own (``_crossed``).
    """

    n: int  # units: cases, or groups of cases
    cases: float  # variance of a unit's mean, with a repeat's part of the noise, without trainings
    repeats: int
    noise: float = 0.0  # interaction of training and case, in one unit
    training: float = 0.0  # variance of a training's mean
    weight: float = 0.0  # sum of the squares of the trainings' shares in the mean
    seen: float = 0.0  # mean square between trainings: their variance and a part of the noise
    freedom: int = 1  # degrees of freedom of that mean square
    pseudo: int = 0  # as in ``Variation``
    sure: float | None = None  # as in ``Variation``
    sample: float = 0.0  # times ``seen``: variance from another training sample, or 0
    reach: float = 1.0  # as in ``Variation``

    @property
    def k(self) -> tuple[int, ...]:
        """Seeds of each system."""
        return self.repeats, self.repeats

    def total(self) -> tuple[float, float]:
        """Return the variance of the mean and its degrees of freedom."""
        variance, freedom = self._combined(self.n, self.repeats)
        return float(variance), float(freedom)

    def expected(self, n: Counts, more_repeats: Counts) -> tuple[Scores, Scores]:
        """Predict variance and degrees of freedom for numbers of units and further repeats."""
        return self._combined(n, self.repeats + more_repeats)

    def _combined(self, n: Any, repeats: Any) -> tuple[Any, Any]:
        """Combine the components for n units and so many repeats."""
        times = repeats / self.repeats
        own = max(self.cases - self.noise / self.repeats, 0.0)
        cases = (own + self.noise / repeats) / n + self.pseudo * self.reach**2 / (n * (n + self.pseudo))
        case_variance = self.training + (self.seen - self.training) * self.n / n
        total = cases + self.weight / times * self.training + self.sample * case_variance
        sure = n + self.pseudo - 1 if self.sure is None else self.sure * n / self.n
        doubt = cases**2 / sure
        doubt = doubt + ((self.weight / times + self.sample) * case_variance) ** 2 / (self.freedom * times)
        return total, satterthwaite(total, doubt)


def spread(
    scores: ArrayLike, groups: Sequence[Any] | None = None, trainings: ArrayLike | None = None
) -> tuple[float, float]:
    """Return the variance of the mean of scores, and its degrees of freedom.

    ``scores`` are (cases,) or (seeds, cases). With several seeds it holds for further trainings and
    further cases. ``trainings`` (seeds, cases) names the training behind each score where a seed
    has several, as cross-validation has one per fold. For a single unit the variance is infinite.

    >>> variance, freedom = spread([1.0, 2.0, 3.0, 4.0])
    >>> round(variance, 3), freedom  # the squared standard error, with n - 1 degrees
    (0.417, 3.0)
    >>> spread([1.0, 1.0, 4.0, 4.0], groups=["anna", "anna", "bert", "bert"])
    (2.25, 1.0)
    """
    table = _table(scores)
    units = _units(table, groups)
    if trainings is None or units.shape[1] < 2:
        return _variation([units], units.mean(0)).total()
    return _crossed(table, units, groups, trainings).total()


def _variation(units: list[Scores], contrast: Scores, reach: float = 0.0, sure: float | None = None) -> Variation:
    """Estimate the components from systems' scores, each (seeds, units), and their contrast.

    ``contrast`` (units,) is their mean or difference; ``reach`` > 0 its largest in a unit.
    """
    pseudo = int(reach > 0)
    n, k = len(contrast), tuple(len(table) for table in units)
    if n + pseudo < 2:
        return Variation(n, math.nan)
    between = float(contrast.var(ddof=1)) if n > 1 else 0.0
    if min(k) < 2 or n < 2:
        return Variation(n, between, pseudo=pseudo, sure=sure, reach=reach)
    seeds = tuple(float(table.mean(1).var(ddof=1)) for table in units)
    noise = tuple(_noise(table) for table in units)
    noise_sum = sum(own / count for own, count in zip(noise, k, strict=True))
    return Variation(n, max(between - noise_sum, 0.0), k, seeds, noise, pseudo, sure, reach)


def _noise(table: Scores) -> float:
    """Return the interaction variance of training and case: the residual of (seeds, units)."""
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    return float((rest**2).sum()) / ((table.shape[0] - 1) * (table.shape[1] - 1))


def _crossed(
    scores: Scores,
    units: Scores,
    groups: Sequence[Any] | None,
    trainings: ArrayLike,
    reach: float = 0.0,
    sure: float | None = None,
    sample: float = 0.0,
) -> Crossed:
    """Estimate the components of cross-validation from scores (repeats, cases).

    ``units`` (repeats, units) are the same scores by unit. A unit's score is the sum of the unit's
    own effect, that of its training, and noise. Different repeats of the same unit separate the
    trainings, whatever the units are; where there is one repeat, the folds do. The trainings'
    variance is the excess of their squares over the noise (Henderson, "Estimation of variance and
    covariance components", 1953, method 3, https://doi.org/10.2307/3001853). All trainings share
    one training sample: ``sample`` times the between-training mean square estimates the variance
    that a new training sample would add (``verdict``, whose differences alone count it).
    """
    repeats, n = units.shape
    pseudo = int(reach > 0)
    row = np.arange(repeats)[:, None]
    who = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    names, which = np.unique(np.asarray(trainings), return_inverse=True)
    by = np.zeros((repeats, n, len(names)))  # weight of each training in each unit
    np.add.at(by, (row, who, which.reshape(scores.shape)), n / scores.shape[1])
    sums = np.zeros((repeats, n))
    np.add.at(sums, (row, who), scores * n / scores.shape[1])
    weight = by.mean((0, 1))  # weight of each training in the mean
    size = by[0].sum(1, keepdims=True)  # (n, 1)
    # remove the effect of each unit; with one repeat, the mean alone
    if repeats > 1:
        own, residuals = by - by.mean(0), sums - sums.mean(0)
    else:
        own = by - size * (size * by[0]).sum(0) / (size**2).sum()
        residuals = sums - size[:, 0] * (size[:, 0] @ sums[0]) / (size**2).sum()
    # Henderson's method 3: the squares that trainings explain, and the residual
    deviations = own.reshape(-1, len(names))
    cross = deviations.T @ deviations
    rank = int(np.linalg.matrix_rank(cross, hermitian=True))
    pull = deviations.T @ residuals.ravel()
    squares = float(pull @ np.linalg.pinv(cross, rcond=1e-10, hermitian=True) @ pull)
    spare = max(repeats - 1, 1) * n - (repeats == 1) - rank
    noise = max(float((residuals**2).sum()) - squares, 0.0) / spare if spare > 0 else 0.0
    between = float(units.mean(0).var(ddof=1))
    trace = float(np.trace(cross))
    if not rank or trace <= 0:
        return Crossed(n, between, repeats, pseudo=pseudo, sure=sure, reach=reach)
    of_one = max(squares - rank * noise, 0.0) / trace
    common_variance = float(((by.mean(0) - size * weight) ** 2).sum()) / (n - 1) * of_one
    cases = max(between - common_variance, noise / repeats)
    share = float(weight @ weight)
    return Crossed(n, cases, repeats, noise, of_one, share, squares / trace, rank, pseudo, sure, sample, reach)


def correlation(one: float, other: float, both: float) -> float:
    """Return the correlation of two estimates from their variances and that of their sum.

    0 where one of them does not vary, or its variance is not known.

    >>> correlation(1.0, 4.0, 7.0), correlation(0.0, 4.0, 4.0)
    (0.5, 0.0)
    """
    if not (0 < one * other < math.inf and both < math.inf):
        return 0.0
    return min(max((both - one - other) / (2 * math.sqrt(one * other)), -1.0), 1.0)


def by_stratum(
    scores: ArrayLike, strata: ArrayLike, groups: Sequence[Any] | None = None, by_size: bool = False
) -> float:
    """Return the degrees of freedom of a variance over cases from several strata.

    Each stratum is a sample of its own: the cases of each label are strata for an AUC. Combined by
    Satterthwaite's rule, so that few patients of one label leave the variance uncertain, however
    many others there are.

    ``scores`` (cases,), ``strata`` (cases,), ``groups`` (cases,) the patients. ``by_size``:
    patients with unequal numbers of cases count as fewer, (sum of the numbers)^2 / sum of their
    squares (Kish, "Survey Sampling", 1965, section 11.7).

    >>> scores = [0.9, 0.1] + [0.8, 0.9, 0.7, 1.0] * 10
    >>> labels = ["ill"] * 2 + ["well"] * 40
    >>> by_stratum(scores, labels) < 10  # two ill cases decide, not the 40 others
    True
    """
    values, names = np.asarray(scores, dtype=np.float64), np.asarray(strata)
    who = np.arange(len(names)) if groups is None else np.unique(groups, return_inverse=True)[1]
    away = values - values.mean()
    total = doubt = 0.0
    for name in np.unique(names):
        members = names == name
        of_each = np.bincount(who[members], away[members])
        square, sizes = float((of_each**2).sum()), np.bincount(who[members])
        units = sizes.sum() ** 2 / (sizes**2).sum() if by_size else np.count_nonzero(sizes)
        total += square
        doubt += square**2 / max(float(units) - 1, 1)
    return total**2 / doubt if doubt else math.inf


def satterthwaite(total: Any, doubt: Any) -> Any:
    """Return Satterthwaite's degrees of freedom of a variance ``total``.

    ``doubt`` is the sum of the parts' squares, each over its own degrees of freedom.

    >>> float(satterthwaite(0.04, 0.04**2 / 9))  # one part with 9 degrees
    9.0
    """
    sure = doubt <= total**2 / MOST_FREEDOM
    return np.where(sure, MOST_FREEDOM, total**2 / np.where(sure, 1.0, doubt))


def _freedom(units: Scores, freedom: float, tail_factor: float = 1.0) -> float:
    """Return the degrees of freedom left where few of the units (n,) dominate their variance.

    A variance of n units with kurtosis k varies like one with 2 n / (k - 1) degrees of freedom,
    which is n for the normal distribution (O'Neill, "Some useful moment results in sampling
    problems", 2014, https://doi.org/10.1080/00031305.2014.966589). ``tail_factor`` is the ratio of k to
    that of the sample. At least 1.
    """
    square = (units - units.mean()) ** 2
    if not square.any():
        return freedom
    kurtosis = tail_factor * float((square**2).mean() / square.mean() ** 2)
    return max(min(freedom, 2 * len(units) / max(kurtosis - 1, 1e-9)), 1.0)


def _part(
    scores: Scores, groups: Sequence[Any] | None, trainings: ArrayLike | None, subset: NDArray[np.bool_]
) -> tuple[Scores, Sequence[Any] | None, ArrayLike | None]:
    """Return scores, groups and trainings of the chosen cases."""
    return (
        scores[:, subset],
        None if groups is None else list(np.asarray(groups)[subset]),
        None if trainings is None else np.asarray(trainings)[:, subset],
    )


def _units(scores: Scores, groups: Sequence[Any] | None) -> Scores:
    """Aggregate (seeds, cases) to (seeds, units), with the same mean over units as over cases."""
    if groups is None:
        return scores
    if len(groups) != scores.shape[1]:
        raise ValueError(f"{len(groups)} group names for {scores.shape[1]} cases")
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(member, minlength=len(names))
    sums = np.stack([np.bincount(member, row, minlength=len(names)) for row in scores])
    mean = scores.mean(1, keepdims=True)
    return mean + (sums - sizes * mean) * len(names) / scores.shape[1]


def _table(scores: ArrayLike) -> Scores:
    """Return scores as (seeds, cases). Raises ValueError for another shape."""
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if table.ndim != 2 or not table.size:
        raise ValueError(f"scores are (cases,) or (seeds, cases), not {table.shape}")
    return table


def _binary(scores: Scores) -> bool:
    """Return whether all scores are 0 or 1."""
    return bool(((scores == 0) | (scores == 1)).all())


def _quantile(level: float, freedom: float) -> float:
    """Return the two-sided quantile of Student's t."""
    return float(scipy.special.stdtrit(freedom, (1 + level) / 2))
