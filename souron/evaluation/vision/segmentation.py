"""Evaluate semantic segmentation: figures by class, baselines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.data.targets.classes_of_pixels import pixels_of
from souron.evaluation.answers import Answers, Setup, Trainings, dense
from souron.metrics import segmentation
from souron.stats.records import Measure
from souron.utils.messages import _

UNKNOWN = segmentation.UNKNOWN
MOST_CLASSES = UNKNOWN  # masks are bytes, one value of which marks unknown pixels

Array = NDArray[Any]


@dataclass
class SegmentationSetup(Setup):
    """A setup with the class of the constant baseline, see ``most_frequent``."""

    constant: int = 0


@dataclass(frozen=True)
class OfLabel:
    """Segmentation figures of one class."""

    name: str
    pixels: int
    pictures: int  # with such pixels
    iou: Measure | None  # None where the test images have no such pixel
    edge: float | None  # boundary IoU
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class SegmentationResult:
    """The results of one run for its report."""

    labels: tuple[OfLabel, ...]
    confusion: Array  # (labels, labels): pixels, rows true, columns predicted
    baselines: dict[str, dict[str, Measure]]  # "constant", "untrained" -> its measures
    constant: int  # the class of the constant baseline
    found: Tensor  # (images, H, W) uint8
    each: Array  # (images,): mIoU of each image

    def as_json(self) -> dict[str, Any]:
        return {
            "labels": {label.name: label.iou.value for label in self.labels if label.iou},
            "baselines": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.baselines.items()
            },
        }


def fault(data: Dataset) -> str:
    """Explain why these cases cannot be segmented, in the reader's language; "" where they can."""
    target = data.target
    if not data.images or not isinstance(target, Tensor) or target.ndim != 3:
        return _("{data} has no masks").format(data=data.name)
    if target.shape[1:] != data.input.shape[2:]:
        here, there = ("{1} x {0}".format(*x.shape[-2:]) for x in (data.input, target))
        return _("the images have {here} pixels, their masks {there}").format(here=here, there=there)
    if len(data.classes) > MOST_CLASSES:
        return _("{count} classes, where {most} fit a map").format(count=len(data.classes), most=MOST_CLASSES)
    wrong = [n for n in target.unique().tolist() if n >= len(data.classes) and n != UNKNOWN]
    if wrong:
        return _("class {number}, where there are {count}").format(number=wrong[0], count=len(data.classes))
    if not (target != UNKNOWN).any():
        return _("{data} has no pixel whose class is known").format(data=data.name)
    return ""


def most_frequent(target: Tensor, rows: Any, classes: int) -> int:
    """Return the class with the most pixels in these rows."""
    maps = target.index_select(0, torch.as_tensor(rows, dtype=torch.long))
    return int(np.argmax(pixels_of(maps, classes)))


def said(answers: Answers, name: str = "found") -> Tensor:
    """Return predicted masks, (cases, H, W) uint8."""
    return dense(answers, name)


def counted(prediction: Any, cases: Dataset, edges: bool = True) -> segmentation.Compared:
    return segmentation.compare(cases.target, prediction, len(cases.classes), edges)


def scores_of(prediction: Any, cases: Dataset, edges: bool = True) -> dict[str, NDArray[np.float64]]:
    """Compute jackknife pseudo-values (cases,) of each metric, see
    ``metrics.segmentation.scores``.
    """
    return segmentation.scores(counted(prediction, cases, edges), cases.units)


def result(trainings: Trainings, setup: SegmentationSetup) -> SegmentationResult:
    [answers] = trainings.answers
    test, prediction = setup.test, said(answers)
    comparison = counted(prediction, test)
    same = torch.full((1, 1, 1), setup.constant, dtype=torch.uint8).expand_as(prediction)
    baselines = {"constant": same}
    if "untrained" in answers:
        baselines["untrained"] = said(answers, "untrained")
    return SegmentationResult(
        _labels(comparison, test),
        comparison.confusion,
        {name: _measures(maps, test) for name, maps in baselines.items()},
        setup.constant,
        prediction,
        of_each(comparison.whole),
    )


def of_each(areas: segmentation.Areas) -> Array:
    """Compute the mIoU of each image, (images,), over classes that are present or predicted.

    NaN where no pixel is known.
    """
    union = areas.true + areas.pred - areas.shared
    there = union > 0
    ratio = np.where(there, areas.shared / np.maximum(union, 1), 0.0).sum(1)
    return np.divide(ratio, there.sum(1), out=np.full(len(union), np.nan), where=there.any(1))


def _labels(comparison: segmentation.Compared, test: Dataset) -> tuple[OfLabel, ...]:
    intersection, true, predicted = (part.sum(0) for part in comparison.whole)
    edges = comparison.edges.ratio if comparison.edges is not None else np.full(len(true), np.nan)
    results = []
    for label, scores in enumerate(segmentation.by_label(comparison, test.units)):
        there = true[label] > 0
        results.append(
            OfLabel(
                test.classes[label],
                int(true[label]),
                int((comparison.whole.true[:, label] > 0).sum()),
                registry.metric("mIoU").measure(scores, test.units) if there else None,
                float(edges[label]) if there else None,
                float(intersection[label] / true[label]) if there else None,
                float(intersection[label] / predicted[label]) if predicted[label] else None,
            )
        )
    return tuple(results)


def _measures(prediction: Any, test: Dataset) -> dict[str, Measure]:
    return {
        name: registry.metric(name).measure(scores, test.units) for name, scores in scores_of(prediction, test).items()
    }
