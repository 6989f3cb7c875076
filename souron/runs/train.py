"""One run from data to report: forecast, split, fit, measure, save.

``training`` is a generator of events, so that whoever watches draws the bar; ``train`` runs it to
the end.
"""

import hashlib
import shutil
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.data import splits
from souron.data.dataset import Dataset, Loader
from souron.data.splits import Parts, Plan
from souron.evaluation import classification, generation, sampling, summary
from souron.runs import folder as run_folder
from souron.runs import prepare
from souron.runs.events import Event, Forecast, Interrupted, in_folder, last, left
from souron.runs.record import Cost, RunRecord
from souron.training.budget import Budget
from souron.training.forecast import probe
from souron.training.frozen import Features
from souron.training.trainer import Trainer
from souron.utils import files, hardware
from souron.utils.messages import UserError, _

SLICE = 0.25  # seconds between two events
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


def train(system: str = "", data: str | Path | None = None, **options: Any) -> RunRecord:
    """Run ``loop`` to its end. Takes the same options."""
    return last(training(system, data, **options))


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
    ``patients``), which stay on one side of the split; ``allow_leak`` takes parts that share some;
    ``folds`` and ``repeats`` cross-validate (by itself where cases are few, see ``splits.plan``;
    a budget of seconds is for all trainings together); ``positive`` is the class to be found,
    ``prevalence`` its share where the system will be used, ``sensitivity`` what the threshold must
    reach on validation cases (see ``classification``); ``window`` is the grey values to show, for
    DICOM; ``samples`` are the pictures that a generator is judged by.
    Raises UserError; Interrupted on Ctrl-C, with the work kept.
    """
    Budget.parse(budget)
    hardware.device(device)
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
        args = run_folder.read_args(folder)
        if (folder / "receipt.json").exists():
            raise UserError(
                "finished",
                _("{folder} is finished already").format(folder=folder),
                expected=_("a run that was interrupted"),
                fix=f"souron val {folder}",
                exit=5,
            )

    yield Event("data", text=str(args["data"]), folder=folder)
    everything = prepare.cases_for(args)
    entry, _size = registry.find(str(args["system"]))
    if entry.task == "classify":
        classification.positive(args.get("positive"), everything.labels)
    plan = prepare.divide(args, everything, entry.task)
    each = {**args, "budget": str(Budget.parse(args["budget"]).share(plan.trainings))}
    model = prepare.build(each, everything.only(plan.kept.train))
    seen = yield from looking(each, everything, model, exact=not plan.repeats)
    fit, parts = prepare.enter(each, model, everything, plan.kept, seen, plan.trainings)
    scale = None
    if entry.task == "generate":
        scale = yield from opening(everything, plan.kept, args.get("samples"))
        fit.also = generation.Watcher(scale, fit)

    hardware.forget_peak()
    yield Event("forecast", text=_("a few steps, to see what it will take"))
    shown = probe(fit)
    flops = summary.flops(model, model.seen)
    if entry.task == "classify":
        tested = everything.only((plan.repeats[0][0] if plan.repeats else plan.kept).test)
        folds = len(plan.repeats[0]) if plan.repeats else 1
        classification.Trial().rehearse(model, tested, flops, folds)
    if scale is not None:
        next(
            sampling.Sample.growing(model, len(scale.test), seed)
        )  # so that its memory is foretold
    others = sum(shown.seconds(fit, len(fold.train)) for *_name, fold in plan.rounds())
    forecast = Cost(shown.seconds(fit) + others, hardware.peak())
    cases = {name: len(part) for name, part in parts._asdict().items()}
    if plan.repeats:
        cases["test"] = len(everything)
    asked = {name: args[name] for name in ("system", "data", "budget")}
    told = Forecast(asked, forecast, cases)
    yield Event("forecast", 1.0, values=asdict(forecast), forecast=told)

    args |= {"seen": run_folder.as_plain(model.seen), "config": run_folder.as_plain(model.config)}
    if folder is None:
        default = f"{system}-{Path(str(args['data'])).name}"
        folder = files.new_folder(Path(project) / entry.task, name or default)
        run_folder.write_args(folder, args)
        splits.write(plan.kept, everything, folder / "split.csv")
        if plan.repeats:
            splits.write_folds(plan, everything, folder / "folds.csv")
    elif (folder / "weights" / "resume.safetensors").exists():
        fit.go_on(folder / "weights" / "resume.safetensors", folder / "weights/best.safetensors")

    yield Event("train", fit.fraction / plan.trainings, folder=folder)

    film = sampling.Film(folder / "weights" / "film.safetensors") if scale else None
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
        parameters=summary.parameters(model),
        flops=flops,
        measures={},
        curve=fit.curve,
        forecast=forecast,
        outcome=Cost(fit.seconds, hardware.peak()),
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
        measure(record, model, Loader(parts.test, model.prepare, device=model.device))
    record.receipt = receipt(args, everything)
    yield Event("report", text=_("writing the report"))
    _write(record)
    yield Event("done", 1.0, record=record)


def _test(
    record: RunRecord,
    system: Any,
    args: dict[str, Any],
    everything: Dataset,
    plan: Plan,
    seen: Features | None,
    parts: Parts,
) -> Iterator[Event]:
    """What the classifier, or each fold's, says of cases that it never saw, and how far to trust
    it."""
    positive = classification.positive(args.get("positive"), everything.labels)
    trial = classification.Trial(positive, args.get("sensitivity"))
    if not plan.repeats:
        pictures = everything.only(plan.kept.test)
        yield Event("test", text=_("measuring on {n} cases it never saw").format(n=len(pictures)))
        tested = yield from _tried(trial, system, parts, pictures, record.flops)
        answers = classification.Answers.of(pictures, tested)
    else:
        kept = trial.decide(system, parts.val)
        answers = classification.Answers.none(everything, kept, len(plan.repeats))
        yield from _cross(record, trial, answers, args, plan, seen)
        record.parts |= {"test": len(everything)}
        record.folds, record.trainings = len(plan.repeats[0]), plan.trainings
        record.test = everything
    record.probability = answers.probability[0]
    record.trust = classification.trust(answers, trial, args.get("prevalence"))
    record.measures = record.trust.measures
    record.outcome = Cost(record.outcome.seconds, hardware.peak())
    answers.write(record.folder / "answers.safetensors")
    shutil.rmtree(record.folder / "folds", ignore_errors=True)


def _tried(
    trial: classification.Trial,
    system: Any,
    parts: Parts,
    pictures: Dataset,
    flops: int,
    folds: int = 1,
) -> Generator[Event, None, classification.Tested]:
    """Test, then disturb the pictures, then look at what the network looked at."""
    tested = trial.test(system, parts.val, parts.test)
    for done in trial.strain(tested, system.whole, pictures, flops, folds):
        yield Event("test", done, text=_("blurred, noisy, darker, turned pictures"))
    trial.look(tested, system.whole, pictures)
    return tested


def _cross(
    record: RunRecord,
    trial: classification.Trial,
    answers: classification.Answers,
    args: dict[str, Any],
    plan: Plan,
    seen: Features | None,
) -> Iterator[Event]:
    """Train and test each fold of each repeat, and the first repeat's with fewer cases to learn
    from. What is done is kept, so that going on takes it up."""
    everything, seconds = answers.cases, [record.outcome.seconds]
    rounds = list(plan.rounds())
    for number, (name, repeat, share, split) in enumerate(rounds, 1):
        place = record.folder / "folds" / name
        kept = place.with_suffix(".safetensors")
        if kept.exists():
            tested, spent = classification.Tested.read(kept)
        else:
            mine = {**args, "seed": args["seed"] + number}
            model = prepare.build(mine, everything.only(split.train))
            fit, parts = prepare.enter(mine, model, everything, split, seen, plan.trainings)
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
    args: dict[str, Any], cases: Dataset, model: Any, exact: bool = False
) -> Generator[Event, None, Features | None]:
    """``prepare.looking`` as events; what was seen, or None."""
    found = None
    for done, seen in prepare.looking(args, cases, model, exact):
        found = seen
        yield Event("features", done, text=_("what the frozen layers see"))
    return found


def opening(
    cases: Dataset, split: splits.Split, samples: int | None
) -> Generator[Event, None, generation.ReferenceSet]:
    """The scale that a generator's pictures are held against."""
    found, begun, text = None, time.monotonic(), _("the network that looks at pictures")
    for done, scale in generation.reference_set(cases, split, samples or generation.SAMPLE):
        found = scale
        yield Event("features", done, left(begun, done), text)
    assert found is not None, "it ends with the scale itself"
    return found


def appraise(record: RunRecord, model: Any, scale: generation.ReferenceSet) -> Iterator[Event]:
    """Fill in how near what it draws comes to the test cases."""
    begun, text = time.monotonic(), _("drawing {n} pictures").format(n=len(scale.test))
    for done, found in generation.appraise(model, scale, record.seed):
        record.appraisal = found
        yield Event("test", done, left(begun, done), text)
    record.measures = record.appraisal.measures
    record.outcome = Cost(record.outcome.seconds, hardware.peak())


def _default_data(system: str) -> str:
    return registry.load_system(system)[0].default_data


def _learn(
    fit: Trainer,
    place: Path,
    folder: Path,
    trainings: int = 1,
    number: int = 0,
    film: sampling.Film | None = None,
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
            except UserError as trouble:
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

    fits: dict[Path, Trainer]  # by the folder of their weights
    last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        return time.monotonic() - self.last > KEEP_EVERY

    def keep(self) -> None:
        begun = time.monotonic()
        for weights, fit in self.fits.items():
            _keep(fit, weights)
        # writing may take a tenth of the time at most
        self.last = time.monotonic() + 9 * (time.monotonic() - begun)

    def saved(self, trouble: UserError) -> UserError:
        """What went wrong in training, and where the weights are that were good before."""
        for weights, fit in self.fits.items():
            if fit.best is not None:
                files.write_tensors(weights / "best.safetensors", fit.best, {})
                kept = _("{why}; the weights of the last look at it are kept in {folder}")
                told = kept.format(why=trouble.found, folder=weights)
                return UserError(
                    trouble.code, told, expected=trouble.expected, fix=trouble.fix, exit=1
                )
        return trouble


def _keep(fit: Trainer, weights: Path) -> None:
    if fit.best is not None:
        files.write_tensors(weights / "best.safetensors", fit.best, {})
    if fit.done:
        current = fit.system.state_dict()
        files.write_tensors(weights / "last.safetensors", current, {})
        if fit.best is None:
            files.write_tensors(weights / "best.safetensors", current, {})
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
    with files.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(curve)


@torch.inference_mode()
def measure(record: RunRecord, model: Any, test: Loader) -> None:
    """Fill in what the test cases, as the model wants them, say of a grouping."""
    from souron.stats import intervals

    scores = model.evaluate(test)
    if model.task == "cluster":
        record.groups = model(test.all())
    record.measures = {
        name: intervals.interval(
            values.numpy(), test.cases.units if len(values) == len(test) else None
        )
        for name, values in scores.items()
    }


def check_shares(**shares: float | None) -> None:
    """Raises UserError where one is not between 0 and 1."""
    for name, value in shares.items():
        if value is not None and not 0 < value < 1:
            raise UserError(
                "value",
                _("{name}={value} is not understood").format(name=name, value=value),
                expected=_("a share between 0 and 1, such as {name}=0.05").format(name=name),
            )


def receipt(args: dict[str, Any], cases: Dataset) -> dict[str, Any]:
    """What it takes to do this again, and to check that it is the same."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(cases.image.contiguous().numpy().data)
    digest.update(cases.label.numpy().data)
    return {
        "options": {name: value for name, value in args.items() if name != "seen"},
        "command": command("train", args),
        "data": {
            "name": cases.name, "cases": len(cases), "hash": digest.hexdigest(),
            "source": cases.source, "licence": cases.licence,
        },
        "machine": hardware.facts(),
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
    from souron.report import report

    write_results(record.folder / "results.csv", record.curve)
    if record.probability is not None:
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
            **record.receipt,
        },
    )
    for name in ("resume", "film"):
        (record.folder / "weights" / f"{name}.safetensors").unlink(missing_ok=True)


def _write_film(record: RunRecord) -> None:
    """``timelapse.webp``: the same pictures while it learnt."""
    from souron.kinds.codecs import provenance
    from souron.kinds.codecs.animation import frames, moving

    mark = provenance.mark(record.folder, run_folder.read_args(record.folder), 0)
    first, options = moving(frames(record.film))
    with files.atomically(record.folder / "timelapse.webp") as beside:
        provenance.save(first, beside, mark, format="WEBP", **options)


def _write_predictions(record: RunRecord) -> None:
    """``predictions.csv``: what was said of each test case, and how surely."""
    import csv

    assert record.test is not None and record.probability is not None
    path = record.folder / "predictions.csv"
    sure, said = record.probability.max(1)
    with files.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "predicted", "probability"])
        names = record.test.labels
        for name, truly, guess, p in zip(
            record.test.file, record.test.label.tolist(), said.tolist(), sure.tolist(), strict=True
        ):
            writer.writerow([name, names[truly], names[guess], round(p, 4)])
