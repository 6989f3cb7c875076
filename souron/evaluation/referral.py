"""Referral: the least confident answers of a classifier are passed on to a person; errors and prediction sets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from souron.data.predictions import Predictions
from souron.metrics import abstention, conformal
from souron.stats import intervals
from souron.stats.records import Measure

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)  # passed on, in the table and the plot
MOST_SITES = 30


@dataclass(frozen=True)
class Mistake:
    """One kind of mistake: its share in all answers, and in those that are not passed on."""

    name: str  # "error", "missed" (of the positive class) or "false alarms" (of the other)
    kept: Measure
    every: Measure
    difference: Measure | None  # kept - every: below 0 passing on helps; None where none, or all, are passed on


@dataclass(frozen=True)
class Covered:
    """The share of some cases whose sets hold the true class."""

    column: str  # "", "class" or "site"
    name: str
    measure: Measure


@dataclass(frozen=True)
class Referral:
    """One method's answers, of which the least confident are passed on."""

    method: str
    confidence: NDArray[np.float64]  # (trainings, cases)
    predicted: NDArray[np.int64]  # (trainings, cases)
    kept: NDArray[np.bool_]  # (trainings, cases)
    floor: float  # confidence below which an answer is passed on, the mean over trainings
    mistakes: tuple[Mistake, ...]
    area: Measure  # under the risk-coverage curve
    curve: tuple[NDArray[np.float64], NDArray[np.float64]]  # coverages and errors (cases,)
    points: tuple[tuple[float, Measure], ...]  # share passed on, error among the rest
    sizes: dict[str, Measure]  # "one", "several", "none": share of sets with so many classes
    floors: NDArray[np.float64]  # (classes,) probability from which a class belongs to the set of a new case
    covered: tuple[Covered, ...]

    @property
    def passed(self) -> float:
        """Share of the answers that are passed on."""
        return float(1 - self.kept.mean())

    def covers(self) -> Measure:
        """Return how often the sets of all cases hold the true class."""
        return self.covered[0].measure


def referral(data: Predictions, method: str, share: float, level: float = 0.95, each_class: bool = False) -> Referral:
    """Pass the ``share`` of a method's least confident answers on, and calibrate sets that hold the truth at ``level``.

    The answer is the most probable class, its confidence that probability. Each training has a floor of its own.
    """
    values, truth = data.methods[method], data.truth
    assert truth is not None
    groups = None if data.groups is None else list(data.groups)
    confidence, predicted = values.max(2), values.argmax(2)
    wrong = predicted != truth
    keep = abstention.kept(confidence, share)
    sets = conformal.cross_fitted(values, truth, level, groups, each_class)
    count = sets.sum(2)
    right = sets[:, np.arange(len(truth)), truth].astype(np.float64)
    sizes = {"one": count == 1, "several": count > 1, "none": count == 0}
    whole = np.concatenate(values), np.tile(truth, len(values))
    people = np.tile(np.arange(len(truth)) if groups is None else groups, len(values)).tolist()
    return Referral(
        method,
        confidence,
        predicted,
        keep,
        float(np.mean([abstention.floor(row, share) for row in confidence])),
        tuple(_mistakes(data, wrong, confidence, share, groups)),
        abstention.aurc(wrong, confidence, groups, trainings=data.trainings),
        abstention.risk_coverage(wrong, confidence),
        tuple(
            (part, abstention.error(wrong, confidence, part, groups, trainings=data.trainings))
            for part in sorted({*SHARES, share})
        ),
        {
            name: intervals.interval(mask.astype(np.float64), groups, trainings=data.trainings)
            for name, mask in sizes.items()
        },
        conformal.floors(*whole, level, people, each_class),
        tuple(
            Covered(column, name, intervals.interval(right, groups, trainings=data.trainings, among=among))
            for column, name, among in _subgroups(data)
        ),
    )


def _mistakes(
    data: Predictions, wrong: Any, confidence: Any, share: float, groups: Sequence[Any] | None
) -> Iterator[Mistake]:
    assert data.truth is not None
    among = {"error": np.ones(len(data.truth), bool)}
    if data.positive is not None:
        among |= {"missed": data.truth == data.positive, "false alarms": data.truth != data.positive}
    for name, cases in among.items():
        if cases.any():
            which: dict[str, Any] = {"groups": groups, "trainings": data.trainings, "among": cases}
            yield Mistake(
                name,
                abstention.error(wrong, confidence, share, **which),
                intervals.interval(wrong.astype(np.float64), **which),
                abstention.change(wrong, confidence, share, **which),
            )


def _subgroups(data: Predictions) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield all cases, those of each class that occurs, and those of each site."""
    assert data.truth is not None
    yield "", "", np.ones(len(data.truth), bool)
    for number, name in enumerate(data.classes):
        if (data.truth == number).any():
            yield "class", name, data.truth == number
    sites = sorted(set(data.sites))
    if 1 < len(sites) <= MOST_SITES:
        for site in sites:
            yield "site", site, np.array(data.sites) == site


def fewest_patients(level: float) -> int:
    """Return the number of calibration patients from which a set can leave a class out.

    >>> fewest_patients(0.95)
    19
    """
    return math.ceil(level / (1 - level) - 1e-9)


__all__ = ["Covered", "Mistake", "Referral", "fewest_patients", "referral"]
