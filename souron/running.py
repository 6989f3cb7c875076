"""One run from data to report: forecast, split, fit, measure, save.

``training`` is a generator of events, so that whoever watches draws the bar; ``train`` runs it to
the end.
"""

import hashlib
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from souron import finding, machine, memory, saving, structure
from souron.budget import Budget
from souron.data import augmenting, duplicates, loading, splitting
from souron.data.cases import Cases, Feed
from souron.fitting import Fit, probe
from souron.records import Cost, Measure, RunRecord
from souron.speaking import Trouble, _

MOST_LOOKED_AT = 500  # validation cases; more would take the time from training
SLICE = 0.25  # seconds between two events
KEEP_EVERY = 20.0  # seconds between two checkpoints, at least
SAMPLES = 64  # that a generator shows
MOST_COMPARED = 20_000  # pictures that are looked through for copies of one another
PUBLISHED_SIDE = 224  # pixels, of ImageNet's networks


@dataclass(frozen=True)
class Event:
    """What is going on, for whoever watches."""

    phase: str  # "data", "forecast", "train", "test", "report", "done"
    fraction: float = 0.0  # of this phase, 0..1
    seconds_left: float | None = None
    text: str = ""
    values: dict[str, float] = field(default_factory=dict)
    record: Any = None  # with the last event
    rows: list[dict[str, Any]] = field(default_factory=list)  # a comparison's live table


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the work is kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


def train(system: str = "", data: str | Path | None = None, **options: Any) -> RunRecord:
    """Run ``training`` to its end. Takes the same options."""
    return last(training(system, data, **options))


def last(events: Iterator[Event]) -> Any:
    record = None
    for event in events:
        record = event.record
    return record


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
) -> Iterator[Event]:
    """Train one system, measure it on cases it never saw, and write the run's folder.

    ``budget`` is ``"60s"``, ``"5min"``, ``"5ep"`` or ``"20000ex"``; ``side`` the pictures' side in
    pixels (the data's own by default); ``pretrained`` starts from published weights, or from those
    of another run's folder; ``freeze`` lets only the last layer learn; ``patience`` stops after so
    many looks at the validation cases without improvement; ``rate`` is the highest learning rate;
    ``augment`` names what is done to the training pictures (``"shift,mirror"``, ``"none"``);
    ``config`` changes fields of the system's config; ``resume`` goes on with a run's folder and
    takes every other option from there; ``group`` says how to know a patient's pictures (see
    ``grouping``), which stay on one side of the split; ``allow_leak`` takes parts that share some.
    Raises Trouble; Interrupted on Ctrl-C, with the work kept.
    """
    Budget.parse(budget)
    machine.device(device)
    args: dict[str, Any]
    if resume is None:
        args = {
            "system": system, "data": str(data or _default_data(system)), "budget": budget,
            "seed": seed, "side": side, "batch": batch, "pretrained": str(pretrained),
            "freeze": freeze, "patience": patience, "rate": rate, "augment": augment,
            "changes": config or {}, "device": device, "group": group, "allow_leak": allow_leak,
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

    yield Event("data", text=str(args["data"]))
    everything = cases_for(args)
    split = divide(args, everything)
    parts = split.deal(everything)
    model = build(args, parts.train)
    fit, test = yield from entering(args, model, parts)

    memory.forget_peak()
    yield Event("forecast", text=_("a few steps, to see what it will take"))
    shown = probe(fit)
    forecast = Cost(shown.seconds(fit), memory.peak())
    yield Event("forecast", 1.0, values=asdict(forecast))

    args |= {"seen": saving.as_plain(model.seen), "config": saving.as_plain(model.config)}
    if folder is None:
        entry, _size = finding.split(system)
        default = f"{system}-{Path(str(args['data'])).name}"
        folder = saving.new_folder(Path(project) / entry.task, name or default)
        saving.write_args(folder, args)
        splitting.write(split, everything, folder / "split.csv")
    elif (folder / "weights" / "resume.safetensors").exists():
        fit.go_on(folder / "weights" / "resume.safetensors", folder / "weights/best.safetensors")

    yield from _learn(fit, folder)
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
        flops=structure.flops(model, model.seen),
        measures={},
        curve=fit.curve,
        forecast=forecast,
        outcome=Cost(fit.seconds, memory.peak()),
        stopped=fit.stopped,
        parts={name: len(part) for name, part in parts._asdict().items()},
        skipped=everything.skipped,
        leaking=split.leaking,
        torn=split.torn,
        grouped=everything.grouped,
        test=parts.test,
        model=model,
    )
    yield Event("test", text=_("measuring on {n} cases it never saw").format(n=len(test)))
    measure(record, fit.system, test)
    record.receipt = receipt(args, everything)
    yield Event("report", text=_("writing the report"))
    _write(record)
    yield Event("done", 1.0, record=record)


def _default_data(system: str) -> str:
    return finding.system(system)[0].default_data


def cases_for(args: dict[str, Any]) -> Cases:
    """The data that the options name. Published weights want colours, and the side of pictures that
    they were trained at."""
    published = args["pretrained"] == "True"
    side = args["side"] or (PUBLISHED_SIDE if published else None)
    cases = loading.load(args["data"], side, args.get("group"))
    if published and cases.channels == 1:
        cases = replace(cases, image=cases.image.expand(-1, 3, -1, -1))
    return cases


def divide(args: dict[str, Any], cases: Cases) -> splitting.Split:
    """The split, the same for every seed. A folder's copies of one picture stay together; parts of
    its own that share pictures or patients are refused unless the options allow them.

    Known data sets are taken as published. Raises Trouble.
    """
    if str(args["data"]) in loading.names():
        return splitting.split(cases, seed=0)
    alike = duplicates.near(cases.image) if len(cases) <= MOST_COMPARED else ()
    split = splitting.split(cases, seed=0, alike=alike)
    if not args.get("allow_leak"):
        splitting.refuse_leaks(split.leaking, split.torn)
    return split


def build(args: dict[str, Any], train_cases: Cases) -> Any:
    """The system that the options ask for, its weights drawn with the seed or loaded."""
    kind, config = finding.system(args["system"])
    changes = dict(args["changes"])
    if args["rate"] is not None:
        changes["rate"] = args["rate"]
    config = saving.override(config, changes)
    torch.manual_seed(args["seed"])
    seen = kind.see(train_cases)
    pretrained = args["pretrained"]
    if pretrained == "False":
        model = kind(config, seen)
    elif pretrained == "True":
        model = _from_published(args["system"], kind, config, seen)
    else:
        model = _from_run(Path(pretrained), kind, config, seen)
    if args["freeze"]:
        if pretrained == "False":
            raise Trouble(
                "option",
                _("freeze without pretrained would leave random layers as they are"),
                expected="pretrained=true freeze=true",
                exit=2,
            )
        model.freeze()
    return model


def _from_published(system: str, kind: Any, config: Any, seen: Any) -> Any:
    from souron import fetching

    entry, size = finding.split(system)
    source = kind.published(size, config)
    published = fetching.weights(system, source)
    if seen.side < 64:
        raise Trouble(
            "imgsz",
            _(
                "published weights want pictures of 64 pixels a side or more, these have {side}"
            ).format(side=seen.side),
            expected="imgsz=224",
            fix="imgsz=224",
        )
    if seen.channels != 3:
        raise Trouble(
            "channels",
            _("published weights want pictures of 3 channels, these have {channels}").format(
                channels=seen.channels
            ),
            expected=_("colour pictures"),
            exit=3,
        )
    mean, std = fetching.normalisation(source)
    model = kind(config, replace(seen, mean=mean, std=std))
    saving.fill(model, published, Path(entry.name), but=(model.head, *model.side_heads))
    return model


def _from_run(folder: Path, kind: Any, config: Any, seen: Any) -> Any:
    other = saving.load(folder)
    model = kind(config, replace(seen, mean=other.seen.mean, std=other.seen.std))
    saving.fill(model, other.state_dict(), folder, but=(model.head, *model.side_heads))
    return model


def entering(
    args: dict[str, Any], model: Any, parts: splitting.Parts
) -> Generator[Event, None, tuple[Fit, Feed]]:
    """``prepare``; of a frozen model the last layer alone, over what the others see once and for
    all, unless each look at a picture differs (augmentation)."""
    from souron import probing

    device = machine.device(args["device"])
    model.to(device)
    if not args["freeze"] or args["augment"] not in (None, "none"):
        return prepare(args, model, parts)
    if not probing.may(model, parts.train, device):
        return prepare(args, model, parts)
    found = []
    for cases, text in (
        (parts.train, _("what the frozen layers see in training")),
        (parts.val, _("what the frozen layers see in validation")),
    ):
        for done, seen in probing.features(model, cases, device):
            yield Event("features", done, text=text)
            if seen is not None:
                found.append(seen)
    train, val = (seen.cases for seen in found)
    fit, _val = prepare(
        {**args, "augment": "none"}, probing.Head(model), splitting.Parts(train, val, val)
    )
    fit.seconds = sum(seen.seconds for seen in found)  # part of learning, also where they were kept
    _fit, test = prepare(args, model, parts)
    return fit, test


def prepare(args: dict[str, Any], model: Any, parts: splitting.Parts) -> tuple[Fit, Feed]:
    """The fit that is to run, and the test cases as the system wants them."""
    device = machine.device(args["device"])
    model.to(device)
    if model.channels_last:
        model.to(memory_format=torch.channels_last)
    names = parts.train.augment if args["augment"] is None else _names(args["augment"])
    change = augmenting.augmentation(names) if model.task == "classify" else None

    def feed(cases: Cases, augment: Any = None) -> Feed:
        return Feed(cases, model.prepare, augment, args["seed"], device)

    fit = Fit(
        model,
        feed(parts.train, change),
        feed(parts.val.only(range(min(MOST_LOOKED_AT, len(parts.val))))),
        Budget.parse(args["budget"]),
        args["batch"],
        args["patience"],
    )
    return fit, feed(parts.test)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


def _learn(fit: Fit, folder: Path) -> Iterator[Event]:
    """Train to the end of the budget, keeping the work on the way and on Ctrl-C."""
    keeper, looks = Keeper({folder / "weights": fit}), len(fit.curve)
    while not fit.done:
        with gentle_interrupt() as interrupt:
            fit.go(SLICE, interrupt.is_set)
            fresh = len(fit.curve) > looks
            stop = interrupt.is_set() and not fit.done
            if stop or fit.done or keeper.due():
                keeper.keep()
        if stop:
            raise Interrupted(folder)
        if fresh:
            write_results(folder / "results.csv", fit.curve)
            looks = len(fit.curve)
        values = fit.curve[-1] if fit.curve else {}
        yield Event("train", fit.fraction, fit.seconds_left, values=values)


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
    """Fill in what the test cases, as the model wants them, say of it."""
    from souron import judging

    if model.task == "classify":
        from souron.tasks.classify import score

        record.probability = model.probabilities(test)
        scores = score(record.probability, test.cases.label)
    else:
        scores = model.evaluate(test)
    if model.task == "generate":
        torch.manual_seed(record.seed)
        record.samples = model.draw(SAMPLES)
    if model.task == "group":
        record.groups = model(test.all())
    groups = list(test.cases.group) or None
    record.measures = {
        name: judging.interval(values.numpy(), groups if len(values) == len(test) else None)
        for name, values in scores.items()
    }


def receipt(args: dict[str, Any], cases: Cases) -> dict[str, Any]:
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
        "machine": machine.facts(),
    }  # fmt: skip


def command(verb: str, args: dict[str, Any]) -> str:
    """The command line that does this again."""
    import shlex

    shown = {"budget": args["budget"], "seed": args["seed"], "imgsz": args["side"],
             "batch": args["batch"], "pretrained": args["pretrained"], "freeze": args["freeze"],
             "patience": args["patience"], "lr0": args["rate"], "augment": args["augment"],
             "group": args.get("group"), "allow_leak": args.get("allow_leak"),
             **args["changes"]}  # fmt: skip
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
    (record.folder / "weights" / "resume.safetensors").unlink(missing_ok=True)


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


def evaluate(
    folder: str | Path,
    data: str | Path | None = None,
    group: str | None = None,
    allow_leak: bool = False,
) -> dict[str, Measure]:
    """Measure a run again: on its own test cases, or on all cases of other data.

    Raises Trouble, also where other data holds pictures or patients that the run learnt from and
    ``allow_leak`` is not said.
    """
    folder = Path(folder)
    args = saving.read_args(folder)
    model = saving.load(folder)
    same = data is None or str(data) == str(args["data"])
    cases = loading.load(
        args["data"] if data is None else str(data), model.seen.side, group or args.get("group")
    )
    if same:
        cases = cases.only(splitting.read(folder / "split.csv", cases).test)
    elif model.task == "classify":
        if not allow_leak:
            splitting.refuse_leaks(*_learnt_from(folder, args, model, cases))
        cases = _with_labels_of(model, cases)
    record = RunRecord(
        folder, str(args["system"]), str(data or args["data"]), model.task, args["seed"],
        args["config"], args["seen"], 0, 0, {}, [], Cost(0, 0), Cost(0, 0), "", {},
        test=cases, model=model,
    )  # fmt: skip
    measure(record, model, Feed(cases, model.prepare))
    return record.measures


def _learnt_from(
    folder: Path, args: dict[str, Any], model: Any, cases: Cases
) -> tuple[list[str], list[str]]:
    """Files and groups of these cases that the run has learnt from, as far as can be known: its own
    pictures must still be where they were."""
    trained = splitting.read_groups(folder / "split.csv")
    groups = sorted(set(cases.group) & trained)
    try:
        own = cases_for({**args, "side": model.seen.side})
        split = splitting.read(folder / "split.csv", own)
    except Trouble:
        return [], groups
    return splitting.shared(own.only(split.train), cases), groups


def _with_labels_of(model: Any, cases: Cases) -> Cases:
    """The same cases, their labels numbered as the model numbers them. Raises Trouble."""
    unknown = [label for label in cases.labels if label not in model.seen.labels]
    if unknown:
        raise Trouble(
            "labels",
            _("the model does not know the labels {labels}").format(labels=", ".join(unknown)),
            expected=", ".join(model.seen.labels),
            exit=3,
        )
    number = torch.tensor([model.seen.labels.index(label) for label in cases.labels])
    return replace(cases, label=number[cases.label], labels=model.seen.labels)
