"""How far to trust a classifier: what it is right on, for whom, how sure it may be of itself.

A ``Trial`` tests one training on cases that it never saw; ``Answers`` gather what all trainings of
one procedure said (one, or each fold of each repeat); ``trust`` makes the figures. Whatever is
chosen, threshold and temperature, is chosen on validation cases.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset, Loader
from souron.data.splits import Split
from souron.evaluation import corruptions, gradcam
from souron.metrics import calibration, classification
from souron.metrics.classification import score
from souron.stats import intervals, verdict
from souron.stats.records import Measure
from souron.utils import files
from souron.utils.messages import UserError, _

WORK = 2e12  # floating-point operations that disturbed pictures may cost: about 20 s on two cores
FEWEST_DISTURBED = 20  # cases; with fewer nothing is seen
LOOKED_AT = 4  # hits, and as many misses, that are looked at in each test part
HEAT_SIDE = 64  # pixels of a kept map
PREVALENCES = (0.01, 0.05, 0.2, 0.5)
MOST_VALUES = 8  # of a column that subgroups are made of
ORDER = ("accuracy", "AUC", "sensitivity", "specificity", "positive predictive value",
         "negative predictive value", "balanced accuracy", "Brier score", "log loss")  # fmt: skip
REHEARSED = 16  # cases
SMALL_GROUP = 20  # cases, or half as many patients, that say little


@dataclass(frozen=True)
class Decision:
    """What was chosen on validation cases."""

    threshold: float = 0.5  # from which probability of the positive class on a case is called so
    temperature: float = 1.0  # see ``calibration``


@dataclass
class Tested:
    """What one training says of its test cases."""

    probability: Tensor  # (cases, labels)
    decision: Decision
    right: Tensor = field(default_factory=lambda: torch.empty(0, 0))  # (disturbances, cases)
    rows: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))  # looked at
    heat: Tensor = field(default_factory=lambda: torch.empty(0, HEAT_SIDE, HEAT_SIDE))

    def write(self, path: Path, seconds: float) -> None:
        names = ("probability", "right", "rows", "heat")
        tensors = {name: getattr(self, name) for name in names}
        files.write_tensors(path, tensors, {**asdict(self.decision), "seconds": seconds})

    @classmethod
    def read(cls, path: Path) -> tuple["Tested", float]:
        """And the seconds that its training took."""
        tensors, about = files.read_tensors(path)
        seconds = about.pop("seconds")
        return cls(decision=Decision(**about), **tensors), seconds


@dataclass(frozen=True)
class Trial:
    positive: int | None = None  # the class that is to be found, where one is
    sensitivity: float | None = None  # that the threshold must reach on validation cases

    def decide(self, system: Any, val: Dataset) -> Decision:
        if not len(val):
            return Decision()
        said, label = _said(system, val), val.label.numpy()
        threshold = 0.5
        if self.positive is not None:
            sure, truly = said[:, self.positive], label == self.positive
            threshold = classification.choose_threshold(sure, truly, self.sensitivity)
        return Decision(threshold, calibration.temperature(said, label))

    def test(self, system: Any, val: Dataset, test: Dataset) -> Tested:
        return self.again(system, test, self.decide(system, val))

    def again(self, system: Any, test: Dataset, decision: Decision) -> Tested:
        return Tested(torch.from_numpy(_said(system, test)), decision)

    def rehearse(self, system: Any, test: Dataset, flops: int, folds: int = 1) -> None:
        """Once what testing does again and again, so that its memory can be foretold."""
        some = test.only(range(min(REHEARSED, len(test))))
        tested = self.again(system, some, Decision())
        self.look(tested, system, some)
        for _done in islice(self.strain(tested, system, test, flops, folds), 2):
            pass

    def strain(
        self, tested: Tested, system: Any, test: Dataset, flops: int, folds: int = 1
    ) -> Iterator[float]:
        """Fill in what the disturbed pictures of some test cases come to; how far it is, 0..1.
        Nothing where the network is too large for it to take seconds."""
        most = int(WORK / (corruptions.steps() * max(1, flops)))
        if most < FEWEST_DISTURBED:
            return
        count = min(len(test), 200 // folds, -(-most // folds))
        rows = torch.linspace(0, len(test) - 1, count).long()
        tested.right = torch.full((corruptions.steps(), len(test)), torch.nan)
        found = corruptions.robustness(system, test.only(rows), count)
        for step, (_name, _level, right) in enumerate(found):
            tested.right[step, rows] = right
            yield (step + 1) / corruptions.steps()

    def look(self, tested: Tested, system: Any, test: Dataset) -> None:
        """Fill in where the network looked on its surest misses and hits."""
        if gradcam.method(system) is None:
            return
        sure, said = tested.probability.max(1)
        wrong = said != test.label
        ranked = [
            sure.masked_fill(~which, -1.0).argsort(descending=True) for which in (wrong, ~wrong)
        ]
        rows = torch.cat([ranked[0][: min(LOOKED_AT, int(wrong.sum()))],
                          ranked[1][: min(LOOKED_AT, int((~wrong).sum()))]])  # fmt: skip
        maps = []
        for row in rows.split(2):  # a graph of all that was computed is kept, and may be large
            chosen = test.only(row)
            batch = system.prepare(chosen.image.to(system.device), chosen.label.to(system.device))
            heat = gradcam.heat(system, batch.image, said[row])
            maps.append(F.interpolate(heat[:, None], (HEAT_SIDE, HEAT_SIDE), mode="bilinear")[:, 0])
        tested.rows, tested.heat = rows, torch.cat(maps)


@torch.inference_mode()
def _said(system: Any, cases: Dataset) -> NDArray[np.float64]:
    system.eval()
    feed = Loader(cases, system.prepare, device=system.device)
    return system.probabilities(feed).double().numpy()


def positive(wish: str | None, labels: Sequence[str]) -> int | None:
    """The class that is to be found: the one that was named, else of two the one that does not
    read as an absence; None of more. Raises UserError where no label is named so."""
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


@dataclass
class Answers:
    """What all trainings of one procedure said of the cases, each case by one that never saw it."""

    cases: Dataset
    kept: Decision  # of the network that is kept
    probability: Tensor  # (repeats, cases, labels)
    threshold: Tensor  # (repeats, cases): that of the training which was asked
    temperature: Tensor  # (repeats, cases)
    training: Tensor  # (repeats, cases), its number
    fewer: dict[float, Tensor] = field(default_factory=dict)  # share of the training cases ->
    # (cases, labels), of the first repeat
    learnt_from: dict[float, int] = field(default_factory=dict)  # share -> cases, of a fold
    right: Tensor = field(default_factory=lambda: torch.empty(0, 0))  # (disturbances, cases)
    looked_at: list[tuple[int, Tensor]] = field(default_factory=list)  # row, heat (side, side)

    @classmethod
    def of(cls, cases: Dataset, tested: Tested) -> "Answers":
        """One training's."""
        made = cls.none(cases, tested.decision, 1)
        rows = torch.arange(len(cases))
        made.add(tested, 0, Split(rows[:0], rows[:0], rows))
        return made

    @classmethod
    def none(cls, cases: Dataset, kept: Decision, repeats: int) -> "Answers":
        shape = repeats, len(cases)
        empty = torch.full((*shape, len(cases.labels)), torch.nan, dtype=torch.float64)
        half, one = torch.full(shape, 0.5).double(), torch.ones(shape).double()
        return cls(cases, kept, empty, half, one, torch.zeros(shape, dtype=torch.long))

    def add(self, tested: Tested, repeat: int, split: Split, share: float = 1.0) -> None:
        """Enter what one training, of a ``share`` of the cases, said of its test part."""
        rows = split.test
        self.learnt_from.setdefault(share, len(split.train))
        if share < 1:
            empty = torch.full_like(self.probability[0], torch.nan)
            self.fewer.setdefault(share, empty)[rows] = tested.probability
            return
        self.probability[repeat, rows] = tested.probability
        self.threshold[repeat, rows] = tested.decision.threshold
        self.temperature[repeat, rows] = tested.decision.temperature
        self.training[repeat, rows] = self.training.max() + 1
        if tested.right.numel():
            if not self.right.numel():
                self.right = torch.full((len(tested.right), len(self.cases)), torch.nan)
            self.right[:, rows] = tested.right
        whole = rows[tested.rows].tolist()
        self.looked_at += list(zip(whole, tested.heat, strict=True))

    def write(self, path: Path) -> None:
        names = ("probability", "threshold", "temperature", "training", "right")
        tensors = {name: getattr(self, name) for name in names}
        tensors |= {f"fewer {share}": said for share, said in self.fewer.items()}
        files.write_tensors(path, tensors, {
            "kept": asdict(self.kept),
            "learnt_from": list(self.learnt_from.items()),
        })  # fmt: skip

    @classmethod
    def read(cls, path: Path, cases: Dataset) -> "Answers":
        """``cases`` in the order of when it was written; those of other data for ``kept`` alone."""
        tensors, about = files.read_tensors(path)
        fewer = {
            float(name.removeprefix("fewer ")): tensors.pop(name)
            for name in list(tensors)
            if name.startswith("fewer ")
        }
        learnt_from = dict(about["learnt_from"])
        return cls(
            cases,
            Decision(**about["kept"]),
            tensors["probability"],
            tensors["threshold"],
            tensors["temperature"],
            tensors["training"],
            fewer=fewer,
            learnt_from=learnt_from,
            right=tensors["right"],
        )


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
    confidence: NDArray[np.float64]  # (cases,) of the most probable label


@dataclass(frozen=True)
class Disturbed:
    name: str  # "" undisturbed
    level: int
    accuracy: Measure
    loss: verdict.Difference | None  # against the undisturbed pictures


@dataclass(frozen=True)
class ClassificationResult:
    """The figures of a trust report."""

    measures: dict[str, Measure]  # accuracy first
    positive: str  # the class that is to be found, or ""
    thresholds: tuple[float, float]  # the lowest and the highest of the trainings
    prevalence: float | None  # that the predictive values are for; None: that of the cases
    predictive: list[tuple[float, Measure, Measure]]  # prevalence, positive and negative value
    roc: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    subgroups: list[Subgroup]
    before: Calibration
    after: Calibration  # with the temperature
    temperatures: tuple[float, float]
    disturbed: list[Disturbed]
    sizes: list[tuple[int, Measure]]  # training cases, accuracy
    more: verdict.Difference | None  # of all the training cases against half of them
    looked_at: list[tuple[int, Tensor]]  # row of the case, heat (side, side)

    def as_json(self) -> dict[str, Any]:
        """Subgroups and calibration, as ``souron val --json`` prints them."""
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


def _calibration_json(found: Calibration) -> dict[str, Any]:
    return {
        "brier": asdict(found.brier),
        "expected_calibration_error": found.error,
        "curve": [asdict(one) for one in found.curve],
    }


def trust(answers: Answers, trial: Trial, prevalence: float | None = None) -> ClassificationResult:
    """What the answers come to. ``prevalence``: the positive class's share in later use."""
    cases = answers.cases
    groups = cases.units
    probability, label = answers.probability.numpy(), cases.label.numpy()
    found = trial.positive
    whose = None if int(answers.training.max()) < 2 else answers.training.numpy()
    measures = _of(probability, label, groups, whose)
    predictive: list[tuple[float, Measure, Measure]] = []
    curve = None
    if found is not None:
        sure, truly = probability[..., found], label == found
        said = sure >= answers.threshold.numpy()
        at = classification.at_threshold(said, truly, groups, prevalence, trainings=whose)
        measures = {name: {**measures, **at}[name] for name in ORDER}
        for share in sorted({*PREVALENCES, *([prevalence] if prevalence else [])}):
            there = classification.at_threshold(said, truly, groups, share, trainings=whose)
            at_share = [there[f"{sign} predictive value"] for sign in ("positive", "negative")]
            predictive.append((share, at_share[0], at_share[1]))
        if truly.any() and not truly.all():
            curve = classification.roc(sure[0], truly)
    cooled = _cooled(probability, answers.temperature.numpy())
    sizes, more = _sizes(answers, groups)
    return ClassificationResult(
        measures=measures,
        positive=cases.labels[found] if found is not None else "",
        thresholds=_ends(answers.threshold),
        prevalence=prevalence,
        predictive=predictive,
        roc=curve,
        subgroups=list(_subgroups(cases, probability, whose)),
        before=_calibration(probability, label, groups, measures["Brier score"]),
        after=_calibration(cooled, label, groups, _brier(cooled, label, groups, whose)),
        temperatures=_ends(answers.temperature),
        disturbed=list(_disturbed(answers, groups)),
        sizes=sizes,
        more=more,
        looked_at=answers.looked_at,
    )


def _of(
    probability: NDArray[np.float64],
    label: NDArray[np.int64],
    groups: list[str] | None,
    whose: NDArray[np.int64] | None,
) -> dict[str, Measure]:
    """``probability`` (repeats, cases, labels), by the training ``whose`` (repeats, cases)"""
    truly = torch.from_numpy(label)
    each = [score(torch.from_numpy(one), truly) for one in probability]
    tables = {name: np.stack([one[name].numpy() for one in each]) for name in each[0]}
    return {
        "accuracy": intervals.interval(tables["accuracy"], groups, trainings=whose),
        "AUC": classification.auc(probability, label, groups, trainings=whose),
        "Brier score": _brier(probability, label, groups, whose),
        "log loss": intervals.loss_interval(tables["log loss"], groups, trainings=whose),
    }


def _brier(
    probability: NDArray[np.float64],
    label: NDArray[np.int64],
    groups: list[str] | None,
    whose: NDArray[np.int64] | None,
) -> Measure:
    return intervals.loss_interval(calibration.brier(probability, label), groups, trainings=whose)


def _ends(values: Tensor) -> tuple[float, float]:
    return (values.min().item(), values.max().item()) if values.numel() else (0.5, 0.5)


def _cooled(
    probability: NDArray[np.float64], temperature: NDArray[np.float64]
) -> NDArray[np.float64]:
    made = probability.copy()
    for t in np.unique(temperature):
        made[temperature == t] = calibration.cool(probability[temperature == t], float(t))
    return made


def _calibration(
    probability: NDArray[np.float64],
    label: NDArray[np.int64],
    groups: list[str] | None,
    brier: Measure,
) -> Calibration:
    return Calibration(
        brier,
        calibration.expected_error(probability, label),
        calibration.curve(probability, label, groups=groups),
        probability[0].max(1),
    )


def _subgroups(
    cases: Dataset, probability: NDArray[np.float64], whose: NDArray[np.int64] | None
) -> Iterator[Subgroup]:
    units = cases.units
    for column, values in cases.columns.items():
        for value, rows in _values(values):
            label = cases.label.numpy()[rows]
            groups = [units[row] for row in rows] if units else None
            asked = None if whose is None else whose[:, rows]
            measures = _of(probability[:, rows], label, groups, asked)
            chosen = {name: measures[name] for name in ("accuracy", "AUC")}
            patients = len(set(groups)) if groups else len(rows)
            small = len(rows) < SMALL_GROUP or patients < SMALL_GROUP / 2
            yield Subgroup(column, value, chosen, small)


def _values(values: Sequence[str]) -> list[tuple[str, list[int]]]:
    """The rows of each value; numbers with many values are halved at their median."""
    known = sorted({value for value in values if value})
    if len(known) > MOST_VALUES:
        numbers = [_number(value) for value in values]
        if any(n is None for n, value in zip(numbers, values, strict=True) if value):
            return []
        middle = float(np.median([n for n in numbers if n is not None]))
        return [
            (f"≤ {middle:g}", [i for i, n in enumerate(numbers) if n is not None and n <= middle]),
            (f"> {middle:g}", [i for i, n in enumerate(numbers) if n is not None and n > middle]),
        ]
    if len(known) < 2:
        return []
    return [(value, [i for i, own in enumerate(values) if own == value]) for value in known]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _disturbed(answers: Answers, groups: list[str] | None) -> Iterator[Disturbed]:
    if not answers.right.numel():
        return
    tried = answers.right[0].isfinite()
    right = answers.right[:, tried].double().numpy()
    some = [groups[row] for row in tried.nonzero().flatten().tolist()] if groups else None
    steps = [("", 0), *((name, level) for name, strengths in corruptions.DISTURBANCES.items()
                        for level in range(1, len(strengths) + 1))]  # fmt: skip
    for (name, level), scores in zip(steps, right, strict=True):
        loss = verdict.difference(scores, right[0], groups=some) if name else None
        yield Disturbed(name, level, intervals.interval(scores, some), loss)


def _sizes(
    answers: Answers, groups: list[str] | None
) -> tuple[list[tuple[int, Measure]], verdict.Difference | None]:
    """Accuracy by training cases, and what the second half of them brought."""
    if not answers.fewer:
        return [], None
    said = {**answers.fewer, 1.0: answers.probability[0]}
    right = {
        share: (one.argmax(1) == answers.cases.label).double().numpy()
        for share, one in sorted(said.items())
    }
    sizes = [
        (answers.learnt_from[share], intervals.interval(table, groups))
        for share, table in right.items()
    ]
    return sizes, verdict.difference(right[1.0], right[max(answers.fewer)], groups=groups)
