"""95 % intervals of one system's measures, counting trainings, cases and groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats.records import Kind, Measure
from souron.stats.variance import LENT, Scores, _binary, _freedom, _part, _quantile, _table, _units, by_stratum, spread

GROSS = 10.0  # size of an error that a sample happens to lack, in its means
FEW = 3  # successes or failures too few for Wilson's interval
MISSED = 1.3  # ratio of the kurtosis of losses to that of a sample (by simulation)


@dataclass(frozen=True)
class IntraclassCorrelation:
    """Correlation of the cases of a group in being right or wrong, as a design effect."""

    n: int  # cases
    more: float  # further cases in a case's group, on average
    effect: float | None  # design effect, 1 for independent cases; None: unknown
    freedom: float

    @classmethod
    def of(cls, scores: Scores, groups: Sequence[Any] | None, trainings: ArrayLike | None) -> "IntraclassCorrelation":
        """Estimate it from scores (seeds, cases) that are 0 or 1."""
        n, value = scores.shape[1], float(scores.mean())
        _names, sizes = np.unique(range(n) if groups is None else groups, return_counts=True)
        more = float((sizes**2).sum()) / n - 1
        variance, freedom = spread(scores, groups, trainings)
        if not (0 < value < 1 and 0 < variance < math.inf):
            return cls(n, more, None, freedom)
        freedom = 2 / (1 / freedom + 1 / _freedom(_units(scores, groups).mean(0), freedom))
        return cls(n, more, variance * n / (value * (1 - value)), freedom)

    def beside(self, other: "IntraclassCorrelation") -> "IntraclassCorrelation":
        """Combine it with the estimate of the other label's cases, which counts at most ``LENT``
        groups.

        Both are assumed to have one intraclass correlation. Since that may be wrong, the groups'
        own estimate is the lower bound (``benchmarks/intervals.py`` breaks the assumption).
        """
        further = self.n * self.more + other.n * other.more
        if self.effect is None or other.effect is None or further == 0:
            return self
        excess = self.n * (self.effect - 1) + other.n * (other.effect - 1)
        effect = 1 + excess / further * self.more
        other_freedom = min(other.freedom, LENT)
        freedom = self.freedom + other_freedom
        mean_effect = (self.freedom * self.effect + other_freedom * effect) / freedom
        return replace(self, effect=max(self.effect, mean_effect), freedom=freedom)


def interval(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
    among: ArrayLike | None = None,
) -> Measure:
    """Return the mean of scores (cases,) or (seeds, cases) with an interval.

    Scores that are 0 or 1 get Wilson's interval, with the effective sample size: that of
    independent cases with the same variance (Korn and Graubard, "Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data", 1998);
    others get Student's t. Where groups or seeds contribute to that variance, and few of them
    dominate it, as a few misread patients do, it is uncertain: the degrees of freedom are the
    harmonic mean of those of the units and of those that their kurtosis leaves (``_freedom``). With
    several seeds the interval holds for further trainings and further cases. ``groups`` (cases,)
    name the patient or source of each case, ``trainings`` (seeds, cases) the training that
    answered, see ``spread``. A single case whose score is not 0 or 1 has an infinite interval.

    ``among`` (cases,): the mean is that of these cases, of which there is at least one, as
    sensitivity is that of the positive ones. The intraclass correlation is then estimated from the
    other cases, too (``IntraclassCorrelation.beside``): few groups alone say little of it.

    >>> found = interval([1, 1, 1, 0])
    >>> found.value, round(found.low, 2), round(found.high, 2)
    (0.75, 0.2, 0.99)
    >>> grouped = interval([1, 1, 1, 0] * 2, groups=["anna", "bert", "carl", "dora"] * 2)
    >>> grouped.n, grouped.groups  # four patients, not eight cases
    (8, 4)
    """
    scores = _table(scores)
    beside = None
    if among is not None:
        subset = np.asarray(among, dtype=bool)
        beside = None if subset.all() else _part(scores, groups, trainings, ~subset)
        scores, groups, trainings = _part(scores, groups, trainings, subset)
    value = float(scores.mean())
    n = scores.shape[1]
    patients = n if groups is None else len(np.unique(np.asarray(groups)))
    count = n, None if groups is None else patients
    if not _binary(scores):
        variance, freedom = spread(scores, groups, trainings)
        return Measure(value, *_interval(value, variance, freedom, level), *count)
    if groups is None and trainings is None and len(scores) == 1:
        return proportion_interval(int(scores.sum()), n, level)
    alike = IntraclassCorrelation.of(scores, groups, trainings)
    if beside is not None:
        alike = alike.beside(IntraclassCorrelation.of(*beside))
    size = patients if alike.effect is None else n / alike.effect
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
    """Return the mean of pseudo-scores of a figure in 0..1, such as an AUC, with an interval.

    ``scores`` are (cases,) or (seeds, cases). Wilson's interval with the effective sample size,
    that of independent cases with the same variance. A variance that few units dominate is itself
    uncertain: the degrees of freedom are those that the units' kurtosis leaves it (``_freedom``).
    ``most`` is the largest sample size that these cases can be worth: the interval is never
    narrower than for that many, so that a variance which is small by chance does not pass for
    certainty. ``freedom`` is an upper bound on the variance's degrees of freedom, known to the
    caller. Where nothing varies (AUC = 1) the size is ``units``: what the patients, or cases, can
    be worth, by default their number.

    >>> found = share_interval([0.9, 1.0, 0.8, 0.9])
    >>> round(found.value, 2), 0 < found.low < found.value < found.high < 1
    (0.9, True)
    """
    scores = _table(scores)
    unit_means = _units(scores, groups).mean(0)
    count_of_units = len(unit_means)
    value = min(max(float(scores.mean()), 0.0), 1.0)
    variance, drawn_freedom = spread(scores, groups, trainings)
    varies = 0 < value < 1 and 0 < variance < math.inf
    sure = most if varies else min(count_of_units if units is None else units, most)
    low, high = _wilson(value, sure, _quantile(level, drawn_freedom)) if sure < math.inf else (1.0, 0.0)
    if varies:
        alike, few = value * (1 - value) / variance, min(_freedom(unit_means, drawn_freedom), freedom)
        ends = _wilson(value, alike, _quantile(level, few))
        low, high = min(low, ends[0]), max(high, ends[1])
    return Measure(value, low, high, scores.shape[1], None if groups is None else count_of_units)


def area_interval(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
    strata: ArrayLike = (),
) -> Measure:
    """Return an AUC, the mean of pseudo-scores (``metrics.classification.auc_scores``), with an interval.

    ``scores`` are (cases,) or (seeds, cases), ``strata`` (cases,) the true labels. The interval is never
    narrower than for independent cases whose scores have exponential distributions (Hanley and McNeil, "The
    meaning and use of the area under a receiver operating characteristic (ROC) curve", 1982,
    https://doi.org/10.1148/radiology.143.1.7063747): few misplaced cases say little about how much an area
    near 1 varies.

    >>> found = area_interval([1.0, 1.0, 1.0, 1.0], strata=[0, 0, 1, 1])
    >>> found.value, found.low < 0.5
    (1.0, True)
    """
    table, labels = _table(scores), np.asarray(strata)
    names = np.unique(labels)
    classes = names[-1:] if len(names) == 2 else names
    most = sum(_worth(None, labels == name) for name in classes)
    units = sum(_worth(groups, labels == name) for name in classes)
    freedom = by_stratum(table.mean(0), labels, groups)
    return share_interval(table, groups, level, most, units, trainings, freedom)


def _worth(groups: Sequence[Any] | None, positive: NDArray[np.bool_]) -> float:
    """Return the largest number of independent cases whose proportion has the variance of an AUC.

    Hanley and McNeil's variance is a (1 - a) (1 + (m - 1) u + (n - 1) v) / (m n), with u + v from
    0.5 (a = 1) to 0.67; m - 1 and n - 1 are replaced by their mean (Newcombe, "Confidence intervals
    for an effect size measure based on the Mann-Whitney statistic. Part 2", 2006,
    https://doi.org/10.1002/sim.2324). For several areas the sizes add up, as if independent.
    """
    who = np.arange(len(positive)) if groups is None else np.asarray(groups)
    m, n = len(np.unique(who[positive])), len(np.unique(who[~positive]))
    return m * n / (1 + (m + n - 2) / 4)


def variance_interval(value: float, variance: float, units: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share whose variance was estimated from independent units, such as patients.

    Wilson's, with the effective sample size, that of independent cases with the same variance, and Student's quantile
    with ``units`` - 1 degrees of freedom. Where nothing varies the size is the number of units.

    >>> low, high = variance_interval(0.9, 0.001, units=60)
    >>> round(low, 2), round(high, 2)
    (0.82, 0.95)
    """
    if units < 2:
        return 0.0, 1.0
    varies = 0 < value < 1 and 0 < variance < math.inf
    size = value * (1 - value) / variance if varies else units
    return _wilson(value, size, _quantile(level, units - 1))


def overlap_interval(
    scores: ArrayLike, groups: Sequence[Any] | None = None, level: float = 0.95, trainings: ArrayLike | None = None
) -> Measure:
    """Return the mean of scores in 0..1 of which a few may be 0, with an interval.

    Dice is such a score: it is 0 where a segmentation fails. ``scores`` are (cases,) or (seeds,
    cases). This is ``share_interval`` with a lower end that allows for failures which this sample
    happens to lack: none among n cases is seen with a probability of 2.5 % where a share of 1 -
    0.025^(1/n) fails (Clopper, Pearson: The Use of Confidence or Fiducial Limits Illustrated in the
    Case of the Binomial, 1934, https://doi.org/10.1093/biomet/26.4.404). In simulations where one
    case in ten, twenty or fifty fails (``benchmarks/intervals.py dice``), samples of 8 to 120 cases
    cover the truth in 94 to 100 %; without this allowance in 36 to 97 %.

    >>> dice = [0.9, 0.92, 0.91, 0.9]
    >>> overlap_interval(dice).low < share_interval(dice).low
    True
    """
    measure = share_interval(scores, groups, level, trainings=trainings)
    return replace(measure, low=min(measure.low, measure.value * (1 - unseen(measure.groups or measure.n, level))))


def error_interval(
    scores: ArrayLike, groups: Sequence[Any] | None = None, level: float = 0.95, trainings: ArrayLike | None = None
) -> Measure:
    """Return the mean of errors of which a few may be gross, such as distances in mm, with an interval.

    This is ``loss_interval`` with a higher end that allows for gross errors, ``GROSS`` times the mean, which
    this sample happens to lack (``unseen``); were all of them gross, it would be ``GROSS`` times as large, so
    that the end is never above that. Raises ValueError where an error is negative.

    >>> errors = [1.0, 1.2, 0.9, 1.1]
    >>> error_interval(errors).high > loss_interval(errors).high
    True
    """
    measure = loss_interval(scores, groups, level, trainings)
    lacking = unseen(measure.groups or measure.n, level)
    high = max(measure.high, measure.value * (1 + (GROSS - 1) * lacking))
    return replace(measure, high=min(high, measure.value * GROSS) if high < math.inf else high)


def unseen(n: int, level: float = 0.95) -> float:
    """Return the largest share of failures that n cases without one do not rule out.

    >>> round(unseen(8), 2), round(unseen(100), 3)
    (0.37, 0.036)
    """
    return float(1 - ((1 - level) / 2) ** (1 / n))


def loss_interval(
    scores: ArrayLike, groups: Sequence[Any] | None = None, level: float = 0.95, trainings: ArrayLike | None = None
) -> Measure:
    """Return the mean of scores of which none is negative and few are large, such as log losses.

    ``scores`` are (cases,) or (seeds, cases). A sample without its few large losses has a small
    mean and a small variance at once, and Student's interval then ends too low. This one is
    Student's for the mean's logarithm, with the degrees of freedom that the units' kurtosis leaves
    the variance; the kurtosis of a sample that misses the large ones is too small, hence
    ``MISSED``. Raises ValueError where a score is negative.

    >>> found = loss_interval([0.1, 0.1, 0.2, 2.0])
    >>> found.value, found.value - found.low < found.high - found.value
    (0.6, True)
    """
    scores = _table(scores)
    if (scores < 0).any():
        raise ValueError("a loss is not negative")
    unit_means = _units(scores, groups).mean(0)
    value = float(scores.mean())
    count = scores.shape[1], None if groups is None else len(unit_means)
    variance, freedom = spread(scores, groups, trainings)
    if value == 0 or variance == math.inf:
        return Measure(value, 0.0, math.inf if variance > 0 else 0.0, *count)
    half = _quantile(level, _freedom(unit_means, freedom, MISSED)) * math.sqrt(variance) / value
    factor = float(np.exp(min(half, 700.0)))
    return Measure(value, value / factor, value * factor, *count)


class Single(Protocol):
    """The interval of one figure, a mean of scores."""

    def __call__(
        self, scores: Scores, groups: Sequence[Any] | None, level: float, trainings: ArrayLike | None
    ) -> Measure: ...


def of_kind(kind: Kind, strata: ArrayLike | None = None) -> Single | None:
    """Return the interval of a kind of figure.

    mean        any mean of scores: Student's, Wilson's where they are 0 or 1 (None: a pair needs no other)
    scale       ratings, likewise
    amount      a figure that is never below 0, likewise: bits a token, a word error rate
    signed      a figure in -1..1, likewise: a difference of two shares, a silhouette
    share       a figure in 0..1 that is no mean over cases, such as an average precision
    overlap     a score in 0..1 that a few failures bring to 0: Dice
    loss        few scores are large: log loss
    error       distances, of which a few may be gross
    area        an AUC; ``strata`` (cases,) are the true labels

    >>> of_kind("overlap")([0.9, 0.8, 0.9], None, 0.95, None).value.__round__(2)
    0.87
    """
    if kind == "area":
        return partial(area_interval, strata=() if strata is None else strata)
    own: dict[str, Single] = {
        "share": _share,
        "overlap": overlap_interval,
        "loss": loss_interval,
        "error": error_interval,
    }
    return own.get(kind)


def _share(scores: Scores, groups: Sequence[Any] | None, level: float, trainings: ArrayLike | None) -> Measure:
    return share_interval(scores, groups, level, trainings=trainings)


def of_shares(
    scores: ArrayLike, groups: Sequence[Any] | None = None, level: float = 0.95, trainings: ArrayLike | None = None
) -> Measure:
    """Return the mean of scores that are 0 or 1, or shares of a case that are right, with Wilson's interval.

    >>> of_shares([1, 1, 1, 0]) == interval([1, 1, 1, 0]), of_shares([1, 1, 1, 0.5]).high <= 1
    (True, True)
    """
    table = _table(scores)
    if _binary(table):
        return interval(table, groups, level, trainings)
    return share_interval(table, groups, level, trainings=trainings)


def length(one: float, other: float, alike: float) -> float:
    """Return the length of a sum of two distances whose directions correlate by ``alike``.

    >>> length(3.0, 4.0, 0.0), length(3.0, 4.0, 1.0), length(3.0, 4.0, -1.0)
    (5.0, 7.0, 1.0)
    """
    if max(one, other) == math.inf:
        return math.inf
    return math.sqrt(max(one * one + other * other + 2 * alike * one * other, 0.0))


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Measure:
    """Return a proportion of n independent cases, such as a sensitivity, with Wilson's interval.

    With up to three successes or failures the end towards 0 or 1 is Poisson's, since Wilson's
    misses there too often (Brown, Cai and DasGupta, "Interval estimation for a binomial
    proportion", 2001, https://doi.org/10.1214/ss/1009213286). Without a case: nan, 0 to 1.

    >>> found = proportion_interval(20, 20)
    >>> found.value, round(found.low, 2), found.high  # 20 of 20 right is no proof of 100 %
    (1.0, 0.84, 1.0)
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
    """Return Student's interval."""
    half = _quantile(level, freedom) * math.sqrt(variance)
    return value - half, value + half


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share of n cases."""
    square = quantile**2 / n
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # the ends are exactly 0 and 1 where nothing or everything succeeded
    low = 0.0 if share == 0 else max(middle - half, 0.0)
    return low, 1.0 if share == 1 else min(middle + half, 1.0)
