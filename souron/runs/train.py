"""One run from data to report: forecast, split, fit, evaluate, save.

``training`` is a generator of events for progress bars; ``train`` runs it to the end.
"""

import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from souron import registry
from souron.data import display_names, splits
from souron.data.check import warnings as data_warnings
from souron.data.dataset import Dataset, content
from souron.data.lazy_column import Sketch
from souron.data.splits import Plan
from souron.evaluation import familiarity, summary
from souron.evaluation.answers import Trainings
from souron.evaluation.record import NO_FORECAST, Cost, RunRecord
from souron.kinds.finding import Finding
from souron.runs import crossval, fingerprints, prepare
from souron.runs import folder as run_folder
from souron.runs import options as run_options
from souron.runs.events import Event, Forecast, Interrupted, in_folder, last
from souron.runs.fit import answer, check, features, follow, learn, write_results
from souron.runs.options import TrainOptions
from souron.runs.reading import reading
from souron.task import Task
from souron.training import ranks
from souron.training.budget import Budget
from souron.training.forecast import Probe, batch_within, probe
from souron.training.frozen import Features
from souron.training.trainer import LOOKS, Trainer
from souron.utils import files, hardware, units
from souron.utils.messages import Message, UserError, _, sentences

REPORT_SECONDS = 4.0  # in both languages
FEWEST_SAMPLES = 8  # of a generator, in the test of a brief training


@run_options.takes(TrainOptions)
def train(system: str = "", data: str | Path | None = None, **options: Any) -> RunRecord:
    """Run ``training`` to its end. Takes the same options.

    >>> import souron
    >>> run = souron.train("mlp", data="digits", budget="10s")  # doctest: +SKIP
    >>> run.measures["accuracy"].value  # doctest: +SKIP
    """
    return last(training(system, data, **options))


@in_folder
@run_options.takes(TrainOptions)
def training(
    system: str = "",
    data: str | Path | None = None,
    *,
    config: dict[str, Any] | None = None,
    resume: str | Path | None = None,
    forecast: bool = True,
    **options: Any,
) -> Iterator[Event]:
    """Train one system, evaluate it on held-out cases, and write the run's folder.

    ``options`` are the fields of ``TrainOptions`` and those of the task's ``Options``: ``budget``
    is ``"60s"``, ``"5min"``, ``"5ep"`` or ``"20000ex"``; ``side`` the images' side in pixels (the
    data's own by default); ``pretrained`` starts from published weights, or from those of another
    run's folder; ``freeze`` trains only the last layer; ``patience`` stops after that many
    validations without improvement; ``rate`` is the maximum learning rate; ``augment`` names the
    augmentations (``"shift,mirror"``, ``"none"``); ``group`` identifies a patient's images (see
    ``patients``), which stay on one side of the split; ``allow_leak`` accepts parts that share
    some; ``window`` is the grey value window for DICOM. ``config`` changes fields of the system's
    config; ``resume`` continues a run's folder with its own options; without ``forecast`` it begins
    at once, and says nothing of time and memory before. ``brief`` does so too; seconds are then the clock's
    and hold validation and test, on at most 200 cases, and ``batch`` is lowered to steps of a quarter of them.

    For classifiers ``folds`` and ``repeats`` cross-validate (the default for few cases, see
    ``splits.plan``; each training has the whole budget, and what would take too long is left out
    unless requested, see ``crossval.affordable``); ``positive`` is the positive class,
    ``prevalence`` its share where the system will be used, ``sensitivity`` the minimum on
    validation cases that sets the threshold. For generators ``samples`` is the number of images
    for evaluation.

    Raises UserError, also for an option of another task; Interrupted on Ctrl-C, with the work
    kept.
    """
    common, own = run_options.read(TrainOptions, options, "souron train --help")
    Budget.parse(common["budget"])
    hardware.device(common["device"])
    run_options.check_shares(**{n: own.get(n) for n in ("prevalence", "sensitivity")})
    folder = None if resume is None else Path(resume)
    args = _arguments(system, data, config, common, own) if folder is None else _resumed(folder)
    task = prepare.task_of(args)
    prepare.task_options(args, task)  # reports options of other tasks before data is read

    yield Event("data", text=str(args["data"]), folder=folder)
    everything = yield from reading(args, "sketch")
    about = prepare.about_patients(args, task, everything)
    if about:
        yield Event("data", 1.0, text=str(args["data"]), note=about)
    ready = yield from _ready(task, args, everything)
    _one_training(ready.plan)
    if args.get("brief"):
        forecast, ready = False, (yield from _hurried(task, args, ready, folder is not None))
    ready, estimate = yield from _estimated(task, args, ready, folder is not None, forecast and not ranks.rank())
    yield _forecast_event(estimate.forecast)
    if estimate.forecast.decoding is not None:
        ready = yield from _ready(task, args, (yield from reading(args)))

    spec, settings = ready.model.spec, ready.model.config
    args |= {"seen": run_folder.as_plain(spec), "config": run_folder.as_plain(settings)}
    fit = ready.fit
    if folder is not None and (folder / "weights" / "resume.safetensors").exists():
        fit.go_on(folder / "weights" / "resume.safetensors", folder / "weights/best.safetensors")
    if ranks.rank():
        fit.help()
        return
    folder = folder or _new_folder(task, args, ready, common["project"], common["name"])

    yield Event("train", fit.fraction / ready.plan.trainings, folder=folder)

    if ranks.size() > 1:
        fit.join()
    film = task.film(folder / "weights" / "film.safetensors")
    yield from learn(fit, folder, folder, ready.plan.trainings, film=film)
    fit.use_best()
    record = _record(folder, task, args, ready, estimate)
    record.patients, record.film = about, film.frames if film else []
    yield from _test(record, task, ready, args)
    record.receipt = receipt(args, ready.everything)
    yield Event("report", text=_("writing the report"))
    _write(record)
    yield Event("done", 1.0, record=record)


def _forecast_event(forecast: Forecast) -> Event:
    """Return the event of a forecast."""
    values = asdict(forecast.cost)
    if forecast.decoding is not None:
        values |= {f"decoding {name}": value for name, value in asdict(forecast.decoding).items()}
    return Event("forecast", 1.0, values=values, forecast=forecast)


def _one_training(plan: Plan) -> None:
    """Raise UserError for a cross-validation that several processes are to share."""
    if ranks.size() > 1 and plan.repeats:
        raise UserError(
            "processes",
            _("a cross-validation of {count} trainings on {processes} processes").format(
                count=plan.trainings, processes=ranks.size()
            ),
            expected=_("one training"),
            fix="folds=1",
        )


def _arguments(
    system: str,
    data: str | Path | None,
    config: dict[str, Any] | None,
    common: Mapping[str, Any],
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the arguments of a new run, as its ``args.yaml`` keeps them."""
    return {
        "system": system,
        "data": str(data or _default_data(system)),
        **{n: value for n, value in common.items() if n not in run_options.NOT_KEPT},
        "pretrained": str(common["pretrained"] or own.get("clip") or False),
        "changes": config or {},
        **own,
    }


def _resumed(folder: Path) -> dict[str, Any]:
    """Return the arguments of an interrupted run. Raises UserError if it is finished."""
    args = run_folder.read_args(folder)
    if (folder / "receipt.json").exists():
        raise UserError(
            "finished",
            _("{folder} is finished already").format(folder=folder),
            expected=_("a run that was interrupted"),
            fix=f"souron val {folder}",
            exit=5,
        )
    run_folder.config_of(args)  # raises UserError where it has other fields
    return args


class _Ready(NamedTuple):
    """The components of a training."""

    everything: Dataset
    plan: Plan
    model: Any
    computed: Features | None
    fit: Trainer
    parts: splits.Parts


def _ready(
    task: Task, args: dict[str, Any], everything: Dataset, computed: Features | None = None
) -> Generator[Event, None, _Ready]:
    """Create the components; ``computed`` are a frozen network's features, if known."""
    plan = prepare.divide(args, everything)
    model = prepare.build(args, everything.only(plan.kept.train))
    if computed is None:
        computed = yield from features(args, everything, model, exact=not plan.repeats)
    entrant = prepare.enter(args, model, everything, plan.kept, computed, plan.trainings)
    options = prepare.task_options(args, task)
    setup = yield from follow("features", task.setup(everything, plan.kept, options))
    if plan.repeats:
        setup.test = everything  # each case is tested by the fold without it
    entrant.trainer.setup = setup
    return _Ready(everything, plan, model, computed, entrant.trainer, entrant.parts)


def _hurried(task: Task, args: dict[str, Any], ready: _Ready, interrupted: bool) -> Generator[Event, None, _Ready]:
    """Lower the batch and the samples of a new brief training to what its budget holds; then create all anew."""
    fit, less = ready.fit, {}
    if interrupted or ranks.size() > 1 or fit.budget.unit != "seconds":
        return ready
    if (batch := batch_within(fit)) < fit.batch:
        less["batch"] = batch
    if getattr(prepare.task_options(args, task), "samples", 0) is None:
        seconds, half = task.seconds(fit, fit.setup, 0.0), fit.budget.amount / 2
        if seconds > half:
            less["samples"] = max(FEWEST_SAMPLES, int(len(fit.setup.test) * half / seconds))
    if not less:
        return ready
    args |= less
    return (yield from _ready(task, args, ready.everything, ready.computed))


class _Estimate(NamedTuple):
    """The estimated cost of a run, and what was left out to save time."""

    forecast: Forecast
    reduced: str  # in the reader's language; "" if nothing was left out


def _estimated(
    task: Task, args: dict[str, Any], ready: _Ready, interrupted: bool, forecast: bool
) -> Generator[Event, None, tuple[_Ready, _Estimate]]:
    """Estimate the cost from a few steps; of a new run reduce what would take too long.

    Then ``args`` are changed, and the components are created anew. Without ``forecast`` no step is tried.
    """
    hardware.forget_peak()
    if not forecast:
        made = _estimate(task, args, ready, Probe(0.0, 0.0, 0), args.get("reduced"))
        reduced = _few_tested(ready) if args.get("brief") else made.reduced
        return ready, _Estimate(replace(made.forecast, cost=NO_FORECAST, testing=0.0), reduced)
    yield Event("forecast", text=_("a few steps, to estimate time and memory"))
    tried = probe(ready.fit)
    task.rehearse(ready.model, ready.fit.setup)
    less = args.get("reduced")  # of an interrupted run
    if not interrupted:
        options = prepare.task_options(args, task)
        less = crossval.affordable(ready.plan, ready.fit, tried, options)
        if less is not None:
            args |= {**less, "reduced": less}
            # answers must match those of ``val``, and so must the features
            computed = None if args["folds"] == 1 else ready.computed
            ready = yield from _ready(task, args, ready.everything, computed)
    return ready, _estimate(task, args, ready, tried, less)


def _few_tested(ready: _Ready) -> str:
    """Return that a brief training is tested on a part of the test cases; "" where it is on all."""
    count = len(ready.plan.kept.test)
    if count != run_options.MOST_BRIEF:
        return ""
    return _("A brief training: {count} of the test cases are measured, drawn by a fixed seed.").format(count=count)


def _estimate(task: Task, args: dict[str, Any], ready: _Ready, tried: Probe, less: Any) -> _Estimate:
    """Return the estimated cost of all trainings and tests."""
    plan, fit, everything = ready.plan, ready.fit, ready.everything
    training = [tried.seconds(fit), *crossval.seconds(plan, fit, tried)]
    counts = {name: len(part) for name, part in ready.parts._asdict().items()}
    cases = counts["test"]
    if plan.repeats:
        counts["test"] = len(everything)
    decoding = None
    if isinstance(everything.input, Sketch):  # the images are still to be decoded
        decoding = Cost(everything.input.seconds, everything.input.bytes)
    notes = [crossval.described(plan, training, less), staged(ready.model.in_stages, training[0])]
    note = sentences([text for text in notes if text])
    advice = task.advice(args, len(plan.kept.train)) if everything.images else ""
    told = Forecast(
        {name: args[name] for name in ("system", "data", "budget")},
        Cost(sum(training), hardware.peak()),
        counts,
        testing=_testing_seconds(task, fit, plan, tried.look, training, cases),
        decoding=decoding,
        note=sentences([text for text in (note, advice) if text]),
    )
    return _Estimate(told, note if less else "")


def _new_folder(task: Task, args: dict[str, Any], ready: _Ready, project: str, name: str | None) -> Path:
    """Create the folder of a run, with its arguments, its split and its data's fingerprints."""
    default = f"{args['system']}-{display_names.folder(str(args['data']))}"
    folder = files.new_folder(Path(project) / task.name, name or default)
    run_folder.write_args(folder, args)
    prepare.write_plan(folder, ready.plan, ready.everything, task)
    fingerprints.keep(folder, ready.everything, ready.plan.kept.train, str(args["data"]))
    return folder


def _record(folder: Path, task: Task, args: dict[str, Any], ready: _Ready, estimate: _Estimate) -> RunRecord:
    """Return the record of a training that has ended, without its tests."""
    plan, model, fit, everything = ready.plan, ready.model, ready.fit, ready.everything
    return RunRecord(
        folder=folder,
        system=str(args["system"]),
        data=str(args["data"]),
        task=task.name,
        seed=args["seed"],
        config=args["config"],
        seen=args["seen"],
        parameters=summary.parameters(model),
        flops=summary.flops(model, model.spec),
        measures={},
        curve=fit.curve,
        forecast=estimate.forecast.cost,
        outcome=Cost(fit.seconds, hardware.peak()),
        stopped=fit.stopped,
        worked=fit.worked if fit.data.device.type == "cpu" else None,
        parts=estimate.forecast.cases,
        skipped=everything.skipped,
        leaking=plan.kept.leaking,
        torn=plan.kept.torn,
        doubtful=plan.kept.doubtful,
        grouped=everything.grouped,
        test=fit.setup.test,
        model=model,
        reduced=estimate.reduced,
        warnings=data_warnings.of_data(str(args["data"]), everything, folder.parent.parent),
    )


def staged(stages: Mapping[str, float], seconds: float) -> str:
    """Describe the time of each stage in a training of ``seconds``; "" without stages."""
    if not stages:
        return ""
    total = sum(stages.values())
    each = [
        _("{name} {time}").format(name=_(name), time=units.seconds(seconds * share / total))
        for name, share in stages.items()
    ]
    return _("It is trained in stages: {stages}.").format(stages=Message(", ").join(each))


def _testing_seconds(task: Task, fit: Trainer, plan: Plan, look: float, training: list[float], cases: int) -> float:
    """Estimate the seconds of all tests and the report, in addition to training."""
    tested = len(plan.repeats) * len(fit.setup.test) if plan.repeats else cases
    watched = LOOKS * len(fit.val or ()) * len(training)
    answers = sum(task.seconds(fit, fit.setup, seconds) for seconds in training)
    details = task.details_seconds(fit, fit.setup, training[0], look)
    checked = familiarity.cases(plan.kept) if issubclass(task.gives, Finding) else 0
    return look * (tested + watched + checked) + answers + details + REPORT_SECONDS


def _test(record: RunRecord, task: Task, ready: _Ready, args: dict[str, Any]) -> Iterator[Event]:
    """Fill in the answers of the system, or of each fold's, on held-out cases. Raises Interrupted."""
    try:
        yield from _answered(record, task, ready, args)
    except KeyboardInterrupt as stop:
        raise Interrupted(record.folder) from stop


def _answered(record: RunRecord, task: Task, ready: _Ready, args: dict[str, Any]) -> Iterator[Event]:
    everything, plan, fit, parts = ready.everything, ready.plan, ready.fit, ready.parts
    setup = fit.setup
    setup.steps = fit.step
    decision = task.decide(fit.system, parts.val, setup)
    seen = fit.curve[-1].get("examples", 0) if fit.curve else 0
    record.unlike = yield from check(record.folder, task, record.model.whole, everything, plan.kept, seen)
    if plan.repeats:
        trainings = Trainings.empty(everything, decision, len(plan.repeats))
        spent = yield from crossval.rounds(record.folder, trainings, args, plan, ready.computed, setup)
        record.folds, record.trainings = len(plan.repeats[0]), plan.trainings
        record.outcome = Cost(record.outcome.seconds + sum(spent), 0)
    else:
        text = _("measuring on {n} unseen cases") if task.held_out else _("measuring {n} cases")
        yield Event("test", text=text.format(n=len(setup.test)))
        details = not args.get("brief")
        answers = yield from answer(task, fit.system, parts.test, decision, setup, record.seed, details=details)
        trainings = Trainings.of_one(setup.test, answers, decision)
    record.answers, record.details = trainings.answers, task.result(trainings, setup)
    record.measures = task.measures(trainings.answers, setup, trainings.training_of)
    record.outcome = Cost(record.outcome.seconds, hardware.peak())
    trainings.write(record.folder / "answers.safetensors")
    shutil.rmtree(record.folder / "folds", ignore_errors=True)


def _default_data(system: str) -> str:
    return registry.tasks()[registry.find(system)[0].task].default_data


def receipt(args: dict[str, Any], data: Dataset) -> dict[str, Any]:
    """Return the information needed to repeat the run and to verify its data."""
    return {
        "options": {name: value for name, value in args.items() if name != "seen"},
        "command": command("train", args),
        "data": {
            "name": data.name,
            "cases": len(data),
            "hash": content(data),
            "source": data.source,
            "licence": data.licence,
        },
        "machine": hardware.facts(),
    }


def command(verb: str, args: dict[str, Any]) -> str:
    """Return the command line that repeats this run."""
    import shlex

    fields = [
        field
        for field in run_options.all_fields(TrainOptions)
        if field.name not in run_options.NOT_KEPT and field.name != "device"
    ]
    given = {run_options.word(one): args.get(one.name) for one in fields} | args["changes"]
    options = [f"{name}={value}" for name, value in given.items() if str(value) not in ("None", "False")]
    words = ["souron", verb, args["system"], f"data={args['data']}", *options]
    return " ".join(shlex.quote(word) for word in words)


def _write(record: RunRecord) -> None:
    """Write the final files of a run; ``receipt.json`` last, which marks it as complete."""
    from souron.report import report

    write_results(record.folder / "results.csv", record.curve)
    _write_predictions(record)
    report.run_report(record)
    if record.film:
        _write_film(record)
    files.write_json(
        record.folder / "receipt.json",
        {
            **record.as_json(),
            "parameters": record.parameters,
            "flops": record.flops,
            "stopped": record.stopped,
            "parts": record.parts,
            "translated": report.run_translated(record),
            **({"plan": planned} if (planned := record.model.whole.plan()) else {}),
            **record.receipt,
            **run_folder.ending(record.folder),
        },
    )
    for name in ("resume", "film"):
        (record.folder / "weights" / f"{name}.safetensors").unlink(missing_ok=True)


def _write_film(record: RunRecord) -> None:
    """Write ``timelapse.webp``: the same images at successive stages of training."""
    from souron.kinds.codecs import provenance
    from souron.kinds.codecs.animation import frames, moving

    mark = provenance.mark(record.folder, run_folder.read_args(record.folder), 0)
    first, options = moving(frames(record.film))
    with files.atomically(record.folder / "timelapse.webp") as beside:
        provenance.save(first, beside, mark, format="WEBP", **options)


def _write_predictions(record: RunRecord) -> None:
    """Write ``predictions.csv``: the answer for each test case."""
    import csv

    assert record.test is not None
    rows = list(registry.load_task(record.task).table(record.answers[0], record.test))
    if not rows:
        return
    path = record.folder / "predictions.csv"
    with files.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
