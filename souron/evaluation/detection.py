"""What detectors found in test pictures: threshold, figures by label, and baselines beside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Setup, Trainings, dense
from souron.metrics import detection
from souron.stats import intervals
from souron.stats.records import Measure

MOST = detection.MOST  # boxes of a picture that are kept
SHOWN_FROM = 0.25  # score, where none was chosen on validation cases
NOTHING = torch.zeros(0, 6)

Array = NDArray[Any]


@dataclass
class DetectionSetup(Setup):
    """With the answer that looks at no picture: see ``mean_box``."""

    constant: Tensor = field(default_factory=lambda: NOTHING)  # (1, 6)


@dataclass(frozen=True)
class OfLabel:
    """How well the objects of one label were found."""

    name: str
    objects: int
    ap50: Measure | None  # None where the test pictures have no such object
    ap: Measure | None
    recall: Array  # the precision-recall curve at an overlap of 0.5
    precision: Array
    at: tuple[float, float] | None  # recall and precision at the threshold


@dataclass(frozen=True)
class DetectionResult:
    """What a run's report shows."""

    conf: float  # the score from which a box is shown
    labels: tuple[OfLabel, ...]
    coco: dict[str, float]  # the twelve figures of COCO's evaluator
    confusion: Array  # (labels + 1, labels + 1), see ``detection.confusion``
    baselines: dict[str, dict[str, Measure]]  # "constant", "untrained" -> its measures
    found: list[Array]  # of each test picture (n, 6), what is shown

    def as_json(self) -> dict[str, Any]:
        return {
            "conf": self.conf,
            "labels": {one.name: one.ap50.value for one in self.labels if one.ap50},
            "coco": {name: None if np.isnan(value) else value for name, value in self.coco.items()},
            "baselines": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.baselines.items()
            },
        }


def result(trainings: Trainings, setup: DetectionSetup) -> DetectionResult:
    [answers] = trainings.answers
    test, units = setup.test, setup.test.units
    found, truth, count = unpadded(answers), list(test.target), len(test.classes)
    conf = float(dense(answers, "conf")[0])
    matches = detection.match(truth, found, count)
    ap50, ap = (detection.by_label(matches, units, overlap) for overlap in ("AP50", "AP"))
    baselines = {"constant": [setup.constant] * len(test)}
    if "untrained" in answers:
        baselines["untrained"] = unpadded(answers, "untrained")
    return DetectionResult(
        conf,
        tuple(_of_label(matches, label, name, ap50[label], ap[label], units, conf)
              for label, name in enumerate(test.classes)),
        detection.coco(truth, found, count),
        detection.confusion(truth, found, count, conf),
        {name: _measures(said, test) for name, said in baselines.items()},
        shown(answers),
    )  # fmt: skip


def mean_box(boxes: Sequence[Tensor]) -> Tensor:
    """(1, 6): the mean box of the most frequent label, which looks at no picture; none without
    objects."""
    every = torch.cat([box for box in boxes if len(box)] or [torch.zeros(0, 5)])
    every = every[every[:, 0] >= 0]
    if not len(every):
        return NOTHING
    label = every[:, 0].long().bincount().argmax()
    mean = every[every[:, 0] == label].mean(0)
    return torch.cat([mean, torch.ones(1)])[None]


def threshold(found: Sequence[Tensor], cases: Dataset) -> float:
    matches = detection.match(list(cases.target), found, len(cases.classes), sizes=False)
    return detection.best_threshold(matches)


def scores_of(
    found: Sequence[Any], cases: Dataset, sizes: bool = True
) -> dict[str, NDArray[np.float64]]:
    """Pseudo-values (cases,) of each metric, see ``metrics.detection.scores``."""
    matches = detection.match(list(cases.target), found, len(cases.classes), sizes=sizes)
    return detection.scores(matches, cases.units)


def padded(found: Sequence[Tensor]) -> Tensor:
    """(cases, ``MOST``, 6); where there is no further box, it is not a number."""
    table = torch.full((len(found), MOST, 6), torch.nan)
    for row, boxes in zip(table, found, strict=True):
        row[: len(boxes)] = boxes[:MOST]
    return table


def unpadded(answers: Answers, name: str = "found") -> list[Tensor]:
    return [boxes[boxes[:, 0].isfinite()] for boxes in dense(answers, name)]


def shown(answers: Answers) -> list[Array]:
    """Of each picture the boxes (n, 6) whose score reaches the threshold."""
    least = dense(answers, "conf")
    return [
        boxes[boxes[:, 5] >= conf].numpy()
        for boxes, conf in zip(unpadded(answers), least, strict=True)
    ]


def _measures(found: Sequence[Any], test: Dataset) -> dict[str, Measure]:
    return {
        name: intervals.share_interval(scores, test.units)
        for name, scores in scores_of(found, test).items()
    }


def _of_label(
    matches: detection.Matches,
    label: int,
    name: str,
    ap50: Array,
    ap: Array,
    units: Sequence[str] | None,
    conf: float,
) -> OfLabel:
    objects = int(matches.objects[0, :, label].sum())
    recall, precision, score = detection.curve(matches, label)
    counted = int((score >= conf).sum())
    at = (float(recall[counted - 1]), float(precision[counted - 1])) if counted else None
    if not objects:
        return OfLabel(name, 0, None, None, recall, precision, None)
    each = [intervals.share_interval(scores, units) for scores in (ap50, ap)]
    return OfLabel(name, objects, each[0], each[1], recall, precision, at)
