"""95 % intervals of one system's measures, which count trainings, cases and groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from souron.stats.records import Measure
from souron.stats.variance import (
    LENT,
    Scores,
    _binary,
    _freedom,
    _part,
    _quantile,
    _table,
    _units,
    spread,
)

FEW = 3  # successes or failures too few for Wilson's interval
MISSED = 1.3  # times that the kurtosis of losses is larger than a sample shows (by simulation)


@dataclass(frozen=True)
class IntraclassCorrelation:
    """How alike the cases of a group are in whether they are right."""

    n: int  # cases
    more: float  # further cases in a case's group, in the mean
    effect: float | None  # variance of their mean over that of independent cases; None: unknown
    freedom: float

    @classmethod
    def of(
        cls, scores: Scores, groups: Sequence[Any] | None, trainings: ArrayLike | None
    ) -> "IntraclassCorrelation":
        """Of scores (seeds, cases) that are 0 or 1."""
        n, value = scores.shape[1], float(scores.mean())
        _names, sizes = np.unique(range(n) if groups is None else groups, return_counts=True)
        more = float((sizes**2).sum()) / n - 1
        variance, freedom = spread(scores, groups, trainings)
        if not (0 < value < 1 and 0 < variance < math.inf):
            return cls(n, more, None, freedom)
        freedom = 2 / (1 / freedom + 1 / _freedom(_units(scores, groups).mean(0), freedom))
        return cls(n, more, variance * n / (value * (1 - value)), freedom)

    def beside(self, other: "IntraclassCorrelation") -> "IntraclassCorrelation":
        """With what the other label's cases say of it, whose groups count as ``LENT`` at most.

        Both have one intraclass correlation, by assumption. Since it may be wrong, what the groups
        themselves show is the least (``benchmarks/intervals.py`` breaks the assumption).
        """
        further = self.n * self.more + other.n * other.more
        if self.effect is None or other.effect is None or further == 0:
            return self
        excess = self.n * (self.effect - 1) + other.n * (other.effect - 1)
        effect = 1 + excess / further * self.more
        lent = min(other.freedom, LENT)
        freedom = self.freedom + lent
        mixed = (self.freedom * self.effect + lent * effect) / freedom
        return replace(self, effect=max(self.effect, mixed), freedom=freedom)


def interval(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
    among: ArrayLike | None = None,
) -> Measure:
    """The mean of scores (cases,) or (seeds, cases) with an interval.

    Scores that are 0 or 1 get Wilson's interval, with the sample size that independent cases would
    have needed for the same variance (Korn and Graubard, "Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data", 1998); others Student's t.
    Where groups or seeds make that variance, and few of them decide it, as a few misread patients
    do, it is unsure: the degrees of freedom are the harmonic mean of those of the units and of
    those that their kurtosis leaves (``_freedom``). Several seeds: the interval holds for further
    trainings and further cases. ``groups`` (cases,) name the patient or source of each case,
    ``trainings`` (seeds, cases) the training that answered, see ``spread``. One case alone of a
    score that is not 0 or 1 has an interval without end.

    ``among`` (cases,): the mean is that of these cases, of which there is one at least, as
    sensitivity is that of the positive ones. How alike the cases of a group are is then learnt
    from the others, too (``IntraclassCorrelation.beside``): few groups alone say little of it.
    """
    scores = _table(scores)
    beside = None
    if among is not None:
        chosen = np.asarray(among, dtype=bool)
        beside = None if chosen.all() else _part(scores, groups, trainings, ~chosen)
        scores, groups, trainings = _part(scores, groups, trainings, chosen)
    value = float(scores.mean())
    n = scores.shape[1]
    drawn = n if groups is None else len(np.unique(np.asarray(groups)))
    count = n, None if groups is None else drawn
    if not _binary(scores):
        variance, freedom = spread(scores, groups, trainings)
        return Measure(value, *_interval(value, variance, freedom, level), *count)
    if groups is None and len(scores) == 1:
        return proportion_interval(int(scores.sum()), n, level)
    alike = IntraclassCorrelation.of(scores, groups, trainings)
    if beside is not None:
        alike = alike.beside(IntraclassCorrelation.of(*beside))
    size = drawn if alike.effect is None else n / alike.effect
    ends = _wilson(value, min(size, scores.size), _quantile(level, alike.freedom))
    return Measure(value, *ends, *count)


def share_interval(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    most: float = math.inf,
    units: float | None = None,
    trainings: ArrayLike | None = None,
    freedom: float = math.inf,
) -> Measure:
    """A figure in 0..1 that is the mean of pseudo-scores (cases,) or (seeds, cases), as AUC is.

    Wilson's interval, with the sample size that independent cases would have needed for the same
    variance. A variance that few units decide is itself unsure: the degrees of freedom are those
    that the units' kurtosis leaves it (``_freedom``). ``most`` is the largest size that these cases
    can be worth: the interval is never narrower than that of so many, so that a variance which is
    small by luck does not pass for certainty. ``freedom`` is the most that its caller knows the
    variance to have. Where nothing varies (AUC = 1) the size is ``units``:
    what the patients, or cases, can be worth, by default their number.
    """
    scores = _table(scores)
    each = _units(scores, groups).mean(0)
    drawn = len(each)
    value = min(max(float(scores.mean()), 0.0), 1.0)
    variance, drawn_freedom = spread(scores, groups, trainings)
    varies = 0 < value < 1 and 0 < variance < math.inf
    sure = most if varies else min(drawn if units is None else units, most)
    low, high = (
        _wilson(value, sure, _quantile(level, drawn_freedom)) if sure < math.inf else (1.0, 0.0)
    )
    if varies:
        alike, few = value * (1 - value) / variance, min(_freedom(each, drawn_freedom), freedom)
        ends = _wilson(value, alike, _quantile(level, few))
        low, high = min(low, ends[0]), max(high, ends[1])
    return Measure(value, low, high, scores.shape[1], None if groups is None else drawn)


def overlap_interval(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """The mean of scores (cases,) or (seeds, cases) in 0..1 of which a few may be 0, as Dice is
    where a segmentation fails.

    ``share_interval``, whose lower end allows for failures that this sample happens to lack: none
    among n cases is seen with a probability of 2.5 % where a share of 1 - 0.025^(1/n) fails
    (Clopper, Pearson: The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial, 1934, https://doi.org/10.1093/biomet/26.4.404). By simulation, where one case in ten,
    twenty or fifty fails, samples of 8 to 120 cases hold the truth in 95 to 100 %; without this
    allowance it is 41 to 98 %.
    """
    made = share_interval(scores, groups, level, trainings=trainings)
    return replace(made, low=min(made.low, made.value * (1 - unseen(made.groups or made.n, level))))


def unseen(n: int, level: float = 0.95) -> float:
    """The largest share of failures that n cases without one do not rule out.

    >>> round(unseen(8), 2), round(unseen(100), 3)
    (0.37, 0.036)
    """
    return float(1 - ((1 - level) / 2) ** (1 / n))


def loss_interval(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """The mean of scores (cases,) or (seeds, cases) of which none is negative and few are large.

    Log loss and Brier's score are such: a sample without its few large ones has a small mean and a
    small variance at once, and Student's interval then ends too low. This one is Student's for the
    mean's logarithm, with the degrees of freedom that the units' kurtosis leaves the variance; the
    kurtosis of a sample that misses the large ones is too small, hence ``MISSED``.
    Raises ValueError where a score is negative.
    """
    scores = _table(scores)
    if (scores < 0).any():
        raise ValueError("a loss is not negative")
    each = _units(scores, groups).mean(0)
    value = float(scores.mean())
    count = scores.shape[1], None if groups is None else len(each)
    variance, freedom = spread(scores, groups, trainings)
    if value == 0 or variance == math.inf:
        return Measure(value, 0.0, math.inf if variance > 0 else 0.0, *count)
    half = _quantile(level, _freedom(each, freedom, MISSED)) * math.sqrt(variance) / value
    factor = float(np.exp(min(half, 700.0)))
    return Measure(value, value / factor, value * factor, *count)


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Measure:
    """A share of n independent cases, as sensitivity is, with Wilson's interval.

    Up to three successes or failures the end towards 0 or 1 is Poisson's, since Wilson's misses
    there too often (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion",
    2001, https://doi.org/10.1214/ss/1009213286). Of no case at all: not a number, 0 to 1.
    """
    if n == 0:
        return Measure(math.nan, 0.0, 1.0, 0)
    low, high = _wilson(successes / n, n, float(scipy.special.ndtri((1 + level) / 2)))
    failures = n - successes
    if 1 <= successes <= FEW:
        low = min(low, float(scipy.special.chdtri(2 * successes, level)) / (2 * n))
    if 1 <= failures <= FEW:
        high = max(high, 1 - float(scipy.special.chdtri(2 * failures, level)) / (2 * n))
    return Measure(successes / n, low, high, n)


def _interval(value: float, variance: float, freedom: float, level: float) -> tuple[float, float]:
    half = _quantile(level, freedom) * math.sqrt(variance)
    return value - half, value + half


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    square = quantile**2 / n
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # the ends are exactly 0 and 1 where nothing or everything succeeded
    low = 0.0 if share == 0 else max(middle - half, 0.0)
    return low, 1.0 if share == 1 else min(middle + half, 1.0)
