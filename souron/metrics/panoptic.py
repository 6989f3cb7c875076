"""Panoptic quality: segmentation into things and stuff.

Kirillov, He, Girshick, Rother, Dollár: Panoptic Segmentation (2018).
https://arxiv.org/abs/1801.00868

    a predicted segment is right where it overlaps a true one of its class by more than half (IoU)
    PQ of a class = sum of the IoU of right ones / (right + false alarms / 2 + missed / 2) = SQ RQ
    SQ = mean IoU of right ones     RQ = right / (right + false alarms / 2 + missed / 2)

No two segments overlap, so that a true one has at most one such partner and no assignment problem
arises. PQ, SQ and RQ are means over the classes that are present or predicted. Void pixels of the
truth count in no union; a predicted segment with more than half of its pixels in void, or in a
crowd region of its class, is no false alarm; a crowd region is neither found nor missed. The rules
are those of panopticapi, COCO's evaluator.

PQ is no mean over images. Its jackknife gives pseudo-values whose mean is the metric (``scores``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

HALF = 0.5  # overlap above which a segment is right; share in void above which it is no alarm
IDS = 256  # identifiers that a map of bytes can hold


class Divided(NamedTuple):
    """The segments of an image."""

    label: Any  # (n,) integers; a crowd region is -1 - label
    ids: Any  # (H, W) uint8: 0 for void, else one more than a segment's index in ``label``


class Partners(NamedTuple):
    """The true segments of an image matched with the predicted ones."""

    overlap: Array  # (n, m), of equal classes; else 0
    right: NDArray[np.bool_]  # (n, m)
    missed: NDArray[np.bool_]  # (n,)
    alarm: NDArray[np.bool_]  # (m,)


@dataclass(frozen=True)
class Counted:
    """Counts of each image and class, (pictures, classes)."""

    overlap: Array  # the sum over right segments
    right: Counts
    alarms: Counts
    missed: Counts

    def summed(self) -> "Counted":
        """Sum over the images, (classes,)."""
        return Counted(*(part.sum(0) for part in self))

    def without(self, unit: Counts, units: int) -> "Counted":
        """Return the sums without the images of each unit, (units, classes)."""
        sums = []
        for part in self:
            own = np.zeros((units, part.shape[1]), dtype=part.dtype)
            np.add.at(own, unit, part)
            sums.append(part.sum(0) - own)
        return Counted(*sums)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Classes with a segment, true or predicted."""
        return self.right + self.alarms + self.missed > 0

    @property
    def quality(self) -> dict[str, Array]:
        """PQ, SQ and RQ of each class; nan where there is no segment."""
        weight = self.right + self.alarms / 2 + self.missed / 2
        nothing = np.where(self.there, 0.0, np.nan)
        return {
            "PQ": np.divide(self.overlap, weight, out=nothing.copy(), where=self.there),
            "SQ": np.divide(self.overlap, self.right, out=nothing.copy(), where=self.right > 0),
            "RQ": np.divide(self.right, weight, out=nothing.copy(), where=self.there),
        }

    def __iter__(self):
        return iter((self.overlap, self.right, self.alarms, self.missed))


def compare(truth: Sequence[Divided], found: Sequence[Divided], classes: int) -> Counted:
    """Count right, missed and false segments of images whose labels are below ``classes``.

    >>> import numpy as np
    >>> truth = [Divided([0, 1], np.array([[1, 1, 2, 2]]))]
    >>> counted = compare(truth, [Divided([0, 0], np.array([[1, 1, 2, 2]]))], classes=2)
    >>> counted.right.tolist(), counted.alarms.tolist(), counted.missed.tolist()
    ([[1, 0]], [[1, 0]], [[0, 1]])
    """
    shape = len(truth), classes
    overlap = np.zeros(shape)
    right, alarms, false_negatives = (np.zeros(shape, dtype=np.int64) for _part in range(3))
    for row, (there, pred) in enumerate(zip(truth, found, strict=True)):
        pairs_of_image = partners(there, pred)
        true, pred_labels = (np.asarray(segments.label, dtype=np.int64) for segments in (there, pred))
        which = pairs_of_image.right.any(1)
        np.add.at(overlap[row], true[which], pairs_of_image.overlap[pairs_of_image.right])
        np.add.at(right[row], true[which], 1)
        np.add.at(false_negatives[row], true[pairs_of_image.missed], 1)
        np.add.at(alarms[row], pred_labels[pairs_of_image.alarm], 1)
    return Counted(overlap, right, alarms, false_negatives)


def partners(truth: Divided, found: Divided) -> Partners:
    """Match the predicted segments of an image with the true ones. Empty segments count nowhere.

    >>> import numpy as np
    >>> truth, found = np.array([[1, 1, 1, 0]]), np.array([[1, 1, 0, 0]])
    >>> partners(Divided([0], truth), Divided([0], found)).overlap.round(2)
    array([[0.67]])
    """
    true, pred_labels = (np.asarray(segments.label, dtype=np.int64) for segments in (truth, found))
    here, there = (np.asarray(segments.ids, dtype=np.uint8).ravel() for segments in (truth, found))
    pairs = np.bincount(here * np.int64(IDS) + there, minlength=IDS**2).reshape(IDS, IDS)
    own, area = pairs.sum(0)[1 : len(pred_labels) + 1], pairs.sum(1)[1 : len(true) + 1]
    intersection = pairs[1 : len(true) + 1, 1 : len(pred_labels) + 1]
    void = pairs[0, 1 : len(pred_labels) + 1]
    union = area[:, None] + own - intersection - void
    same = true[:, None] == pred_labels  # a crowd's label is below 0
    overlap = np.divide(intersection, union, out=np.zeros(union.shape), where=same & (union > 0))
    right = overlap > HALF
    crowd = (intersection * (-1 - true[:, None] == pred_labels)).sum(0) + void
    return Partners(
        overlap, right, ~right.any(1) & (true >= 0) & (area > 0), ~right.any(0) & (own > 0) & (crowd <= HALF * own)
    )


def scores(counted: Counted, stuff: Sequence[int], groups: Sequence[Any] | None = None) -> dict[str, Array]:
    """Return pseudo-values (pictures,) of each metric that these images have.

    Their mean is the metric. ``stuff`` holds the class numbers of stuff. The values are the
    jackknife's (Efron, Stein: The Jackknife Estimate of Variance, 1981,
    https://doi.org/10.1214/aos/1176345462) over images, or over ``groups`` (pictures,): images made
    of the same parts are not independent.

    >>> import numpy as np
    >>> truth = [Divided([0, 1], np.array([[1, 1, 2, 2]]))] * 2
    >>> counted = compare(truth, truth, classes=2)
    >>> {name: each.mean().item() for name, each in scores(counted, stuff=[1]).items()}
    {'PQ': 1.0, 'SQ': 1.0, 'RQ': 1.0, 'PQ of things': 1.0, 'PQ of stuff': 1.0}
    """
    there = counted.summed().there
    areas = np.isin(np.arange(len(there)), stuff)
    quality_of = {
        "PQ": ("PQ", there),
        "SQ": ("SQ", there),
        "RQ": ("RQ", there),
        "PQ of things": ("PQ", there & ~areas),
        "PQ of stuff": ("PQ", there & areas),
    }
    return {
        name: pseudo_values(counted, kind, classes, groups)
        for name, (kind, classes) in quality_of.items()
        if classes.any()
    }


def by_label(counted: Counted, groups: Sequence[Any] | None = None) -> list[Array]:
    """Return pseudo-values (pictures,) of the PQ of each class; nan where it has no segment.

    >>> import numpy as np
    >>> truth = [Divided([0], np.array([[1, 1]]))]
    >>> [each.tolist() for each in by_label(compare(truth, truth, classes=2))]
    [[1.0], [nan]]
    """
    images, classes = counted.right.shape
    there = counted.summed().there
    return [
        pseudo_values(counted, "PQ", np.arange(classes) == label, groups) if there[label] else np.full(images, np.nan)
        for label in range(classes)
    ]


def pseudo_values(counted: Counted, kind: str, chosen: NDArray[np.bool_], groups: Sequence[Any] | None) -> Array:
    """Return pseudo-values (pictures,) of PQ, SQ or RQ averaged over the ``chosen`` classes.

    ``chosen`` (classes,) must be present.

    >>> import numpy as np
    >>> truth = [Divided([0], np.array([[1, 1]]))]
    >>> pseudo_values(compare(truth, truth, classes=1), "SQ", np.array([True]), None).tolist()
    [1.0]
    """
    count = len(counted.right)
    if groups is None:
        unit, units = np.arange(count), count
    else:
        names, unit = np.unique(np.asarray(groups), return_inverse=True)
        units = len(names)
    whole = counted.summed().quality[kind][chosen].mean()
    without_unit = counted.without(unit, units).quality[kind][:, chosen]
    absent = np.isnan(without_unit)  # no segment is left of a class
    without_unit = np.where(absent, 0.0, without_unit).sum(1) / np.maximum((~absent).sum(1), 1)
    without_unit = -(units - 1) * np.where(absent.all(1), whole, without_unit)
    sizes = np.bincount(unit, minlength=units)
    away = (without_unit - without_unit.mean()) * count / units / sizes  # of each image of a unit
    return whole + away[unit]
