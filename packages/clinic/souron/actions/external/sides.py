"""The two sides of an external validation: a run's own test cases, and other data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from souron.data import load, prediction_table
from souron.data.dataset import Dataset
from souron.data.quality.warnings import texts
from souron.evaluation import run_predictions
from souron.evaluation.answers import Setup, stacked
from souron.evaluation.record import RunRecord
from souron.evaluation.vision import classification
from souron.metrics import calibration
from souron.metrics.risk_calibration import calibration_line
from souron.runs import evaluate, fingerprints, prepare
from souron.runs import folder as run_folder
from souron.stats.records import Measure
from souron.utils.messages import UserError, _

NO_LABELS = ("columns", "no image", "one class")  # codes of errors that cases without labels raise
FEWEST_HELD_OUT = 20  # validation cases that stand for the internal ones


@dataclass
class Side:
    """Cases of one side, with the answers of the run for them."""

    measures: dict[str, Measure]
    classes: tuple[str, ...] = ()
    probability: NDArray[np.float64] | None = None  # (trainings, cases, classes); None: no classifier
    temperature: NDArray[np.float64] | None = None  # (trainings, cases)
    truth: NDArray[np.int64] | None = None  # (cases,); None: no labels
    units: Sequence[Any] | None = None  # (cases,) patients
    cases: Dataset | None = None  # None where they are not on this computer
    model: Any = None
    unlike: float | None = None  # share of cases beyond the familiarity threshold of the run
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, Sequence[str]]:
        return dict(self.cases.columns) if self.cases is not None else {}

    def calibrated(self) -> NDArray[np.float64]:
        """Return the probabilities of the first training after temperature scaling, (cases, classes)."""
        assert self.probability is not None
        if self.temperature is None:
            return self.probability[0]
        pairs = zip(self.probability[0], self.temperature[0], strict=True)
        return np.stack([calibration.cool(each, float(t)) for each, t in pairs])

    def calibration(self, positive: int) -> dict[str, Measure] | None:
        """Return intercept and slope of the probabilities as predicted; None where one cannot be estimated."""
        if self.probability is None or self.truth is None:
            return None
        found, _reasons = calibration_line(self.probability[..., positive], self.truth == positive, self.units)
        return found if {"intercept", "slope"} <= set(found) else None


def of_record(record: RunRecord) -> Side:
    """Return the side that ``evaluate.examine`` evaluated."""
    cases = record.test
    assert cases is not None
    made = Side(record.measures, cases.classes, units=cases.units, cases=cases, model=record.model)
    made.notes, made.unlike = [*texts(record.warnings, record.folder), *record.notes], record.unlike
    answers, labels = record.answers, cases.labels
    if labels is None or "probability" not in answers[0]:
        return made
    probability = stacked(answers, "probability")
    if probability.ndim == 3 and probability.shape[1:] == (len(labels), len(cases.classes)):
        made.probability, made.truth = probability, np.asarray(labels)
        made.temperature = stacked(answers, "temperature") if "temperature" in answers[0] else None
    return made


def internal(folder: Path) -> Side:
    """Return the run's own test: evaluated again, or as the run keeps it where its data is not here."""
    one_threshold = evaluate.at_final_threshold(folder, run_folder.read_args(folder))
    try:
        made = of_record(evaluate.examine(folder))
        made.measures |= one_threshold
        return made
    except UserError as error:
        made = Side(evaluate.internal_measures(folder, {}))
        made.measures |= one_threshold if made.measures else {}
        made.notes.append(
            _("The run's own cases are not here as it knew them ({why}): its figures are those of its receipt.").format(
                why=error.found
            )
        )
    try:
        kept = run_predictions.of_run(folder)
    except UserError:
        return made
    made.classes, made.probability, made.truth = kept.classes, kept.methods[folder.name], kept.truth
    made.units = None if kept.groups is None else kept.groups.tolist()
    return made


def external(folder: Path, data: str, options: dict[str, Any]) -> Side:
    """Return the other data, with labels or without any. Raises UserError."""
    try:
        return of_record(evaluate.examine(folder, data, **options))
    except UserError as error:
        made = _unlabelled(folder, data, options) if error.code in NO_LABELS else None
        if made is None:
            raise
        return made


def _unlabelled(folder: Path, data: str, options: dict[str, Any]) -> Side | None:
    """Return cases without labels, answered by a classifier; None where they have labels, or it is none.

    Raises UserError where training images of the run, or its patients, are among them.
    """
    args = run_folder.read_args(folder)
    task, system = prepare.task_of(args), run_folder.load(folder)
    if not hasattr(system, "head") or not hasattr(system.spec, "labels"):
        return None
    side, group, window = system.spec.side, options.get("group"), options.get("window")
    try:
        cases = load.load(data, side, group, window, 0, formats=task.formats)
    except UserError:
        return None
    if cases.target is not None:
        return None
    cases = prepare.coloured(cases, system.spec.channels)
    shared = evaluate.overlap(folder, args, system, cases, task)
    if not options.get("allow_leak"):
        fingerprints.refuse(shared)
    setup = Setup(prepare.task_options(args, task), cases)
    answers = evaluate.answered_again(folder, task, system, setup, args).answers
    made = Side({}, tuple(system.spec.labels), stacked(answers, "probability"), units=cases.units, cases=cases)
    made.temperature = stacked(answers, "temperature") if "temperature" in answers[0] else None
    made.model, made.unlike = system, evaluate.unlike(folder, system, cases)
    made.notes = fingerprints.notes(shared)
    return made


def held_out(folder: Path, side: Side) -> Dataset | None:
    """Return internal cases of which the final network saw none, for its inputs there.

    Those of a cross-validation were training cases of the final network. Where its layers were frozen they cannot have
    changed them, so that all may stand for themselves; else the cases on which it was validated stand for all. None
    where there are none.
    """
    if side.cases is None or not (folder / "folds.csv").exists():
        return side.cases
    args = run_folder.read_args(folder)
    if args.get("freeze"):
        return side.cases
    split = prepare.read_split(folder, side.cases, prepare.task_of(args))
    return side.cases.only(split.val) if len(split.val) >= FEWEST_HELD_OUT else None


def training_labels(folder: Path, side: Side) -> dict[str, int]:
    """Return the training cases of each class, of the final network; of the test cases where no split names them."""
    try:
        columns = prediction_table.columns_of(folder / "split.csv")
        parts = zip(columns["label"], columns["part"], strict=True)
        named = [label for label, part in parts if part == "train"]
    except (UserError, KeyError):
        named = []
    if not set(side.classes) <= set(named) and side.truth is not None:
        named = [side.classes[number] for number in side.truth]
    return {name: named.count(name) for name in side.classes}


def positive(folder: Path, classes: Sequence[str]) -> int | None:
    """Return the number of the class to detect, as the run has it; None for more than two classes."""
    wish = run_folder.read_args(folder).get("positive")
    return classification.positive(wish, classes) if len(classes) == 2 else None


__all__ = ["Side", "external", "held_out", "internal", "positive", "training_labels"]
