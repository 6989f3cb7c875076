"""Evaluate a finished run again: on its own test cases, or on other data."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.data import load, splits
from souron.data.check import warnings as data_warnings
from souron.data.dataset import Dataset, check_classes
from souron.data.quality.warnings import of_run, texts
from souron.evaluation import familiarity, run_predictions
from souron.evaluation.answers import Trainings
from souron.evaluation.familiarity import Gauge
from souron.evaluation.record import Cost, RunRecord
from souron.hub import names
from souron.metrics import classification
from souron.runs import fingerprints, loading, prepare
from souron.runs import fit as run_fit
from souron.runs import folder as run_folder
from souron.runs import options as run_options
from souron.runs.options import EvaluateOptions
from souron.stats.records import Measure
from souron.task import Task
from souron.utils import files, units
from souron.utils.messages import UserError, _
from souron.utils.spelling import one_spelling

ANSWERS = "answers.safetensors"
NOTED = 0.2  # share of unfamiliar cases from which other data gets a note


def evaluate(folder: str | Path, data: str | Path | None = None, **options: Any) -> dict[str, Measure]:
    """Return the measures of ``examine``. Takes the same options; its warnings and notes become warnings."""
    record = examine(folder, data, **options)
    for note in [*texts(record.warnings, record.folder), *record.notes]:
        warnings.warn(note, stacklevel=2)
    return record.measures


Hasten = Callable[[Any, Dataset, Path | None], AbstractContextManager[Callable[[], str]]]


def _eager(_system: Any, _cases: Dataset, _folder: Path | None) -> AbstractContextManager[Callable[[], str]]:
    return nullcontext(lambda: "eager")


def examine(folder: str | Path, data: str | Path | None = None, hasten: Hasten = _eager, **options: Any) -> RunRecord:
    """Evaluate a run, or a ready-trained system, on its test cases or on all cases of other data.

    A system with its published weights (``resnet50``) is evaluated on all cases of other data.
    Choices made on the run's validation cases, such as a threshold, are kept. ``options`` are
    ``group``, ``allow_leak`` and ``window`` as in ``train``, and those of the task, such as
    ``prevalence`` or ``samples``. ``hasten(system, cases, folder)`` lets an engine answer within its
    block, and yields a function that names it, see ``inference.whole``.

    Raises UserError, also if other data holds training images of the run, copies of them or their
    patients without ``allow_leak``; and if a file of the run was changed after it ended. Allowed or
    uncheckable overlaps are listed in the record's ``notes``.
    """
    run_options.check_shares(prevalence=options.get("prevalence"))
    meaning = names.known(folder)
    if isinstance(meaning, names.PublishedFolder) or (isinstance(meaning, names.System) and meaning.published):
        return _examine_published(meaning, data, hasten, options)
    folder = Path(folder) if meaning is None else run_folder.folder_of(meaning)
    args = run_folder.read_args(folder)
    task = prepare.task_of(args)
    given, further = run_options.read(EvaluateOptions, options, "souron val --help")
    common = {name: value for name, value in given.items() if value}
    run_folder.refuse_changed(folder)
    args |= run_options.of_task(task.name, further)
    chosen = prepare.task_options(args, task)
    system = run_folder.load(folder)
    same = data is None or str(data) == str(args["data"])
    cases = cases_of(args | common, args["data"] if same else str(data), system.spec, task)
    record = RunRecord(
        folder,
        str(args["system"]),
        str(data or args["data"]),
        task.name,
        args["seed"],
        args["config"],
        args["seen"],
        0,
        0,
        {},
        [],
        Cost(0, 0),
        Cost(0, 0),
        "",
        {},
        test=cases,
        model=system,
        warnings=of_run(folder),
    )
    if same:
        own, split = cases, prepare.read_split(folder, cases, task)
    else:
        record.warnings = [*record.warnings, *data_warnings.of_data(record.data, cases, folder.parent.parent)]
        _note_overlap(record, overlap(folder, args, system, cases, task), bool(common.get("allow_leak")))
        record.internal = internal_measures(folder, further)
        _bring_to_one_threshold(record, args)
        cases = _with_classes_of(system, cases)
        rows = torch.arange(len(cases))
        own, split = cases, splits.Split(rows[:0], rows[:0], rows)
        if task.needs_training_data:
            own = cases_of(args, args["data"], system.spec, task)
            split = prepare.read_split(folder, own, task)
    *_before, step = task.setup(own, split, chosen)
    setup = step.result if same else task.against(cases, step.result)
    if same and (folder / "folds.csv").exists():
        setup.test = cases.only(splits.read_order(folder / "folds.csv", cases))
        trainings = Trainings.read(folder / ANSWERS, setup.test)
    else:
        with hasten(system, setup.test, folder) as engine:
            trainings = answered_again(folder, task, system, setup, args)
            record.engine = engine()
    record.unlike = unlike(folder, system, setup.test)
    if not same and record.unlike is not None and record.unlike > NOTED:
        far = _("{share} of these cases are unlike its training data (5 % of its validation cases are)")
        record.notes.append(far.format(share=units.percent(record.unlike)))
    record.test = setup.test
    record.answers, record.details = trainings.answers, task.result(trainings, setup)
    record.measures = task.measures(trainings.answers, setup, trainings.training_of)
    return record


def _note_overlap(record: RunRecord, shared: fingerprints.Overlap, allow_leak: bool) -> None:
    """Note what other data shares with training. Raises UserError without ``allow_leak``."""
    if not allow_leak:
        fingerprints.refuse(shared)
    record.leaking, record.torn = shared.files, tuple(shared.groups)
    record.notes = fingerprints.notes(shared)


def _examine_published(
    meaning: names.Meaning, data: str | Path | None, hasten: Hasten, options: dict[str, Any]
) -> RunRecord:
    """Evaluate a system with its published weights on all cases of ``data``. Raises UserError."""
    if data is None:
        raise UserError(
            "option",
            _("{name} has no test cases of its own").format(name=meaning.name),
            expected=_("data=, with images and what is true of them"),
            fix=f"souron val {meaning.name} data=FOLDER",
            exit=2,
        )
    system = loading.load(meaning, pretrained=True)
    task = registry.load_task(system.task)
    given, further = run_options.read(EvaluateOptions, options, "souron val --help")
    args = {"system": meaning.name, "data": str(data), "side": None, "seed": 0}
    args |= {name: value for name, value in given.items() if value}
    chosen = prepare.task_options(args | run_options.of_task(task.name, further), task)
    cases = _with_classes_of(system, cases_of(args, str(data), system.spec, task))
    task.check(cases, chosen)
    rows = torch.arange(len(cases))
    *_before, step = task.setup(cases, splits.Split(rows[:0], rows[:0], rows), chosen)
    setup = step.result
    with hasten(system, setup.test, None) as engine:
        events = run_fit.answer(task, system, setup.test, {}, setup, 0, details=False)
        trainings, answered_by = Trainings.of_one(setup.test, _result(events), {}), engine()
    record = RunRecord(
        Path(meaning.name),
        meaning.name,
        str(data),
        task.name,
        0,
        run_folder.as_plain(system.config),
        run_folder.as_plain(system.spec),
        0,
        0,
        {},
        [],
        Cost(0, 0),
        Cost(0, 0),
        "",
        {},
        test=setup.test,
        model=system,
        engine=answered_by,
    )
    named = meaning.system if isinstance(meaning, names.PublishedFolder) else meaning.name
    record.notes.append(
        _("published weights, trained on {data}: whether they have seen these cases cannot be checked").format(
            data=task.published_data(named)
        )
    )
    record.answers, record.details = trainings.answers, task.result(trainings, setup)
    record.measures = task.measures(trainings.answers, setup, trainings.training_of)
    return record


def _result(events: Iterator[Any]) -> Any:
    """Run a generator to its end and return its result."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def unlike(folder: Path, system: Any, cases: Dataset) -> float | None:
    """Return the share of cases beyond the run's familiarity threshold; None without one."""
    file = folder / familiarity.FILE
    return familiarity.share(Gauge.read(file), system, cases) if file.is_file() else None


def cases_of(args: dict[str, Any], data: str, spec: Any, task: Task) -> Dataset:
    """Load data as a system with that ``spec`` takes it. Raises UserError."""
    side = getattr(spec, "side", args["side"])
    found = load.load(
        data, side, args.get("group"), args.get("window"), task.fewest_classes, formats=task.formats, target=task.target
    )
    return prepare.coloured(found, getattr(spec, "channels", 0))


def answered_again(folder: Path, task: Task, system: Any, setup: Any, args: dict[str, Any]) -> Trainings:
    """Return the final network's answers for the test cases, with the stored decision."""
    decision: dict[str, float] = {}
    if (folder / ANSWERS).exists():
        decision = Trainings.read(folder / ANSWERS, setup.test.only([])).decision
    events = run_fit.answer(task, system, setup.test, decision, setup, args["seed"], details=False)
    return Trainings.of_one(setup.test, _result(events), decision)


def internal_measures(folder: Path, further: dict[str, Any]) -> dict[str, Measure]:
    """Return a run's measures on its own test cases, as its receipt keeps them.

    They are measured again where options of the task (``further``) may change them. {} where the run's own data is
    not here, and for a run without measures.
    """
    if further:
        try:
            return examine(folder, **further).measures
        except UserError:
            return {}
    try:
        kept = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))["measures"]
        found = {str(name): Measure(**values) for name, values in kept.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: one for name, one in found.items() if _is_sound(one)}


def _bring_to_one_threshold(record: RunRecord, args: dict[str, Any]) -> None:
    """Replace the internal measures at the thresholds of folds by those at the final network's, and note it."""
    moved = at_final_threshold(record.folder, args)
    if record.internal and moved:
        record.internal |= moved
        record.notes.append(
            _(
                "Internally the networks of the folds answered, externally the final network, on both sides at the "
                "final network's threshold; the run's own report has each fold's threshold."
            )
        )


def at_final_threshold(folder: Path, args: dict[str, Any]) -> dict[str, Measure]:
    """Return a cross-validated classifier's measures at the final network's threshold, for the cases of all folds.

    Each fold has a threshold of its own, and the final network another one: figures at different thresholds are not
    to be compared. {} for other runs, which have one threshold.
    """
    if not (folder / "folds.csv").exists():
        return {}
    try:
        found = run_predictions.of_run(folder, str(args.get("positive") or ""))
    except UserError:
        return {}
    threshold = files.read_tensors(folder / ANSWERS)[1]["decision"].get("threshold")
    if found.positive is None or threshold is None:
        return {}
    [probability] = found.methods.values()
    assert found.truth is not None, "a run knows its labels"
    return classification.at_threshold(
        found.truth == found.positive,
        probability[..., found.positive] >= threshold,
        found.groups,
        args.get("prevalence"),
        trainings=found.trainings,
    )


def _is_sound(measure: Measure) -> bool:
    numbers = (measure.value, measure.low, measure.high)
    return all(isinstance(number, int | float) for number in numbers) and isinstance(measure.n, int)


def overlap(folder: Path, args: dict[str, Any], system: Any, cases: Dataset, task: Task) -> fingerprints.Overlap:
    """Return the overlap of these cases with the run's training data.

    Without stored fingerprints, the run's own images must be unchanged.
    """
    learnt_from = {one_spelling(group) for group in splits.read_groups(folder / "split.csv")}
    groups = sorted(group for group in set(cases.group) if group and one_spelling(group) in learnt_from)
    learnt = fingerprints.read(folder)
    if learnt is None:
        try:
            own = cases_of(args, args["data"], system.spec, task)
            split = prepare.read_split(folder, own, task)
        except UserError as error:
            why = _("the run keeps no fingerprints of its images, and its data is not as it was")
            return fingerprints.Overlap(len(cases), groups=groups, unknown=f"{why} ([{error.code}] {error.found})")
        learnt = fingerprints.fingerprints(own, split.train)
    return replace(fingerprints.overlap(learnt, cases), groups=groups)


def _with_classes_of(system: Any, cases: Dataset) -> Dataset:
    """Return the cases with classes numbered as in the system.

    Raises UserError for unknown ones.
    """
    labels = getattr(system.spec, "labels", None)
    if labels is None or cases.target is None or system.any_class:
        return cases  # class-agnostic systems, such as enlargers, take any class
    unknown = [label for label in cases.classes if label not in labels]
    if unknown:
        raise UserError(
            "labels",
            _("the model does not know the labels {labels}").format(labels=", ".join(unknown)),
            expected=", ".join(labels),
            exit=3,
        )
    number = torch.tensor([labels.index(label) for label in cases.classes])
    try:
        target = registry.load_task(system.task).renumbered(cases.target, number)
    except (TypeError, IndexError):
        check_classes(cases)
        raise
    return replace(cases, target=target, classes=tuple(labels))
