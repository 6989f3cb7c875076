"""Evaluate classifiers: accuracy, subgroups, calibration and robustness.

Threshold and temperature are chosen on validation cases (``decide``); ``result`` computes the
figures of the report from the answers of all trainings of one procedure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Dataset, Rows
from souron.evaluation import gradcam
from souron.evaluation.answers import Answers, Sparse, Trainings, dense, stacked
from souron.evaluation.vision import corruptions
from souron.metrics import calibration, classification
from souron.metrics.classification import score
from souron.stats import verdict
from souron.stats.records import Measure
from souron.utils.messages import UserError, _

WORK = 2e12  # floating-point operations for corrupted images: about 20 s on two cores
FEWEST_DISTURBED = 20  # cases; fewer say nothing
LOOKED_AT = 4  # hits, and as many misses, with a heat map in each test part
HEAT_SIDE = 64  # side in pixels of a stored heat map
PREVALENCES = (0.01, 0.05, 0.2, 0.5)
MOST_VALUES = 8  # of a column that forms subgroups
FEW_PATIENTS = 5  # of a class; with fewer its intervals are unreliable
SMALL_GROUP = 20  # cases, or half as many patients, that say little


def decide(system: Any, val: Dataset, positive: int | None, sensitivity: float | None) -> dict[str, float]:
    """Choose threshold and temperature on validation cases.

    ``threshold`` is the probability of the ``positive`` class from which a case is called positive,
    chosen to reach ``sensitivity``; ``temperature`` calibrates the probabilities, see
    ``metrics.calibration``.
    """
    if not len(val):
        return {"threshold": 0.5, "temperature": 1.0}
    probability, label = probabilities(system, val), val.target.numpy()
    threshold = 0.5
    if positive is not None:
        sure, y_true = probability[:, positive], label == positive
        threshold = classification.choose_threshold(y_true, sure, sensitivity)
    return {"threshold": threshold, "temperature": calibration.temperature(probability, label)}


@torch.inference_mode()
def probabilities(system: Any, cases: Dataset) -> NDArray[np.float64]:
    """Compute class probabilities, (cases, classes)."""
    system.eval()
    return system.probabilities(system.loader(cases)).double().numpy()


def disturbed_cases(cases: int, flops: int, trainings: int = 1) -> int:
    """Return the number of test cases that ``robustness`` uses."""
    most = int(WORK / (corruptions.steps() * max(1, flops)))
    if most < FEWEST_DISTURBED:
        return 0
    return min(cases, max(1, 200 // trainings), -(-most // trainings))


def robustness(system: Any, test: Dataset, flops: int, trainings: int = 1) -> Iterator[tuple[float, Sparse | None]]:
    """Yield (fraction done 0..1, correctness on corrupted images of some test cases).

    Correctness is (cases, disturbances), given with the last step only. Nothing is yielded where
    the network is too large for this to take seconds.
    """
    count = disturbed_cases(len(test), flops, trainings)
    if not count:
        return
    rows = torch.linspace(0, len(test) - 1, count).long()
    columns = []
    for _name, _level, right in corruptions.robustness(system, test.only(rows), count):
        columns.append(right.float())
        share = len(columns) / corruptions.steps()
        yield share, Sparse(rows, torch.stack(columns, 1)) if share == 1 else None


def heat_maps(system: Any, answers: Answers, test: Dataset) -> Sparse | None:
    """Compute heat maps of the most confident misses and hits, (cases, side, side).

    None where no method applies to the network.
    """
    if gradcam.method(system) is None:
        return None
    probability = answers["probability"]
    assert isinstance(probability, Tensor)
    sure, predicted = probability.max(1)
    wrong = predicted != test.target
    rankings = [sure.masked_fill(~which, -1.0).argsort(descending=True) for which in (wrong, ~wrong)]
    rows = torch.cat(
        [rankings[0][: min(LOOKED_AT, int(wrong.sum()))], rankings[1][: min(LOOKED_AT, int((~wrong).sum()))]]
    )
    maps = []
    for row in rows.split(2):  # small batches: the autograd graph is kept in memory
        batch = system.batch(Rows(test.only(row).input.to(system.device), None))
        heat = gradcam.heat(system, batch.image, predicted[row])
        maps.append(F.interpolate(heat[:, None], (HEAT_SIDE, HEAT_SIDE), mode="bilinear")[:, 0])
    return Sparse(rows, torch.cat(maps)) if maps else None


@dataclass(frozen=True)
class ComparedLabels:
    """Predicted labels of compared classifiers."""

    predicted: dict[str, Tensor]  # system -> (seeds, cases)


def positive(wish: str | None, labels: Sequence[str]) -> int | None:
    """Return the index of the positive class.

    It is the class named ``wish``, else, of two classes, the one whose name does not denote an
    absence; None for more classes. Raises UserError where no class has that name.
    """
    if wish is not None:
        if wish not in labels:
            raise UserError(
                "positive",
                _("no class is named {name!r}").format(name=wish),
                expected=", ".join(labels),
                fix=f"positive={labels[-1]}",
            )
        return list(labels).index(wish)
    return classification.positive_class(labels) if len(labels) == 2 else None


def few_patients(cases: Dataset, label: int, others: bool = False) -> int | None:
    """Return the number of patients of a class where they are too few for an interval.

    ``others`` counts all other classes instead; cases are counted where patients are unknown. None
    from ``FEW_PATIENTS`` on, and where there are none, for which there is no figure.
    """
    rows = ((cases.target == label) != others).nonzero().flatten().tolist()
    units = cases.units
    count = len({units[row] for row in rows}) if units else len(rows)
    return count if 0 < count < FEW_PATIENTS else None


@dataclass(frozen=True)
class OfClass:
    """Recall and precision of one class, with the most probable class as prediction."""

    name: str
    cases: int
    recall: Measure
    precision: Measure


@dataclass(frozen=True)
class Subgroup:
    column: str
    value: str
    measures: dict[str, Measure]
    small: bool  # too few cases to say much


@dataclass(frozen=True)
class Calibration:
    brier: Measure
    error: float  # expected calibration error
    curve: list[calibration.Bin]
    confidence: NDArray[np.float64]  # (cases,) probability of the predicted label


@dataclass(frozen=True)
class Disturbed:
    name: str  # "" undisturbed
    level: int
    accuracy: Measure
    loss: verdict.Difference | None  # compared with the original images


@dataclass(frozen=True)
class ClassificationResult:
    """The figures of a classifier's report."""

    measures: dict[str, Measure]  # accuracy first
    positive: str  # the positive class, or ""
    thresholds: tuple[float, float]  # minimum and maximum over the trainings
    prevalence: float | None  # used for the predictive values; None: that of the cases
    predictive: list[tuple[float, Measure, Measure]]  # prevalence, positive and negative value
    roc: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    subgroups: list[Subgroup]
    before: Calibration
    after: Calibration  # after temperature scaling
    temperatures: tuple[float, float]
    disturbed: list[Disturbed]
    sizes: list[tuple[int, Measure]]  # training cases, accuracy
    more: verdict.Difference | None  # all training cases compared with half of them
    looked_at: list[tuple[int, Tensor]]  # row of the case, heat (side, side)
    by_class: list[OfClass]

    def as_json(self) -> dict[str, Any]:
        """Return subgroups and calibration, as ``souron val --json`` prints them."""
        return {
            "subgroups": [
                {
                    "column": group.column,
                    "value": group.value,
                    "measures": {name: asdict(m) for name, m in group.measures.items()},
                    "small": group.small,
                }
                for group in self.subgroups
            ],
            "calibration": {
                "temperature": list(self.temperatures),
                "before": _calibration_json(self.before),
                "after": _calibration_json(self.after),
            },
            "decision": {"positive": self.positive or None, "threshold": list(self.thresholds)},
        }


def _calibration_json(result: Calibration) -> dict[str, Any]:
    return {
        "brier": asdict(result.brier),
        "expected_calibration_error": result.error,
        "curve": [asdict(point) for point in result.curve],
    }


def measures(
    seeds: Sequence[Answers], test: Dataset, positive: int | None, prevalence: float | None, training: Any = None
) -> dict[str, Measure]:
    """Return each metric with its interval; with a ``positive`` class also those of a threshold."""
    groups, probability, label = test.units, stacked(seeds, "probability"), test.target.numpy()
    measures_of = _of(probability, label, groups, training)
    if positive is not None and "threshold" in seeds[0]:
        predicted = probability[..., positive] >= stacked(seeds, "threshold")
        y_true = label == positive
        measures_of |= classification.at_threshold(y_true, predicted, groups, prevalence, trainings=training)
    return measures_of


def result(trainings: Trainings, positive: int | None, prevalence: float | None = None) -> ClassificationResult:
    """Compute all figures; ``prevalence`` is that of the positive class in later use."""
    cases, seeds, training = trainings.test, trainings.answers, trainings.training_of
    groups, probability, label = cases.units, stacked(seeds, "probability"), cases.target.numpy()
    result_measures = measures(seeds, cases, positive, prevalence, training)
    thresholds, temperatures = stacked(seeds, "threshold"), stacked(seeds, "temperature")
    predictive: list[tuple[float, Measure, Measure]] = []
    curve = None
    if positive is not None:
        sure, y_true = probability[..., positive], label == positive
        predicted = sure >= thresholds
        for share in sorted({*PREVALENCES, *([prevalence] if prevalence else [])}):
            there = classification.at_threshold(y_true, predicted, groups, share, trainings=training)
            at_share = [there[f"{sign} predictive value"] for sign in ("positive", "negative")]
            predictive.append((share, at_share[0], at_share[1]))
        if y_true.any() and not y_true.all():
            curve = classification.roc(y_true, sure[0])
    probability_after = _cooled(probability, temperatures)
    sizes, more = _sizes(trainings, result_measures["accuracy"])
    heat = seeds[0].get("heat")
    return ClassificationResult(
        measures=result_measures,
        positive=cases.classes[positive] if positive is not None else "",
        thresholds=_ends(thresholds),
        prevalence=prevalence,
        predictive=predictive,
        roc=curve,
        subgroups=list(_subgroups(cases, probability, training)),
        before=_calibration(probability, label, groups, result_measures["Brier score"]),
        after=_calibration(probability_after, label, groups, _brier(probability_after, label, groups, training)),
        temperatures=_ends(temperatures),
        disturbed=list(_disturbed(seeds[0].get("right"), groups, result_measures["accuracy"], training)),
        sizes=sizes,
        more=more,
        looked_at=[(int(row), heat_map) for row, heat_map in zip(heat.rows, heat.values, strict=True)]
        if isinstance(heat, Sparse)
        else [],
        by_class=list(by_class(cases, probability, training)),
    )


def by_class(
    cases: Dataset, probability: NDArray[np.float64], whose: NDArray[np.int64] | None = None
) -> Iterator[OfClass]:
    """Yield recall and precision of each class over all trainings; ``probability`` (repeats, cases, classes)."""
    label, predicted, units = cases.target.numpy(), probability.argmax(2), cases.units
    for k, name in enumerate(cases.classes):
        rates = classification.recall_and_precision(label == k, predicted == k, units, trainings=whose)
        yield OfClass(name, int((label == k).sum()), *rates)


def _of(
    probability: NDArray[np.float64],
    label: NDArray[np.int64],
    groups: list[str] | None,
    whose: NDArray[np.int64] | None,
) -> dict[str, Measure]:
    """Compute the metrics of ``probability`` (repeats, cases, labels).

    ``whose`` (repeats, cases) is the index of each answer's training.
    """
    y_true = torch.from_numpy(label)
    scores = [score(torch.from_numpy(repeat), y_true) for repeat in probability]
    tables = {name: np.stack([table[name].numpy() for table in scores]) for name in scores[0]}
    return {
        "accuracy": registry.metric("accuracy").measure(tables["accuracy"], groups, whose),
        "AUC": classification.auc(probability, label, groups, trainings=whose),
        "Brier score": _brier(probability, label, groups, whose),
        "log loss": registry.metric("log loss").measure(tables["log loss"], groups, whose),
    }


def _brier(
    probability: NDArray[np.float64],
    label: NDArray[np.int64],
    groups: list[str] | None,
    whose: NDArray[np.int64] | None,
) -> Measure:
    return registry.metric("Brier score").measure(calibration.brier(probability, label), groups, whose)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.5, 0.5)


def _cooled(probability: NDArray[np.float64], temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    result = probability.copy()
    for t in np.unique(temperature):
        result[temperature == t] = calibration.cool(probability[temperature == t], float(t))
    return result


def _calibration(
    probability: NDArray[np.float64], label: NDArray[np.int64], groups: list[str] | None, brier: Measure
) -> Calibration:
    return Calibration(
        brier,
        calibration.expected_error(probability, label),
        calibration.curve(probability, label, groups=groups),
        probability[0].max(1),
    )


def _subgroups(cases: Dataset, probability: NDArray[np.float64], whose: NDArray[np.int64] | None) -> Iterator[Subgroup]:
    units = cases.units
    for column, values in cases.columns.items():
        for value, rows in _values(values):
            label = cases.target.numpy()[rows]
            groups = [units[row] for row in rows] if units else None
            trainings = None if whose is None else whose[:, rows]
            measures = _of(probability[:, rows], label, groups, trainings)
            headline = {name: measures[name] for name in ("accuracy", "AUC")}
            patients = len(set(groups)) if groups else len(rows)
            small = len(rows) < SMALL_GROUP or patients < SMALL_GROUP / 2
            yield Subgroup(column, value, headline, small)


def _values(values: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return the rows of each value; numbers with many values are split at their median."""
    distinct = sorted({value for value in values if value})
    if len(distinct) > MOST_VALUES:
        numbers = [_number(value) for value in values]
        if any(n is None for n, value in zip(numbers, values, strict=True) if value):
            return []
        middle = float(np.median([n for n in numbers if n is not None]))
        return [
            (f"≤ {middle:g}", [i for i, n in enumerate(numbers) if n is not None and n <= middle]),
            (f"> {middle:g}", [i for i, n in enumerate(numbers) if n is not None and n > middle]),
        ]
    if len(distinct) < 2:
        return []
    return [(value, [i for i, own in enumerate(values) if own == value]) for value in distinct]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _disturbed(right: Any, groups: list[str] | None, accuracy: Measure, whose: Any = None) -> Iterator[Disturbed]:
    """Yield the accuracy under each disturbance, the undisturbed one first.

    Where that is the accuracy of the report, over the same cases, it has the report's interval.
    ``whose`` (repeats, cases) is the index of each answer's training, of which the first repeat's
    are disturbed.
    """
    if not isinstance(right, Sparse):
        return
    order = right.rows.argsort()
    table = right.values[order].double().numpy()  # (cases, steps)
    rows = right.rows[order].tolist()
    case_groups = [groups[row] for row in rows] if groups else None
    own_trainings = None if whose is None else whose[:1, rows]
    steps = [
        ("", 0),
        *(
            (name, level)
            for name, strengths in corruptions.DISTURBANCES.items()
            for level in range(1, len(strengths) + 1)
        ),
    ]
    for (name, level), scores in zip(steps, table.T, strict=True):
        loss = verdict.difference(scores, table[:, 0], groups=case_groups) if name else None
        own = registry.metric("accuracy").measure(scores, case_groups, own_trainings)
        same = not name and own.n == accuracy.n and math.isclose(own.value, accuracy.value)
        yield Disturbed(name, level, accuracy if same else own, loss)


def _sizes(trainings: Trainings, accuracy: Measure) -> tuple[list[tuple[int, Measure]], verdict.Difference | None]:
    """Return accuracy by training cases, and the gain from the second half of them.

    With all training cases it is the ``accuracy`` of the report, with its interval.
    """
    if not trainings.fewer:
        return [], None
    groups, whose = trainings.test.units, trainings.training_of
    of_folds = None if whose is None else whose[:1]  # with fewer cases, each fold of the first repeat trains once
    answers = {**trainings.fewer, 1.0: trainings.answers[0]}
    right = {
        share: (dense(answers_of_share, "probability").argmax(1) == trainings.test.target).double().numpy()
        for share, answers_of_share in sorted(answers.items())
    }
    sizes = [
        (
            trainings.learnt_from[share],
            accuracy if share == 1.0 else registry.metric("accuracy").measure(table, groups, of_folds),
        )
        for share, table in right.items()
    ]
    return sizes, verdict.difference(right[1.0], right[max(trainings.fewer)], groups=groups)
