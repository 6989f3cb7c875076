"""Two independent samples: the difference of a measure, of a column's values, and of vectors.

In this file the first sample is the internal one, such as a run's own test cases, and the second the external one,
such as another hospital's cases. No patient is in both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from souron.stats.records import Measure
from souron.stats.variance import MOST_FREEDOM, _quantile

PERMUTATIONS = 999
TIE = 1e-12  # statistics that differ by less are equal


@dataclass(frozen=True)
class Shift:
    """A difference external - internal, with its interval.

    The interval of another level is wider or narrower by as much as the quantile of Student's t.
    """

    difference: float
    low: float
    high: float
    level: float = 0.95
    freedom: float = MOST_FREEDOM  # degrees of freedom
    limit: float = math.inf  # largest possible difference

    @property
    def verdict(self) -> Literal["higher", "lower", "cannot tell"]:
        """Return which side of 0 the interval lies on."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "cannot tell"

    @property
    def p(self) -> float:
        """Return the p of the test that the interval makes: the lowest 1 - level at which it excludes 0."""
        half = self.difference - self.low if self.difference > 0 else self.high - self.difference
        if not self.difference or not half < math.inf:
            return 1.0
        away = abs(self.difference) / half if half else math.inf
        return 2 * float(scipy.special.stdtr(self.freedom, -away * _quantile(self.level, self.freedom)))

    def at(self, level: float) -> "Shift":
        """Return the difference with an interval of another level."""
        times = _quantile(level, self.freedom) / _quantile(self.level, self.freedom)
        low, high = (self.difference - times * (self.difference - end) for end in (self.low, self.high))
        return replace(self, low=max(low, -self.limit), high=min(high, self.limit), level=level)


def difference(internal: Measure, external: Measure, freedom: float = MOST_FREEDOM) -> Shift:
    """Return the difference of a measure in two independent samples, with an interval.

    The interval combines those of the two measures, so that it counts patients and trainings where they do, and holds
    near 0 and 1 (MOVER: Donner, Zou: Closed-form confidence intervals for functions of the normal mean and standard
    deviation, 2012, https://doi.org/10.1177/0962280210383082; for proportions method 10 of Newcombe: Interval
    estimation for the difference between independent proportions, 1998,
    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I). It is nan, from minus infinity
    to infinity, where a measure is unknown. ``freedom`` are the degrees of freedom of the smaller sample.

    >>> found = difference(Measure(0.9, 0.85, 0.94, 200), Measure(0.8, 0.72, 0.86, 120))
    >>> round(found.difference, 2), round(found.low, 3), round(found.high, 3)
    (-0.1, -0.189, -0.022)
    """
    value = external.value - internal.value
    if not math.isfinite(value):
        return Shift(math.nan, -math.inf, math.inf, freedom=freedom)
    low = math.hypot(external.value - external.low, internal.high - internal.value)
    high = math.hypot(external.high - external.value, internal.value - internal.low)
    return Shift(value, value - low, value + high, freedom=freedom)


def standardised_difference(internal: ArrayLike, external: ArrayLike) -> float:
    """Return the standardised mean difference of numbers: (mean2 - mean1) / sqrt((s1^2 + s2^2) / 2).

    Austin: Balance diagnostics for comparing the distribution of baseline covariates between treatment groups (2009),
    https://doi.org/10.1002/sim.3697. Infinite where nothing varies and the means differ. Raises ValueError unless both
    samples have two values.

    >>> round(standardised_difference([50, 60, 70], [60, 70, 80]), 6)
    1.0
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (internal, external))
    if min(len(first), len(second)) < 2:
        raise ValueError("a standard deviation needs two values")
    apart = float(second.mean() - first.mean())
    spread = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    if spread <= TIE * max(abs(first.mean()), abs(second.mean()), 1.0):
        return 0.0 if abs(apart) <= spread + TIE else math.copysign(math.inf, apart)
    return apart / spread


def categorical_difference(internal: Sequence[Any], external: Sequence[Any]) -> float:
    """Return the standardised difference of categories, at least 0.

    With the shares T and C of all categories but one it is sqrt((T - C)' S^-1 (T - C)), where S is the mean of the two
    multinomial covariances. Yang, Dalton: A unified approach to measuring the effect size between two groups using
    SAS (2012), https://support.sas.com/resources/papers/proceedings12/335-2012.pdf. Infinite where the samples share
    no category. Raises ValueError for an empty sample.

    >>> round(categorical_difference("FFMM", "FMMM"), 4)  # 0.25 / sqrt((0.25 + 0.1875) / 2)
    0.5345
    """
    if not len(internal) or not len(external):
        raise ValueError("there are no values")
    names = sorted({*internal, *external}, key=str)
    first, second = (
        np.array([list(values).count(name) for name in names]) / len(values) for values in (internal, external)
    )
    if len(names) < 2:
        return 0.0
    apart = (second - first)[1:]
    mean = sum(np.diag(share[1:]) - np.outer(share[1:], share[1:]) for share in (first, second)) / 2
    solution = np.linalg.lstsq(mean, apart, rcond=1e-10)[0]
    if np.abs(mean @ solution - apart).max() > 1e-8:  # a direction in which neither sample varies
        return math.inf
    return math.sqrt(max(float(apart @ solution), 0.0))


@dataclass(frozen=True)
class EnergyTest:
    """Energy distance of two samples of vectors, with a permutation test by patients."""

    distance: float  # in pooled standard deviations of the features
    further: float  # how much further apart patients of different samples are than of one, as a share
    p: float
    internal: int  # patients
    external: int


def energy_test(
    internal: ArrayLike,
    external: ArrayLike,
    internal_groups: Sequence[Any] | None = None,
    external_groups: Sequence[Any] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> EnergyTest:
    """Test whether two samples of vectors (cases, features) come from one distribution.

    The energy distance is 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely, Rizzo: Energy statistics: A class of statistics
    based on distances, 2013, https://doi.org/10.1016/j.jspi.2013.03.018), over pairs of different patients, each
    patient with one weight, so that many images of a patient do not pass for many patients. Features are divided by
    their pooled standard deviation. p is that of a permutation test which exchanges patients with all of their cases
    between the samples; p = (1 + as far apart) / (1 + permutations). ``groups`` (cases,) name the patients of each
    sample; without them each case is one. The work grows with the square of the cases: give some hundreds.

    Raises ValueError unless both samples have two patients.

    >>> rows = np.random.default_rng(0).normal(size=(60, 3))
    >>> energy_test(rows[:30], rows[30:] + 2).p, energy_test(rows[:30], rows[30:]).p > 0.05
    (0.001, True)
    """
    x, y = (np.asarray(rows, dtype=np.float64) for rows in (internal, external))
    first_patients, second_patients = _patients(x, internal_groups), _patients(y, external_groups)
    count, other = int(first_patients.max(initial=-1)) + 1, int(second_patients.max(initial=-1)) + 1
    if min(count, other) < 2:
        raise ValueError("each sample needs two patients")
    apart = _between_patients(np.concatenate([x, y]), np.concatenate([first_patients, second_patients + count]))
    # assignments of patients to the first sample: the observed one, then permutations
    random = np.random.default_rng(seed)
    first = np.zeros((permutations + 1, count + other))
    first[0, :count] = 1
    for row in first[1:]:
        row[random.permutation(count + other)[:count]] = 1
    second = 1 - first
    reach = first @ apart
    # mean distances between and within the samples, for every assignment
    across = (reach * second).sum(1) / (count * other)
    within = (reach * first).sum(1) / (count * (count - 1)), ((second @ apart) * second).sum(1) / (other * (other - 1))
    energy = 2 * across - within[0] - within[1]
    p = float((energy >= energy[0] - TIE).sum()) / (permutations + 1)
    own = float(within[0][0] + within[1][0])
    further = 2 * float(across[0]) / own - 1 if own > 0 else 0.0 if across[0] <= TIE else math.inf
    return EnergyTest(float(energy[0]), further, p, count, other)


def _patients(rows: NDArray[np.float64], groups: Sequence[Any] | None) -> NDArray[np.int64]:
    """Return the number of each case's patient, from 0."""
    if groups is None:
        return np.arange(len(rows))
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def _between_patients(rows: NDArray[np.float64], patient: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean distance of the cases of each two patients, (patients, patients), with zeros on the diagonal."""
    spread = rows.std(0)
    varies = spread > TIE
    distance = cdist(rows[:, varies] / spread[varies], rows[:, varies] / spread[varies])
    member = np.zeros((len(rows), int(patient.max()) + 1))
    member[np.arange(len(rows)), patient] = 1
    member /= member.sum(0)
    mean = member.T @ distance @ member
    np.fill_diagonal(mean, 0.0)
    return mean


__all__ = ["EnergyTest", "Shift", "categorical_difference", "difference", "energy_test", "standardised_difference"]
