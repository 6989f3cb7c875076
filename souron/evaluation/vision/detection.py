"""Evaluate detectors: score threshold, figures by label, baselines.

The detections of an image are boxes (n, 6); or ``Instances`` with masks, matched by mask IoU; or
``Figures`` with keypoints, matched by object keypoint similarity.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import Instances
from souron.data.targets.poses import Figures, area_of
from souron.evaluation.answers import Answers, Setup, Sparse, Trainings, dense
from souron.metrics import detection, froc, poses
from souron.metrics.froc import Froc
from souron.stats.records import Measure

MOST = detection.MOST  # boxes kept per image
SHOWN_FROM = 0.25  # default score threshold
HITS = {"overlap": 0.5, "centre": None}  # rule of a hit -> least IoU; None: the centre is in the object's box
NOTHING = torch.zeros(0, 6)
PIECE = 64  # bytes of a row of packed masks

Array = NDArray[Any]
Found = Tensor | Instances | Figures  # detections of an image, highest score first
Judge = Callable[[Sequence[Found], Dataset], dict[str, NDArray[np.float64]]]  # see ``scores_of``


@dataclass
class DetectionSetup(Setup):
    """A setup with the constant baseline, which ignores the image: see ``mean_box``."""

    constant: Found = field(default_factory=lambda: NOTHING)  # detections of one image


@dataclass(frozen=True)
class OfLabel:
    """Detection figures of one label."""

    name: str
    objects: int
    ap50: Measure | None  # None where the test images have no such object
    ap: Measure | None
    recall: Array  # the precision-recall curve at an overlap of 0.5
    precision: Array
    at: tuple[float, float] | None  # recall and precision at the threshold


@dataclass(frozen=True)
class DetectionResult:
    """The results of one run for its report."""

    conf: float  # the lowest score of a shown box
    labels: tuple[OfLabel, ...]
    coco: dict[str, float]  # the twelve figures of COCO's evaluator
    confusion: Array  # (labels + 1, labels + 1), see ``detection.confusion``
    baselines: dict[str, dict[str, Measure]]  # "constant", "untrained" -> its measures
    found: list[Found]  # the shown detections of each test image
    froc: dict[str, tuple[Froc, Measure, Measure]]  # key of ``HITS`` -> the curve; sensitivity and false positives per
    # image of the shown detections. {} without an object

    def as_json(self) -> dict[str, Any]:
        return {
            "conf": self.conf,
            "labels": {label.name: label.ap50.value for label in self.labels if label.ap50},
            "coco": {name: None if np.isnan(value) else value for name, value in self.coco.items()},
            "froc": {rule: curve.as_json() for rule, (curve, *_shown) in self.froc.items()},
            "baselines": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.baselines.items()
            },
        }


def result(trainings: Trainings, setup: DetectionSetup, judge: Judge) -> DetectionResult:
    """Compute the results of a run; ``judge`` scores the baselines."""
    [answers] = trainings.answers
    test, units = setup.test, setup.test.units
    predictions, count = unpacked(answers, test), len(test.classes)
    conf = float(dense(answers, "conf")[0])
    matches = matched(predictions, test)
    ap50, ap = (detection.by_label(matches, units, overlap) for overlap in ("AP50", "AP"))
    baselines: dict[str, Sequence[Found]] = {"constant": [setup.constant] * len(test)}
    if "untrained" in answers:
        baselines["untrained"] = unpacked(answers, test, "untrained")
    return DetectionResult(
        conf,
        tuple(
            _of_label(matches, label, name, ap50[label], ap[label], units, conf)
            for label, name in enumerate(test.classes)
        ),
        detection.coco(boxes_of(test.target), boxes_of(predictions), count, masks=_masks(predictions, test)),
        confusion(predictions, test, conf),
        {
            name: {
                metric: registry.metric(metric).measure(scores, units)
                for metric, scores in judge(baseline, test).items()
            }
            for name, baseline in baselines.items()
        },
        shown(answers, test),
        free_response(predictions, test, conf),
    )


def free_response(
    predictions: Sequence[Found], cases: Dataset, conf: float
) -> dict[str, tuple[Froc, Measure, Measure]]:
    """Compute the FROC by each rule of a hit, and sensitivity and false positives per image from ``conf`` on."""
    curves = {}
    for rule, overlap in HITS.items():
        marks = froc.of_detections(
            boxes_of(cases.target), boxes_of(predictions), overlap, _measured(predictions, cases)
        )
        if marks.lesions.any():
            curves[rule] = (froc.froc(marks, cases.units), *froc.at_threshold(marks.above(conf), cases.units))
    return curves


def matched(predictions: Sequence[Found], cases: Dataset, sizes: bool = True) -> detection.Matches:
    """Match the detections with the objects of each case."""
    has_points = any(isinstance(prediction, Figures) for prediction in predictions)
    return detection.match(
        boxes_of(cases.target),
        boxes_of(predictions),
        len(cases.classes),
        poses.MOST if has_points else MOST,
        sizes,
        _measured(predictions, cases),
    )


def confusion(predictions: Sequence[Found], cases: Dataset, conf: float) -> Array:
    """Compute the confusion matrix of ``metrics.detection.confusion``."""
    return detection.confusion(
        boxes_of(cases.target), boxes_of(predictions), len(cases.classes), conf, measured=_measured(predictions, cases)
    )


def _measured(predictions: Sequence[Found], cases: Dataset) -> list[detection.Measured] | None:
    """Compute mask overlaps or keypoint similarities per case; None for boxes alone."""
    if all(isinstance(objects, Figures) for objects in (*predictions, *cases.target)):
        return [_posed(prediction, there) for prediction, there in zip(predictions, cases.target, strict=True)]
    if not all(isinstance(objects, Instances) for objects in (*predictions, *cases.target)):
        return None
    return [
        detection.of_masks(prediction.bits.numpy(), there.bits.numpy(), (there.box[:, 0] < 0).numpy())
        for prediction, there in zip(predictions, cases.target, strict=True)
        if isinstance(prediction, Instances)
    ]


def _posed(prediction: Any, there: Figures) -> detection.Measured:
    sigmas = poses.sigmas_of(there.skeleton.names, there.skeleton.sigmas)
    return poses.measured(prediction.box, prediction.point, there.box, there.point, there.area, sigmas)


def _masks(predictions: Sequence[Found], cases: Dataset) -> detection.Masks | None:
    masks = [prediction.bits.numpy() for prediction in predictions if isinstance(prediction, Instances)]
    if len(masks) < len(cases):
        return None
    return detection.Masks([target.bits.numpy() for target in cases.target], masks, cases.side)


def mean_box(boxes: Sequence[Tensor]) -> Tensor:
    """Return the mean box of the most frequent label, (1, 6), as a baseline that ignores the image.

    (0, 6) where there are no objects.
    """
    every = torch.cat([box for box in boxes if len(box)] or [torch.zeros(0, 5)])
    every = every[every[:, 0] >= 0]
    if not len(every):
        return NOTHING
    label = every[:, 0].long().bincount().argmax()
    mean = every[every[:, 0] == label].mean(0)
    return torch.cat([mean, torch.ones(1)])[None]


def threshold(predictions: Sequence[Found], cases: Dataset) -> float:
    return detection.best_threshold(matched(predictions, cases, sizes=False))


def scores_of(predictions: Sequence[Found], cases: Dataset, sizes: bool = True) -> dict[str, NDArray[np.float64]]:
    """Compute jackknife pseudo-values (cases,) of each metric, see ``metrics.detection.scores``."""
    return detection.scores(matched(predictions, cases, sizes), cases.units)


def packed(predictions: Sequence[Found], name: str = "found") -> Answers:
    """Convert detections to ``Answers``: a table of boxes, and keypoints or compressed masks."""
    answers: Answers = {name: padded(boxes_of(predictions))}
    figures = [prediction for prediction in predictions if isinstance(prediction, Figures)]
    if figures:
        counts = torch.tensor([min(len(figure.box), MOST) for figure in figures])
        owner = torch.arange(len(predictions)).repeat_interleave(counts)
        answers[f"{name} points"] = Sparse(owner, torch.cat([figure.point[:MOST] for figure in figures]))
        return answers
    if any(isinstance(prediction, Instances) for prediction in predictions):
        rows, pieces = [], []
        for row, prediction in enumerate(predictions):
            assert isinstance(prediction, Instances)
            small = zlib.compress(prediction.bits[:MOST].numpy().tobytes(), 1)
            small += bytes(-len(small) % PIECE)
            pieces.append(torch.frombuffer(bytearray(small), dtype=torch.uint8).view(-1, PIECE))
            rows.append(torch.full((len(pieces[-1]),), row))
        answers[f"{name} masks"] = Sparse(torch.cat(rows), torch.cat(pieces))
    return answers


def unpacked(answers: Answers, cases: Dataset, name: str = "found") -> list[Found]:
    """Invert ``packed``. Raises ValueError where masks are damaged or points are missing."""
    boxes = unpadded(answers, name)
    points = answers.get(f"{name} points")
    if isinstance(points, Sparse):
        return _with_points(boxes, points, cases)
    masks = answers.get(f"{name} masks")
    if not isinstance(masks, Sparse):
        return list(boxes)
    order = masks.rows.argsort(stable=True)
    counts = masks.rows.bincount(minlength=len(boxes)).tolist()
    predictions: list[Found] = []
    for box, pieces in zip(boxes, masks.values[order].split(counts), strict=True):
        shape = len(box), cases.side, (cases.side + 7) // 8
        length = shape[0] * shape[1] * shape[2]
        try:
            large = zlib.decompressobj().decompress(pieces.numpy().tobytes(), length + 1)
        except zlib.error as error:
            raise ValueError("no masks") from error
        if len(large) != length:
            raise ValueError("masks of another size")
        bits = torch.from_numpy(np.frombuffer(bytearray(large), dtype=np.uint8).reshape(shape))
        predictions.append(Instances(box, bits))
    return predictions


def _with_points(boxes: Sequence[Tensor], points: Sparse, cases: Dataset) -> list[Found]:
    order = points.rows.argsort(stable=True)
    counts: list[int] = points.rows.bincount(minlength=len(boxes)).tolist()
    if counts != list(map(len, boxes)):
        raise ValueError("not as many points as boxes")
    return [
        Figures(box, point, area_of(box), there.skeleton)
        for box, point, there in zip(boxes, points.values[order].split(counts), cases.target, strict=True)
    ]


def padded(predictions: Sequence[Tensor]) -> Tensor:
    """Pad boxes to (cases, ``MOST``, 6) with NaN."""
    table = torch.full((len(predictions), MOST, 6), torch.nan)
    for row, boxes in zip(table, predictions, strict=True):
        row[: len(boxes)] = boxes[:MOST]
    return table


def unpadded(answers: Answers, name: str = "found") -> list[Tensor]:
    return [boxes[boxes[:, 0].isfinite()] for boxes in dense(answers, name)]


def shown(answers: Answers, cases: Dataset) -> list[Found]:
    """Return the detections of each image whose score reaches the threshold."""
    least = dense(answers, "conf")
    return [sure(prediction, conf) for prediction, conf in zip(unpacked(answers, cases), least, strict=True)]


def sure(prediction: Found, conf: Tensor | float) -> Found:
    """Keep the detections with at least that score."""
    if isinstance(prediction, Tensor):
        return prediction[prediction[:, 5] >= conf]
    return prediction.of(prediction.box[:, 5] >= conf)


def _of_label(
    matches: detection.Matches, label: int, name: str, ap50: Array, ap: Array, units: Sequence[str] | None, conf: float
) -> OfLabel:
    objects = int(matches.objects[0, :, label].sum())
    recall, precision, score = detection.curve(matches, label)
    count = int((score >= conf).sum())
    at = (float(recall[count - 1]), float(precision[count - 1])) if count else None
    if not objects:
        return OfLabel(name, 0, None, None, recall, precision, None)
    measures = [registry.metric("AP").measure(scores, units) for scores in (ap50, ap)]
    return OfLabel(name, objects, measures[0], measures[1], recall, precision, at)
