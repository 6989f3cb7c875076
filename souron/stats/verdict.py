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

After cross-validation one thing more can be counted: that another training sample would have been
drawn. The folds learn from cases that they share for the most part, so that the sample's luck is
common to all of them, and no estimate of it is without bias (Bengio and Grandvalet, "No unbiased
estimator of the variance of k-fold cross-validation", 2004,
https://www.jmlr.org/papers/v5/grandvalet04a.html). Nadeau and Bengio ("Inference for the
generalization error", 2003, https://doi.org/10.1023/A:1024068626366) multiply the variance between
folds by the ratio of test to training cases, 1 / (folds - 1), and add it. Here that ratio, at least
``SAMPLE``, is taken of the mean square between trainings alone, from which the cases' part has been
taken out (``Crossed``): methods whose answers hardly depend on what they learnt from then keep
short intervals, and those that do get wide ones. ``benchmarks/training_sample.py`` sets it beside
Nadeau and Bengio's own and beside what does not count the sample (Bayle and others,
"Cross-validation confidence intervals for test error", 2020, https://arxiv.org/abs/2007.12671).
With one split the sample's luck cannot be seen, and the sentence says so.

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
import scipy
from numpy.typing import ArrayLike, NDArray

from souron.stats.intervals import _interval
from souron.stats.records import Verdict
from souron.stats.variance import (
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
)

SAMPLE = 1 / 3  # least share of the trainings' mean square that another training sample adds
SAMPLE_ONCE = 0.1  # with one repeat, where that mean square holds what cases vary by as well
POWER = 0.8  # the chance to find a difference that is as large as the one observed
MOST_CASES = 100  # times the present cases: what needs more is no plan
MOST_SEEDS = 100


@dataclass(frozen=True)
class Difference:
    """How much better ``a`` is than ``b``: > 0 speaks for ``a``, whichever way the measure goes."""

    difference: float
    low: float
    high: float
    p: float
    level: float
    freedom: float  # degrees of freedom
    # what another one of is counted: a training sample, a training, or neither (one seed)
    scope: Literal["sample", "trainings", "networks"]
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


def difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    higher_is_better: bool = True,
    groups: Sequence[Any] | None = None,
    trainings: ArrayLike | None = None,
    strata: ArrayLike | None = None,
) -> Difference:
    """How much better ``a`` is than ``b``, on the same cases.

    ``a`` (seeds, cases) and ``b`` (other seeds, same cases); ``groups`` (cases,). If either has
    one seed only, the scope is these trained networks: the interval counts cases, not trainings.
    ``trainings`` (seeds, cases) names the training behind each score, of ``a`` and of ``b`` alike,
    where a seed has several, as cross-validation has one a fold; the scope is then methods that
    learn from another sample. ``strata`` (cases,) are labels whose cases are a sample each, as for
    an AUC: few of one leave the interval wide (``variance.by_stratum``).
    Raises ValueError if the cases are not as many.
    """
    a, b = _table(a), _table(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"scores of {a.shape[1]} and of {b.shape[1]} cases cannot be paired")
    if not higher_is_better:
        a, b = b, a
    binary = _binary(a) and _binary(b)
    units = [_units(a, groups), _units(b, groups)]
    sample = 0.0
    sure = None if strata is None else by_stratum(a.mean(0) - b.mean(0), strata, groups, True)
    variation: Variation | Crossed
    if trainings is None or units[0].shape[1] < 2:
        contrast = units[0].mean(0) - units[1].mean(0)
        variation = _variation(units, contrast, int(binary), sure)
    else:
        apart, sample = units[0] - units[1], _sample(np.asarray(trainings))
        variation = _crossed(a - b, apart, groups, trainings, int(binary), sure, sample)
    found = float(a.mean() - b.mean())
    variance, freedom = variation.total()
    if variance > 0:
        p = 2 * float(scipy.special.stdtr(freedom, -abs(found) / math.sqrt(variance)))
    else:
        p = 0.0 if found else 1.0
    return Difference(
        found,
        found,
        found,
        p,
        level,
        freedom,
        "networks" if not variation.k else "trainings" if sample == 0 else "sample",
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
    strata: ArrayLike | None = None,
) -> list[Verdict]:
    """Every pair once, in the order of ``names`` (default: as in ``scores``).

    ``scores`` maps a name to (seeds, cases); ``groups``, ``trainings`` and ``strata`` are those
    of ``difference``. All verdicts together err with probability
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
        difference(scores[a], scores[b], level, higher_is_better, groups, trainings, strata)
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


def _sample(trainings: NDArray[Any]) -> float:
    """``Crossed.sample`` of the trainings (repeats, cases) behind scores; 0 where each case is
    tested by trainings that learnt from all the same cases."""
    folds = len(np.unique(trainings[0]))
    if folds < 2:
        return 0.0
    return SAMPLE_ONCE if len(trainings) == 1 else max(SAMPLE, 1 / (folds - 1))


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
    reach = scipy.special.stdtrit(freedom, (1 + found.level) / 2)
    # a difference without variance is found for certain, and so is one far out of reach
    away = abs(found.difference) / np.sqrt(np.maximum(variance, 1e-30))
    return 1 - scipy.special.nctdtr(freedom, np.minimum(away, 2 * reach + 10), reach)
