"""Evaluate volume segmentation: figures by organ and case, baselines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.answers import Setup, Trainings, dense
from souron.metrics import froc, volumes
from souron.stats import intervals
from souron.stats.records import Measure
from souron.stats.verdict import Difference, difference
from souron.utils.messages import _

DICE, HD95, SURFACE, ERROR = "mean Dice", "HD95", "surface Dice at 2 mm", "volume error"
TOLERANCE = 2.0  # mm
SHARE = 0.1  # least fraction of an organ's voxels in a connected component
MOST_CLASSES = 64

Array = NDArray[Any]


@dataclass
class VolumeSetup(Setup):
    """A setup with the constant baseline, which ignores the volume: see ``atlas``."""

    atlas: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, dtype=torch.uint8))


@dataclass(frozen=True)
class OfOrgan:
    """Segmentation figures of one organ."""

    name: str
    cases: int  # cases with this organ
    dice: Measure | None  # None where no test case has it
    hd95: Measure | None  # mm
    truth: float  # mean volume in ml
    found: float
    error: Measure | None  # excess volume in ml, negative where too small
    parts: int = 0  # true connected parts, such as lesions
    sensitivity: Measure | None = None  # share of these parts that a predicted one touches
    alarms: Measure | None = None  # predicted parts that touch no true one, per case


@dataclass(frozen=True)
class VolumeResult:
    """The results of one run for its report."""

    organs: tuple[OfOrgan, ...]
    baselines: dict[str, dict[str, Measure]]  # "atlas", "untrained" -> its measures
    found: Array  # (cases, slices, rows, columns) uint8
    each: Array  # (cases,): mean Dice
    gain: Difference  # of the mean Dice, over that of the atlas

    def as_json(self) -> dict[str, Any]:
        return {
            "organs": {
                organ.name: {
                    "Dice": organ.dice.value,
                    "HD95": organ.hd95.value,
                    "ml": organ.found,
                    "true ml": organ.truth,
                    "parts": organ.parts,
                    "sensitivity of parts": organ.sensitivity.value,
                    "false parts per case": organ.alarms.value,
                }
                for organ in self.organs
                if organ.dice and organ.hd95 and organ.sensitivity and organ.alarms
            },
            "baselines": {
                name: {metric: measure.value for metric, measure in measures.items()}
                for name, measures in self.baselines.items()
            },
        }


def fault(data: Dataset) -> str:
    """Explain why these cases cannot be segmented, in the reader's language; "" where they can."""
    target = data.target
    if not data.volumes or not isinstance(target, Tensor) or target.ndim != 4:
        return _("{data} has no volumes with labels").format(data=data.name)
    if target.shape[1:] != data.input.shape[2:]:
        here, there = (" x ".join(map(str, x.shape[-3:])) for x in (data.input, target))
        return _("the volumes have {here} voxels, their labels {there}").format(here=here, there=there)
    if not 2 <= len(data.classes) <= MOST_CLASSES:
        return _("{count} classes, where 2 to {most} are segmented").format(count=len(data.classes), most=MOST_CLASSES)
    if int(target.max()) >= len(data.classes):
        return _("class {number}, where there are {count}").format(number=int(target.max()), count=len(data.classes))
    has_spacing = len(data.spacing) == len(data) and all(len(steps) == 3 and min(steps) > 0 for steps in data.spacing)
    return "" if has_spacing else _("{data} does not say how large its voxels are").format(data=data.name)


def parts_of(target: Tensor, classes: int) -> tuple[int, ...]:
    """Return the usual number of connected components of each class but the first.

    It is the median over the masks (N, slices, rows, columns), e.g. 2 for kidneys. Components below
    ``SHARE`` of the class do not count.
    """
    counts = np.zeros((len(target), classes - 1))
    for row, area in enumerate(target.numpy()):
        for label in range(1, classes):
            sizes = _sizes(area == label)[1]
            counts[row, label - 1] = (sizes >= SHARE * max(1, sizes.sum())).sum()
    return tuple(max(1, round(float(np.median(column)))) for column in counts.T)


def largest(area: Array, parts: Sequence[int]) -> Array:
    """Keep only the largest components of each class but the first, as many as in ``parts``.

    ``area`` is (slices, rows, columns); voxels are connected by faces.
    """
    result = area.copy()
    for label, most in enumerate(parts, 1):
        solid, sizes = _sizes(area == label)
        if len(sizes) > most:
            keep = np.zeros(len(sizes) + 1, bool)
            keep[np.argsort(-sizes, kind="stable")[:most] + 1] = True
            result[(solid > 0) & ~keep[solid]] = 0
    return result


def _sizes(where: Array) -> tuple[Array, Array]:
    """Label the connected components from 1 on; return labels and voxels of each."""
    solid, count = scipy.ndimage.label(where)
    return solid, np.bincount(solid.ravel(), minlength=count + 1)[1:]


def atlas(target: Tensor, rows: Any, classes: int) -> Tensor:
    """Return the most frequent label of each voxel over these rows, (slices, rows,
    columns) uint8.
    """
    labels = target.index_select(0, torch.as_tensor(rows, dtype=torch.long))
    votes = torch.stack([(labels == label).sum(0) for label in range(classes)])
    return votes.argmax(0).byte()


def agreements(predictions: Any, cases: Dataset) -> list[list[volumes.Agreement]]:
    """Compute the agreement for each case and each class but the first."""
    return [
        [
            volumes.agreement(prediction == label, true == label, cases.spacing[row], TOLERANCE)
            for label in range(1, len(cases.classes))
        ]
        for row, (prediction, true) in enumerate(zip(np.asarray(predictions), cases.target.numpy(), strict=True))
    ]


def scores_of(predictions: Any, cases: Dataset) -> dict[str, Array]:
    """Compute each metric, (cases,): the mean over a case's organs."""
    return _scores(agreements(predictions, cases))


def _scores(every: list[list[volumes.Agreement]]) -> dict[str, Array]:
    of = {
        DICE: lambda agreement: agreement.dice,
        HD95: lambda agreement: agreement.hd95,
        SURFACE: lambda agreement: agreement.surface_dice,
        ERROR: _share,
    }
    return {
        name: np.array([np.mean([figure(agreement) for agreement in case]) for case in every])
        for name, figure in of.items()
    }


def _share(agreement: volumes.Agreement) -> float:
    """Return the relative volume error; 1 where the organ is absent but was predicted."""
    return abs(agreement.error) / agreement.truth if agreement.truth else float(agreement.found > 0)


def dice_of(predictions: Any, cases: Dataset) -> Array:
    """Compute the mean Dice over a case's organs, (cases,)."""
    labels = range(1, len(cases.classes))
    return np.array(
        [
            np.mean([volumes.dice(prediction == label, true == label) for label in labels])
            for prediction, true in zip(np.asarray(predictions), cases.target.numpy(), strict=True)
        ]
    )


def result(trainings: Trainings, setup: VolumeSetup) -> VolumeResult:
    [answers] = trainings.answers
    test, predictions = setup.test, dense(answers, "found").numpy()
    every = agreements(predictions, test)
    baselines = {"atlas": setup.atlas[None].expand(len(test), -1, -1, -1)}
    if "untrained" in answers:
        baselines["untrained"] = dense(answers, "untrained")
    tables = {name: scores_of(prediction, test) for name, prediction in baselines.items()}
    dice = _scores(every)[DICE]
    return VolumeResult(
        tuple(
            _of_organ(
                name,
                [case[k] for case in every],
                test,
                froc.of_masks(test.target.numpy() == k + 1, predictions == k + 1),
            )
            for k, name in enumerate(test.classes[1:])
        ),
        {
            name: {metric: registry.metric(metric).measure(scores, test.units) for metric, scores in table.items()}
            for name, table in tables.items()
        },
        predictions,
        dice,
        difference(dice, tables["atlas"][DICE], groups=test.units),
    )


def _of_organ(name: str, cases: list[volumes.Agreement], test: Dataset, marks: froc.Marks) -> OfOrgan:
    rows = [row for row, agreement in enumerate(cases) if agreement.truth > 0]
    if not rows:
        return OfOrgan(name, 0, None, None, 0.0, 0.0, None)
    units = None if test.units is None else [test.units[row] for row in rows]
    there = [cases[row] for row in rows]
    return OfOrgan(
        name,
        len(rows),
        registry.metric(DICE).measure([agreement.dice for agreement in there], units),
        registry.metric(HD95).measure([agreement.hd95 for agreement in there], units),
        float(np.mean([agreement.truth for agreement in there])),
        float(np.mean([agreement.found for agreement in there])),
        intervals.interval([agreement.error for agreement in there], units),
        int(marks.lesions.sum()),
        *froc.at_threshold(marks, test.units),
    )
