"""How well pictures were divided into things and stuff: panoptic quality, picture by picture.

Kirillov, He, Girshick, Rother, Dollár: Panoptic Segmentation (2018).
https://arxiv.org/abs/1801.00868

    a found segment is right where it overlaps a true one of its class by more than half (IoU)
    PQ of a class = sum of the IoU of right ones / (right + false alarms / 2 + missed / 2) = SQ RQ
    SQ = mean IoU of right ones     RQ = right / (right + false alarms / 2 + missed / 2)

No two segments overlap, so that a true one has at most one such partner and nothing need be
assigned. PQ, SQ and RQ are means over the classes that are there or were found. Void pixels of the
truth count in no union; a found segment that lies by more than half in void, or in a crowd region
of its class, is no false alarm; a crowd region is neither found nor missed. The rules are those of
panopticapi, the evaluator of COCO.

PQ is no mean over pictures. Its jackknife gives pseudo-values whose mean is the metric
(``scores``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

HALF = 0.5  # overlap above which a segment is right; share in void above which it is no alarm
IDS = 256  # of a map of bytes


class Divided(NamedTuple):
    """The segments of a picture."""

    label: Any  # (n,) whole numbers; of a crowd region -1 - label
    ids: Any  # (H, W) uint8: 0 for void, else one more than a segment's place in ``label``


class Partners(NamedTuple):
    """The segments of a picture beside those that were found."""

    overlap: Array  # (n, m), of equal classes; else 0
    right: NDArray[np.bool_]  # (n, m)
    missed: NDArray[np.bool_]  # (n,)
    alarm: NDArray[np.bool_]  # (m,)


@dataclass(frozen=True)
class Counted:
    """Of each picture and class, (pictures, classes)."""

    overlap: Array  # the sum over right segments
    right: Counts
    alarms: Counts
    missed: Counts

    def summed(self) -> "Counted":
        """(classes,)"""
        return Counted(*(part.sum(0) for part in self))

    def without(self, unit: Counts, units: int) -> "Counted":
        """(units, classes): the sums without the pictures of each unit."""
        left = []
        for part in self:
            own = np.zeros((units, part.shape[1]), dtype=part.dtype)
            np.add.at(own, unit, part)
            left.append(part.sum(0) - own)
        return Counted(*left)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Of which classes there is a segment, true or found."""
        return self.right + self.alarms + self.missed > 0

    @property
    def quality(self) -> dict[str, Array]:
        """PQ, SQ and RQ; not a number where there is no segment."""
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
    """Count the segments of pictures, whose labels are below ``classes``."""
    shape = len(truth), classes
    overlap = np.zeros(shape)
    right, alarms, missed = (np.zeros(shape, dtype=np.int64) for _part in range(3))
    for row, (there, said) in enumerate(zip(truth, found, strict=True)):
        met = partners(there, said)
        true, named = (np.asarray(one.label, dtype=np.int64) for one in (there, said))
        which = met.right.any(1)
        np.add.at(overlap[row], true[which], met.overlap[met.right])
        np.add.at(right[row], true[which], 1)
        np.add.at(missed[row], true[met.missed], 1)
        np.add.at(alarms[row], named[met.alarm], 1)
    return Counted(overlap, right, alarms, missed)


def partners(truth: Divided, found: Divided) -> Partners:
    """Which found segments of a picture are right. Those without a pixel count nowhere."""
    true, named = (np.asarray(one.label, dtype=np.int64) for one in (truth, found))
    here, there = (np.asarray(one.ids, dtype=np.uint8).ravel() for one in (truth, found))
    pairs = np.bincount(here * np.int64(IDS) + there, minlength=IDS**2).reshape(IDS, IDS)
    own, area = pairs.sum(0)[1 : len(named) + 1], pairs.sum(1)[1 : len(true) + 1]
    shared = pairs[1 : len(true) + 1, 1 : len(named) + 1]
    void = pairs[0, 1 : len(named) + 1]
    union = area[:, None] + own - shared - void
    same = true[:, None] == named  # a crowd's label is below 0
    overlap = np.divide(shared, union, out=np.zeros(union.shape), where=same & (union > 0))
    right = overlap > HALF
    crowd = (shared * (-1 - true[:, None] == named)).sum(0) + void
    return Partners(
        overlap,
        right,
        ~right.any(1) & (true >= 0) & (area > 0),
        ~right.any(0) & (own > 0) & (crowd <= HALF * own),
    )


def scores(
    counted: Counted, stuff: Sequence[int], groups: Sequence[Any] | None = None
) -> dict[str, Array]:
    """Pseudo-values (pictures,) of each metric that these pictures have; their mean is the metric.
    ``stuff`` are the numbers of those classes.

    They are the jackknife's (Efron, Stein: The Jackknife Estimate of Variance, 1981,
    https://doi.org/10.1214/aos/1176345462) over pictures, or over ``groups`` (pictures,), whose
    pictures share one: pictures made of the same parts are not independent.
    """
    there = counted.summed().there
    areas = np.isin(np.arange(len(there)), stuff)
    asked = {
        "PQ": ("PQ", there),
        "SQ": ("SQ", there),
        "RQ": ("RQ", there),
        "PQ of things": ("PQ", there & ~areas),
        "PQ of stuff": ("PQ", there & areas),
    }
    return {
        name: pseudo_values(counted, kind, chosen, groups)
        for name, (kind, chosen) in asked.items()
        if chosen.any()
    }


def by_label(counted: Counted, groups: Sequence[Any] | None = None) -> list[Array]:
    """Pseudo-values (pictures,) of the PQ of each class by itself; nan where it has no segment."""
    pictures, classes = counted.right.shape
    there = counted.summed().there
    return [
        pseudo_values(counted, "PQ", np.arange(classes) == label, groups)
        if there[label]
        else np.full(pictures, np.nan)
        for label in range(classes)
    ]


def pseudo_values(
    counted: Counted, kind: str, chosen: NDArray[np.bool_], groups: Sequence[Any] | None
) -> Array:
    """(pictures,) whose mean is that of PQ, SQ or RQ over the ``chosen`` (classes,), which are
    there."""
    count = len(counted.right)
    if groups is None:
        unit, units = np.arange(count), count
    else:
        names, unit = np.unique(np.asarray(groups), return_inverse=True)
        units = len(names)
    whole = counted.summed().quality[kind][chosen].mean()
    each = counted.without(unit, units).quality[kind][:, chosen]
    gone = np.isnan(each)  # no segment is left of a class
    each = np.where(gone, 0.0, each).sum(1) / np.maximum((~gone).sum(1), 1)
    each = -(units - 1) * np.where(gone.all(1), whole, each)
    sizes = np.bincount(unit, minlength=units)
    away = (each - each.mean()) * count / units / sizes  # of each picture of a unit
    return whole + away[unit]
