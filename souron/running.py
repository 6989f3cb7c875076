"""One run from data to report: forecast, split, fit, measure, save.

``training`` is a generator of events, so that whoever watches draws the bar; ``train`` runs it to
the end.
"""

import functools
import hashlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

import torch

from souron import (
    appraising,
    drawing,
    finding,
    machine,
    memory,
    preparing,
    saving,
    structure,
    trusting,
)
from souron.budget import Budget
from souron.data import splitting
from souron.data.cases import Cases, Feed
from souron.data.column import Sketch
from souron.data.folder import Large
from souron.data.splitting import Parts, Plan
from souron.fitting import Fit, probe
from souron.probing import Seen
from souron.records import Cost, RunRecord
from souron.speaking import Trouble, _

SLICE = 0.25  # seconds between two events
TELLS_TIME = 2.0  # seconds that reading takes before it says how long it will
KEEP_EVERY = 20.0  # seconds between two checkpoints, at least
ALSO = (
    "group",
    "allow_leak",
    "folds",
    "repeats",
    "positive",
    "prevalence",
    "sensitivity",
    "window",
    "samples",
)
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Forecast:
    """What a run or a comparison would take."""

    asked: dict[str, Any]  # system or systems, data, budget
    cost: Cost
    cases: dict[str, int]  # of each part
    each: dict[str, float] = field(default_factory=dict)  # seconds of each system compared
    decoding: Cost | None = None  # once, before: seconds, and bytes of the disk; None where memory
    # has room for the pictures, or where they were decoded before

    def as_json(self) -> dict[str, Any]:
        """The object that ``souron train --forecast --json`` prints."""
        further: dict[str, Any] = {"each": self.each} if self.each else {}
        if self.decoding is not None:
            further["decoding"] = asdict(self.decoding)
        return {**self.asked, "forecast": asdict(self.cost), "cases": self.cases, **further}


@dataclass(frozen=True)
class Event:
    """What is going on, for whoever watches."""

    phase: str  # "data", "forecast", "train", "test", "report", "done"
    fraction: float = 0.0  # of this phase, 0..1
    seconds_left: float | None = None
    text: str = ""
    values: dict[str, float] = field(default_factory=dict)
    picture: Any = None  # (B, C, H, W) uint8, what is drawn so far
    record: Any = None  # with the last event
    rows: list[dict[str, Any]] = field(default_factory=list)  # a comparison's live table
    folder: Path | None = None  # the run's or comparison's, once it is there
    forecast: Forecast | None = None  # with the event after which files are written


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the work is kept in ``folder``; ``command`` goes on, where ``resume`` does not."""

    def __init__(self, folder: Path, command: str = "") -> None:
        super().__init__(str(folder))
        self.folder, self.command = folder, command


def in_folder(events: Callable[Given, Iterator[Event]]) -> Callable[Given, Iterator[Event]]:
    """Let each event name the folder that an earlier one named."""

    @functools.wraps(events)
    def telling(*given: Given.args, **options: Given.kwargs) -> Iterator[Event]:
        folder = None

        def named(event: Event) -> Event:
            nonlocal folder
            folder = event.folder or folder
            return replace(event, folder=folder)

        yield from changed(events(*given, **options), named)

    return telling


def changed(events: Any, change: Callable[[Event], Event]) -> Iterator[Event]:
    """Each event as ``change`` makes it. Ctrl-C that meets whoever watches is passed on to whoever
    works, so that the work is kept."""
    for event in events:
        try:
            yield change(event)
        except KeyboardInterrupt as stop:
            events.throw(stop)


def train(system: str = "", data: str | Path | None = None, **options: Any) -> RunRecord:
    """Run ``training`` to its end. Takes the same options."""
    return last(training(system, data, **options))


def last(events: Iterator[Event]) -> Any:
    record = None
    for event in events:
        record = event.record
    return record


@in_folder
def training(
    system: str = "",
    data: str | Path | None = None,
    *,
    budget: str = "60s",
    seed: int = 0,
    side: int | None = None,
    batch: int = 128,
    pretrained: bool | str | Path = False,
    freeze: bool = False,
    patience: int = 0,
    rate: float | None = None,
    augment: str | None = None,
    config: dict[str, Any] | None = None,
    name: str = "",
    project: str | Path = "runs",
    resume: str | Path | None = None,
    device: str = "auto",
    group: str | None = None,
    allow_leak: bool = False,
    folds: int | None = None,
    repeats: int | None = None,
    positive: str | None = None,
    prevalence: float | None = None,
    sensitivity: float | None = None,
    window: str | None = None,
    samples: int | None = None,
) -> Iterator[Event]:
    """Train one system, measure it on cases it never saw, and write the run's folder.

    ``budget`` is ``"60s"``, ``"5min"``, ``"5ep"`` or ``"20000ex"``; ``side`` the pictures' side in
    pixels (the data's own by default); ``pretrained`` starts from published weights, or from those
    of another run's folder; ``freeze`` lets only the last layer learn; ``patience`` stops after so
    many looks at the validation cases without improvement; ``rate`` is the highest learning rate;
    ``augment`` names what is done to the training pictures (``"shift,mirror"``, ``"none"``);
    ``config`` changes fields of the system's config; ``resume`` goes on with a run's folder and
    takes every other option from there; ``group`` says how to know a patient's pictures (see
    ``grouping``), which stay on one side of the split; ``allow_leak`` takes parts that share some;
    ``folds`` and ``repeats`` cross-validate (by itself where cases are few, see ``splitting.plan``;
    a budget of seconds is for all trainings together); ``positive`` is the class to be found,
    ``prevalence`` its share where the system will be used, ``sensitivity`` what the threshold must
    reach on validation cases (see ``trusting``); ``window`` is the grey values to show, for DICOM;
    ``samples`` are the pictures that a generator is judged by.
    Raises Trouble; Interrupted on Ctrl-C, with the work kept.
    """
    Budget.parse(budget)
    machine.device(device)
    check_shares(prevalence=prevalence, sensitivity=sensitivity)
    args: dict[str, Any]
    if resume is None:
        args = {
            "system": system, "data": str(data or _default_data(system)), "budget": budget,
            "seed": seed, "side": side, "batch": batch, "pretrained": str(pretrained),
            "freeze": freeze, "patience": patience, "rate": rate, "augment": augment,
            "changes": config or {}, "device": device, "group": group, "allow_leak": allow_leak,
            "folds": folds, "repeats": repeats, "positive": positive, "prevalence": prevalence,
            "sensitivity": sensitivity, "window": window, "samples": samples,
        }  # fmt: skip
        folder = None
    else:
        folder = Path(resume)
        args = saving.read_args(folder)
        if (folder / "receipt.json").exists():
            raise Trouble(
                "finished",
                _("{folder} is finished already").format(folder=folder),
                expected=_("a run that was interrupted"),
                fix=f"souron val {folder}",
                exit=5,
            )

    yield Event("data", text=str(args["data"]), folder=folder)
    everything = yield from reading(args, "sketch")
    entry, _size = finding.split(str(args["system"]))
    if entry.task == "classify":
        trusting.positive(args.get("positive"), everything.labels)
    plan, each, model, seen, fit, parts, scale = yield from _ready(args, everything)

    memory.forget_peak()
    yield Event("forecast", text=_("a few steps, to see what it will take"))
    shown = probe(fit)
    flops = structure.flops(model, model.seen)
    if entry.task == "classify":
        tested = everything.only((plan.repeats[0][0] if plan.repeats else plan.kept).test)
        folds = len(plan.repeats[0]) if plan.repeats else 1
        trusting.Trial().rehearse(model, tested, flops, folds)
    if entry.task == "generate":  # so that its memory is foretold
        drawn = len(scale.test) if scale else min(len(parts.test), samples or appraising.SAMPLE)
        next(drawing.Sample.growing(model, drawn, seed))
    others = sum(shown.seconds(fit, len(fold.train)) for *_name, fold in plan.rounds())
    forecast = Cost(shown.seconds(fit) + others, memory.peak())
    cases = {name: len(part) for name, part in parts._asdict().items()}
    if plan.repeats:
        cases["test"] = len(everything)
    asked = {name: args[name] for name in ("system", "data", "budget")}
    values, decoding = asdict(forecast), None
    if isinstance(everything.image, Sketch):  # the pictures are still to be decoded
        decoding = Cost(everything.image.seconds, everything.image.bytes)
        values |= {f"decoding {name}": value for name, value in asdict(decoding).items()}
    told = Forecast(asked, forecast, cases, decoding=decoding)
    yield Event("forecast", 1.0, values=values, forecast=told)
    if decoding is not None:
        everything = yield from reading(args)
        plan, each, model, seen, fit, parts, scale = yield from _ready(args, everything)

    args |= {"seen": saving.as_plain(model.seen), "config": saving.as_plain(model.config)}
    if folder is None:
        default = f"{system}-{Path(str(args['data'])).name}"
        folder = saving.new_folder(Path(project) / entry.task, name or default)
        saving.write_args(folder, args)
        splitting.write(plan.kept, everything, folder / "split.csv")
        if plan.repeats:
            splitting.write_folds(plan, everything, folder / "folds.csv")
    elif (folder / "weights" / "resume.safetensors").exists():
        fit.go_on(folder / "weights" / "resume.safetensors", folder / "weights/best.safetensors")

    yield Event("train", fit.fraction / plan.trainings, folder=folder)

    film = drawing.Film(folder / "weights" / "film.safetensors") if scale else None
    yield from _learn(fit, folder, folder, plan.trainings, film=film)
    fit.use_best()
    record = RunRecord(
        folder=folder,
        system=str(args["system"]),
        data=str(args["data"]),
        task=model.task,
        seed=args["seed"],
        config=args["config"],
        seen=args["seen"],
        parameters=structure.parameters(model),
        flops=flops,
        measures={},
        curve=fit.curve,
        forecast=forecast,
        outcome=Cost(fit.seconds, memory.peak()),
        stopped=fit.stopped,
        parts={name: len(part) for name, part in parts._asdict().items()},
        skipped=everything.skipped,
        leaking=plan.kept.leaking,
        torn=plan.kept.torn,
        grouped=everything.grouped,
        test=everything.only(plan.kept.test),
        model=model,
    )
    if model.task == "classify":
        try:
            yield from _test(record, fit.system, each, everything, plan, seen, parts)
        except KeyboardInterrupt as stop:
            raise Interrupted(folder) from stop
    elif scale is not None:
        record.film = film.frames if film else []
        yield from appraise(record, model, scale)
    else:
        yield Event("test", text=_("measuring on {n} cases it never saw").format(n=len(parts.test)))
        measure(record, model, Feed(parts.test, model.prepare, device=model.device))
    record.receipt = receipt(args, everything)
    yield Event("report", text=_("writing the report"))
    _write(record)
    yield Event("done", 1.0, record=record)


class _Ready(NamedTuple):
    """What a training needs."""

    plan: Plan
    each: dict[str, Any]  # the options of one of its trainings
    model: Any
    seen: Seen | None
    fit: Fit
    parts: Parts
    scale: appraising.Scale | None  # for generators, once their pictures can be read


def _ready(args: dict[str, Any], everything: Cases) -> Generator[Event, None, _Ready]:
    task = finding.split(str(args["system"]))[0].task
    plan = preparing.divide(args, everything, task)
    each = {**args, "budget": str(Budget.parse(args["budget"]).share(plan.trainings))}
    model = preparing.build(each, everything.only(plan.kept.train))
    seen = yield from looking(each, everything, model, exact=not plan.repeats)
    fit, parts = preparing.enter(each, model, everything, plan.kept, seen, plan.trainings)
    scale = None
    if task == "generate" and not isinstance(everything.image, Sketch):
        scale = yield from opening(everything, plan.kept, args.get("samples"))
        fit.also = appraising.Watcher(scale, fit)
    return _Ready(plan, each, model, seen, fit, parts, scale)


class _Stopped(Exception):
    """Nobody waits for the pictures any more."""


def reading(args: dict[str, Any], large: Large = "decode") -> Generator[Event, None, Cases]:
    """``preparing.cases_for`` as events, where it takes long. Another thread reads, so that whoever
    watches sees how far it is; where watching ends, reading does too."""
    part, stop, begun = None, threading.Event(), time.monotonic()

    def told(files: int, of: int) -> None:
        nonlocal part
        if stop.is_set():
            raise _Stopped
        part = files / of

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(copy_context().run, preparing.cases_for, args, told, large)
        try:
            while not wait([job], SLICE).done:
                if part is not None and time.monotonic() - begun > TELLS_TIME:
                    yield Event("data", part, left(begun, part), str(args["data"]))
        finally:
            stop.set()
        return job.result()


def _test(
    record: RunRecord,
    system: Any,
    args: dict[str, Any],
    everything: Cases,
    plan: Plan,
    seen: Seen | None,
    parts: Parts,
) -> Iterator[Event]:
    """What the classifier, or each fold's, says of cases that it never saw, and how far to trust
    it."""
    positive = trusting.positive(args.get("positive"), everything.labels)
    trial = trusting.Trial(positive, args.get("sensitivity"))
    if not plan.repeats:
        pictures = everything.only(plan.kept.test)
        yield Event("test", text=_("measuring on {n} cases it never saw").format(n=len(pictures)))
        tested = yield from _tried(trial, system, parts, pictures, record.flops)
        answers = trusting.Answers.of(pictures, tested)
    else:
        kept = trial.decide(system, parts.val)
        answers = trusting.Answers.none(everything, kept, len(plan.repeats))
        yield from _cross(record, trial, answers, args, plan, seen)
        record.parts |= {"test": len(everything)}
        record.folds, record.trainings = len(plan.repeats[0]), plan.trainings
        record.test = everything
    record.probability = answers.probability[0]
    record.trust = trusting.trust(answers, trial, args.get("prevalence"))
    record.measures = record.trust.measures
    record.outcome = Cost(record.outcome.seconds, memory.peak())
    answers.write(record.folder / "answers.safetensors")
    shutil.rmtree(record.folder / "folds", ignore_errors=True)


def _tried(
    trial: trusting.Trial,
    system: Any,
    parts: Parts,
    pictures: Cases,
    flops: int,
    folds: int = 1,
) -> Generator[Event, None, trusting.Tested]:
    """Test, then disturb the pictures, then look at what the network looked at."""
    tested = trial.test(system, parts.val, parts.test)
    for done in trial.strain(tested, system.whole, pictures, flops, folds):
        yield Event("test", done, text=_("blurred, noisy, darker, turned pictures"))
    trial.look(tested, system.whole, pictures)
    return tested


def _cross(
    record: RunRecord,
    trial: trusting.Trial,
    answers: trusting.Answers,
    args: dict[str, Any],
    plan: Plan,
    seen: Seen | None,
) -> Iterator[Event]:
    """Train and test each fold of each repeat, and the first repeat's with fewer cases to learn
    from. What is done is kept, so that going on takes it up."""
    everything, seconds = answers.cases, [record.outcome.seconds]
    rounds = list(plan.rounds())
    for number, (name, repeat, share, split) in enumerate(rounds, 1):
        place = record.folder / "folds" / name
        kept = place.with_suffix(".safetensors")
        if kept.exists():
            tested, spent = trusting.Tested.read(kept)
        else:
            mine = {**args, "seed": args["seed"] + number}
            model = preparing.build(mine, everything.only(split.train))
            fit, parts = preparing.enter(mine, model, everything, split, seen, plan.trainings)
            if (place / "weights" / "resume.safetensors").exists():
                fit.go_on(place / "weights/resume.safetensors", place / "weights/best.safetensors")
            yield from _learn(fit, place, record.folder, plan.trainings, number)
            fit.use_best()
            if name.startswith("1-"):
                pictures = everything.only(split.test)
                folds = len(plan.repeats[0])
                tested = yield from _tried(trial, fit.system, parts, pictures, record.flops, folds)
            else:
                tested = trial.test(fit.system, parts.val, parts.test)
            spent = fit.seconds
            tested.write(kept, spent)
            shutil.rmtree(place)
        seconds.append(spent)
        answers.add(tested, repeat, split, share)
    record.outcome = Cost(sum(seconds), 0)


def looking(
    args: dict[str, Any], cases: Cases, model: Any, exact: bool = False
) -> Generator[Event, None, Seen | None]:
    """``preparing.looking`` as events; what was seen, or None."""
    found = None
    for done, seen in preparing.looking(args, cases, model, exact):
        found = seen
        yield Event("features", done, text=_("what the frozen layers see"))
    return found


def opening(
    cases: Cases, split: splitting.Split, samples: int | None
) -> Generator[Event, None, appraising.Scale]:
    """The scale that a generator's pictures are held against."""
    found, begun, text = None, time.monotonic(), _("the network that looks at pictures")
    for done, scale in appraising.scale(cases, split, samples or appraising.SAMPLE):
        found = scale
        yield Event("features", done, left(begun, done), text)
    assert found is not None, "it ends with the scale itself"
    return found


def appraise(record: RunRecord, model: Any, scale: appraising.Scale) -> Iterator[Event]:
    """Fill in how near what it draws comes to the test cases."""
    begun, text = time.monotonic(), _("drawing {n} pictures").format(n=len(scale.test))
    for done, found in appraising.appraise(model, scale, record.seed):
        record.appraisal = found
        yield Event("test", done, left(begun, done), text)
    record.measures = record.appraisal.measures
    record.outcome = Cost(record.outcome.seconds, memory.peak())


def left(begun: float, done: float) -> float | None:
    """Seconds, if it goes on at the pace of what is ``done`` (0..1) since ``begun``."""
    return (time.monotonic() - begun) * (1 - done) / done if done > 0.01 else None


def _default_data(system: str) -> str:
    return finding.system(system)[0].default_data


def _learn(
    fit: Fit,
    place: Path,
    folder: Path,
    trainings: int = 1,
    number: int = 0,
    film: drawing.Film | None = None,
) -> Iterator[Event]:
    """Train to the end of the budget, keeping the work in ``place`` on the way and on Ctrl-C;
    ``number`` of so many ``trainings`` were done before, in the run's ``folder``. What was seen
    before an interruption is told again."""
    keeper, looks = Keeper({place / "weights": fit}), len(fit.curve)
    text = "" if trainings == 1 else f"{number + 1}/{trainings}"

    def keep() -> None:
        keeper.keep()
        if film:
            film.keep()

    def event(values: dict[str, float], left: float | None = None, frame: Any = None) -> Event:
        return Event("train", (number + fit.fraction) / trainings, left, text, values, frame)

    yield from map(event, fit.curve)
    while not fit.done:
        with gentle_interrupt() as interrupt:
            try:
                fit.go(SLICE, interrupt.is_set)
            except Trouble as trouble:
                raise keeper.saved(trouble) from trouble
            frame = film.shoot(fit.system, fit.fraction, fit.seconds) if film else None
            fresh = fit.curve[looks:]
            if fit.done or keeper.due():
                keep()
        if interrupt.is_set():
            keep()
            raise Interrupted(folder)
        if fresh:
            write_results(place / "results.csv", fit.curve)
            looks = len(fit.curve)
        left = fit.seconds_left
        if left is not None:
            left += (trainings - number - 1) * (fit.seconds + left)
        try:
            for row in fresh[:-1]:
                yield event(row, left)
            yield event(fit.curve[-1] if fit.curve else {}, left, frame)
        except KeyboardInterrupt as interrupted:
            keep()
            raise Interrupted(folder) from interrupted


@dataclass
class Keeper:
    """Writes down what going on needs, now and then."""

    fits: dict[Path, Fit]  # by the folder of their weights
    last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        return time.monotonic() - self.last > KEEP_EVERY

    def keep(self) -> None:
        begun = time.monotonic()
        for weights, fit in self.fits.items():
            _keep(fit, weights)
        # writing may take a tenth of the time at most
        self.last = time.monotonic() + 9 * (time.monotonic() - begun)

    def saved(self, trouble: Trouble) -> Trouble:
        """What went wrong in training, and where the weights are that were good before."""
        for weights, fit in self.fits.items():
            if fit.best is not None:
                saving.write_tensors(weights / "best.safetensors", fit.best, {})
                kept = _("{why}; the weights of the last look at it are kept in {folder}")
                told = kept.format(why=trouble.found, folder=weights)
                return Trouble(
                    trouble.code, told, expected=trouble.expected, fix=trouble.fix, exit=1
                )
        return trouble


def _keep(fit: Fit, weights: Path) -> None:
    if fit.best is not None:
        saving.write_tensors(weights / "best.safetensors", fit.best, {})
    if fit.done:
        current = fit.system.state_dict()
        saving.write_tensors(weights / "last.safetensors", current, {})
        if fit.best is None:
            saving.write_tensors(weights / "best.safetensors", current, {})
    fit.keep(weights / "resume.safetensors")


@contextmanager
def gentle_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for a stop between two steps; a second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def write_results(path: Path, curve: list[dict[str, float]]) -> None:
    import csv

    columns = list(dict.fromkeys(column for row in curve for column in row))
    with saving.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(curve)


@torch.inference_mode()
def measure(record: RunRecord, model: Any, test: Feed) -> None:
    """Fill in what the test cases, as the model wants them, say of a grouping."""
    from souron import judging

    scores = model.evaluate(test)
    if model.task == "group":
        record.groups = model(test.all())
    record.measures = {
        name: judging.interval(
            values.numpy(), test.cases.units if len(values) == len(test) else None
        )
        for name, values in scores.items()
    }


def check_shares(**shares: float | None) -> None:
    """Raises Trouble where one is not between 0 and 1."""
    for name, value in shares.items():
        if value is not None and not 0 < value < 1:
            raise Trouble(
                "value",
                _("{name}={value} is not understood").format(name=name, value=value),
                expected=_("a share between 0 and 1, such as {name}=0.05").format(name=name),
            )


def receipt(args: dict[str, Any], cases: Cases) -> dict[str, Any]:
    """What it takes to do this again, and to check that it is the same."""
    digest = hashlib.blake2b(digest_size=16)
    for some in cases.image.split(1024):
        digest.update(some.contiguous().numpy().data)
    digest.update(cases.label.numpy().data)
    return {
        "options": {name: value for name, value in args.items() if name != "seen"},
        "command": command("train", args),
        "data": {
            "name": cases.name, "cases": len(cases), "hash": digest.hexdigest(),
            "source": cases.source, "licence": cases.licence,
        },
        "machine": machine.facts(),
    }  # fmt: skip


def command(verb: str, args: dict[str, Any]) -> str:
    """The command line that does this again."""
    import shlex

    shown = {"budget": args["budget"], "seed": args["seed"], "imgsz": args["side"],
             "batch": args["batch"], "pretrained": args["pretrained"], "freeze": args["freeze"],
             "patience": args["patience"], "lr0": args["rate"], "augment": args["augment"],
             **{name: args.get(name) for name in ALSO}, **args["changes"]}  # fmt: skip
    options = [
        f"{name}={value}" for name, value in shown.items() if str(value) not in ("None", "False")
    ]
    words = ["souron", verb, args["system"], f"data={args['data']}", *options]
    return " ".join(shlex.quote(word) for word in words)


def _write(record: RunRecord) -> None:
    """The files that end a run; ``receipt.json`` last, it says that all the others are there."""
    from souron.reporting import report

    write_results(record.folder / "results.csv", record.curve)
    if record.probability is not None:
        _write_predictions(record)
    report.run_report(record)
    if record.film:
        _write_film(record)
    saving.write_json(
        record.folder / "receipt.json",
        {
            **record.as_json(),
            "parameters": record.parameters,
            "flops": record.flops,
            "stopped": record.stopped,
            "parts": record.parts,
            **record.receipt,
        },
    )
    for name in ("resume", "film"):
        (record.folder / "weights" / f"{name}.safetensors").unlink(missing_ok=True)


def _write_film(record: RunRecord) -> None:
    """``timelapse.webp``: the same pictures while it learnt."""
    from souron.auditing import provenance
    from souron.reporting.pictures import frames, moving

    mark = provenance.mark(record.folder, saving.read_args(record.folder), 0)
    first, options = moving(frames(record.film))
    with saving.atomically(record.folder / "timelapse.webp") as beside:
        provenance.save(first, beside, mark, format="WEBP", **options)


def _write_predictions(record: RunRecord) -> None:
    """``predictions.csv``: what was said of each test case, and how surely."""
    import csv

    assert record.test is not None and record.probability is not None
    path = record.folder / "predictions.csv"
    sure, said = record.probability.max(1)
    with saving.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "predicted", "probability"])
        names = record.test.labels
        for name, truly, guess, p in zip(
            record.test.file, record.test.label.tolist(), said.tolist(), sure.tolist(), strict=True
        ):
            writer.writerow([name, names[truly], names[guess], round(p, 4)])
