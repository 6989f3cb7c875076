"""Net benefit of acting on a prediction, for decision curves.

Whoever acts from a probability of t on accepts (1 - t) / t false positives for one true positive. Counted in true
positives, the net benefit of a model for each case is therefore

    NB = TP / n - w FP / n    with the weight w = t / (1 - t)

(Vickers and Elkin, "Decision curve analysis: a novel method for evaluating prediction models", 2006,
https://doi.org/10.1177/0272989X06295361). Treating all is the same rule with every case called; treating none has 0.
Where cases were selected by their class (case-control data), the shares of the classes say nothing, and with a
prevalence p that is known from elsewhere

    NB = p sensitivity - w (1 - p) (1 - specificity)

Intervals are those of two shares, TP / n and FP / n or sensitivity and specificity, each by patients and trainings
(``stats.intervals``), combined with the correlation of their errors (MOVER: Zou and Donner, "Construction of
confidence limits about effect measures: a general approach", 2008, https://doi.org/10.1002/sim.3095). Unlike
Student's interval of a mean they allow for false positives that this sample happens to lack, each of which would
weigh w. ``benchmarks/evidence.py benefit`` measures their coverage.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from souron.metrics import classification
from souron.metrics.classification import Truth, _least_ratio
from souron.stats import intervals, variance, verdict
from souron.stats.records import Measure
from souron.stats.variance import Scores

PER = 100  # patients, for interventions avoided
LEAST = 1e-9  # lower end of a ratio, whose inverse is finite


class Frequencies(NamedTuple):
    """Whole numbers among so many people."""

    ill: int
    called: int
    found: int  # ill and called
    missed: int  # ill and not called
    alarms: int  # called and not ill
    spared: int  # neither


def weight(threshold: float) -> float:
    """Return how much a false positive weighs against a true positive: t / (1 - t).

    Raises ValueError unless the threshold lies between 0 and 1.

    >>> round(weight(0.1), 4)  # nine false positives weigh as much as one true positive
    0.1111
    """
    if not 0 < threshold < 1:
        raise ValueError(f"a threshold is between 0 and 1, not {threshold}")
    return threshold / (1 - threshold)


def benefit_scores(y_true: ArrayLike, y_pred: ArrayLike, threshold: float, prevalence: float | None = None) -> Scores:
    """Return scores (repeats, cases) whose mean is the net benefit, for ``stats.verdict.difference``.

    ``y_true`` (cases,): whether a case is positive. ``y_pred`` (cases,) or (repeats, cases): whether its probability
    is at least the threshold. Raises ValueError for a threshold or a prevalence that is not between 0 and 1, and for
    a prevalence where a class is missing.

    >>> benefit_scores([1, 1, 0, 0], [1, 0, 1, 0], 0.2).tolist()
    [[1.0, 0.0, -0.25, 0.0]]
    """
    positive_call, positive, w = _checked(y_true, y_pred, threshold, prevalence)
    if prevalence is None:
        return np.where(positive_call, np.where(positive, 1.0, -w), 0.0)
    shares = classification.threshold_scores(positive, positive_call)
    return prevalence * shares["sensitivity"] - (1 - prevalence) * w * (1 - shares["specificity"])


def net_benefit(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    threshold: float,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """Compute the net benefit with an interval; arrays and errors are those of ``benefit_scores``.

    ``groups`` (cases,) name the patients, ``trainings`` (repeats, cases) the training behind each answer. It is the
    difference from treating none, too.

    >>> found = net_benefit([1, 1, 0, 0], [1, 0, 1, 0], 0.2)
    >>> round(found.value, 4), found.low < 0 < found.high  # 1/4 - 0.25 x 1/4
    (0.1875, True)
    >>> round(net_benefit([1, 1, 0, 0], [1, 0, 1, 0], 0.2, prevalence=0.1).value, 4)
    -0.0625
    """
    positive_call, positive, w = _checked(y_true, y_pred, threshold, prevalence)
    return _benefit(positive_call, positive, w, groups, prevalence, level, trainings)


def treat_all(
    y_true: ArrayLike,
    threshold: float,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
) -> Measure:
    """Compute the net benefit of treating all; with a ``prevalence`` it is known without an interval.

    >>> found = treat_all([1, 0, 0, 0], 0.2)
    >>> round(found.value, 4)  # 1/4 - 0.25 x 3/4
    0.0625
    """
    everyone = np.ones(len(np.asarray(y_true)), dtype=bool)
    positive_call, positive, w = _checked(y_true, everyone, threshold, prevalence)
    if prevalence is None:
        return _benefit(positive_call, positive, w, groups, prevalence, level, None)
    value = prevalence - w * (1 - prevalence)
    return Measure(value, value, value, len(positive), _patients(groups))


def against_all(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    threshold: float,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """Compute by how much the net benefit is above that of treating all, w TN / n - FN / n, paired by case.

    >>> round(against_all([1, 1, 0, 0], [1, 0, 1, 0], 0.2).value, 4)
    -0.1875
    """
    positive_call, positive, w = _checked(y_true, y_pred, threshold, prevalence)
    negated = _benefit(~positive_call, positive, w, groups, prevalence, level, trainings)
    return Measure(-negated.value, -negated.high, -negated.low, negated.n, negated.groups)


def against_default(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    threshold: float,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """Compute by how much the net benefit is above the better one of treating all and treating none.

    Which of them is better is not known but estimated: each end is the smaller one of both differences' ends. The
    lower end is above 0 only where both are (Berger, "Multiparameter hypothesis testing and acceptance sampling",
    1982, https://doi.org/10.1080/00401706.1982.10487790).

    >>> found = against_default([1, 0, 0, 0, 0] * 20, [1, 0, 0, 0, 1] * 20, 0.2)
    >>> round(found.value, 3), found.low > 0
    (0.15, True)
    """
    both = (
        net_benefit(y_true, y_pred, threshold, groups, prevalence, level, trainings),
        against_all(y_true, y_pred, threshold, groups, prevalence, level, trainings),
    )
    return lesser(*both)


def lesser(one: Measure, other: Measure) -> Measure:
    """Return the smaller value of two measures on the same cases, and the smaller one of their ends.

    >>> lesser(Measure(0.3, 0.1, 0.5, 9), Measure(0.2, 0.15, 0.25, 9))
    Measure(value=0.2, low=0.1, high=0.25, n=9, groups=None)
    """
    return Measure(min(one.value, other.value), min(one.low, other.low), min(one.high, other.high), one.n, one.groups)


def interventions_avoided(against: Measure, threshold: float, per: int = PER) -> Measure:
    """Convert a difference from treating all to interventions avoided among ``per`` patients.

    So many fewer patients are treated without need, at the same number of true positives: the difference / w (Vickers,
    Van Calster and Steyerberg, "Net benefit approaches to the evaluation of prediction models, molecular markers, and
    diagnostic tests", 2016, https://doi.org/10.1136/bmj.i6).

    >>> found = against_all([1, 0, 0, 0, 0] * 20, [1, 0, 0, 0, 1] * 20, 0.2)
    >>> round(interventions_avoided(found, 0.2).value, 1)  # 60 of 100 are not called, and none of them is ill
    60.0
    """
    factor = per / weight(threshold)
    return Measure(factor * against.value, factor * against.low, factor * against.high, against.n, against.groups)


def standardised(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    threshold: float,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """Compute the net benefit as a share of the largest possible one, the prevalence; 1 is perfect.

    Without a given ``prevalence`` it is the sensitivity - w FP / P: the ratio of false positives to positive cases has
    the interval of a ratio of two shares (MOVER-R: Donner and Zou, "Closed-form confidence intervals for functions of
    the normal mean and standard deviation", 2012, https://doi.org/10.1177/0962280210383082). Kerr, Brown, Zhu and
    Janes, "Assessing the clinical impact of risk prediction models with decision curves", 2016,
    https://doi.org/10.1200/JCO.2015.65.5654. Raises ValueError as ``benefit_scores``, and without a positive case.

    >>> round(standardised([1, 1, 0, 0], [1, 0, 1, 0], 0.2).value, 4)
    0.375
    """
    positive_call, positive, w = _checked(y_true, y_pred, threshold, prevalence)
    if not positive.any():
        raise ValueError("without a positive case there is no largest net benefit")
    if prevalence is not None:
        benefit = _benefit(positive_call, positive, w, groups, prevalence, level, trainings)
        value, low, high = (end / prevalence for end in (benefit.value, benefit.low, benefit.high))
        return Measure(value, low, high, benefit.n, benefit.groups)
    ill, false = np.broadcast_to(positive, positive_call.shape).astype(float), (positive_call & ~positive).astype(float)
    hits = intervals.interval(positive_call & positive, groups, level, trainings, among=positive)
    alarms, share = (intervals.interval(scores, groups, level, trainings) for scores in (false, ill))
    together = _together(false, ill, groups, trainings)
    ratio = Measure(
        alarms.value / share.value,
        _least_ratio(alarms, share, together),
        1 / max(_least_ratio(share, alarms, together), LEAST),
        share.n,
    )
    right = (positive_call - hits.value) * ill / share.value
    vain = (false - ratio.value * ill) / share.value
    n = len(positive), _patients(groups)
    return _weighted(hits, ratio, 1.0, w, _together(right, vain, groups, trainings), n)


def difference(
    y_true: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    threshold: float,
    groups: Sequence[Any] | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> verdict.Difference:
    """Compare the net benefits of two models on the same cases, called by ``one`` and by ``other``.

    >>> y_true = [1, 0, 0, 0, 0] * 20
    >>> found = difference(y_true, y_true, [1] * 100, 0.2)
    >>> round(found.difference, 2), found.verdict
    (0.2, 'better')
    """
    first, second = (benefit_scores(y_true, calls, threshold, prevalence) for calls in (one, other))
    strata = None if prevalence is None else np.asarray(y_true, dtype=bool)
    return verdict.difference(first, second, level, groups=groups, trainings=trainings, strata=strata)


def frequencies(sensitivity: float, specificity: float, prevalence: float, people: int = 1000) -> Frequencies:
    """Return natural frequencies: of so many people, who are ill, called, missed (Hoffrage and Gigerenzer, "Using
    natural frequencies to improve diagnostic inferences", 1998, https://doi.org/10.1097/00001888-199805000-00024).

    Halves are rounded up.

    >>> frequencies(0.9, 0.8, 0.1)
    Frequencies(ill=100, called=270, found=90, missed=10, alarms=180, spared=720)
    """
    ill = _rounded(people * prevalence)
    true_positives, alarms = _rounded(ill * sensitivity), _rounded((people - ill) * (1 - specificity))
    return Frequencies(
        ill, true_positives + alarms, true_positives, ill - true_positives, alarms, people - ill - alarms
    )


def _rounded(number: float) -> int:
    return math.floor(number + 0.5)


def _benefit(
    positive_call: Truth,
    positive: Truth,
    w: float,
    groups: Sequence[Any] | None,
    prevalence: float | None,
    level: float,
    trainings: ArrayLike | None,
) -> Measure:
    """Return the net benefit of calls (repeats, cases) from two shares and the correlation of their errors."""
    n = len(positive), _patients(groups)
    if prevalence is not None:
        hits, passes, together = classification.sensitivity_and_specificity(
            positive, positive_call, groups, level, trainings
        )
        alarms = Measure(1 - passes.value, 1 - passes.high, 1 - passes.low, passes.n)
        return _weighted(hits, alarms, prevalence, (1 - prevalence) * w, -together, n)
    true, false = (positive_call & positive).astype(float), (positive_call & ~positive).astype(float)
    shares = [intervals.interval(scores, groups, level, trainings) for scores in (true, false)]
    return _weighted(shares[0], shares[1], 1.0, w, _together(true, false, groups, trainings), n)


def _together(first: Scores, second: Scores, groups: Sequence[Any] | None, trainings: ArrayLike | None) -> float:
    """Return the correlation of the errors of two means over the same cases (repeats, cases)."""
    spreads = (variance.spread(scores, groups, trainings)[0] for scores in (first, second, first + second))
    return variance.correlation(*spreads)


def _weighted(
    first: Measure, second: Measure, a: float, b: float, together: float, n: tuple[int, int | None]
) -> Measure:
    """Return a x one - b x other, whose errors correlate by ``together``."""
    value = a * first.value - b * second.value
    low = intervals.length(a * (first.value - first.low), b * (second.high - second.value), -together)
    high = intervals.length(a * (first.high - first.value), b * (second.value - second.low), -together)
    return Measure(value, value - low, value + high, *n)


def _patients(groups: Sequence[Any] | None) -> int | None:
    return None if groups is None else len(np.unique(np.asarray(groups)))


def _checked(
    y_true: ArrayLike, y_pred: ArrayLike, threshold: float, prevalence: float | None
) -> tuple[Truth, Truth, float]:
    """Return calls (repeats, cases), truth (cases,) and the weight. Raises ValueError."""
    positive_call, positive = classification._predicted_and_true(y_true, y_pred)
    classification._check_prevalence(prevalence)
    if prevalence is not None and (positive.all() or not positive.any()):
        raise ValueError("a given prevalence needs positive and negative cases")
    return positive_call, positive, weight(threshold)


__all__ = [
    "Frequencies",
    "against_all",
    "against_default",
    "benefit_scores",
    "difference",
    "frequencies",
    "interventions_avoided",
    "lesser",
    "net_benefit",
    "standardised",
    "treat_all",
    "weight",
]
