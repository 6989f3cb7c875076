"""Compare many systems at an equal budget, with a verdict on their differences.

Every system gets the same split, the same augmentation, the same budget and the same seeds. Within
a round (one seed) the systems train in short turns, so that a slow minute of the machine affects
all of them alike. Finished work is kept: ``resume`` continues within the round.
"""

import csv
import json
import platform
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.data import display_names, parcels, splits
from souron.data.check import warnings as data_warnings
from souron.data.dataset import Dataset
from souron.data.splits import Parts
from souron.engines import engine
from souron.evaluation import fixed_margin, summary
from souron.evaluation.answers import Answers, flatten, scatter, unflatten
from souron.evaluation.record import ComparisonRecord, Cost
from souron.metrics import ranking
from souron.metrics.ranking import Ranking
from souron.report import wording
from souron.runs import events as run_events
from souron.runs import fit as run_fit
from souron.runs import folder as run_folder
from souron.runs import options as run_options
from souron.runs import prepare
from souron.runs import train as run_train
from souron.runs.elsewhere import equal_examples, sending
from souron.runs.elsewhere import machines as far_machines
from souron.runs.elsewhere import rounds as far_rounds
from souron.runs.events import Event, Forecast, Interrupted
from souron.runs.options import CompareOptions
from souron.runs.prepare import Entrant
from souron.runs.reading import reading
from souron.stats.records import Measure, Row
from souron.task import Task
from souron.training.budget import Budget, split_host
from souron.training.forecast import examples_within, probe
from souron.training.trainer import LOOKS, Trainer
from souron.utils import files, hardware, units
from souron.utils.messages import UserError, _, sentences

TURN = 1.0  # seconds of training before the next system's turn
NOTED = ("measured", "margins")  # in args.yaml, and no options
STARTS = {
    "scratch": {"pretrained": "False", "freeze": False},
    "pretrained": {"pretrained": "True", "freeze": False},
    "frozen": {"pretrained": "True", "freeze": True},
}


@run_options.takes(CompareOptions)
def compare(systems: Sequence[str] = (), data: str | Path | None = None, **options: Any) -> ComparisonRecord:
    """Run ``comparing`` to its end. Takes the same options.

    >>> import souron
    >>> found = souron.compare(["mlp", "cnn"], "digits", budget="10s", seeds=3)  # doctest: +SKIP
    >>> print(found.sentence)  # doctest: +SKIP
    """
    return run_events.last(comparing(systems, data, **options))


@run_events.in_folder
@run_options.takes(CompareOptions)
def comparing(
    systems: Sequence[str] = (), data: str | Path | None = None, *, resume: str | Path | None = None, **options: Any
) -> Iterator[Event]:
    """Train every system ``seeds`` times at the same ``budget`` and judge the differences.

    ``on`` plays the rounds on an engine, see ``engines``: on several processes or machines. A budget
    such as ``"10min@here"`` is measured once, on this computer or on the named one, and all rounds
    train the examples that fit it there.

    Options as in ``train.training``; ``"resnet18:frozen"``, ``":pretrained"`` and ``":scratch"``
    set the initialisation of one system, ``"unet:width=20,depth=3"`` changes its config, and
    ``"cnn:augment=shift+rotate"`` its augmentation. ``margin``, or that of a ``plan``, is noted with
    its time before anything is trained; a later change is told with the verdict.

    Raises UserError; Interrupted on Ctrl-C, with the work kept.
    """
    common, own = run_options.read(CompareOptions, options, "souron compare --help")
    if common["on"]:
        engine.find(common["on"])  # says what is wrong before anything is read
    send = sending.wish(common["send"], common["on"])
    margin = fixed_margin.asked(common["margin"], common["plan"])
    if resume is not None:
        folder = Path(resume)
        wanted = ("systems", "data", "budget", "seeds")
        comparison = Comparison(run_folder.read_args(folder, wanted))
    else:
        comparison = Comparison(
            {
                "systems": list(systems),
                "data": str(data or "digits"),
                **{n: value for n, value in common.items() if n not in run_options.NOT_KEPT},
                "pretrained": str(common["pretrained"] or own.get("clip") or False),
                **own,
            }
        )
        comparison.check()
        equal_examples.check(comparison.host, common["on"])
        folder = Path(common["project"]) / "compare"

    yield Event("data", text=comparison.args["data"], folder=None if resume is None else folder)
    comparison.everything = yield from reading(comparison.wanted())
    if comparison.patients:
        yield Event("data", 1.0, text=comparison.args["data"], note=comparison.patients)
    comparison.setup = yield from run_fit.follow("features", comparison.steps_of_setup())
    fixed_margin.check(comparison.task.metric(comparison.metric), common["plan"])
    hardware.forget_peak()
    yield from comparison.foretell()
    delivery = sending.delivery(comparison, send)
    if comparison.host and "measured" not in comparison.args:
        comparison.args["measured"] = yield from equal_examples.measured(comparison, measure, common["on"], delivery)
    played = 0 if resume is None else len([*(folder / "rounds").glob("*.safetensors")])
    changed = margin is not None and fixed_margin.note(comparison.args, margin, played, common["plan"])
    if resume is None:
        folder = comparison.new_folder(folder, common["name"])
    elif changed:
        run_folder.write_args(folder, comparison.args)
    yield Event("train", folder=folder)

    if common["sbatch"]:
        yield Event("done", 1.0, record=far_rounds.write_script(comparison, folder, Path(common["sbatch"])))
        return
    if common["round"] is not None:
        yield from far_rounds.play_alone(comparison, folder, common["round"])
        return
    if common["on"]:
        try:
            yield from far_rounds.play_all(comparison, play, folder, common["on"], delivery)
        except KeyboardInterrupt as stop:
            raise Interrupted(folder) from stop
    for number, (seed, split) in enumerate(comparison.rounds):
        kept = folder / "rounds" / f"{number}.safetensors"
        if not kept.exists():
            yield from comparison.play_round(number, seed, split, kept)
            shutil.rmtree(kept.with_suffix(""), ignore_errors=True)
        comparison.read_round(kept, seed, split)

    yield Event("report")
    record = comparison.judge(folder)
    _write(record)
    yield Event("done", 1.0, record=record)


@dataclass
class Result:
    """The result of one system and seed: of one training, or of all folds."""

    curve: list[dict[str, float]]
    answers: Answers = field(default_factory=dict)  # for the test cases
    tested: list[float] = field(default_factory=list)  # the first metric of each training
    seconds: float = 0.0  # of training
    examples: int = 0


class Comparison:
    """The systems, their common settings, and their results so far."""

    def __init__(self, args: dict[str, Any]) -> None:
        self.args = args
        self.systems: list[str] = args["systems"]
        self.results: dict[str, list[Result]] = {system: [] for system in self.systems}
        self.costs: dict[str, tuple[int, int]] = {}  # parameters, FLOPs
        self.forecast = Cost(0.0, 0)
        self.spent = 0.0  # seconds, including validation and tests
        self.setup: Any = None  # the task's setup, see ``steps_of_setup``
        self._dealt: tuple[splits.Split, Parts] | None = None

    def check(self) -> None:
        """Validate the options before loading anything. Raises UserError."""
        split_host(self.args["budget"])
        hardware.device(self.args["device"])
        if not self.systems or len(set(self.systems)) < len(self.systems):
            raise UserError(
                "systems",
                _("{count} systems to compare: {names}").format(count=len(self.systems), names=" ".join(self.systems)),
                expected=_("one or more, each once"),
                fix="souron compare mlp cnn data=digits budget=10s seeds=3",
            )
        tasks = {system: self._task(system) for system in self.systems}
        if len(set(tasks.values())) > 1:
            given = ", ".join(f"{system} ({task})" for system, task in tasks.items())
            raise UserError(
                "task",
                _("these cannot be compared: {systems}").format(systems=given),
                expected=_("systems of one task"),
                fix="souron list",
            )
        if self.args["seeds"] < 1:
            raise UserError("option", f"seeds={self.args['seeds']}", expected="seeds >= 1")
        prepare.task_options(self.args, self.task)
        for name in registry.tasks()[self.task.name].not_compared:
            if self.args.get(name) is not None:
                raise UserError(
                    "option",
                    _("a comparison takes no {name}").format(name=f"{name}={self.args[name]}"),
                    fix="souron compare --help",
                )

    def _task(self, system: str) -> str:
        """Return the task of a system. Raises UserError, also for unknown changes of its config."""
        options = self.of(system, 0)
        run_folder.override(registry.load_system(options["system"])[1], options["changes"])
        return registry.find(self.of(system, 0)["system"])[0].task

    @cached_property
    def task(self) -> Task:
        return registry.load_task(self._task(self.systems[0]))

    @property
    def budget(self) -> Budget:
        return split_host(self.args["budget"])[0]

    @property
    def host(self) -> str:
        """Return the machine on which a budget in seconds becomes examples; "" without one."""
        return split_host(self.args["budget"])[1]

    @property
    def metric(self) -> str:
        """Return the metric that decides."""
        return self.task.ranks(self.setup)

    @cached_property
    def everything(self) -> Dataset:
        return prepare.dataset_for(self.wanted())

    def wanted(self) -> dict[str, Any]:
        """Return the options that determine the data and their image side."""
        published = any(self.of(system, 0)["pretrained"] == "True" for system in self.systems)
        return {**self.of(self.systems[0], 0), "pretrained": str(published)}

    @property
    def patients(self) -> str:
        return prepare.about_patients(self.args, self.task, self.everything)

    @cached_property
    def plan(self) -> splits.Plan:
        return prepare.divide(self.args, self.everything, self.args["seeds"])

    def steps_of_setup(self) -> Iterator[Any]:
        """Run ``Task.setup`` for all test cases."""
        options = prepare.task_options(self.args, self.task)
        for step in self.task.setup(self.everything, self.plan.kept, options):
            if step.result is not None:
                step.result.fast = True
                if self.plan.repeats:
                    step.result.test = self.everything
            yield step

    @cached_property
    def rounds(self) -> list[tuple[int, splits.Split]]:
        """Return seed and split of each round: one per seed, or one per fold of a seed's repeat."""
        repeats = self.plan.repeats or [[self.plan.kept]] * self.args["seeds"]
        return [(seed, split) for seed, splits in enumerate(repeats) for split in splits]

    @cached_property
    def training_of(self) -> np.ndarray | None:
        """Return the round that tests each case, (seeds, cases); None without cross-validation."""
        if not self.plan.repeats:
            return None
        training = np.zeros((self.args["seeds"], len(self.everything)), dtype=np.int64)
        for number, (seed, split) in enumerate(self.rounds):
            training[seed, split.test] = number
        return training

    def of(self, system: str, seed: int) -> dict[str, Any]:
        """Return the options of a system's run; ``resnet18:frozen`` sets its initialisation.

        Raises UserError for an unknown initialisation.
        """
        name, _colon, start = system.partition(":")
        given = {**self._all(), "system": name, "seed": seed}
        if "=" in start:
            changes = dict(pair.partition("=")[::2] for pair in start.split(","))
            if "augment" in changes:
                given["augment"] = changes.pop("augment").replace("+", ",")
            return {**given, "changes": changes}
        if start and start not in STARTS:
            raise UserError(
                "option",
                _("{system} begins in a way that souron does not know").format(system=system),
                expected=", ".join([*(f"{name}:{known}" for known in STARTS), f"{name}:width=64"]),
            )
        return {**given, **STARTS.get(start, {})}

    def _all(self) -> dict[str, Any]:
        """Return the common options in the form of a run's."""
        args = {name: value for name, value in self.args.items() if name not in NOTED}
        return {**args, "system": " ".join(self.systems), "seed": 0, "rate": None, "patience": 0, "changes": {}}

    def enter(self, system: str, seed: int, split: splits.Split) -> Generator[Event, None, Entrant]:
        args = self.of(system, seed)
        trainings = len(self.rounds) // self.args["seeds"]
        measured = self.args.get("measured")
        budget = Budget(measured["examples"][system], "examples") if measured else self.budget.share(trainings)
        args["budget"] = str(budget)
        model = prepare.build(args, self.everything.only(split.train))
        computed = yield from run_fit.features(args, self.everything, model)
        dealt = self.deal(split) if computed is None else None
        entrant = prepare.enter(args, model, self.everything, split, computed, trainings, dealt)
        entrant.trainer.setup = self.setup
        return entrant

    def deal(self, split: splits.Split) -> Parts:
        """Return the parts of the cases, one copy for all systems of a round."""
        if self._dealt is None or self._dealt[0] is not split:
            self._dealt = split, split.deal(self.everything)
        return self._dealt[1]

    def foretell(self) -> Iterator[Event]:
        """Run a few steps of each system to estimate time and memory."""
        each, held = {}, []
        _seed, split = self.rounds[0]
        for i, system in enumerate(self.systems):
            yield Event("forecast", i / len(self.systems), text=system)
            entrant = yield from self.enter(system, 0, split)
            fit = entrant.trainer
            network = fit.system.whole
            self.costs[system] = (summary.parameters(network), summary.flops(network, network.spec))
            tried = probe(fit)
            looked_at = LOOKS * len(fit.val or ()) + len(entrant.parts.test)
            training = tried.seconds(fit)
            further = self.task.seconds(fit, self.setup, training)
            each[system] = (training + tried.look * looked_at + further) * len(self.rounds)
            held.append(tried.held)
        together = sum(held) - max(held)  # a round holds all of them, the probe one at a time
        self.forecast = Cost(sum(each.values()), hardware.peak() + together)
        asked = {name: self.args[name] for name in ("systems", "data", "budget", "seeds")}
        cases = {"train": len(split.train), "val": len(split.val), "test": len(self.setup.test)}
        folds, budget = len(self.rounds) // self.args["seeds"], self.budget
        note = ""
        if folds > 1 and budget.unit == "seconds":
            note = _("Few cases: {folds} folds share the budget of each seed, {time} each.").format(
                folds=folds, time=units.seconds(budget.share(folds).amount)
            )
        told = Forecast(asked, self.forecast, cases, each, note=note)
        yield Event("forecast", 1.0, values=asdict(self.forecast), forecast=told)

    def measure(self) -> Generator[Event, None, dict[str, Any]]:
        """Return this machine's name and threads, and the examples of one training that fit its budget here."""
        examples, (_seed, split) = {}, self.rounds[0]
        for i, system in enumerate(self.systems):
            yield Event("forecast", i / len(self.systems), text=_("measuring speed: {system}").format(system=system))
            entrant = yield from self.enter(system, 0, split)
            examples[system] = examples_within(entrant.trainer)
        return {"machine": platform.node(), "threads": torch.get_num_threads(), "examples": examples}

    def play_round(self, number: int, seed: int, split: splits.Split, kept: Path) -> Iterator[Event]:
        """Train and test each system with one seed, in turns, and write the answers."""
        begun = time.perf_counter()
        turn = number % len(self.systems)  # another system starts each round
        order = self.systems[turn:] + self.systems[:turn]
        entrants: dict[str, Entrant] = {}
        for system in order:
            entrants[system] = yield from self.enter(system, seed, split)
        fits = {system: entrant.trainer for system, entrant in entrants.items()}
        keeper = run_fit.Keeper(
            {kept.with_suffix("") / re.sub(r"[^\w.]+", "-", system): fit for system, fit in fits.items()}
        )
        for weights, fit in keeper.fits.items():
            if (weights / "resume.safetensors").exists():
                fit.go_on(weights / "resume.safetensors", weights / "best.safetensors")
        while not all(fit.done for fit in fits.values()):
            for system, fit in fits.items():
                if fit.done:
                    continue
                with run_fit.gentle_interrupt() as interrupt:
                    fit.go(TURN, interrupt.is_set)
                    if keeper.due():
                        keeper.keep()
                if interrupt.is_set():
                    keeper.keep()
                    raise Interrupted(kept.parent.parent)
                part = fmean(fit.fraction for fit in fits.values())
                try:
                    yield self._event("train", system, number, part, fits)
                except KeyboardInterrupt as interrupted:
                    keeper.keep()
                    raise Interrupted(kept.parent.parent) from interrupted
        setup = self.setup_of(split)
        tensors: dict[str, Tensor] = {}
        about = {}
        for system, entrant in entrants.items():
            fit, parts = entrant.trainer, entrant.parts
            fit.use_best()
            decision = self.task.decide(fit.system, parts.val, setup)
            answers: Answers = {}
            for step in self.task.answer(fit.system, parts.test, decision, setup, seed):
                answers = step.result
                yield self._event("test", system, number, 1.0, fits)
            tensors |= {f"{system}/{name}": held for name, held in flatten(answers).items()}
            about[system] = [fit.curve, fit.seconds, fit.step * fit.batch]
        self.spent += time.perf_counter() - begun
        files.write_tensors(kept, tensors, about)

    def setup_of(self, split: splits.Split) -> Any:
        """Return the setup with the test cases of one round."""
        if not self.plan.repeats:
            return self.setup
        return replace(self.setup, test=self.everything.only(split.test))

    def read_round(self, kept: Path, seed: int, split: splits.Split) -> None:
        tensors, about = files.read_tensors(kept)
        setup = self.setup_of(split)
        for system, (curve, seconds, examples) in about.items():
            results = self.results[system]
            if len(results) == seed:
                results.append(Result(curve))
            result, prefix = results[seed], f"{system}/"
            answers = unflatten(
                {name.removeprefix(prefix): held for name, held in tensors.items() if name.startswith(prefix)}
            )
            if self.plan.repeats:
                scatter(result.answers, answers, split.test, len(self.everything))
            else:
                result.answers = answers
            result.tested.append(float(self.task.scores([answers], setup)[self.metric].mean()))
            result.seconds += seconds
            result.examples += examples

    def _event(self, phase: str, system: str, number: int, part: float, fits: dict[str, Trainer]) -> Event:
        whole = (number + part) / len(self.rounds)
        watches = self.task.watches
        rows = [
            {
                "system": name,
                "seed": self.rounds[number][0],
                "seconds": fit.seconds,
                "fraction": fit.fraction,
                "val": next((row[f"val {watches}"] for row in reversed(fit.curve) if f"val {watches}" in row), None),
                "test": [fmean(result.tested) for result in self.results[name]],
                "measures": (watches, self.metric),
            }
            for name, fit in sorted(fits.items())
        ]
        left = self.forecast.seconds * (1 - whole)
        return Event(phase, whole, left, f"{system}, {number + 1}/{len(self.rounds)}", rows=rows)

    def new_folder(self, inside: Path, name: str) -> Path:
        """Create the comparison's folder, with its arguments and its split, before anything is trained."""
        default = f"{display_names.folder(self.args['data'])}-{self.args['budget']}"
        folder = files.new_folder(inside, name or default)
        run_folder.write_args(folder, self.args)
        prepare.write_plan(folder, self.plan, self.everything, self.task)
        return folder

    def judge(self, folder: Path) -> ComparisonRecord:
        task, setup = self.task, self.setup
        answers = {system: [result.answers for result in results] for system, results in self.results.items()}
        measures = {system: task.measures(seeds, setup, self.training_of) for system, seeds in answers.items()}
        tables: dict[str, dict[str, Any]] = {}
        for system, seeds in answers.items():
            for name, table in task.scores(seeds, setup).items():
                tables.setdefault(name, {})[system] = table
        rankings = {name: self._rank(name, table, measures) for name, table in tables.items()}
        first = rankings.pop(self.metric)
        sample = 0 if self.plan.repeats else len(self.plan.kept.train)
        changes = wording.margin_changes(first.metric, self.args["margins"]) if first.margin else []
        said = wording.verdict_sentences(first, len(setup.test), task.called(self.metric, setup), sample)
        return ComparisonRecord(
            folder=folder,
            task=task.name,
            data=self.args["data"],
            budget=self.args["budget"],
            seeds=self.args["seeds"],
            cases=len(setup.test),
            ranking=first,
            sentence=sentences([*said, *changes]),
            further=rankings,
            follows=task.watches,
            curves={name: [r.curve for r in results] for name, results in self.results.items()},
            scores=tables[self.metric],
            report=folder / "report.html",
            receipt={
                **run_train.receipt(self._all(), self.everything),
                "command": self.command(),
                "forecast": asdict(self.forecast),
                "outcome": asdict(Cost(self.spent, hardware.peak())),
                **({"measured": self.args["measured"]} if "measured" in self.args else {}),
                **({"margins": self.args["margins"]} if "margins" in self.args else {}),
                **({"machines": found} if (found := far_machines.machines(folder)) else {}),
            },
            skipped=self.everything.skipped,
            leaking=self.plan.kept.leaking,
            torn=self.plan.kept.torn,
            doubtful=self.plan.kept.doubtful,
            grouped=self.everything.grouped,
            patients=self.patients,
            folds=len(self.plan.repeats[0]) if self.plan.repeats else 1,
            sample=sample,
            details=task.compared(answers, setup),
            test=setup.test,
            train=len(self.rounds[0][1].train),
            warnings=data_warnings.of_data(self.args["data"], self.everything, folder.parent.parent),
        )

    def _rank(self, name: str, tables: dict[str, Any], measures: dict[str, dict[str, Measure]]) -> Ranking:
        test = self.setup.test
        return ranking.rank(
            self.task.metric(name),
            [self._row(system, name, table, measures[system][name]) for system, table in tables.items()],
            tables,
            groups=test.units,
            trainings=self.training_of,
            strata=self.task.strata(test),
            margin=self.args.get("margin") if name == self.metric else None,
            times=len(self.rounds),
        )

    def _row(self, system: str, name: str, scores: Any, measure: Measure) -> Row:
        results = self.results[system]
        parameters, flops = self.costs[system]
        # the scores of one training may be parts of a mean over images
        seeds = scores.mean(1).tolist() if len(results) > 1 else [float(scores.mean())]
        return Row(
            system=system,
            measure=name,
            value=measure.value,
            low=measure.low,
            high=measure.high,
            train_seconds=fmean(result.seconds for result in results),
            examples_seen=fmean(result.examples for result in results),
            parameters=parameters,
            flops=flops,
            seeds=tuple(seeds),
        )

    def command(self) -> str:
        """Return the command line that repeats this comparison."""
        names = run_options.ON_THE_COMMAND_LINE
        options = [
            f"{names.get(name, name)}={value}"
            for name, value in self.args.items()
            if name not in ("systems", *NOTED) and str(value) not in ("None", "False", "auto")
        ]
        return shlex.join(["souron", "compare", *self.systems, *options])


@lru_cache(1)
def _comparison(args: str, sent: str) -> tuple[Comparison, far_rounds.Agreement]:
    """Read the data of a comparison, once for each worker, and return what this machine has to agree on.

    ``sent`` is the hash of the data that was sent; "" for data that this machine has.
    """
    comparison = Comparison(json.loads(args))
    if sent:
        comparison.everything, comparison.plan = parcels.read(sent)
    for step in comparison.steps_of_setup():
        comparison.setup = step.result
    return comparison, far_rounds.Agreement.here(comparison.everything)


def play(
    args: dict[str, Any], number: int, threads: int, agreement: far_rounds.Agreement, sent: str = ""
) -> tuple[bytes, far_machines.Machine]:
    """Play one round on this machine: the bytes of its file, and the machine.

    Raises UserError where this machine does not agree with the one that compares.
    """
    torch.set_num_threads(threads)
    comparison, own = _comparison(json.dumps(args), sent)
    agreement.check(own)
    begun = time.monotonic()
    seed, split = comparison.rounds[number]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / f"{number}.safetensors"
        for _event in comparison.play_round(number, seed, split, kept):
            pass
        return kept.read_bytes(), far_rounds.measured(kept, threads, time.monotonic() - begun)


def measure(args: dict[str, Any], threads: int, agreement: far_rounds.Agreement, sent: str = "") -> dict[str, Any]:
    """Measure the speed of all systems on this machine, see ``equal_examples.measured``.

    Raises UserError where this machine does not agree with the one that compares.
    """
    torch.set_num_threads(threads)
    comparison, own = _comparison(json.dumps(args), sent)
    agreement.check(own)
    return run_events.result(comparison.measure())


def _write(record: ComparisonRecord) -> None:
    from souron.report import report

    path = record.folder / "results.csv"
    with files.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(record.rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in record.rows)
    report.comparison_report(record)
    translated = {"translated": report.comparison_translated(record)}
    files.write_json(record.folder / "receipt.json", {**record.as_json(), **translated, **record.receipt})
