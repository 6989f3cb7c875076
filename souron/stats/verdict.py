"""Statistics of a verdict: which system is better, and with what uncertainty.

Two things vary when a system is measured: its training (seeds) and the test cases. Moreover systems
differ in *which* cases they get right, and the same system trained twice does, too. With ``scores``
of shape (seeds, cases), a difference of two means therefore has the variance

    v = seeds_a / k_a + seeds_b / k_b + cases / n

- ``seeds``: variance of the trainings' means over the cases. It contains the interaction of
  training and case ("noise"), ``noise / n``, once.
- ``cases``: variance over cases of the seeds' mean difference, less that same noise (else it would
  count twice). At least 0.
- v is never less than the noise alone gives: two seeds may agree by chance.
- Satterthwaite's degrees of freedom turn sqrt(v) into an interval of Student's t.

This is the multi-reader multi-case analysis of radiology (Hillis, "A comparison of denominator
degrees of freedom methods for multiple observer ROC analysis", 2007,
https://doi.org/10.1002/sim.2532), with trainings for readers, each nested in its system.
``benchmarks/verdict.py`` shows by simulation that it keeps its error rate where the paired
bootstrap over cases does not.

Where cases come in groups (patients), the group is the sampling unit: a group's score is its share
in the mean over all cases, linearised as for a ratio (Cochran, "Sampling Techniques", 3rd edition,
1977, section 6.3). Groups of equal size count with their own mean.

After cross-validation one more source can be counted: another training sample. All folds share most
of one training sample, so their differences cannot show what another sample would change, and no
estimate of it is without bias (Bengio and Grandvalet, "No unbiased estimator of the variance of
k-fold cross-validation", 2004, https://www.jmlr.org/papers/v5/grandvalet04a.html). Nadeau and
Bengio ("Inference for the generalization error", 2003, https://doi.org/10.1023/A:1024068626366)
multiply the variance between folds by the ratio of test to training cases, 1 / (folds - 1), and add
it. Here that ratio, at least ``SAMPLE``, is applied to the mean square between trainings alone,
without the cases' part (``Crossed``): methods whose answers hardly depend on their training data
then keep short intervals, and those that do get wide ones. ``benchmarks/training_sample.py``
compares it with Nadeau and Bengio's own and with intervals that ignore the sample (Bayle and
others, "Cross-validation confidence intervals for test error", 2020,
https://arxiv.org/abs/2007.12671). With one split the effect of the sample cannot be seen, and the
sentence says so.

Scores that are 0 or 1, or ratings, say little on few cases: there, one case won and one lost are
added to the variance, half each (Agresti and Min, "Effects and non-effects of paired identical
observations in comparing proportions with binary matched-pairs data", 2004,
https://doi.org/10.1002/sim.1589), so that ten cases without a difference do not prove that there is
none. Nor is a difference of right and wrong ever surer than the two shares are of which it is made,
the cases that only one of the two gets right and those that only the other does: each has Wilson's
interval, and they are combined by MOVER (see below). With 40 cases of which none is discordant,
Agresti and Min leave 5 points, and 9 are right. A sensitivity is a mean over the ill cases alone,
and so is its difference: cases of another class prove nothing.

Of figures that have an interval of their own kind (an AUC near 1, a Dice where few segmentations
fail), a difference is never surer than the two figures are: its interval is at least the one that
theirs make (MOVER: Zou and Donner, "Construction of confidence limits about effect measures", 2008,
https://doi.org/10.1002/sim.3095), with the correlation that the shared cases give them.
``benchmarks/evidence.py margins`` counts what is claimed wrongly.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats.intervals import Single, _interval, _wilson, length, of_kind
from souron.stats.records import Kind, Verdict
from souron.stats.variance import (
    Components,
    Counts,
    Crossed,
    Scores,
    Variation,
    _binary,
    _crossed,
    _table,
    _units,
    _variation,
    by_stratum,
    spread,
)

SAMPLE = 1 / 3  # least share of the between-training mean square that another training sample adds
SAMPLE_ONCE = 0.1  # with one repeat, where that mean square contains the variance of cases as well
SCALE = 4.0  # least range of ratings: that of five points, however few of them occur
POWER = 0.8  # probability of detecting a difference as large as the one observed
MOST_CASES = 100  # times the present cases: needing more is no plan
MOST_SEEDS = 100

Scope = Literal["sample", "trainings", "networks", "readers"]
Interval = Callable[[float], tuple[float, float]]  # its ends, by the level


class Judgeable(Protocol):
    """A difference that its interval tests."""

    @property
    def p(self) -> float:
        """Return the p of the test."""

    @property
    def verdict(self) -> str:
        """Return "cannot tell" unless the interval excludes 0."""

    def at(self, level: float) -> Self:
        """Return the difference with an interval of another level."""


Name = TypeVar("Name")
One = TypeVar("One", bound=Judgeable)


@dataclass(frozen=True)
class Difference:
    """The difference of ``a`` and ``b``; > 0 favours ``a``, whichever way the measure goes."""

    difference: float
    low: float
    high: float
    p: float  # of Student's t alone: it orders pairs
    level: float
    freedom: float  # degrees of freedom
    # what the interval allows to change: the training sample, the training, neither (one seed), or the readers
    scope: Scope
    variation: Components
    limit: float = math.inf  # largest possible difference
    least: Interval | None = None  # an interval that this one is never narrower than

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        """Verdict from the interval: "better", "worse" or "cannot tell"."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "cannot tell"

    def at(self, level: float) -> "Difference":
        """Return the difference with an interval of another level."""
        variance, freedom = self.variation.total()
        low, high = _interval(self.difference, variance, freedom, level)
        if self.least is not None:
            under, over = self.least(level)
            low, high = min(low, under), max(high, over)
        return replace(self, low=max(low, -self.limit), high=min(high, self.limit), level=level)


def difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    higher_is_better: bool = True,
    groups: Sequence[Any] | None = None,
    trainings: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    kind: Kind = "mean",
) -> Difference:
    """Compare ``a`` with ``b`` on the same cases.

    ``a`` (seeds, cases) and ``b`` (other seeds, same cases); ``groups`` (cases,). If either has one
    seed only, the scope is these trained networks: the interval counts cases, not trainings.
    ``trainings`` (seeds, cases) names the training behind each score, of ``a`` and of ``b`` alike,
    where a seed has several, as cross-validation has one per fold; the scope is then methods
    trained on another sample. ``strata`` (cases,) are labels whose cases are a sample each, as for
    an AUC: few cases of one label leave the interval wide (``variance.by_stratum``). ``kind`` is
    that of the figures' own intervals (``intervals.of_kind``). Raises ValueError if the numbers of
    cases differ.

    >>> found = difference([1, 1, 1, 1, 0, 1], [1, 0, 1, 0, 0, 1])  # right or wrong, case by case
    >>> round(found.difference, 2), found.verdict, found.scope
    (0.33, 'cannot tell', 'networks')
    """
    a, b = _table(a), _table(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"scores of {a.shape[1]} and of {b.shape[1]} cases cannot be paired")
    if not higher_is_better:
        a, b = b, a
    reach = _reach(a, b, kind)
    own = of_kind(kind, strata)
    least = None if own is None else _of_both(a, b, own, groups, trainings)
    if own is None and _binary(a) and _binary(b):
        least = _of_discordant(a.mean(0) - b.mean(0), groups)
    units = [_units(a, groups), _units(b, groups)]
    sample = 0.0
    sure = None if strata is None else by_stratum(a.mean(0) - b.mean(0), strata, groups, True)
    variation: Variation | Crossed
    if trainings is None or units[0].shape[1] < 2:
        contrast = units[0].mean(0) - units[1].mean(0)
        variation = _variation(units, contrast, reach, sure)
    else:
        apart, sample = units[0] - units[1], _sample(np.asarray(trainings))
        variation = _crossed(a - b, apart, groups, trainings, reach, sure, sample)
    scope: Scope = "networks" if not variation.k else "trainings" if sample == 0 else "sample"
    return concluded(float(a.mean() - b.mean()), variation, level, scope, reach or math.inf, least)


def _reach(a: Scores, b: Scores, kind: Kind) -> float:
    """Return the largest difference that a case can have: 1 of right and wrong, the range of ratings; 0: not known."""
    if _binary(a) and _binary(b):
        return 1.0
    return max(float(max(a.max(), b.max()) - min(a.min(), b.min())), SCALE) if kind == "scale" else 0.0


def _of_both(a: Scores, b: Scores, own: Single, groups: Sequence[Any] | None, trainings: ArrayLike | None) -> Interval:
    """Return the interval of a difference that those of the two figures make."""
    units = [_units(table, groups).mean(0) for table in (a, b)]
    spreads = [spread(table, groups, trainings)[0] for table in (a, b)]
    alike = 0.0
    if len(units[0]) > 1 and min(spreads) > 0 and max(spreads) < math.inf:
        covariance = float(np.cov(*units)[0, 1]) / len(units[0])
        alike = min(max(covariance / math.sqrt(spreads[0] * spreads[1]), -1.0), 1.0)
    value = float(a.mean() - b.mean())

    def ends(level: float) -> tuple[float, float]:
        first, other = (own(table, groups, level, trainings) for table in (a, b))
        down = length(first.value - first.low, other.high - other.value, -alike)
        return value - down, value + length(first.high - first.value, other.value - other.low, -alike)

    return ends


def _of_discordant(contrast: Scores, groups: Sequence[Any] | None) -> Interval:
    """Return the interval of a difference (cases,) that the shares of cases won and of cases lost make."""
    wins, losses = (_units(np.maximum(side, 0)[None], groups)[0] for side in (contrast, -contrast))
    (up, of_up), (down, of_down) = ((float(side.mean()), _size(side)) for side in (wins, losses))

    def ends(level: float) -> tuple[float, float]:
        normal = float(scipy.special.ndtri((1 + level) / 2))
        gain, loss = _wilson(up, of_up, normal), _wilson(down, of_down, normal)
        below = length(up - gain[0], loss[1] - down, 0.0)
        return up - down - below, up - down + length(gain[1] - up, down - loss[0], 0.0)

    return ends


def _size(units: Scores) -> float:
    """Return how many independent cases have a share with the variance of these units' mean."""
    share, variance = float(units.mean()), float(units.var()) / len(units)
    return share * (1 - share) / variance if variance > 0 else len(units)


def averaged(mean_difference: Difference, first: Difference, other: Difference, alike: float = 0.0) -> Difference:
    """Return a difference of means of two figures, such as a balanced accuracy, never surer than the two are.

    ``first`` and ``other`` are the differences of the figures, ``alike`` is the correlation of their errors.

    >>> same = difference([1, 1, 1, 0, 1, 1], [1, 1, 1, 0, 1, 1])
    >>> averaged(same, same, same, alike=1.0).high >= same.high
    True
    """

    def ends(level: float) -> tuple[float, float]:
        a, b = first.at(level), other.at(level)
        down = length(a.difference - a.low, b.difference - b.low, alike) / 2
        up = length(a.high - a.difference, b.high - b.difference, alike) / 2
        return mean_difference.difference - down, mean_difference.difference + up

    return replace(mean_difference, least=ends, limit=1.0).at(mean_difference.level)


def concluded(
    value: float,
    variation: Components,
    level: float,
    scope: Scope,
    limit: float = math.inf,
    least: Interval | None = None,
) -> Difference:
    """Return a difference with the interval and the p of its variance components.

    >>> concluded(0.1, difference([1, 1, 0, 1], [1, 0, 0, 1]).variation, 0.95, "networks").verdict
    'cannot tell'
    """
    variance, freedom = variation.total()
    if variance > 0:
        p = 2 * float(scipy.special.stdtr(freedom, -abs(value) / math.sqrt(variance)))
    else:
        p = 0.0 if value else 1.0
    return Difference(value, value, value, p, level, freedom, scope, variation, limit, least).at(level)


def corrected(differences: Mapping[Name, One], level: float = 0.95) -> dict[Name, One]:
    """Return each difference, such as that of a pair, at the level at which Holm's procedure tests it.

    All verdicts together err with probability 1 - level at most (Holm, "A simple sequentially rejective multiple test
    procedure", 1979, https://www.jstor.org/stable/4615733): the clearest difference of m is tested at (1 - level) / m,
    the next at (1 - level) / (m - 1), and so on until one fails. Each interval has the level at which its difference
    was tested, that of the first failure for all the rest; so verdict and interval always agree, and each interval
    covers with at least ``level``.

    >>> found = difference([1, 1, 1, 1, 1] * 8, [0, 1, 0, 1, 0] * 8)
    >>> round(corrected({("a", "b"): found, ("a", "c"): found})["a", "b"].level, 3)
    0.975
    """
    results: dict[Name, One] = {}
    remaining = len(differences)
    for name in sorted(differences, key=lambda name: differences[name].p):
        results[name] = differences[name].at(1 - (1 - level) / remaining)
        if results[name].verdict != "cannot tell":
            remaining -= 1
    return {name: results[name] for name in differences}


def cases_needed(contrast: Difference, power: float = POWER) -> int | None:
    """Estimate how many further units would show a difference as large as this one.

    None where a hundredfold of them would not be enough: the seeds' variance stays, or the
    difference is practically zero. It takes the difference and its variances as if they were true:
    a guide for planning, not a promise.

    >>> found = difference([1, 1, 1, 1, 0, 1], [1, 0, 1, 0, 0, 1])
    >>> cases_needed(found)
    18
    """
    n = contrast.variation.n
    further = np.unique((np.geomspace(1, MOST_CASES, 120) * n).astype(int))[1:] - n
    enough = _chance(contrast, n + further, np.zeros_like(further)) >= power
    return int(further[enough][0]) if enough.any() else None


def seeds_needed(contrast: Difference, power: float = POWER) -> int | None:
    """Estimate how many further seeds of each of the two would show a difference like this one.

    None where a hundred would not be enough, and where there was one seed only: then the variance
    between trainings is not known.

    >>> found = difference([[1.0, 2.0, 3.0]], [[1.0, 1.5, 3.0]])
    >>> seeds_needed(found) is None  # one training each
    True
    """
    if not contrast.variation.k:
        return None
    further = np.arange(1, MOST_SEEDS + 1)
    enough = _chance(contrast, np.full_like(further, contrast.variation.n), further) >= power
    return int(further[enough][0]) if enough.any() else None


def _sample(trainings: NDArray[Any]) -> float:
    """Return ``Crossed.sample`` of the trainings (repeats, cases) behind scores.

    0 where all trainings that test a case share all training cases.
    """
    folds = len(np.unique(trainings[0]))
    if folds < 2:
        return 0.0
    return SAMPLE_ONCE if len(trainings) == 1 else max(SAMPLE, 1 / (folds - 1))


def verdict_of(a: str, b: str, contrast: Difference, size: float = 1.0) -> Verdict:
    """Build the verdict on a pair, with cases and seeds needed where it cannot tell.

    ``size`` are the cases per patient.

    >>> verdict_of("a", "b", difference([1] * 40, [0, 1] * 20)).verdict
    'better'
    """
    cases = seeds = None
    if contrast.verdict == "cannot tell":
        cases, seeds = cases_needed(contrast), seeds_needed(contrast)
    return Verdict(
        a,
        b,
        contrast.difference,
        contrast.low,
        contrast.high,
        contrast.verdict,
        None if cases is None else math.ceil(cases * size),
        seeds,
    )


def _further(contrast: Difference) -> float:
    """Return the variance by which the interval is wider than Student's."""
    variance, freedom = contrast.variation.total()
    half = (contrast.high - contrast.low) / 2
    if contrast.least is None or not max(variance, half) < math.inf:
        return 0.0
    return max((half / float(scipy.special.stdtrit(freedom, (1 + contrast.level) / 2))) ** 2 - variance, 0.0)


def p_value(contrast: Difference) -> float:
    """Return the p of the test that the interval makes: the lowest 1 - level at which it excludes 0.

    >>> found = difference([1, 1, 1, 1, 0, 1], [1, 0, 1, 0, 0, 1])
    >>> abs(p_value(found) - found.p) < 1e-6
    True
    """
    if contrast.least is None or not contrast.difference:
        return contrast.p
    low, high = contrast.p, 1.0
    for _halving in range(40):
        middle = math.sqrt(max(low, 1e-15) * high)
        if contrast.at(1 - middle).verdict == "cannot tell":
            low = middle
        else:
            high = middle
    return high


def _chance(contrast: Difference, n: Counts, more_seeds: Counts) -> Scores:
    """Return the power to find this difference with so many units and further seeds."""
    variance, freedom = contrast.variation.expected(n, more_seeds)
    rate = 2 if contrast.limit == 1 else 1  # what a sample of right and wrong may lack shrinks as fast as 1 / n
    variance = variance + _further(contrast) * (contrast.variation.n / n) ** rate
    reach = scipy.special.stdtrit(freedom, (1 + contrast.level) / 2)
    # a difference without variance is found for certain, and so is one far out of reach
    away = abs(contrast.difference) / np.sqrt(np.maximum(variance, 1e-30))
    return 1 - scipy.special.nctdtr(freedom, np.minimum(away, 2 * reach + 10), reach)
