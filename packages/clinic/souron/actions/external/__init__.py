"""External validation: a trained system on another hospital's cases, beside its own test.

Measures side by side, the mix of cases, the inputs as the network sees them, the prevalence that its probabilities
imply, and whether to recalibrate it, to refit its head or to train again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from souron import registry
from souron.action import Action, Given
from souron.actions.external import advice, sides
from souron.actions.external.record import ExternalRecord, Prevalence
from souron.actions.external.sides import Side
from souron.evaluation import external as comparison
from souron.hub import names
from souron.kinds.signature import Choice
from souron.metrics import classification
from souron.runs import folder as run_folder
from souron.runs.events import Event
from souron.stats.label_shift import estimated_prevalence
from souron.stats.records import Measure
from souron.utils.messages import N_, UserError, _

MOST_SITES = 30


@dataclass(frozen=True)
class Options:
    data: Annotated[
        str, Choice(N_("the other hospital's cases, as for souron val; labels may be missing"), metavar="D")
    ] = ""
    group: Annotated[
        str | None,
        Choice(N_("which images belong to one patient: a column, a pattern for file names, or none"), metavar="G"),
    ] = None
    allow_leak: Annotated[bool, Choice(N_("ignore leakage of patients or images (not recommended)"))] = False
    window: Annotated[
        str | None, Choice(N_("grey values of DICOM to show: centre,width; full; the file's"), metavar="C,W")
    ] = None
    cases: Annotated[
        int, Choice(N_("most cases of each side whose inputs are compared (default 300)"), low=20, high=1000)
    ] = 300
    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0


class External(Action):
    """Validate a run on data of another hospital."""

    title = N_("Validate a run on another hospital's data, beside its own test.")
    examples = (
        "souron external runs/classify/cnn-photos data=other/labels.csv",
        "souron external runs/classify/cnn-photos data=other/unlabelled/",
    )
    group = "train"
    question = N_("Does it travel?")
    given = Given("RUN", N_("a run's folder"))
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        if not options.data:
            raise UserError(
                "option",
                _("{argument} is missing").format(argument="data="),
                expected=_("the other hospital's cases"),
                fix=self.examples[0],
                exit=2,
            )
        folder = _folder(given[0])
        if str(options.data) == str(run_folder.read_args(folder)["data"]):
            raise UserError(
                "same data",
                _("{data} is the run's own data").format(data=options.data),
                expected=_("other data; its own test is that of souron val"),
                fix=f"souron val {given[0]}",
                exit=2,
            )
        wanted = {"group": options.group, "window": options.window, "allow_leak": options.allow_leak}
        yield Event("data", text=options.data)
        there = sides.external(folder, options.data, {name: value for name, value in wanted.items() if value})
        yield Event("test", 0.3, text=_("the run's own test"))
        here = sides.internal(folder)
        yield Event("test", 0.6, text=_("inputs"))
        record = compare(folder, here, there, options)
        record.run, record.data = str(given[0]), options.data
        record.folder = self.new_folder(Path(given[0]).name)
        yield Event("done", 1.0, record=record, folder=record.folder)


def _folder(name: str) -> Path:
    """Return the folder of a run with test cases of its own. Raises UserError."""
    meaning = names.known(name)
    if isinstance(meaning, names.PublishedFolder) or (isinstance(meaning, names.System) and meaning.published):
        raise UserError(
            "option",
            _("{name} has no test cases of its own").format(name=name),
            expected=_("a run's folder"),
            fix=f"souron val {name} data=FOLDER",
            exit=2,
        )
    return run_folder.find(name)


def compare(folder: Path, here: Side, there: Side, options: Options) -> ExternalRecord:
    """Compare both sides of a run in ``folder``."""
    classifier = there.probability is not None
    classes = there.classes if classifier else ()
    positive = sides.positive(folder, classes) if classifier else None
    record = ExternalRecord(comparison.side_by_side(here.measures, there.measures), here, there, classes, positive)
    record.mix = comparison.case_mix(here.columns, there.columns)
    if classifier:
        record.prevalence = _prevalence(folder, here, there, options.seed)
    if positive is not None:
        record.lines = here.calibration(positive), there.calibration(positive)
    reference = sides.held_out(folder, here)
    if reference is not None and there.cases is not None:
        record.inputs = comparison.input_shift(there.model, reference, there.cases, options.cases, options.seed)
    record.inputs_missing = record.inputs is None
    record.sites = _sites(there)
    record.advice = _advice(folder, record, options.seed)
    return record


def _prevalence(folder: Path, here: Side, there: Side, seed: int) -> list[Prevalence]:
    """Return for each class its shares on both sides, and the share that the probabilities imply."""
    counts = sides.training_labels(folder, here)
    estimated: Sequence[Measure | None] = [None] * len(there.classes)
    if min(counts.values(), default=0) > 0:
        estimated = estimated_prevalence(there.calibrated(), list(counts.values()), there.units, seed=seed)
    own = _shares(here)
    other = _shares(there)
    return [
        Prevalence(name, counts[name], own.get(name), other.get(name), found)
        for name, found in zip(there.classes, estimated, strict=True)
    ]


def _shares(side: Side) -> dict[str, Measure]:
    return {} if side.truth is None else comparison.prevalences(side.truth, side.classes, side.units)


def _sites(there: Side) -> dict[str, dict[str, Measure]]:
    """Return accuracy and AUC at each site of the other data; {} where no column names several."""
    names_of = np.asarray(there.columns.get(comparison.SITE, ()))
    every = [name for name in np.unique(names_of).tolist() if name] if len(names_of) else []
    if there.probability is None or there.truth is None or not 1 < len(every) <= MOST_SITES:
        return {}
    found = {}
    for name in every:
        rows = np.flatnonzero(names_of == name)
        units = None if there.units is None else [there.units[row] for row in rows.tolist()]
        right = there.probability[0][rows].argmax(1) == there.truth[rows]
        found[name] = {"accuracy": registry.metric("accuracy").measure(right, units)}
        if len(np.unique(there.truth[rows])) > 1:
            found[name]["AUC"] = classification.auc(there.probability[:, rows], there.truth[rows], units)
    return found


def _advice(folder: Path, record: ExternalRecord, seed: int) -> list[advice.Advice]:
    auc = next((one for one in record.changes if one.name == "AUC"), None)
    there = record.external
    if auc is None or there.truth is None or not np.isfinite(auc.shift.low):
        return []
    rarest = min(float((there.truth == number).mean()) for number in range(len(there.classes)))
    share = rarest if record.positive is None else float((there.truth == record.positive).mean())
    return advice.advise(
        auc,
        record.lines[1],
        share,
        lambda: None if there.cases is None else advice.refitted_head(there.model, there.cases, seed),
        sum(sides.training_labels(folder, record.internal).values()),
        record.positive is not None,
    )


__all__ = ["External", "ExternalRecord", "Options"]
