"""Semantic segmentation metrics: intersections over unions, with what intervals need.

Everingham, Eslami, Van Gool, Williams, Winn, Zisserman: The Pascal Visual Object Classes Challenge:
A Retrospective (2015). https://doi.org/10.1007/s11263-014-0733-5

Cheng, Girshick, Dollár, Berg, Kirillov: Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation (2021). https://arxiv.org/abs/2103.16562

    IoU of a class: pixels truly of it and predicted so / pixels truly of it or predicted so
    mIoU: its mean over the classes that are present, class 0, the background, among them
    boundary IoU: the IoU of pixels within 2 % of the image's diagonal from the edge of an area

Intersections and unions are summed over all images before they are divided, so that mIoU is no mean
over images. Its jackknife gives pseudo-values whose mean is the metric (``scores``). Pixels that
are ``UNKNOWN`` in the truth count nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

UNKNOWN = 255  # value in a label map where the class is not known
NEAR = 0.02  # share of the diagonal that a boundary reaches into its area
AT_ONCE = 16  # maps held at once


@dataclass(frozen=True)
class Areas:
    """Pixel counts of each image and class, (pictures, classes)."""

    shared: Counts  # truly of the class and predicted so
    true: Counts  # truly of the class
    pred: Counts  # predicted as the class

    @property
    def ratio(self) -> Array:
        """Intersection over union, (classes,); nan where no pixel is of the class."""
        return _ratio(*(part.sum(0) for part in self))

    def without(self, unit: Counts, units: int) -> Array:
        """Return the intersection over union without the images of each unit, (units, classes)."""
        sums = []
        for part in self:
            own = np.zeros((units, part.shape[1]), dtype=np.int64)
            np.add.at(own, unit, part)
            sums.append(part.sum(0) - own)
        return _ratio(*sums)

    def of(self, label: int) -> "Areas":
        """Return the counts of one class."""
        return Areas(*(part[:, label : label + 1] for part in self))

    def __iter__(self):
        return iter((self.shared, self.true, self.pred))


@dataclass(frozen=True)
class Compared:
    """Pixel counts of true label maps beside predicted ones."""

    whole: Areas  # counts of every class
    objects: Areas  # (pictures, 1): all that is not background
    known: Areas  # (pictures, 1): shared is right pixels, true all known pixels
    edges: Areas | None  # boundary pixels of every class
    confusion: Counts  # (classes, classes): rows true, columns predicted


def compare(truth: Any, found: Any, classes: int, edges: bool = True) -> Compared:
    """Count the pixels of label maps (pictures, H, W) of class numbers below ``classes``.

    ``UNKNOWN`` may occur in the truth. Without ``edges`` it takes a third of the time.

    >>> counted = compare([[[0, 1, 1]]], [[[0, 0, 1]]], classes=2, edges=False)
    >>> counted.whole.ratio.tolist(), counted.confusion.tolist()
    ([0.5, 0.5], [[1, 0], [1, 1]])
    """
    truth, found = (np.asarray(part, dtype=np.uint8) for part in (truth, found))
    whole, objects, borders = [], [], []
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for start in range(0, max(len(truth), 1), AT_ONCE):
        true, pred = (part[start : start + AT_ONCE] for part in (truth, found))
        table = _table(true, pred, classes)
        confusion += table.sum(0)
        whole.append(Areas(table.diagonal(0, 1, 2), table.sum(2), table.sum(1)))
        object_counts = table[:, 1:, 1:].sum((1, 2)), table[:, 1:].sum((1, 2)), table[:, :, 1:].sum((1, 2))
        objects.append(Areas(*(part[:, None] for part in object_counts)))
        if edges:
            borders.append(_edges(true, pred, classes))
    every = _joined(whole)
    right, true_counts = every.shared.sum(1)[:, None], every.true.sum(1)[:, None]
    return Compared(
        every, _joined(objects), Areas(right, true_counts, right), _joined(borders) if borders else None, confusion
    )


def scores(counted: Compared, groups: Sequence[Any] | None = None) -> dict[str, Array]:
    """Return pseudo-values (pictures,) of each metric that these images have.

    Their mean is the metric. They are the jackknife's (Efron, Stein: The Jackknife Estimate of
    Variance, 1981, https://doi.org/10.1214/aos/1176345462) over images, or over ``groups``
    (pictures,): images made of the same parts are not independent.

    >>> counted = compare([[[0, 1, 1]]], [[[0, 0, 1]]], classes=2, edges=False)
    >>> {name: round(each.mean().item(), 2) for name, each in scores(counted).items()}
    {'mIoU': 0.5, 'object IoU': 0.5, 'pixel accuracy': 0.67}
    """
    there = counted.whole.true.sum(0) > 0
    areas_of = {
        "mIoU": (counted.whole, there),
        "object IoU": (counted.objects, np.array([there[1:].any()])),
        "boundary IoU": (counted.edges, there),
        "pixel accuracy": (counted.known, np.array([there.any()])),
    }
    return {
        name: pseudo_values(areas, groups, classes)
        for name, (areas, classes) in areas_of.items()
        if areas is not None and classes.any()
    }


def by_label(counted: Compared, groups: Sequence[Any] | None = None) -> list[Array]:
    """Return pseudo-values (pictures,) of the IoU of each class; nan where no pixel is of it.

    >>> counted = compare([[[0, 1, 1]]], [[[0, 0, 1]]], classes=3, edges=False)
    >>> [each.tolist() for each in by_label(counted)]
    [[0.5], [0.5], [nan]]
    """
    images, classes = counted.whole.true.shape
    there, single = counted.whole.true.sum(0) > 0, np.ones(1, dtype=bool)
    return [
        pseudo_values(counted.whole.of(label), groups, single) if there[label] else np.full(images, np.nan)
        for label in range(classes)
    ]


def pseudo_values(areas: Areas, groups: Sequence[Any] | None, chosen: NDArray[np.bool_]) -> Array:
    """Return pseudo-values (pictures,) whose mean is the mean IoU of the ``chosen`` classes.

    ``chosen`` (classes,) must be present.

    >>> import numpy as np
    >>> counted = compare([[[0, 1, 1]]], [[[0, 0, 1]]], classes=2, edges=False)
    >>> pseudo_values(counted.whole, None, np.array([True, True])).tolist()
    [0.5]
    """
    count = len(areas.true)
    if groups is None:
        unit, units = np.arange(count), count
    else:
        names, unit = np.unique(np.asarray(groups), return_inverse=True)
        units = len(names)
    whole = areas.ratio[chosen].mean()
    without_unit = areas.without(unit, units)[:, chosen]
    absent = np.isnan(without_unit)  # no pixel is left of a class
    without_unit = np.where(absent, 0.0, without_unit).sum(1) / np.maximum((~absent).sum(1), 1)
    without_unit = -(units - 1) * np.where(absent.all(1), whole, without_unit)
    sizes = np.bincount(unit, minlength=units)
    away = (without_unit - without_unit.mean()) * count / units / sizes  # of each image of a unit
    return whole + away[unit]


def reach(height: int, width: int) -> int:
    """Return how many pixels a boundary reaches into its area: 2 % of the diagonal, at least 1.

    >>> reach(300, 400), reach(8, 8)
    (10, 1)
    """
    return max(1, round(NEAR * float(np.hypot(height, width))))


def boundary(maps: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether each pixel is near the edge of its own area or of the image, (pictures, H, W).

    It is near an edge where a square around it, ``reach`` to each side, holds another class.

    >>> import numpy as np
    >>> boundary(np.zeros((1, 4, 4), np.uint8))[0].astype(int)  # only the edge of the image
    array([[1, 1, 1, 1],
           [1, 0, 0, 1],
           [1, 0, 0, 1],
           [1, 1, 1, 1]])
    """
    far = reach(*maps.shape[1:])
    size = (1, 2 * far + 1, 2 * far + 1)
    near = scipy.ndimage.maximum_filter(maps, size) != scipy.ndimage.minimum_filter(maps, size)
    near[:, :far] = near[:, -far:] = True
    near[:, :, :far] = near[:, :, -far:] = True
    return near


def _edges(true: NDArray[np.uint8], pred: NDArray[np.uint8], classes: int) -> Areas:
    """Count the boundary pixels of each class."""
    labelled_area = true != UNKNOWN
    pred = np.where(labelled_area, pred, np.uint8(UNKNOWN))  # the edge of the known area is an edge of both
    own, other = boundary(true) & labelled_area, boundary(pred) & labelled_area
    return Areas(
        _count(true, own & other & (true == pred), classes), _count(true, own, classes), _count(pred, other, classes)
    )


def _count(maps: NDArray[np.uint8], mask: NDArray[np.bool_], classes: int) -> Counts:
    """Count the chosen pixels of each class, (pictures, classes)."""
    image = np.broadcast_to(np.arange(len(maps))[:, None, None], maps.shape)[mask]
    counts = np.bincount(image * classes + maps[mask], minlength=len(maps) * classes)
    return counts.reshape(len(maps), classes)


def _table(true: NDArray[np.uint8], pred: NDArray[np.uint8], classes: int) -> Counts:
    """Return a confusion matrix per image, (pictures, classes, classes), rows true."""
    mask = true != UNKNOWN
    image = np.broadcast_to(np.arange(len(true))[:, None, None], true.shape)[mask]
    both = (image * classes + true[mask]) * classes + pred[mask]
    counts = np.bincount(both, minlength=len(true) * classes**2)
    return counts.reshape(len(true), classes, classes)


def _joined(parts: Sequence[Areas]) -> Areas:
    """Concatenate counts along the images."""
    return Areas(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _ratio(intersection: Counts, true: Counts, pred: Counts) -> Array:
    """Return intersection over union; nan where the union is empty."""
    union = true + pred - intersection
    there = np.full(intersection.shape, np.nan)
    return np.divide(intersection, union, out=there, where=union > 0)
