"""Object detection metrics: COCO's average precision, with what intervals need.

Lin, Maire, Belongie, Hays, Perona, Ramanan, Dollár, Zitnick: Microsoft COCO: Common Objects in
Context (2014). https://arxiv.org/abs/1405.0312, https://cocodataset.org/#detection-eval

    precision at a recall r: the best at r or more     AP: its mean over r = 0, 0.01, ..., 1
    AP: mean over overlaps (IoU) 0.50, 0.55, ..., 0.95 and labels     AP50, AP75: at one overlap

``coco`` calls faster-coco-eval, a COCO evaluator. It reports nothing about single images, so that
``match`` repeats its matching and keeps it; then the average precision without one image, or
without one group of images, takes only counting, and its jackknife gives pseudo-values whose mean
is the metric (``scores``). Both ways agree, see tests/test_detecting.py.

Ground truth is (n, 5) per image: label, left, top, right, bottom in pixels; a label below 0, -1 -
label, is a crowd region: finding it counts neither for nor against. Detections are (n, 6): the same
and a score. Overlaps and areas are those of the boxes, unless they are given as ``Measured``: those
of masks, from ``of_masks``.

Pixels are those of the images as the system sees them. So AP small, medium and large differ from
COCO's, which sorts objects by the areas of their masks in the original image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Bits = NDArray[np.uint8]  # (n, height, bytes): masks, eight pixels a byte

OVERLAPS = np.linspace(0.5, 0.95, 10)  # intersection over union
RECALLS = np.linspace(0, 1, 101)
AREAS = {  # square pixels
    "": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
MOST = 100  # detections of a label in an image that count, the highest scores
TINY = np.spacing(1)
AT_ONCE = 2_000_000  # values of a table held at once
ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1)  # set bits a byte


class Measured(NamedTuple):
    """Overlaps and areas of an image's detections and objects."""

    overlap: Array  # (D, G), see ``overlaps``
    own: Array  # (D,) square pixels
    true: Array  # (G,)

    def of(self, rows: Any) -> "Measured":
        """Return only these rows of the detections."""
        return Measured(self.overlap[rows], self.own[rows], self.true)


class Masks(NamedTuple):
    """Masks of the objects and the detections of each image; ``side`` in pixels."""

    true: Sequence[Bits]
    found: Sequence[Bits]
    side: int


def of_boxes(box: Array, true: Array) -> Measured:
    """Measure overlaps and areas of boxes, detections (D, 6) and objects (G, 5).

    >>> import numpy as np
    >>> box, true = np.array([[0, 0, 0, 4, 4, 0.9]]), np.array([[0, 0, 0, 4, 2]])
    >>> of_boxes(box, true).overlap
    array([[0.5]])
    """
    own, other = ((edges[:, 3:5] - edges[:, 1:3]).prod(1) for edges in (box, true))
    return Measured(overlaps(box[:, 1:5], true[:, 1:], true[:, 0] < 0), own, other)


def of_masks(pred: Bits, there: Bits, crowd: NDArray[np.bool_]) -> Measured:
    """Measure overlaps and areas of masks.

    Detections are (D, height, bytes), objects (G, height, bytes). ``crowd`` (G,) says which objects
    are crowd regions. Masks are packed, eight pixels a byte.

    >>> import numpy as np
    >>> found, true = np.packbits([[[1, 1, 0]]], axis=-1), np.packbits([[[1, 0, 0]]], axis=-1)
    >>> of_masks(found, true, np.array([False])).overlap
    array([[0.5]])
    """
    size = pred.shape[1] * pred.shape[2]
    pred, there = pred.reshape(-1, size), there.reshape(-1, size)
    own, other = (ONES[bits].sum(1, dtype=np.float64) for bits in (pred, there))
    intersection = np.zeros((len(pred), len(there)))
    for column, bits in enumerate(there):
        used = bits.nonzero()[0]  # bytes where the object is at all
        intersection[:, column] = ONES[pred[:, used] & bits[used]].sum(1)
    union = np.where(crowd, own[:, None], own[:, None] + other - intersection)
    ratio = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return Measured(ratio, own, other)


@dataclass(frozen=True)
class Matches:
    """Detections and whether each found an object, sorted by image and by falling score."""

    images: int
    image: Counts  # (D,)
    label: Counts  # (D,)
    score: Array  # (D,)
    matched: NDArray[np.bool_]  # (areas, overlaps, D)
    ignored: NDArray[np.bool_]  # (areas, overlaps, D): counts neither for nor against
    objects: Counts  # (areas, pictures, labels) objects to be found

    @cached_property
    def precision(self) -> Array:
        """Average precision, shape (areas, overlaps, labels); nan where there is no such object."""
        every = np.zeros(self.images, dtype=np.int64)
        return self.without(every, 2)[1]  # without the images of unit 1, of which there are none

    def without(self, unit: Counts, units: int, smooth: bool = False) -> Array:
        """Return the average precision without each unit, (units, areas, overlaps, labels).

        ``unit`` (pictures,) is the number of each image's unit. ``smooth`` averages over all recalls in
        place of COCO's 101.
        """
        average = _integrated if smooth else _interpolated
        areas, _images, labels = self.objects.shape
        objects = np.zeros((areas, units, labels), dtype=np.int64)
        np.add.at(objects.transpose(1, 0, 2), unit, self.objects.transpose(1, 0, 2))
        objects = self.objects.sum(1)[:, None] - objects  # objects without each unit
        precision = np.full((units, areas, len(OVERLAPS), labels), np.nan)
        for label in range(labels):
            [rows] = np.nonzero(self.label == label)
            rows = rows[np.argsort(-self.score[rows], kind="stable")]
            owner = unit[self.image[rows]]
            for area in range(areas):
                count = objects[area, :, label]
                if not count.any():
                    continue
                for t in range(len(OVERLAPS)):
                    counts = ~self.ignored[area, t, rows]
                    right = self.matched[area, t, rows][counts]
                    precision[:, area, t, label] = _without(right, owner[counts], count, average)
        return precision


def match(
    truth: Sequence[Any],
    found: Sequence[Any],
    labels: int,
    most: int = MOST,
    sizes: bool = True,
    measured: Sequence[Measured] | None = None,
) -> Matches:
    """Match detections with objects in each image, the highest score first.

    Each detection takes the object of its label that it overlaps most and that no other has taken.
    Without ``sizes`` only objects of all areas together are counted, in a quarter of the time.
    ``measured`` gives for each image other overlaps and areas than those of its boxes.

    >>> import numpy as np
    >>> truth = [np.array([[0, 0, 0, 10, 10]])]  # label, left, top, right, bottom
    >>> found = [np.array([[0, 0, 0, 10, 10, 0.9], [0, 50, 50, 60, 60, 0.4]])]
    >>> match(truth, found, labels=1).matched[0, 0]  # at an IoU of 0.5
    array([ True, False])
    """
    columns: dict[str, list[Any]] = {"box": [], "matched": [], "ignored": [], "picture": []}
    areas = list(AREAS.values()) if sizes else [AREAS[""]]
    objects = np.zeros((len(areas), len(truth), labels), dtype=np.int64)
    for row, (there, pred) in enumerate(zip(truth, found, strict=True)):
        true = np.asarray(there, dtype=np.float64).reshape(-1, 5)
        box = np.asarray(pred, dtype=np.float64).reshape(-1, 6)
        rows = _surest(box, most)
        box = box[rows]
        crowd = true[:, 0] < 0
        name = np.where(crowd, -1 - true[:, 0], true[:, 0]).astype(np.int64)
        every = of_boxes(box, true) if measured is None else measured[row].of(rows)
        overlap = np.where(box[:, :1] == name, every.overlap, -1)
        true_positive = np.zeros((len(areas), len(OVERLAPS), len(box)), dtype=bool)
        ignore = np.zeros_like(true_positive)
        for area_number, (least, largest) in enumerate(areas):
            outside = _outside(every.true, least, largest)
            beside = crowd | outside
            np.add.at(objects[area_number, row], name[~beside], 1)
            true_positive[area_number], ignore[area_number] = _match(overlap, beside, crowd)
            ignore[area_number] |= ~true_positive[area_number] & _outside(every.own, least, largest)
        columns["box"].append(box)
        columns["matched"].append(true_positive)
        columns["ignored"].append(ignore)
        columns["picture"].append(np.full(len(box), row))
    box = np.concatenate(columns["box"])
    return Matches(
        len(truth),
        np.concatenate(columns["picture"]),
        box[:, 0].astype(np.int64),
        box[:, 5],
        np.concatenate(columns["matched"], -1),
        np.concatenate(columns["ignored"], -1),
        objects,
    )


def scores(matches: Matches, groups: Sequence[Any] | None = None) -> dict[str, Array]:
    """Return pseudo-values (pictures,) of each metric that these images have.

    Their mean is the metric. They are the jackknife's (Efron, Stein: The Jackknife Estimate of
    Variance, 1981, https://doi.org/10.1214/aos/1176345462) over images, or over ``groups``
    (pictures,): images made of the same parts are not independent. How much a unit matters is that
    of the average over all recalls: COCO's 101 make the metric jump by a hundredth where the last of
    them is reached, which one image seldom does, so that its jackknife finds far too little or far too much.

    >>> import numpy as np
    >>> truth = [np.array([[0, 0, 0, 10, 10]])] * 2
    >>> found = [np.array([[0, 0, 0, 10, 10, 0.9]]), np.zeros((0, 6))]
    >>> round(scores(match(truth, found, labels=1))["AP50"].mean().item(), 2)
    0.5
    """
    count = matches.images
    if groups is None:
        unit, units = np.arange(count), count
    else:
        names, unit = np.unique(np.asarray(groups), return_inverse=True)
        units = len(names)
    left_out, scores = matches.without(unit, units, smooth=True), {}
    sizes = np.bincount(unit, minlength=units)
    for name, (area, overlap) in METRICS.items():
        if area >= len(matches.objects):
            continue
        whole = _mean(matches.precision[area, overlap][None])[0]
        if np.isnan(whole):
            continue
        without_unit = _mean(left_out[:, area, overlap])
        there = without_unit[~np.isnan(without_unit)]
        without_unit = -(units - 1) * np.where(
            np.isnan(without_unit), there.mean() if len(there) else whole, without_unit
        )
        away = (without_unit - without_unit.mean()) * count / units / sizes  # of each image of a unit
        scores[name] = whole + away[unit]
    return scores


METRICS: dict[str, tuple[int, Any]] = {  # name -> area, overlaps
    "AP": (0, slice(None)),
    "AP50": (0, [0]),
    "AP75": (0, [5]),
    **{f"AP {name}": (index, slice(None)) for index, name in enumerate(AREAS) if name},
}


def by_label(matches: Matches, groups: Sequence[Any] | None, name: str = "AP50") -> list[Array]:
    """Return pseudo-values (pictures,) of one metric for each label; nan without an object.

    >>> import numpy as np
    >>> truth, found = [np.array([[0, 0, 0, 9, 9]])], [np.array([[0, 0, 0, 9, 9, 0.9]])]
    >>> [round(each.mean().item(), 2) for each in by_label(match(truth, found, labels=2), None)]
    [1.0, nan]
    """
    labels = matches.objects.shape[2]
    by_class = []
    for label in range(labels):
        objects = np.zeros_like(matches.objects[:1])
        objects[..., label] = matches.objects[:1, :, label]
        rows = matches.label == label
        of_label = Matches(
            matches.images,
            matches.image[rows],
            matches.label[rows],
            matches.score[rows],
            matches.matched[:1, :, rows],
            matches.ignored[:1, :, rows],
            objects,
        )
        by_class.append(scores(of_label, groups).get(name, np.full(matches.images, np.nan)))
    return by_class


def curve(matches: Matches, label: int, overlap: int = 0) -> tuple[Array, Array, Array]:
    """Return recall, precision and score (D,) of the detections of a label, by falling score.

    ``overlap`` is an index of ``OVERLAPS``.

    >>> import numpy as np
    >>> truth = [np.array([[0, 0, 0, 9, 9]])]
    >>> found = [np.array([[0, 0, 0, 9, 9, 0.9], [0, 50, 50, 60, 60, 0.4]])]
    >>> [each.tolist() for each in curve(match(truth, found, labels=1), label=0)]
    [[1.0, 1.0], [1.0, 0.5], [0.9, 0.4]]
    """
    counts = (matches.label == label) & ~matches.ignored[0, overlap]
    order = np.argsort(-matches.score[counts], kind="stable")
    right = matches.matched[0, overlap, counts][order]
    true = np.cumsum(right)
    recall = true / max(int(matches.objects[0, :, label].sum()), 1)
    return recall, true / np.arange(1, len(right) + 1), matches.score[counts][order]


def best_threshold(matches: Matches) -> float:
    """Return the score threshold with the largest F1 over all labels, at an overlap of 0.5.

    0.5 where nothing was found.

    >>> import numpy as np
    >>> truth = [np.array([[0, 0, 0, 9, 9]])]
    >>> found = [np.array([[0, 0, 0, 9, 9, 0.9], [0, 50, 50, 60, 60, 0.4]])]
    >>> best_threshold(match(truth, found, labels=1))
    0.9
    """
    counts = ~matches.ignored[0, 0]
    order = np.argsort(-matches.score[counts], kind="stable")
    right = np.cumsum(matches.matched[0, 0, counts][order])
    if not len(right) or not right[-1]:
        return 0.5
    score = matches.score[counts][order]
    f1 = 2 * right / (np.arange(1, len(right) + 1) + matches.objects[0].sum())
    last = np.append(score[1:] < score[:-1], True)  # last of equal scores
    return float(score[np.argmax(np.where(last, f1, -1))])


def confusion(
    truth: Sequence[Any],
    found: Sequence[Any],
    labels: int,
    least: float,
    overlap: float = 0.5,
    measured: Sequence[Measured] | None = None,
) -> Counts:
    """Compute the confusion matrix, (labels + 1, labels + 1): rows true, columns predicted.

    The last row and column are the background. A detection of at least the score ``least`` takes,
    the highest score first, the object of any label that it overlaps most, from ``overlap`` on; an
    object that none takes is missed, a detection that takes none is a false alarm. Crowd regions
    are left out.

    >>> import numpy as np
    >>> truth, found = [np.array([[0, 0, 0, 9, 9]])], [np.array([[1, 0, 0, 9, 9, 0.9]])]
    >>> confusion(truth, found, labels=2, least=0.5)  # object of label 0 called label 1
    array([[0, 1, 0],
           [0, 0, 0],
           [0, 0, 0]])
    """
    table = np.zeros((labels + 1, labels + 1), dtype=np.int64)
    for number, (there, pred) in enumerate(zip(truth, found, strict=True)):
        true = np.asarray(there, dtype=np.float64).reshape(-1, 5)
        crowd = true[:, 0] < 0
        box = np.asarray(pred, dtype=np.float64).reshape(-1, 6)
        rows = _surest(box, len(box))
        rows = rows[box[rows, 5] >= least]
        box = box[rows]
        every = of_boxes(box, true) if measured is None else measured[number].of(rows)
        ious, free = every.overlap, ~crowd
        for row, label in zip(ious, box[:, 0].astype(int), strict=True):
            reach = np.where(free, row, -1.0)
            if len(reach) and reach.max() >= overlap:
                best = int(reach.argmax())
                free[best] = False
                table[int(true[best, 0]), label] += 1
            elif not (crowd & (row >= overlap)).any():
                table[labels, label] += 1
        np.add.at(table[:, labels], true[free, 0].astype(int), 1)
    return table


def overlaps(box: Array, true: Array, crowd: NDArray[np.bool_] | None = None) -> Array:
    """Compute the intersection over union of boxes, (D, G).

    ``box`` (D, 4), ``true`` (G, 4): left, top, right, bottom. With a ``crowd`` region (G,) it is
    the intersection over the detection's own area.

    >>> import numpy as np
    >>> overlaps(np.array([[0.0, 0, 4, 4]]), np.array([[0.0, 0, 4, 2], [8, 8, 9, 9]]))
    array([[0.5, 0. ]])
    """
    low = np.maximum(box[:, None, :2], true[None, :, :2])
    high = np.minimum(box[:, None, 2:], true[None, :, 2:])
    intersection = (high - low).clip(min=0).prod(2)
    own, other = ((edges[:, 2:] - edges[:, :2]).prod(1) for edges in (box, true))
    union = own[:, None] + other[None] - intersection
    if crowd is not None:
        union = np.where(crowd[None], own[:, None], union)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def coco(
    truth: Sequence[Any],
    found: Sequence[Any],
    labels: int,
    most: Sequence[int] = (1, 10, MOST),
    masks: Masks | None = None,
) -> dict[str, float]:
    """Compute the twelve figures of COCO's evaluator; nan where there is no such object.

    With ``masks`` they are those of masks instead of boxes.

    >>> import numpy as np
    >>> truth, found = [np.array([[0, 0, 0, 9, 9]])], [np.array([[0, 0, 0, 9, 9, 0.9]])]
    >>> figures = coco(truth, found, labels=1)
    >>> round(figures["AP50"], 2), figures["AP large"]
    (1.0, nan)
    """
    from faster_coco_eval import COCO, COCOeval_faster

    annotations, detections = as_coco(truth, labels), results(found)
    if not detections:  # the evaluator accepts no empty list
        detections = results([np.array([[0.0, -2, -2, -1, -1, 0]])])
    if masks is not None:
        written(annotations, detections, masks)
    whole = COCO(annotations)
    kind = "bbox" if masks is None else "segm"
    evaluator = COCOeval_faster(whole, whole.loadRes(detections), kind, print_function=_silent)
    evaluator.params.maxDets = list(most)
    evaluator.run()
    values = [float(value) for value in evaluator.stats[: len(FIGURES)]]
    return {name: value if value > -1 else np.nan for name, value in zip(FIGURES, values, strict=True)}


FIGURES = (
    "AP",
    "AP50",
    "AP75",
    "AP small",
    "AP medium",
    "AP large",
    "AR 1",
    "AR 10",
    "AR 100",
    "AR small",
    "AR medium",
    "AR large",
)


def as_coco(truth: Sequence[Any], labels: int) -> dict[str, Any]:
    """Convert ground truth to the structure of COCO's files; images and labels are numbered from 1.

    >>> import numpy as np
    >>> [entry] = as_coco([np.array([[0, 1, 2, 5, 4]])], labels=1)["annotations"]
    >>> entry["bbox"], entry["area"]  # left, top, width, height
    ([1.0, 2.0, 4.0, 2.0], 8.0)
    """
    annotations: list[dict[str, Any]] = []
    for row, there in enumerate(truth):
        for label, *edges in np.asarray(there, dtype=np.float64).reshape(-1, 5).tolist():
            x1, y1, x2, y2 = edges
            size = x2 - x1, y2 - y1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": row + 1,
                    "category_id": int(-1 - label if label < 0 else label) + 1,
                    "bbox": [x1, y1, *size],
                    "area": size[0] * size[1],
                    "iscrowd": int(label < 0),
                }
            )
    images = [{"id": row + 1, "width": 1, "height": 1} for row in range(len(truth))]
    names = [{"id": label + 1, "name": str(label)} for label in range(labels)]
    return {"images": images, "categories": names, "annotations": annotations}


def results(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Convert detections to the structure of COCO's result files.

    >>> import numpy as np
    >>> [entry] = results([np.array([[0, 1, 2, 5, 4, 0.5]])])
    >>> entry["bbox"], entry["score"]
    ([1.0, 2.0, 4.0, 2.0], 0.5)
    """
    return [
        {"image_id": row + 1, "category_id": int(label) + 1, "score": score, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for row, pred in enumerate(found)
        for label, x1, y1, x2, y2, score in np.asarray(pred, dtype=np.float64).reshape(-1, 6).tolist()
    ]


def written(annotations: dict[str, Any], detections: Sequence[dict[str, Any]], masks: Masks) -> None:
    """Add masks, run-length encoded, to what ``as_coco`` and ``results`` returned, in place.

    >>> import numpy as np
    >>> box, bits = np.array([[0, 0, 0, 8, 1]]), np.full((1, 8, 1), 255, np.uint8)
    >>> given = as_coco([box], labels=1)
    >>> written(given, results([np.array([[0, 0, 0, 8, 1, 0.9]])]), Masks([bits], [bits], 8))
    >>> given["annotations"][0]["area"], given["images"][0]["width"]
    (64, 8)
    """
    from faster_coco_eval import mask as runs

    there, pred = (
        [np.unpackbits(bits, axis=1, count=masks.side) for rows in every for bits in rows]
        for every in (masks.true, masks.found)
    )
    for entry, pixels in zip(annotations["annotations"], there, strict=True):
        entry |= {"segmentation": runs.encode(np.asfortranarray(pixels)), "area": int(pixels.sum())}
    nothing = np.zeros((masks.side, masks.side), dtype=np.uint8)
    for entry, pixels in zip(detections, pred or [nothing], strict=True):
        del entry["bbox"]  # or the evaluator takes the box's area
        entry["segmentation"] = runs.encode(np.asfortranarray(pixels))
    for image in annotations["images"]:
        image |= {"width": masks.side, "height": masks.side}


def _silent(*_words: Any) -> None:
    """Print nothing: takes the place of the evaluator's progress messages."""


def _surest(box: Array, most: int) -> Counts:
    """Return rows by falling score, at most ``most`` of each label."""
    order = np.argsort(-box[:, 5], kind="stable")
    rank = np.zeros(len(box), dtype=np.int64)
    for label in np.unique(box[:, 0]):
        of_label = box[order, 0] == label
        rank[of_label] = np.arange(of_label.sum())
    return order[rank < most]


def _outside(area: Array, least: float, largest: float) -> NDArray[np.bool_]:
    return (area < least) | (area > largest)


def _match(
    overlap: Array, beside: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether each detection took an object, and whether that object does not count.

    Both are (overlaps, D). ``overlap`` (D, G) is -1 between different labels. Objects that count go
    first; of equal overlaps the last object wins.
    """
    detections, objects = overlap.shape
    true_positive = np.zeros((len(OVERLAPS), detections), dtype=bool)
    ignore = np.zeros_like(true_positive)
    if not objects:
        return true_positive, ignore
    order = np.argsort(beside, kind="stable")
    overlap, beside, crowd = overlap[:, order], beside[order], crowd[order]
    free = np.ones((len(OVERLAPS), objects), dtype=bool)
    enough = np.minimum(OVERLAPS, 1 - 1e-10)[:, None]
    line = np.arange(len(OVERLAPS))
    for d in np.nonzero((overlap >= enough[0]).any(1))[0]:
        may = (free | crowd) & (overlap[d] >= enough)
        first = may & ~beside
        may = np.where(first.any(1, keepdims=True), first, may)
        best = objects - 1 - np.where(may, overlap[d], -1)[:, ::-1].argmax(1)
        took = may.any(1)
        true_positive[:, d] = took
        ignore[:, d] = took & beside[best]
        free[line[took], best[took]] = False
    return true_positive, ignore


def _without(right: NDArray[np.bool_], owner: Counts, objects: Counts, average: Callable[[Array, int], Array]) -> Array:
    """Return the average precision of detections without each unit's own, shape (units,).

    ``right`` (D,) are the detections by falling score, ``owner`` (D,) the unit of each, ``objects``
    (units,) the number of objects left to be found.

    Precision has its maxima where a detection is right, so that only these positions count: before
    position j lie j right ones less the unit's own, and as many wrong ones less the unit's own.
    """
    [hits] = np.nonzero(right)
    precisions = np.where(objects > 0, 0.0, np.nan)
    if not len(hits):
        return precisions
    wrong = np.nonzero(~right)[0]
    before = np.searchsorted(hits, wrong)  # right ones with a higher score than each wrong one
    mine, theirs = owner[hits], owner[wrong]
    ahead = hits - np.arange(len(hits))  # wrong ones
    for start in range(0, len(objects), max(1, AT_ONCE // len(hits))):
        part = range(len(objects))[start : start + max(1, AT_ONCE // len(hits))]
        own = mine == np.asarray(part)[:, None]  # (units, places)
        more = np.zeros((len(part), len(hits) + 1), dtype=np.int64)
        inside = (theirs >= part.start) & (theirs < part.stop)
        np.add.at(more, (theirs[inside] - part.start, before[inside]), 1)
        rights = np.arange(1, len(hits) + 1) - own.cumsum(1)
        wrongs = ahead - more[:, :-1].cumsum(1)
        precision = np.where(own, 0.0, rights / (rights + wrongs + TINY))
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        alone = ~own.any(1)  # units without a position: those with as many objects left are alike
        for count in np.unique(objects[part.start : part.stop][alone]):
            rows = np.nonzero(alone & (objects[part.start : part.stop] == count))[0]
            if count > 0:
                precisions[rows + part.start] = average(envelope[rows], count)
        for row in np.nonzero(~alone)[0]:
            count = objects[part.start + row]
            if count > 0:
                rest = envelope[row][~own[row]]
                precisions[part.start + row] = average(rest[None], count)[0]
    return precisions


def _interpolated(envelope: Array, objects: int) -> Array:
    """Average the precision envelope over COCO's recalls, (units, places) -> (units,)."""
    at = np.searchsorted(np.arange(1, envelope.shape[1] + 1) / objects, RECALLS)
    weight = np.bincount(at, minlength=envelope.shape[1] + 1)[:-1]
    return envelope @ weight / len(RECALLS)


def _integrated(envelope: Array, objects: int) -> Array:
    """Average the precision envelope over all recalls, (units, places) -> (units,)."""
    return envelope.sum(1) / objects


def _mean(precision: Array) -> Array:
    """Average (units, overlaps, labels) over overlaps and labels with objects, (units,)."""
    there = ~np.isnan(precision)
    total = np.where(there, precision, 0.0).sum((1, 2))
    count = there.sum((1, 2))
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
