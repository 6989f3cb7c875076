"""The statistics behind a verdict: which system is better, and how sure may one be?

Two things vary when a system is measured: its training (seeds) and the test cases. Moreover
systems differ in *which* cases they get right, and the same system trained twice does, too. With
``scores`` of shape (seeds, cases), a difference of two means therefore varies by

    v = seeds_a / k_a + seeds_b / k_b + cases / n

- ``seeds``: variance of the trainings' means over the cases. It holds the noise that
  training and cases make together, ``noise / n``, once.
- ``cases``: variance over cases of the seeds' mean difference, less that same noise (else it
  would count twice). At least 0.
- v is never less than the noise alone makes: two seeds may agree by luck.
- Satterthwaite's degrees of freedom turn sqrt(v) into an interval of Student's t.

This is the analysis of readers and cases in radiology (Hillis, "A comparison of denominator
degrees of freedom methods for multiple observer ROC analysis", 2007,
https://doi.org/10.1002/sim.2532), with trainings for readers, each nested in its system.
``benchmarks/verdict.py`` shows by simulation that it keeps its promise where the paired bootstrap
over cases does not.

Where cases come in groups (patients), the group is the unit that was drawn: a group's score is its
share in the mean over all cases, linearised as for a ratio (Cochran, "Sampling Techniques", 3rd
edition, 1977, section 6.3). Groups of equal size count with their own mean.

Right or wrong, 0 or 1, says little on few cases: there, one case won and one lost are added to the
variance, half each (Agresti and Min, "Effects and non-effects of paired identical observations in
comparing proportions with binary matched-pairs data", 2004, https://doi.org/10.1002/sim.1589), so
that ten cases without a difference do not prove that there is none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, nctdtr, ndtri, stdtr, stdtrit

from souron.records import Measure, Row, Verdict
from souron.speaking import _

POWER = 0.8  # the chance to find a difference that is as large as the one observed
MOST_CASES = 100  # times the present cases: what needs more is no plan
MOST_SEEDS = 100
LENT = 5  # groups that another label's count as, where they tell how alike cases are
FEW = 3  # successes or failures too few for Wilson's interval
MISSED = 1.3  # times that the kurtosis of losses is larger than a sample shows (by simulation)
MOST_FREEDOM = 1e9  # from here on Student's t is the normal distribution

Scores = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Variation:
    """What makes a mean over trainings and cases, or a difference of two, vary."""

    n: int  # units: cases, or groups of cases
    cases: float  # variance of a unit's mean (difference), without the noise
    k: tuple[int, ...] = ()  # seeds of each system; none where the trained networks are as given
    seeds: tuple[float, ...] = ()  # variance of a training's mean over n units, with noise / n
    noise: tuple[float, ...] = ()  # of training and case together, in one unit
    pseudo: int = 0  # 1 where scores are 0 or 1: a unit half won, half lost is added

    def total(self) -> tuple[float, float]:
        """The variance of the mean and its degrees of freedom."""
        if self.n + self.pseudo < 2:
            return math.inf, 1.0
        variance, freedom = self._combined(self.seeds, self.n, self.k)
        return float(variance), float(freedom)

    def expected(self, n: Counts, more_seeds: Counts) -> tuple[Scores, Scores]:
        """The same of each of these numbers of units and of further seeds."""
        seeds = [
            max(between - noise / self.n, 0) + noise / n
            for between, noise in zip(self.seeds, self.noise, strict=True)
        ]
        return self._combined(seeds, n, [k + more_seeds for k in self.k])

    def _combined(self, seeds: Any, n: Any, k: Any) -> tuple[Any, Any]:
        trainings = [between / count for between, count in zip(seeds, k, strict=True)]
        least = sum(noise / count for noise, count in zip(self.noise, k, strict=True)) / n
        cases = self.cases / n + self.pseudo / (n * (n + self.pseudo))
        total = np.maximum(sum(trainings), least) + cases
        doubt = cases**2 / (n + self.pseudo - 1) + sum(
            part**2 / (count - 1) for part, count in zip(trainings, k, strict=True)
        )
        return total, _satterthwaite(total, doubt)


@dataclass(frozen=True)
class Crossed:
    """What makes a mean over repeated cross-validation vary, or a difference of two: each repeat
    tests every case, each fold by a training of its own (``_crossed``)."""

    n: int  # units: cases, or groups of cases
    cases: float  # variance of a unit's mean, with a repeat's part of the noise, without trainings
    repeats: int
    noise: float = 0.0  # of training and case together, in one unit
    training: float = 0.0  # variance of a training's mean
    weight: float = 0.0  # sum of the squares of the trainings' shares in the mean
    seen: float = 0.0  # mean square between trainings: theirs, and what noise adds to it
    freedom: int = 1  # of that mean square
    pseudo: int = 0  # as of a ``Variation``

    @property
    def k(self) -> tuple[int, ...]:
        return self.repeats, self.repeats

    def total(self) -> tuple[float, float]:
        """The variance of the mean and its degrees of freedom."""
        variance, freedom = self._combined(self.n, self.repeats)
        return float(variance), float(freedom)

    def expected(self, n: Counts, more_repeats: Counts) -> tuple[Scores, Scores]:
        """The same of each of these numbers of units and of further repeats."""
        return self._combined(n, self.repeats + more_repeats)

    def _combined(self, n: Any, repeats: Any) -> tuple[Any, Any]:
        times = repeats / self.repeats
        own = max(self.cases - self.noise / self.repeats, 0.0)
        cases = (own + self.noise / repeats) / n + self.pseudo / (n * (n + self.pseudo))
        seen = self.training + (self.seen - self.training) * self.n / n
        total = cases + self.weight / times * self.training
        doubt = cases**2 / (n + self.pseudo - 1)
        doubt = doubt + (self.weight / times * seen) ** 2 / (self.freedom * times)
        return total, _satterthwaite(total, doubt)


@dataclass(frozen=True)
class Difference:
    """How much better ``a`` is than ``b``: > 0 speaks for ``a``, whichever way the measure goes."""

    difference: float
    low: float
    high: float
    p: float
    level: float
    freedom: float  # degrees of freedom
    scope: Literal["trainings", "networks"]  # "networks": one seed says nothing of another training
    variation: Variation | Crossed
    limit: float = math.inf  # no difference is larger

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        return "better" if self.low > 0 else "worse" if self.high < 0 else "cannot tell"

    def at(self, level: float) -> "Difference":
        """The same with an interval of another level."""
        variance, freedom = self.variation.total()
        low, high = _interval(self.difference, variance, freedom, level)
        return replace(self, low=max(low, -self.limit), high=min(high, self.limit), level=level)


@dataclass(frozen=True)
class _Alike:
    """How alike the cases of a group are in whether they are right."""

    n: int  # cases
    more: float  # further cases in a case's group, in the mean
    effect: float | None  # variance of their mean over that of independent cases; None: unknown
    freedom: float

    @classmethod
    def of(
        cls, scores: Scores, groups: Sequence[Any] | None, trainings: ArrayLike | None
    ) -> "_Alike":
        """Of scores (seeds, cases) that are 0 or 1."""
        n, value = scores.shape[1], float(scores.mean())
        _names, sizes = np.unique(range(n) if groups is None else groups, return_counts=True)
        more = float((sizes**2).sum()) / n - 1
        variance, freedom = spread(scores, groups, trainings)
        if not (0 < value < 1 and 0 < variance < math.inf):
            return cls(n, more, None, freedom)
        freedom = 2 / (1 / freedom + 1 / _freedom(_units(scores, groups).mean(0), freedom))
        return cls(n, more, variance * n / (value * (1 - value)), freedom)

    def beside(self, other: "_Alike") -> "_Alike":
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
    from the others, too (``_Alike.beside``): few groups alone say little of it.
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
        return proportion(int(scores.sum()), n, level)
    alike = _Alike.of(scores, groups, trainings)
    if beside is not None:
        alike = alike.beside(_Alike.of(*beside))
    size = drawn if alike.effect is None else n / alike.effect
    ends = _wilson(value, min(size, scores.size), _quantile(level, alike.freedom))
    return Measure(value, *ends, *count)


def spread(
    scores: ArrayLike,
    groups: Sequence[Any] | None = None,
    trainings: ArrayLike | None = None,
) -> tuple[float, float]:
    """The variance of the mean of scores (cases,) or (seeds, cases), and its degrees of freedom.

    With several seeds it holds for further trainings and further cases. ``trainings`` (seeds,
    cases) names the training behind each score where a seed has several, as cross-validation has
    one a fold. Of one unit alone the variance is infinite.
    """
    table = _table(scores)
    units = _units(table, groups)
    if trainings is None or units.shape[1] < 2:
        return _variation([units], units.mean(0), pseudo=0).total()
    return _crossed(table, units, groups, trainings).total()


def share(
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


def loss(
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


def proportion(successes: int, n: int, level: float = 0.95) -> Measure:
    """A share of n independent cases, as sensitivity is, with Wilson's interval.

    Up to three successes or failures the end towards 0 or 1 is Poisson's, since Wilson's misses
    there too often (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion",
    2001, https://doi.org/10.1214/ss/1009213286). Of no case at all: not a number, 0 to 1.
    """
    if n == 0:
        return Measure(math.nan, 0.0, 1.0, 0)
    low, high = _wilson(successes / n, n, float(ndtri((1 + level) / 2)))
    failures = n - successes
    if 1 <= successes <= FEW:
        low = min(low, float(chdtri(2 * successes, level)) / (2 * n))
    if 1 <= failures <= FEW:
        high = max(high, 1 - float(chdtri(2 * failures, level)) / (2 * n))
    return Measure(successes / n, low, high, n)


def difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    higher_is_better: bool = True,
    groups: Sequence[Any] | None = None,
    trainings: ArrayLike | None = None,
) -> Difference:
    """How much better ``a`` is than ``b``, on the same cases.

    ``a`` (seeds, cases) and ``b`` (other seeds, same cases); ``groups`` (cases,). If either has
    one seed only, the scope is these trained networks: the interval counts cases, not trainings.
    ``trainings`` (seeds, cases) names the training behind each score, of ``a`` and of ``b`` alike,
    where a seed has several, as cross-validation has one a fold; the scope is trainings then.
    Raises ValueError if the cases are not as many.
    """
    a, b = _table(a), _table(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"scores of {a.shape[1]} and of {b.shape[1]} cases cannot be paired")
    if not higher_is_better:
        a, b = b, a
    binary = _binary(a) and _binary(b)
    units = [_units(a, groups), _units(b, groups)]
    variation: Variation | Crossed
    if trainings is None or units[0].shape[1] < 2:
        contrast = units[0].mean(0) - units[1].mean(0)
        variation = _variation(units, contrast, pseudo=int(binary))
    else:
        variation = _crossed(a - b, units[0] - units[1], groups, trainings, int(binary))
    found = float(a.mean() - b.mean())
    variance, freedom = variation.total()
    if variance > 0:
        p = 2 * float(stdtr(freedom, -abs(found) / math.sqrt(variance)))
    else:
        p = 0.0 if found else 1.0
    return Difference(
        found,
        found,
        found,
        p,
        level,
        freedom,
        "trainings" if variation.k else "networks",
        variation,
        1.0 if binary else math.inf,
    ).at(level)


def judge(
    scores: Mapping[str, ArrayLike],
    higher_is_better: bool = True,
    names: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> list[Verdict]:
    """Every pair once, in the order of ``names`` (default: as in ``scores``).

    ``scores`` maps a name to (seeds, cases); ``groups`` and ``trainings`` are those of
    ``difference``. All verdicts together err with probability
    1 - level at most (Holm, "A simple sequentially rejective multiple test procedure", 1979,
    https://www.jstor.org/stable/4615733): the clearest difference of m is tested at
    (1 - level) / m, the next at (1 - level) / (m - 1), and so on until one fails. Each interval
    has the level at which its difference was tested, that of the first failure for all the rest;
    so verdict and interval always agree, and each interval covers with at least ``level``.
    Needs speak of further cases, at the present number of cases to a group.
    """
    names = list(scores) if names is None else names
    pairs = list(combinations(names, 2))
    found = [
        difference(scores[a], scores[b], level, higher_is_better, groups, trainings)
        for a, b in pairs
    ]
    judged: dict[int, Difference] = {}
    left = len(pairs)
    for i in sorted(range(len(pairs)), key=lambda i: found[i].p):
        judged[i] = found[i].at(1 - (1 - level) / left)
        if judged[i].verdict != "cannot tell":
            left -= 1
    size = 1.0 if groups is None else len(groups) / len(np.unique(np.asarray(groups)))
    return [_verdict(a, b, judged[i], size) for i, (a, b) in enumerate(pairs)]


def cases_needed(found: Difference, power: float = POWER) -> int | None:
    """Further units with which a difference as large as this one would be found.

    None where a hundredfold of them would not do: the seeds' variance stays, or the
    difference is practically zero. Takes the difference and its variances as if they were true:
    a guide for planning, not a promise.
    """
    n = found.variation.n
    further = np.unique((np.geomspace(1, MOST_CASES, 120) * n).astype(int))[1:] - n
    enough = _chance(found, n + further, np.zeros_like(further)) >= power
    return int(further[enough][0]) if enough.any() else None


def seeds_needed(found: Difference, power: float = POWER) -> int | None:
    """Further seeds, of each of the two, with which a difference like this one would be found.

    None where a hundred would not do, and where there was one seed only: nothing is known then
    of how trainings vary.
    """
    if not found.variation.k:
        return None
    further = np.arange(1, MOST_SEEDS)
    enough = _chance(found, np.full_like(further, found.variation.n), further) >= power
    return int(further[enough][0]) if enough.any() else None


def sentence(
    verdicts: Sequence[Verdict],
    rows: Sequence[Row],
    seeds: int,
    cases: int,
    measure: str,
    unit: str = "",
) -> str:
    """What to say on top of a report.

    ``rows`` best first; ``measure`` in the reader's language; ``unit`` ``"points"`` where the
    measure is a share of 1, so that differences are percentage points.
    """
    best = rows[0].system
    if len(rows) == 1:
        return _("{system} ran alone: there is nothing to compare it with.").format(system=best)
    beside = {
        (verdict.b if verdict.a == best else verdict.a): verdict
        for verdict in verdicts
        if best in (verdict.a, verdict.b)
    }
    like = [row.system for row in rows[1:] if beside[row.system].verdict == "cannot tell"]
    second = like[0] if like else rows[1].system
    lead = beside[second]
    ends = (lead.difference, lead.low, lead.high)
    if lead.a != best:
        ends = (-lead.difference, -lead.high, -lead.low)
    if len(rows) == 2 and not like:
        told = _("{best} is better than {second} by {difference} in {measure}.")
    elif len(rows) == 2:
        told = _(
            "{best} or {second}: cannot tell which is better. In {measure}, {best} leads by "
            "{difference} on {cases} test cases."
        )
    elif not like:
        told = _(
            "{best} is the best of {count}: better than {second}, the second, by {difference} "
            "in {measure}."
        )
    elif len(like) == len(rows) - 1:
        told = _(
            "{best} leads {second} by {difference} in {measure}, but on {cases} test cases we "
            "cannot tell it from any other of the {count}."
        )
    else:
        told = _(
            "{best} is better than {beaten}. On {cases} test cases we cannot tell it from {like}: "
            "it leads {second} by {difference} in {measure}."
        )
    said = [
        told.format(
            best=best,
            second=second,
            difference=_difference(*ends, unit),
            measure=measure,
            like=_listed(like),
            beaten=_listed([row.system for row in rows[1:] if row.system not in like]),
            cases=f"{cases:,}",
            count=len(rows),
        )
    ]
    if like:
        said.append(_needed(lead, seeds))
    if seeds == 1:
        said.append(
            _("One seed each: this speaks of these trained networks only, not of other trainings.")
        )
    return " ".join(said)


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = _(", ").join(names[:most])
    if len(names) <= most:
        return shown
    return _("{names} and {count} more").format(names=shown, count=len(names) - most)


def _needed(verdict: Verdict, seeds: int) -> str:
    more = {
        "cases": _about(verdict.cases_needed or 0),
        "seeds": verdict.seeds_needed,
        "times": MOST_CASES,
    }
    if verdict.cases_needed and verdict.seeds_needed:
        told = _("About {cases} more cases needed, or more seeds: about {seeds} each.")
    elif verdict.seeds_needed:
        told = _("More seeds needed, about {seeds} each; more cases alone would not settle it.")
    elif verdict.cases_needed and seeds > 1:
        told = _("About {cases} more cases needed; more seeds alone would not settle it.")
    elif verdict.cases_needed:
        told = _("About {cases} more cases needed.")
    elif seeds > 1:
        told = _("Neither {times} times the cases nor a hundred seeds alone would settle it.")
    else:
        told = _("Not even {times} times the cases would settle it.")
    return told.format(**more)


def _about(number: int) -> str:
    """Two digits, rounded up: 1234 -> ``1,300``."""
    power = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // power) * power:,}"


def _difference(value: float, low: float, high: float, unit: str) -> str:
    """``0.8 points (0.3..1.3)``, with as many digits as keep the ends off a zero they exclude."""
    if unit == "points":
        value, low, high = 100 * value, 100 * low, 100 * high
    large = max(abs(value), abs(low), abs(high))
    digits = 1 if unit == "points" or large >= 10 else 3
    while digits < 8 and low * high > 0 and min(abs(low), abs(high)) < 0.5 * 10**-digits:
        digits += 1
    shown = {
        "value": f"{round(value, digits) + 0:.{digits}f}",
        "low": f"{round(low, digits) + 0:.{digits}f}",
        "high": f"{round(high, digits) + 0:.{digits}f}",
        "unit": unit,
    }
    if unit == "points":
        return _("{value} points ({low}..{high})").format(**shown)
    if unit:
        return _("{value} {unit} ({low}..{high})").format(**shown)
    return _("{value} ({low}..{high})").format(**shown)


def _verdict(a: str, b: str, found: Difference, size: float) -> Verdict:
    cases = seeds = None
    if found.verdict == "cannot tell":
        cases, seeds = cases_needed(found), seeds_needed(found)
    return Verdict(
        a,
        b,
        found.difference,
        found.low,
        found.high,
        found.verdict,
        None if cases is None else math.ceil(cases * size),
        seeds,
    )


def _chance(found: Difference, n: Counts, more_seeds: Counts) -> Scores:
    """To find this difference, if it is true, with so many units and further seeds."""
    variance, freedom = found.variation.expected(n, more_seeds)
    reach = stdtrit(freedom, (1 + found.level) / 2)
    # a difference without variance is found for certain, and so is one far out of reach
    away = abs(found.difference) / np.sqrt(np.maximum(variance, 1e-30))
    return 1 - nctdtr(freedom, np.minimum(away, 2 * reach + 10), reach)


def _variation(units: list[Scores], contrast: Scores, pseudo: int) -> Variation:
    """Of systems' scores, each (seeds, units), and their mean or difference (units,)."""
    n, k = len(contrast), tuple(len(table) for table in units)
    if n + pseudo < 2:
        return Variation(n, math.nan)
    between = float(contrast.var(ddof=1)) if n > 1 else 0.0
    if min(k) < 2 or n < 2:
        return Variation(n, between, pseudo=pseudo)
    seeds = tuple(float(table.mean(1).var(ddof=1)) for table in units)
    noise = tuple(_noise(table) for table in units)
    mixed = sum(own / count for own, count in zip(noise, k, strict=True))
    return Variation(n, max(between - mixed, 0.0), k, seeds, noise, pseudo)


def _noise(table: Scores) -> float:
    """Variance of training and case together: what their means leave of (seeds, units)."""
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    return float((rest**2).sum()) / ((table.shape[0] - 1) * (table.shape[1] - 1))


def _crossed(
    scores: Scores,
    units: Scores,
    groups: Sequence[Any] | None,
    trainings: ArrayLike,
    pseudo: int = 0,
) -> Crossed:
    """Of cross-validation: scores (repeats, cases), as ``units`` (repeats, units).

    A unit's score is a unit's own, plus its training's, plus noise. Different repeats of the same
    unit tell the trainings apart, whatever the units are; where there is one repeat, the folds do.
    The trainings' variance is what their squares exceed the noise by (Henderson, "Estimation of
    variance and covariance components", 1953, method 3, https://doi.org/10.2307/3001853). All
    trainings learn from one sample: how much they would differ together with another one, no
    method sees.
    """
    repeats, n = units.shape
    row = np.arange(repeats)[:, None]
    who = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    names, which = np.unique(np.asarray(trainings), return_inverse=True)
    by = np.zeros((repeats, n, len(names)))  # what each training says of each unit
    np.add.at(by, (row, who, which.reshape(scores.shape)), n / scores.shape[1])
    sums = np.zeros((repeats, n))
    np.add.at(sums, (row, who), scores * n / scores.shape[1])
    weight = by.mean((0, 1))  # of each training in the mean
    size = by[0].sum(1, keepdims=True)  # (n, 1)
    if repeats > 1:
        own, left = by - by.mean(0), sums - sums.mean(0)
    else:
        own = by - size * (size * by[0]).sum(0) / (size**2).sum()
        left = sums - size[:, 0] * (size[:, 0] @ sums[0]) / (size**2).sum()
    seen = own.reshape(-1, len(names))
    cross = seen.T @ seen
    rank = int(np.linalg.matrix_rank(cross, hermitian=True))
    pull = seen.T @ left.ravel()
    squares = float(pull @ np.linalg.pinv(cross, rcond=1e-10, hermitian=True) @ pull)
    spare = max(repeats - 1, 1) * n - (repeats == 1) - rank
    noise = max(float((left**2).sum()) - squares, 0.0) / spare if spare > 0 else 0.0
    between = float(units.mean(0).var(ddof=1))
    trace = float(np.trace(cross))
    if not rank or trace <= 0:
        return Crossed(n, between, repeats, pseudo=pseudo)
    of_one = max(squares - rank * noise, 0.0) / trace
    doubled = float(((by.mean(0) - size * weight) ** 2).sum()) / (n - 1) * of_one
    cases = max(between - doubled, noise / repeats)
    share = float(weight @ weight)
    return Crossed(n, cases, repeats, noise, of_one, share, squares / trace, rank, pseudo)


def _satterthwaite(total: Any, doubt: Any) -> Any:
    """Degrees of freedom of a variance ``total`` whose parts' squares, each over its own degrees,
    add up to ``doubt``."""
    sure = doubt <= total**2 / MOST_FREEDOM
    return np.where(sure, MOST_FREEDOM, total**2 / np.where(sure, 1.0, doubt))


def _freedom(units: Scores, freedom: float, missed: float = 1.0) -> float:
    """What is left of the degrees of freedom where few of the units (n,) decide their variance.

    A variance of n units with kurtosis k varies as one of 2 n / (k - 1) degrees of freedom does,
    which is n for the normal distribution (O'Neill, "Some useful moment results in sampling
    problems", 2014, https://doi.org/10.1080/00031305.2014.966589). ``missed``: times that k is
    larger than in the sample. At least 1.
    """
    square = (units - units.mean()) ** 2
    if not square.any():
        return freedom
    kurtosis = missed * float((square**2).mean() / square.mean() ** 2)
    return max(min(freedom, 2 * len(units) / max(kurtosis - 1, 1e-9)), 1.0)


def _part(
    scores: Scores,
    groups: Sequence[Any] | None,
    trainings: ArrayLike | None,
    chosen: NDArray[np.bool_],
) -> tuple[Scores, Sequence[Any] | None, ArrayLike | None]:
    """Scores, groups and trainings of the chosen cases."""
    return (
        scores[:, chosen],
        None if groups is None else list(np.asarray(groups)[chosen]),
        None if trainings is None else np.asarray(trainings)[:, chosen],
    )


def _units(scores: Scores, groups: Sequence[Any] | None) -> Scores:
    """(seeds, cases) -> (seeds, units), with the same mean over units as over cases."""
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
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if table.ndim != 2 or not table.size:
        raise ValueError(f"scores are (cases,) or (seeds, cases), not {table.shape}")
    return table


def _binary(scores: Scores) -> bool:
    return bool(((scores == 0) | (scores == 1)).all())


def _quantile(level: float, freedom: float) -> float:
    return float(stdtrit(freedom, (1 + level) / 2))


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
