"""Abstention: a classifier passes the answers of which it is least confident on to a person.

    coverage: the share of answers that it gives itself      risk: the share of wrong ones among these

The risk-coverage curve shows the one against the other, and AURC is the mean risk over all coverages (Geifman,
Uziel, El-Yaniv: Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers (2018),
https://arxiv.org/abs/1805.08206): 0 where nothing is wrong, the error of all answers where the order is random.

None of these figures is a mean over cases. Each gets pseudo-scores, one per answer, whose mean is the figure and whose
spread is its influence function, so that patients, trainings and paired differences count as for accuracy
(``metrics.classification``). ``benchmarks/evidence.py refer`` measures how often the intervals hold the truth.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from souron.stats import intervals, variance
from souron.stats.records import Measure
from souron.stats.variance import Scores

NEXT = 0.03  # share of the answers on each side of the floor that are next to it
FEWEST = 5  # of these

Chosen = NDArray[np.bool_]


def floor(confidence: ArrayLike, share: float) -> float:
    """Return the confidence below which an answer is passed on.

    Of the answers (cases,) at most ``share`` lie below it, fewer where answers are equally confident. Raises ValueError
    unless ``share`` is in 0..1, and without answers.

    >>> floor([0.9, 0.6, 0.8, 0.7], 0.25)  # one of four lies below it
    0.7
    """
    rising = np.sort(np.asarray(confidence, dtype=np.float64))
    if not 0 <= share < 1 or not len(rising):
        raise ValueError(f"a share of {share} of {len(rising)} answers")
    return float(rising[math.floor(share * len(rising) + 1e-9)])


def kept(confidence: ArrayLike, share: float) -> Chosen:
    """Return which answers (trainings, cases) are not passed on, each training with a floor of its own.

    >>> kept([[0.9, 0.6, 0.8, 0.7]], 0.25).tolist()
    [[True, False, True, True]]
    """
    table = np.atleast_2d(np.asarray(confidence, dtype=np.float64))
    return np.stack([row >= floor(row, share) for row in table])


def error_scores(
    wrong: ArrayLike, confidence: ArrayLike, share: float, among: ArrayLike | None = None, passed: bool = False
) -> Scores:
    """Return pseudo-scores (trainings, cases) whose mean is the error of the answers that are not passed on.

    ``wrong`` and ``confidence`` are (trainings, cases); ``among`` (cases,) are the cases that count, such as those of a
    class; ``passed``: the error of the answers that are passed on. Another sample has another floor: the answers next
    to the floor tell how the error moves with it. Raises ValueError where a training has no such answer.

    >>> error_scores([[0, 1, 0, 1]], [[0.9, 0.8, 0.7, 0.6]], 0.25).mean().round(3).item()  # one of three
    0.333
    """
    wrongs, sure = _tables(wrong, confidence)
    mask = kept(sure, share)
    counts = np.ones(wrongs.shape[1]) if among is None else np.asarray(among, dtype=np.float64)
    answered_weight = (~mask if passed else mask) * counts
    weight = answered_weight.mean(1, keepdims=True)
    if not weight.all():
        raise ValueError("there are no answers among which errors could be counted")
    error = (answered_weight * wrongs).mean(1, keepdims=True) / weight
    away = ~mask - (~mask).mean(1, keepdims=True)
    shift = (
        np.array(
            [[_next(row * counts, of_training, share)] for row, of_training in zip(wrongs - error, sure, strict=True)]
        )
        * away
    )
    scores: Scores = error + (answered_weight * (wrongs - error) + (-shift if passed else shift)) / weight
    return scores


def _next(values: Scores, confidence: Scores, share: float) -> float:
    """Return the mean of the values (cases,) of the answers next to the floor."""
    count = len(values)
    reach = max(FEWEST, round(NEXT * count))
    floor = math.floor(share * count + 1e-9)
    return float(values[np.argsort(confidence, kind="stable")[max(floor - reach, 0) : floor + reach]].mean())


def error(
    wrong: ArrayLike,
    confidence: ArrayLike,
    share: float,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
    among: ArrayLike | None = None,
    passed: bool = False,
) -> Measure:
    """Compute the error of the answers that are not passed on, the mean of ``error_scores``, with an interval.

    ``groups`` (cases,) name the patients, ``trainings`` (trainings, cases) the training behind each answer. The number
    of cases is that of the answers that count. Without one: nan, 0 to 1.

    >>> found = error([[1, 0, 0, 0, 1, 0]], [[0.1, 0.9, 0.9, 0.9, 0.9, 0.9]], share=0.2)
    >>> round(found.value, 2), found.n, found.low < 0.2 < found.high
    (0.2, 5, True)
    """
    mask = kept(confidence, share) != passed
    if among is not None:
        mask = mask & np.asarray(among, dtype=bool)
    units = None if groups is None else len(np.unique(np.asarray(groups)[mask.any(0)]))
    if not mask.any(1).all():
        return Measure(math.nan, 0.0, 1.0, 0, units)
    count = round(float(mask.sum(1).mean()))
    scores = error_scores(wrong, confidence, share, among, passed)
    size = count if units is None else units
    measure = intervals.share_interval(scores, groups, level, most=count, units=size, trainings=trainings)
    return Measure(measure.value, measure.low, measure.high, count, units)


def change(
    wrong: ArrayLike,
    confidence: ArrayLike,
    share: float,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
    among: ArrayLike | None = None,
) -> Measure | None:
    """Compute how the error changes: that of the answers which are not passed on, less that of all, with an interval.

    It is the passed share of the difference between both parts' errors. The interval is made of theirs (MOVER: Donner,
    Zou: Closed-form confidence intervals for functions of the normal mean and standard deviation (2012),
    https://doi.org/10.1177/0962280210383082), so that a part without an error is no certainty. None where nothing, or
    everything that counts, is passed on.

    >>> found = change([0, 0, 0, 0, 0, 0, 0, 0, 1, 1], [0.9] * 8 + [0.6] * 2, share=0.2)
    >>> found.value, found.low <= found.value < found.high
    (-0.2, True)
    """
    parts = [error(wrong, confidence, share, groups, level, trainings, among, passed) for passed in (False, True)]
    if any(math.isnan(part.value) for part in parts):
        return None
    mask = kept(confidence, share)
    counts = np.ones(mask.shape[1], bool) if among is None else np.asarray(among, dtype=bool)
    share_passed = float((~mask)[:, counts].mean())
    scores = [error_scores(wrong, confidence, share, among, passed) for passed in (False, True)]
    of_one, of_other, of_both = (
        variance.spread(part, groups, trainings)[0] for part in (*scores, scores[0] + scores[1])
    )
    together = 0.0
    if 0 < of_one * of_other < math.inf:
        together = min(max((of_both - of_one - of_other) / (2 * math.sqrt(of_one * of_other)), -1.0), 1.0)
    part, other = parts
    value = part.value - other.value
    down = _length(part.value - part.low, other.high - other.value, together)
    up = _length(part.high - part.value, other.value - other.low, together)
    return Measure(
        share_passed * value, share_passed * (value - down), share_passed * (value + up), part.n + other.n, part.groups
    )


def _length(a: float, b: float, together: float) -> float:
    """Return the deviation of a difference whose parts deviate by a and b and correlate."""
    return math.sqrt(max(a * a + b * b - 2 * together * a * b, 0.0))


def risk_coverage(wrong: ArrayLike, confidence: ArrayLike) -> tuple[Scores, Scores]:
    """Return the risk-coverage curve: coverages (cases,), rising to 1, and the error at each (cases,).

    Answers of equal confidence count with their mean error. Of several trainings (trainings, cases) it is the mean
    curve.

    >>> coverage, risk = risk_coverage([0, 0, 1, 1], [0.9, 0.8, 0.7, 0.6])
    >>> coverage.tolist(), risk.round(2).tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.33, 0.5])
    """
    wrongs, sure = _tables(wrong, confidence)
    rank = np.arange(1, wrongs.shape[1] + 1)
    curves = []
    for row, confidence_row in zip(wrongs, sure, strict=True):
        order, block = _falling(confidence_row)
        curves.append(np.cumsum(_means(row[order], block)) / rank)
    return rank / len(rank), np.mean(curves, axis=0)


def aurc_scores(wrong: ArrayLike, confidence: ArrayLike) -> Scores:
    """Return pseudo-scores (trainings, cases) whose mean is the area under the risk-coverage curve.

    The answer at place i of n by falling confidence has the weight a_i = 1/i + ... + 1/n in the area, and moves the
    places of those behind it. Raises ValueError where the shapes differ.

    >>> aurc_scores([0, 0, 1, 1], [0.9, 0.8, 0.7, 0.6]).mean().round(3).item()  # (0 + 0 + 1/3 + 1/2) / 4
    0.208
    """
    wrongs, sure = _tables(wrong, confidence)
    cases = wrongs.shape[1]
    rank = np.arange(1, cases + 1)
    weight = np.cumsum(1 / rank[::-1])[::-1]
    pseudo = np.empty_like(wrongs)
    for row, confidence_row, into in zip(wrongs, sure, pseudo, strict=True):
        order, block = _falling(confidence_row)
        errors = row[order]
        own = _means(weight, block) * errors
        pull = _means(errors, block) / rank
        influence = own - _means(pull.sum() - np.cumsum(pull), block)
        into[order] = own.mean() + influence - influence.mean()
    return pseudo


def aurc(
    wrong: ArrayLike,
    confidence: ArrayLike,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    trainings: ArrayLike | None = None,
) -> Measure:
    """Compute the area under the risk-coverage curve, the mean of ``aurc_scores``, with an interval.

    >>> found = aurc([0, 0, 1, 1] * 5, [0.9, 0.8, 0.7, 0.6] * 5)
    >>> 0 <= found.low < found.value < found.high <= 1
    True
    """
    return intervals.share_interval(aurc_scores(wrong, confidence), groups, level, trainings=trainings)


def _tables(wrong: ArrayLike, confidence: ArrayLike) -> tuple[Scores, Scores]:
    """Return both as (trainings, cases). Raises ValueError where the shapes differ."""
    wrongs, sure = (np.atleast_2d(np.asarray(table, dtype=np.float64)) for table in (wrong, confidence))
    if wrongs.shape != sure.shape or not wrongs.size:
        raise ValueError(f"answers {wrongs.shape} do not fit confidences {sure.shape}")
    return wrongs, sure


def _falling(confidence: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order by falling confidence, and the number of the block of equal ones at each place."""
    order = np.argsort(-confidence, kind="stable")
    changes = np.diff(confidence[order]) != 0
    return order, np.concatenate([[0], np.cumsum(changes)])


def _means(values: Scores, block: NDArray[np.int64]) -> Scores:
    """Return each block's mean at its places."""
    return (np.bincount(block, values) / np.bincount(block))[block]


__all__ = ["aurc", "aurc_scores", "change", "error", "error_scores", "floor", "kept", "risk_coverage"]
