"""Lesion level: sensitivity against false positives per case (FROC), and the area of the AFROC.

    sensitivity at a threshold: the share of lesions that a mark of at least that score hits
    false positives: marks of at least that score that hit no lesion, per case

Of several marks that hit one lesion the highest score counts, and the others count neither for nor against, as in
LUNA16 (Setio and others: Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images (2017), https://doi.org/10.1016/j.media.2017.06.015). The sensitivity is read, by
linear interpolation, at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per case; the mean of the seven is the
competition performance metric (CPM).

The AFROC replaces false positives per case by the share of cases with at least one (Chakraborty, Winter: Free-response
methodology: alternate analysis and a new observer-performance experiment (1990),
https://doi.org/10.1148/radiology.174.3.2305073). Its area is the probability that the score of a lesion is above the
highest one in a case without lesions; a lesion that nothing hits is below every mark. Where every case has a lesion the
false positives of all cases are taken (AFROC1).

Intervals: patients are drawn with replacement (bootstrap, as in LUNA16), and the variance of the figure over these
samples gives Wilson's interval (``stats.intervals.variance_interval``), which does not shrink to nothing where every
lesion is found. ``benchmarks/evidence.py froc`` measures how often they hold the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from souron.metrics.detection import Array, Counts, Measured, of_boxes
from souron.stats import intervals
from souron.stats.records import Measure

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per case
SAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class Marks:
    """The lesions of each case, the best mark of each lesion that was hit, and the marks that hit nothing."""

    lesions: Counts  # (C,)
    case: Counts  # (M,)
    score: Array  # (M,)
    hit: NDArray[np.bool_]  # (M,) False: a false positive

    def above(self, least: float) -> "Marks":
        """Return the marks of at least this score."""
        rows = self.score >= least
        return replace(self, case=self.case[rows], score=self.score[rows], hit=self.hit[rows])


@dataclass(frozen=True)
class Froc:
    """Figures at the lesion level, with 95 % intervals by patients."""

    curve: tuple[Array, Array]  # false positives per case and sensitivity, both rising from 0
    sensitivity: tuple[Measure, ...]  # at each of ``RATES``
    mean: Measure  # the CPM
    area: Measure  # of the AFROC
    without: int  # cases without a lesion; 0: the area is that of the AFROC1

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain dictionaries."""
        by_rate = {f"sensitivity at {rate:g}": measure for rate, measure in zip(RATES, self.sensitivity, strict=True)}
        return {
            name: {"value": measure.value, "low": measure.low, "high": measure.high}
            for name, measure in {**by_rate, "CPM": self.mean, "AFROC" if self.without else "AFROC1": self.area}.items()
        }


def of_detections(
    truth: Sequence[Any], found: Sequence[Any], overlap: float | None = 0.5, measured: Sequence[Measured] | None = None
) -> Marks:
    """Compare boxes with true ones: a hit overlaps a lesion of its label by at least ``overlap`` (IoU).

    ``truth`` (n, 5) of each image: label, left, top, right, bottom; a label below 0 is a region in which marks do not
    count. ``found`` (n, 6): the same and a score. ``overlap=None``: a hit has its centre in the lesion's box.
    ``measured`` gives other overlaps than those of the boxes, such as those of masks.

    >>> import numpy as np
    >>> truth = [np.array([[0, 0, 0, 10, 10]])]  # label, left, top, right, bottom
    >>> found = [np.array([[0, 1, 1, 4, 4, 0.9], [0, 50, 50, 60, 60, 0.4]])]
    >>> of_detections(truth, found).hit.tolist(), of_detections(truth, found, overlap=None).hit.tolist()
    ([False, False], [True, False])
    """
    cases = []
    for row, (there, pred) in enumerate(zip(truth, found, strict=True)):
        true = np.asarray(there, dtype=np.float64).reshape(-1, 5)
        box = np.asarray(pred, dtype=np.float64).reshape(-1, 6)
        crowd = true[:, 0] < 0
        label = np.where(crowd, -1 - true[:, 0], true[:, 0])
        if overlap is None:
            centre = (box[:, None, 1:3] + box[:, None, 3:5]) / 2
            near = ((true[:, 1:3] <= centre) & (centre <= true[:, 3:5])).all(2)
        else:
            near = (of_boxes(box, true) if measured is None else measured[row]).overlap >= overlap
        hits = near & (box[:, :1] == label)
        counts = hits[:, ~crowd].any(1) | ~hits.any(1)  # not those that hit nothing but such a region
        cases.append((np.argwhere(hits[:, ~crowd][counts]), box[counts, 5], int((~crowd).sum())))
    return _marks(cases)


def of_masks(
    truth: Sequence[Any], found: Sequence[Any], overlap: float = 0.0, score: Sequence[Any] | None = None
) -> Marks:
    """Compare the connected parts of masks: each true part is a lesion, each predicted one a mark.

    ``truth`` and ``found`` are masks of any shape, one a case; pixels or voxels are connected by their faces. A mark
    hits a lesion that it shares any voxel with, or that it overlaps by at least ``overlap`` (IoU). Its score is the
    mean of ``score`` over its voxels, such as a probability; 1 without ``score``, and then the curve is one point.

    >>> import numpy as np
    >>> truth, found = np.array([1, 1, 0, 0, 1]), np.array([0, 1, 0, 1, 0])
    >>> marks = of_masks([truth], [found])
    >>> marks.lesions.tolist(), marks.hit.tolist()
    ([2], [True, False])
    """
    cases = []
    for row, (there, pred) in enumerate(zip(truth, found, strict=True)):
        true, lesions = scipy.ndimage.label(np.asarray(there, bool))
        own, marks = scipy.ndimage.label(np.asarray(pred, bool))
        both = (own > 0) & (true > 0)
        pair, intersection = np.unique(np.stack([own[both] - 1, true[both] - 1], 1), axis=0, return_counts=True)
        sizes = [np.bincount(parts.ravel())[1:] for parts in (own, true)]
        union = sizes[0][pair[:, 0]] + sizes[1][pair[:, 1]] - intersection
        sure = np.ones(marks)
        if score is not None and marks:
            sure = np.asarray(scipy.ndimage.mean(np.asarray(score[row], float), own, np.arange(1, marks + 1)))
        cases.append((pair[intersection >= overlap * union], sure, lesions))
    return _marks(cases)


def _marks(per_case: Sequence[tuple[Counts, Array, int]]) -> Marks:
    """Return marks from each case's hits, (n, 2) pairs of a mark and a lesion, its scores (marks,), and its lesions."""
    cases, scores, hit = [], [], []
    for row, (pairs, score, lesions) in enumerate(per_case):
        best = np.full(lesions, -np.inf)
        np.maximum.at(best, pairs[:, 1], score[pairs[:, 0]])
        best, alarms = best[np.isfinite(best)], np.delete(score, pairs[:, 0])
        cases.append(np.full(len(best) + len(alarms), row))
        scores.append(np.concatenate([best, alarms]))
        hit.append(np.arange(len(best) + len(alarms)) < len(best))
    count = np.array([lesions for _pairs, _score, lesions in per_case], dtype=np.int64)
    return Marks(count, *(np.concatenate(column) for column in (cases, scores, hit)))


def curve(marks: Marks) -> tuple[Array, Array]:
    """Return false positives per case and sensitivity at each score, falling; both begin with 0.

    Raises ValueError without a lesion.

    >>> import numpy as np
    >>> marks = Marks(np.array([1, 1]), np.array([0, 0, 1]), np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    >>> [each.tolist() for each in curve(marks)]
    [[0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 0.5, 1.0]]
    """
    return _Sorted(marks).curve(np.ones(len(marks.lesions)))


def sensitivity_at(marks: Marks, rates: Sequence[float] = RATES) -> Array:
    """Return the sensitivity at numbers of false positives per case, as LUNA16 reads it.

    >>> import numpy as np
    >>> marks = Marks(np.array([1, 1]), np.array([0, 0, 1]), np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    >>> sensitivity_at(marks, (0.25, 0.5, 1)).tolist()
    [0.5, 1.0, 1.0]
    """
    return np.interp(rates, *curve(marks))


def afroc(marks: Marks) -> float:
    """Return the area of the AFROC, of the AFROC1 where every case has a lesion.

    >>> import numpy as np
    >>> marks = Marks(np.array([2, 0]), np.array([0, 1]), np.array([0.9, 0.8]), np.array([True, False]))
    >>> afroc(marks)  # one lesion is above the false positive, the other was not found
    0.5
    """
    return _Sorted(marks).area(np.ones(len(marks.lesions)))


def froc(marks: Marks, groups: Sequence[Any] | None = None, level: float = 0.95, seed: int = 0) -> Froc:
    """Compute the figures with intervals; ``groups`` (cases,) name the patients. Raises ValueError without a lesion.

    >>> import numpy as np
    >>> marks = Marks(np.ones(40, int), np.arange(30), np.full(30, 0.9), np.ones(30, bool))
    >>> found = froc(marks)
    >>> found.mean.value, found.mean.low < 0.75 < found.mean.high
    (0.75, True)
    """
    order, cases = _Sorted(marks), len(marks.lesions)
    who = np.arange(cases) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(who.max()) + 1
    rng = np.random.default_rng(seed)
    values = _figures(order, np.ones(cases))
    samples = []
    for _sample in range(SAMPLES):
        weight = np.bincount(rng.integers(0, units, units), minlength=units)[who].astype(np.float64)
        if weight @ marks.lesions:
            samples.append(_figures(order, weight))
    ill = len(np.unique(who[marks.lesions > 0]))
    variance = np.nanvar(np.array(samples), axis=0) * ill / max(ill - 1, 1)  # that of a sample is too small
    count = None if groups is None else units
    measures = [
        Measure(float(value), *intervals.variance_interval(float(value), float(spread), ill, level), cases, count)
        for value, spread in zip(values, variance, strict=True)
    ]
    without = int((marks.lesions == 0).sum())
    return Froc(curve(marks), tuple(measures[: len(RATES)]), measures[-2], measures[-1], without)


def _figures(curve: "_Sorted", weight: Array) -> Array:
    """Return the sensitivities, their mean and the area of the AFROC, with weights of the cases."""
    sensitivities = np.interp(RATES, *curve.curve(weight))
    return np.array([*sensitivities, sensitivities.mean(), curve.area(weight)])


def at_threshold(marks: Marks, groups: Sequence[Any] | None = None, level: float = 0.95) -> tuple[Measure, Measure]:
    """Return sensitivity and false positives per case of all marks, with intervals by patients.

    The sensitivity is a ratio of sums over patients, and its variance that of the ratio (Cochran: Sampling Techniques
    (1977), section 6.3). nan without a lesion.

    >>> import numpy as np
    >>> marks = Marks(np.array([2, 1]), np.array([0, 1, 1]), np.ones(3), np.array([True, True, False]))
    >>> sensitivity, alarms = at_threshold(marks)
    >>> round(sensitivity.value, 3), alarms.value
    (0.667, 0.5)
    """
    cases = len(marks.lesions)
    hits = np.bincount(marks.case[marks.hit], minlength=cases)
    alarms = intervals.loss_interval(np.bincount(marks.case[~marks.hit], minlength=cases), groups, level)
    if not marks.lesions.any():
        return Measure(float("nan"), 0.0, 1.0, cases, alarms.groups), alarms
    value = hits.sum() / marks.lesions.sum()
    scores = value + (hits - value * marks.lesions) / marks.lesions.mean()
    ill = marks.lesions > 0
    units = int(ill.sum()) if groups is None else len(np.unique(np.asarray(groups)[ill]))
    most = int(marks.lesions.sum())
    return intervals.share_interval(scores, groups, level, most=most, units=units), alarms


class _Sorted:
    """Marks in the order of their scores, so that figures with weights of the cases take only sums."""

    def __init__(self, marks: Marks) -> None:
        if not marks.lesions.any():
            raise ValueError("there is no lesion to be found")
        order = np.argsort(-marks.score, kind="stable")
        score = marks.score[order]
        self.marks, self.case, self.hit = marks, marks.case[order], marks.hit[order]
        self.last = np.flatnonzero(np.append(score[1:] < score[:-1], True)[: len(score)])  # of equal scores
        self.taken = marks.lesions == 0 if (marks.lesions == 0).any() else np.ones(len(marks.lesions), bool)
        highest = np.full(len(marks.lesions), -np.inf)
        np.maximum.at(highest, marks.case[~marks.hit], marks.score[~marks.hit])
        normal = np.flatnonzero(self.taken)
        self.normal = normal[np.argsort(highest[normal], kind="stable")]
        false_negatives = marks.lesions - np.bincount(marks.case[marks.hit], minlength=len(marks.lesions))
        lesion = np.concatenate([marks.score[marks.hit], np.full(int(false_negatives.sum()), -np.inf)])
        self.owner = np.concatenate(
            [marks.case[marks.hit], np.repeat(np.arange(len(false_negatives)), false_negatives)]
        )
        self.below, self.upto = (np.searchsorted(highest[self.normal], lesion, side) for side in ("left", "right"))

    def curve(self, weight: Array) -> tuple[Array, Array]:
        case_weight = weight[self.case]
        alarms = np.cumsum(case_weight * ~self.hit)[self.last] / weight.sum()
        sensitivity = np.cumsum(case_weight * self.hit)[self.last] / (weight @ self.marks.lesions)
        return np.concatenate([[0.0], alarms]), np.concatenate([[0.0], sensitivity])

    def area(self, weight: Array) -> float:
        """Return the share of pairs of a lesion and a case in which the lesion is higher; equal ones count half."""
        normal, own = weight[self.normal], weight[self.owner]
        if not normal.any() or not own.any():
            return float("nan")
        total = np.concatenate([[0.0], np.cumsum(normal)])
        share = (total[self.below] + total[self.upto]) / 2 / total[-1]
        return float(own @ share / own.sum())


__all__ = ["Froc", "Marks", "afroc", "at_threshold", "curve", "froc", "of_detections", "of_masks", "sensitivity_at"]
