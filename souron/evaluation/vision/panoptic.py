"""Evaluate panoptic segmentation: figures by class, baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from souron import registry
from souron.data.dataset import Dataset, ListColumn
from souron.data.targets.panoptic import MOST, Panoptic, stuff_of
from souron.evaluation.answers import Answers, Setup, Trainings, dense
from souron.metrics import panoptic
from souron.stats.records import Measure
from souron.utils.messages import _

Array = NDArray[Any]
Judged = dict[str, NDArray[np.float64]]

SHOWN_FROM = 0.5  # default score threshold of things


@dataclass
class PanopticSetup(Setup):
    """A setup with the class of the constant baseline, see ``most_frequent``."""

    constant: int | None = None


@dataclass(frozen=True)
class OfLabel:
    """Panoptic figures of one class."""

    name: str
    thing: bool
    segments: int
    quality: Measure | None  # PQ; None where there is no segment, true or predicted
    of_right: float | None  # SQ
    recognition: float | None  # RQ
    right: int
    missed: int
    alarms: int


@dataclass(frozen=True)
class PanopticResult:
    """The results of one run for its report."""

    conf: float  # the lowest score of a predicted thing
    labels: tuple[OfLabel, ...]
    baselines: dict[str, dict[str, Measure]]  # "constant", "untrained" -> its measures
    constant: str  # the class of the constant baseline, "" for none
    found: list[Panoptic]  # of each test image
    each: Array  # (images,): PQ of each image

    def as_json(self) -> dict[str, Any]:
        return {
            "conf": self.conf,
            "labels": {label.name: label.quality.value for label in self.labels if label.quality},
            "baselines": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.baselines.items()
            },
        }


def fault(data: Dataset) -> str:
    """Explain why these cases cannot be used, in the reader's language; "" where they can."""
    target = data.target
    if not data.images or not isinstance(target, ListColumn) or not len(target):
        return _("{data} has no segments").format(data=data.name)
    if not all(isinstance(case, Panoptic) for case in target):
        return _("{data} has no segments").format(data=data.name)
    for case in target:
        if case.ids.shape != data.input.shape[2:]:
            here, there = ("{1} x {0}".format(*x.shape[-2:]) for x in (data.input, case.ids))
            return _("the images have {here} pixels, their maps of segments {there}").format(here=here, there=there)
    if not any((case.thing & (case.label >= 0)).any() for case in target):
        return _("{data} has no things, whose instances are distinguished").format(data=data.name)
    return ""


def most_frequent(every: Sequence[Panoptic]) -> int | None:
    """Return the stuff class with the most pixels; None where there is none."""
    count: dict[int, int] = {}
    for case in every:
        for label, thing, pixels in zip(case.label.tolist(), case.thing.tolist(), case.pixels().tolist(), strict=True):
            if not thing and label >= 0:
                count[label] = count.get(label, 0) + pixels
    return max(count, key=lambda label: count[label]) if count else None


def whole(label: int | None, side: int) -> Panoptic:
    """Return a segmentation that is all one stuff class, or all void."""
    ids = torch.full((side, side), int(label is not None), dtype=torch.uint8)
    label_of = torch.tensor([] if label is None else [label], dtype=torch.long)
    return Panoptic(label_of, torch.zeros(len(label_of), dtype=torch.bool), ids)


def packed(predictions: Sequence[Panoptic], name: str = "found") -> Answers:
    """Convert segmentations to ``Answers``: the id map of each image and the labels of
    its segments.
    """
    labels = torch.zeros(len(predictions), MOST, dtype=torch.int16)  # 0: no segment
    things = torch.zeros(len(predictions), MOST, dtype=torch.bool)
    for row, prediction in enumerate(predictions):
        labels[row, : len(prediction.label)] = (prediction.label + 1).short()
        things[row, : len(prediction.label)] = prediction.thing
    return {
        name: torch.stack([prediction.ids for prediction in predictions]),
        f"{name} labels": labels,
        f"{name} things": things,
    }


def unpacked(answers: Answers, name: str = "found") -> list[Panoptic]:
    """Invert ``packed``. Raises ValueError where a pixel belongs to no segment."""
    parts = (dense(answers, f"{name}{part}") for part in ("", " labels", " things"))
    predictions = []
    for ids, labels, things in zip(*parts, strict=True):
        count = int((labels > 0).sum())
        if (labels[:count] <= 0).any() or int(ids.max()) > count:
            raise ValueError("pixels of no segment")
        predictions.append(Panoptic(labels[:count].long() - 1, things[:count], ids))
    return predictions


def counted(predictions: Sequence[Panoptic], cases: Dataset) -> panoptic.Counted:
    return panoptic.compare(
        [_as_arrays(case) for case in cases.target],
        [_as_arrays(prediction) for prediction in predictions],
        len(cases.classes),
    )


def _as_arrays(segments: Panoptic) -> panoptic.Divided:
    return panoptic.Divided(segments.label.numpy(), segments.ids.numpy())


def scores_of(predictions: Sequence[Panoptic], cases: Dataset) -> Judged:
    """Compute jackknife pseudo-values (cases,) of each metric, see ``metrics.panoptic.scores``."""
    stuff = stuff_of([*cases.target, *predictions], len(cases.classes))
    return panoptic.scores(counted(predictions, cases), stuff, cases.units)


def result(trainings: Trainings, setup: PanopticSetup) -> PanopticResult:
    [answers] = trainings.answers
    test, predictions = setup.test, unpacked(answers)
    same = whole(setup.constant, test.side)
    baselines: dict[str, Sequence[Panoptic]] = {"constant": [same] * len(test)}
    if "untrained" in answers:
        baselines["untrained"] = unpacked(answers, "untrained")
    table = counted(predictions, test)
    quality_of_images = np.ma.masked_invalid(table.quality["PQ"]).mean(1).filled(np.nan)
    return PanopticResult(
        float(dense(answers, "conf")[0]),
        _labels(table, predictions, test),
        {
            name: {
                metric: registry.metric(metric).measure(scores, test.units)
                for metric, scores in scores_of(prediction, test).items()
            }
            for name, prediction in baselines.items()
        },
        "" if setup.constant is None else test.classes[setup.constant],
        predictions,
        quality_of_images,
    )


def _labels(table: panoptic.Counted, predictions: Sequence[Panoptic], test: Dataset) -> tuple[OfLabel, ...]:
    stuff = stuff_of([*test.target, *predictions], len(test.classes))
    whole, results = table.summed(), []
    for label, scores in enumerate(panoptic.by_label(table, test.units)):
        there = bool(whole.there[label])
        results.append(
            OfLabel(
                test.classes[label],
                label not in stuff,
                int(whole.right[label] + whole.missed[label]),
                registry.metric("PQ").measure(scores, test.units) if there else None,
                float(whole.quality["SQ"][label]) if whole.right[label] else None,
                float(whole.quality["RQ"][label]) if there else None,
                int(whole.right[label]),
                int(whole.missed[label]),
                int(whole.alarms[label]),
            )
        )
    return tuple(results)
