"""Many systems at an equal budget -> one table with a verdict.

Every system gets the same split, the same augmentation, the same budget and the same seeds. Within
a round (one seed) the systems train in short turns, so that a slow minute of the machine hits all
of them alike. What was done is kept: ``resume`` goes on within the round.
"""

import csv
import shlex
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor

from souron import (
    appraising,
    finding,
    judging,
    machine,
    memory,
    preparing,
    running,
    saving,
    structure,
)
from souron.budget import Budget
from souron.data import splitting
from souron.data.cases import Cases
from souron.data.splitting import Parts
from souron.examining import EXAMS, Exam, Result
from souron.fitting import LOOKS, Fit, probe
from souron.records import ComparisonRecord, Cost, Ranking, Row
from souron.running import Event, Forecast, Interrupted
from souron.speaking import Trouble, _

TURN = 1.0  # seconds of training before the next system's turn
STARTS = {
    "scratch": {"pretrained": "False", "freeze": False},
    "pretrained": {"pretrained": "True", "freeze": False},
    "frozen": {"pretrained": "True", "freeze": True},
}


def compare(
    systems: Sequence[str] = (), data: str | Path | None = None, **options: Any
) -> ComparisonRecord:
    """Run ``comparing`` to its end. Takes the same options."""
    return running.last(comparing(systems, data, **options))


@running.in_folder
def comparing(
    systems: Sequence[str] = (),
    data: str | Path | None = None,
    *,
    budget: str = "60s",
    seeds: int = 3,
    side: int | None = None,
    batch: int = 128,
    pretrained: bool = False,
    freeze: bool = False,
    augment: str | None = None,
    name: str = "",
    project: str | Path = "runs",
    resume: str | Path | None = None,
    device: str = "auto",
    group: str | None = None,
    allow_leak: bool = False,
    folds: int | None = None,
    window: str | None = None,
    samples: int | None = None,
) -> Iterator[Event]:
    """Train every system ``seeds`` times at the same ``budget`` and judge the differences.

    Options as in ``running.training``; ``"resnet18:frozen"``, ``":pretrained"`` and ``":scratch"``
    say how one of the systems starts, whatever the others do. Raises Trouble; Interrupted on
    Ctrl-C, with the work kept.
    """
    if resume is not None:
        folder = Path(resume)
        contest = Contest(saving.read_args(folder, ("systems", "data", "budget", "seeds")))
    else:
        contest = Contest({
            "systems": list(systems), "data": str(data or "digits"), "budget": budget,
            "seeds": seeds, "side": side, "batch": batch, "pretrained": str(pretrained),
            "freeze": freeze, "augment": augment, "device": device, "group": group,
            "allow_leak": allow_leak, "folds": folds, "window": window, "samples": samples,
        })  # fmt: skip
        contest.check()
        folder = Path(project) / "compare"

    yield Event("data", text=contest.args["data"], folder=None if resume is None else folder)
    contest.everything = yield from running.reading(contest.wanted())
    begun = time.monotonic()
    for done, what in contest.exam.begin():
        yield Event("features", done, running.left(begun, done), what)
    memory.forget_peak()
    yield from contest.foretell()
    if resume is None:
        default = f"{Path(contest.args['data']).name}-{contest.args['budget']}"
        folder = saving.new_folder(folder, name or default)
        saving.write_args(folder, contest.args)
        splitting.write(contest.plan.kept, contest.everything, folder / "split.csv")
        if contest.plan.repeats:
            splitting.write_folds(contest.plan, contest.everything, folder / "folds.csv")
    yield Event("train", folder=folder)

    for number, (seed, split) in enumerate(contest.rounds):
        kept = folder / "rounds" / f"{number}.safetensors"
        if not kept.exists():
            yield from contest.play_round(number, seed, split, kept)
            shutil.rmtree(kept.with_suffix(""), ignore_errors=True)
        contest.read_round(kept, seed, split)

    yield Event("report")
    record = contest.judge(folder)
    _write(record)
    yield Event("done", 1.0, record=record)


class Contest:
    """The systems, what they share, and their results so far."""

    def __init__(self, args: dict[str, Any]) -> None:
        self.args = args
        self.systems: list[str] = args["systems"]
        self.results: dict[str, list[Result]] = {system: [] for system in self.systems}
        self.costs: dict[str, tuple[int, int]] = {}  # parameters, FLOPs
        self.forecast = Cost(0.0, 0)
        self.spent = 0.0  # seconds, looks and tests among them
        self._dealt: tuple[splitting.Split, Parts] | None = None

    def check(self) -> None:
        """Raises Trouble, before anything is loaded, where the wish makes no sense."""
        Budget.parse(self.args["budget"])
        machine.device(self.args["device"])
        tasks = {system: self._task(system) for system in self.systems}
        if len(set(tasks.values())) > 1 or not set(tasks.values()) <= EXAMS.keys():
            told = ", ".join(f"{system} ({task})" for system, task in tasks.items())
            raise Trouble(
                "task",
                _("these cannot be compared: {systems}").format(systems=told),
                expected=_("systems of one of these tasks: {tasks}").format(tasks=", ".join(EXAMS)),
                fix="souron list",
            )
        if not self.systems or len(set(self.systems)) < len(self.systems):
            raise Trouble(
                "systems",
                _("{count} systems to compare: {names}").format(
                    count=len(self.systems), names=" ".join(self.systems)
                ),
                expected=_("one or more, each once"),
                fix="souron compare mlp cnn data=digits budget=10s seeds=3",
            )
        if self.args["seeds"] < 1:
            raise Trouble("option", f"seeds={self.args['seeds']}", expected="seeds >= 1")

    def _task(self, system: str) -> str:
        return finding.split(self.of(system, 0)["system"])[0].task

    @cached_property
    def task(self) -> str:
        return self._task(self.systems[0])

    @cached_property
    def exam(self) -> Exam:
        sample = self.args.get("samples") or appraising.SAMPLE
        exam = EXAMS[self.task]
        return exam(self.everything, self.plan.kept, self.test, sample, self.whose)

    @cached_property
    def everything(self) -> Cases:
        return preparing.cases_for(self.wanted())

    def wanted(self) -> dict[str, Any]:
        """The options that say which data, and at which side."""
        published = any(self.of(system, 0)["pretrained"] == "True" for system in self.systems)
        return {**self.of(self.systems[0], 0), "pretrained": str(published)}

    @cached_property
    def plan(self) -> splitting.Plan:
        return preparing.divide(self.args, self.everything, self.task, self.args["seeds"])

    @cached_property
    def rounds(self) -> list[tuple[int, splitting.Split]]:
        """Seed and split of each: one a seed, or each fold of a seed's own repeat."""
        repeats = self.plan.repeats or [[self.plan.kept]] * self.args["seeds"]
        return [(seed, split) for seed, splits in enumerate(repeats) for split in splits]

    @cached_property
    def test(self) -> Cases:
        """Each seed is tested on all of these."""
        if self.plan.repeats:
            return self.everything
        return self.everything.only(self.plan.kept.test)

    @cached_property
    def whose(self) -> np.ndarray | None:
        """(seeds, cases): which round tests each case, where a seed has several."""
        if not self.plan.repeats:
            return None
        whose = np.zeros((self.args["seeds"], len(self.everything)), dtype=np.int64)
        for number, (seed, split) in enumerate(self.rounds):
            whose[seed, split.test] = number
        return whose

    def of(self, system: str, seed: int) -> dict[str, Any]:
        """The options of that entrant's run. ``resnet18:frozen`` says how it starts."""
        name, _colon, start = system.partition(":")
        if start and start not in STARTS:
            raise Trouble(
                "option",
                _("{system} begins in a way that souron does not know").format(system=system),
                expected=", ".join(f"{name}:{known}" for known in STARTS),
            )
        return {**self._all(), "system": name, "seed": seed, **STARTS.get(start, {})}

    def _all(self) -> dict[str, Any]:
        """The options in common, as a run has them."""
        return {
            **self.args, "system": " ".join(self.systems), "seed": 0, "rate": None, "patience": 0,
            "changes": {},
        }  # fmt: skip

    def enter(
        self, system: str, seed: int, split: splitting.Split
    ) -> Generator[Event, None, tuple[Fit, Parts]]:
        args = self.of(system, seed)
        trainings = len(self.rounds) // self.args["seeds"]
        args["budget"] = str(Budget.parse(args["budget"]).share(trainings))
        model = preparing.build(args, self.everything.only(split.train))
        seen = yield from running.looking(args, self.everything, model)
        dealt = self.deal(split) if seen is None else None
        fit, parts = preparing.enter(args, model, self.everything, split, seen, trainings, dealt)
        self.exam.watch(fit)
        return fit, parts

    def deal(self, split: splitting.Split) -> Parts:
        """The cases' parts, one copy for all systems of a round."""
        if self._dealt is None or self._dealt[0] is not split:
            self._dealt = split, split.deal(self.everything)
        return self._dealt[1]

    def foretell(self) -> Iterator[Event]:
        """A few steps of each: what will it take?"""
        each, held = {}, []
        _seed, split = self.rounds[0]
        for i, system in enumerate(self.systems):
            yield Event("forecast", i / len(self.systems), text=system)
            fit, parts = yield from self.enter(system, 0, split)
            network = fit.system.whole
            self.costs[system] = (
                structure.parameters(network),
                structure.flops(network, network.seen),
            )
            shown = probe(fit)
            looked_at = LOOKS * len(fit.val or ()) + len(parts.test)
            training = shown.seconds(fit)
            seconds = training + shown.look * looked_at + self.exam.seconds(fit, training)
            each[system] = seconds * len(self.rounds)
            held.append(shown.held)
        together = sum(held) - max(held)  # a round holds them all, the probe one at a time
        self.forecast = Cost(sum(each.values()), memory.peak() + together)
        asked = {name: self.args[name] for name in ("systems", "data", "budget", "seeds")}
        cases = {"train": len(split.train), "val": len(split.val), "test": len(self.test)}
        told = Forecast(asked, self.forecast, cases, each)
        yield Event("forecast", 1.0, values=asdict(self.forecast), forecast=told)

    def play_round(
        self, number: int, seed: int, split: splitting.Split, kept: Path
    ) -> Iterator[Event]:
        """Train and test each system with one seed, in turns; write what they say."""
        begun = time.perf_counter()
        turn = number % len(self.systems)  # another one begins each round
        order = self.systems[turn:] + self.systems[:turn]
        fits: dict[str, tuple[Fit, Parts]] = {}
        for system in order:
            fits[system] = yield from self.enter(system, seed, split)
        keeper = running.Keeper({
            kept.with_suffix("") / system.replace(":", "-"): fit
            for system, (fit, _parts) in fits.items()
        })  # fmt: skip
        for weights, fit in keeper.fits.items():
            if (weights / "resume.safetensors").exists():
                fit.go_on(weights / "resume.safetensors", weights / "best.safetensors")
        while not all(fit.done for fit, _parts in fits.values()):
            for system, (fit, _parts) in fits.items():
                if fit.done:
                    continue
                with running.gentle_interrupt() as interrupt:
                    fit.go(TURN, interrupt.is_set)
                    if keeper.due():
                        keeper.keep()
                if interrupt.is_set():
                    keeper.keep()
                    raise Interrupted(kept.parent.parent)
                part = fmean(fit.fraction for fit, _parts in fits.values())
                try:
                    yield self._event("train", system, number, part, fits)
                except KeyboardInterrupt as interrupted:
                    keeper.keep()
                    raise Interrupted(kept.parent.parent) from interrupted
        said: dict[str, Tensor] = {}
        about = {}
        for system, (fit, parts) in fits.items():
            fit.use_best()
            answers: dict[str, Tensor] = {}
            for so_far in self.exam.sit(fit, parts, seed):
                answers = so_far
                yield self._event("test", system, number, 1.0, fits)
            said |= {f"{system}/{name}": answer for name, answer in answers.items()}
            about[system] = [fit.curve, fit.seconds, fit.step * fit.batch]
        self.spent += time.perf_counter() - begun
        saving.write_tensors(kept, said, about)

    def read_round(self, kept: Path, seed: int, split: splitting.Split) -> None:
        said, about = saving.read_tensors(kept)
        rows = split.test if self.plan.repeats else slice(None)
        for system, (curve, seconds, examples) in about.items():
            results = self.results[system]
            if len(results) == seed:
                results.append(Result(curve))
            prefix = f"{system}/"
            answers = {
                name.removeprefix(prefix): answer
                for name, answer in said.items()
                if name.startswith(prefix)
            }
            self.exam.enter(results[seed], answers, rows)
            results[seed].seconds += seconds
            results[seed].examples += examples

    def _event(
        self, phase: str, system: str, number: int, part: float, fits: dict[str, tuple[Fit, Parts]]
    ) -> Event:
        whole = (number + part) / len(self.rounds)
        rows = [
            {
                "system": name,
                "seed": self.rounds[number][0],
                "seconds": fit.seconds,
                "fraction": fit.fraction,
                "val": fit.curve[-1].get(f"val {self.exam.follows}") if fit.curve else None,
                "test": [self.exam.so_far(result) for result in self.results[name]],
                "measures": (self.exam.follows, self.exam.headline),
            }
            for name, (fit, _parts) in sorted(fits.items())
        ]
        left = self.forecast.seconds * (1 - whole)
        return Event(phase, whole, left, f"{system}, {number + 1}/{len(self.rounds)}", rows=rows)

    def judge(self, folder: Path) -> ComparisonRecord:
        exam = self.exam
        tables = {measure: scores for measure, scores in exam.mark(self.results).items() if scores}
        rankings = {measure: self._rank(measure, scores) for measure, scores in tables.items()}
        first = rankings.pop(exam.headline)
        return ComparisonRecord(
            folder=folder,
            task=self.task,
            data=self.args["data"],
            budget=self.args["budget"],
            seeds=self.args["seeds"],
            cases=exam.cases,
            measure=exam.headline,
            rows=first.rows,
            verdicts=first.verdicts,
            sentence=judging.sentence(
                first.verdicts,
                first.rows,
                len(self.rounds),
                exam.cases,
                exam.called,
                exam.unit,
            ),
            further=rankings,
            follows=exam.follows,
            curves={name: [r.curve for r in results] for name, results in self.results.items()},
            scores=tables[exam.headline],
            report=folder / "report.html",
            receipt={
                **running.receipt(self._all(), self.everything),
                "command": self.command(),
                "forecast": asdict(self.forecast),
                "outcome": asdict(Cost(self.spent, memory.peak())),
            },
            skipped=self.everything.skipped,
            leaking=self.plan.kept.leaking,
            torn=self.plan.kept.torn,
            grouped=self.everything.grouped,
            folds=len(self.plan.repeats[0]) if self.plan.repeats else 1,
            test=self.test,
            **exam.shown(self.results),
        )

    def _rank(self, measure: str, tables: dict[str, Any]) -> Ranking:
        higher = self.exam.better[measure] == "higher"
        rows = [self._row(system, measure, table) for system, table in tables.items()]
        rows.sort(key=lambda row: row.value, reverse=higher)
        ordered = {row.system: tables[row.system] for row in rows}
        verdicts = judging.judge(ordered, higher, groups=self.exam.units, trainings=self.exam.whose)
        if len(self.rounds) == 1:  # then nothing is known of how trainings vary
            verdicts = [replace(verdict, seeds_needed=None) for verdict in verdicts]
        return Ranking(rows, verdicts)

    def _row(self, system: str, measure: str, scores: Any) -> Row:
        results = self.results[system]
        found = self.exam.interval(measure, system, scores)
        parameters, flops = self.costs[system]
        return Row(
            system=system,
            measure=measure,
            value=found.value,
            low=found.low,
            high=found.high,
            train_seconds=fmean(result.seconds for result in results),
            examples_seen=fmean(result.examples for result in results),
            parameters=parameters,
            flops=flops,
            seeds=self.exam.of_seeds(measure, results, scores),
        )

    def command(self) -> str:
        """The command line that does this again."""
        names = {"side": "imgsz"}
        options = [
            f"{names.get(name, name)}={value}"
            for name, value in self.args.items()
            if name != "systems" and str(value) not in ("None", "False", "auto")
        ]
        return shlex.join(["souron", "compare", *self.systems, *options])


def _write(record: ComparisonRecord) -> None:
    from souron.reporting import report

    path = record.folder / "results.csv"
    with saving.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(record.rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in record.rows)
    report.comparison_report(record)
    saving.write_json(record.folder / "receipt.json", {**record.as_json(), **record.receipt})
