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
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from souron import finding, judging, machine, memory, running, saving, structure
from souron.budget import Budget
from souron.data import splitting
from souron.data.cases import Cases, Feed
from souron.fitting import LOOKS, Fit, probe
from souron.records import ComparisonRecord, Cost, Row
from souron.running import Event, Interrupted
from souron.speaking import Trouble, _
from souron.tasks.classify import score

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
            "allow_leak": allow_leak,
        })  # fmt: skip
        contest.check()
        folder = Path(project) / "compare"

    yield Event("data", text=contest.args["data"])
    memory.forget_peak()
    yield from contest.foretell()
    if resume is None:
        default = f"{Path(contest.args['data']).name}-{contest.args['budget']}"
        folder = saving.new_folder(folder, name or default)
        saving.write_args(folder, contest.args)
        splitting.write(contest.split, contest.everything, folder / "split.csv")

    for seed in range(contest.args["seeds"]):
        kept = folder / "rounds" / f"{seed}.safetensors"
        if kept.exists():
            contest.read_round(kept)
        else:
            yield from contest.play_round(seed, folder)
            contest.write_round(kept)
            shutil.rmtree(kept.with_suffix(""), ignore_errors=True)

    yield Event("report")
    record = contest.judge(folder)
    _write(record)
    yield Event("done", 1.0, record=record)


@dataclass
class Result:
    """One system, one seed, on the test cases."""

    score: Tensor  # (cases,) the headline measure
    guess: Tensor  # (cases,) the label given
    curve: list[dict[str, float]]
    seconds: float
    examples: int


class Contest:
    """The systems, what they share, and their results so far."""

    def __init__(self, args: dict[str, Any]) -> None:
        self.args = args
        self.systems: list[str] = args["systems"]
        self.results: dict[str, list[Result]] = {system: [] for system in self.systems}
        self.costs: dict[str, tuple[int, int]] = {}  # parameters, FLOPs
        self.forecast = Cost(0.0, 0)
        self.spent = 0.0  # seconds, looks and tests among them

    def check(self) -> None:
        """Raises Trouble, before anything is loaded, where the wish makes no sense."""
        Budget.parse(self.args["budget"])
        machine.device(self.args["device"])
        for system in self.systems:
            if finding.split(self.of(system, 0)["system"])[0].task != "classify":
                raise Trouble(
                    "task",
                    _("{system} does not classify, and only classifiers are compared").format(
                        system=system
                    ),
                    expected=_("systems of the task classify"),
                    fix="souron list",
                )
        if len(set(self.systems)) < 2 or len(set(self.systems)) < len(self.systems):
            raise Trouble(
                "systems",
                _("{count} systems to compare: {names}").format(
                    count=len(self.systems), names=" ".join(self.systems)
                ),
                expected=_("two or more, each once"),
                fix="souron compare mlp cnn data=digits budget=10s seeds=3",
            )
        if self.args["seeds"] < 1:
            raise Trouble("option", f"seeds={self.args['seeds']}", expected="seeds >= 1")

    @cached_property
    def everything(self) -> Cases:
        published = any(self.of(system, 0)["pretrained"] == "True" for system in self.systems)
        return running.cases_for({**self.args, "pretrained": str(published)})

    @cached_property
    def split(self) -> splitting.Split:
        return running.divide(self.args, self.everything)

    @cached_property
    def parts(self) -> splitting.Parts:
        return self.split.deal(self.everything)

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

    def enter(self, system: str, seed: int) -> Generator[Event, None, tuple[Fit, Feed]]:
        args = self.of(system, seed)
        model = running.build(args, self.parts.train)
        return (yield from running.entering(args, model, self.parts))

    def foretell(self) -> Iterator[Event]:
        """A few steps of each: what will it take?"""
        seconds, held = 0.0, []
        for i, system in enumerate(self.systems):
            yield Event("forecast", i / len(self.systems), text=system)
            fit, test = yield from self.enter(system, 0)
            model = running.build(self.of(system, 0), self.parts.train)
            self.costs[system] = (structure.parameters(model), structure.flops(model, model.seen))
            shown = probe(fit)
            looked_at = LOOKS * len(fit.val or ()) + len(test)
            seconds += shown.seconds(fit) + shown.look * looked_at
            held.append(shown.held)
        together = sum(held) - max(held)  # a round holds them all, the probe one at a time
        self.forecast = Cost(seconds * self.args["seeds"], memory.peak() + together)
        yield Event("forecast", 1.0, values=asdict(self.forecast))

    def play_round(self, seed: int, folder: Path) -> Iterator[Event]:
        """Train and test each system with one seed, in turns."""
        begun = time.perf_counter()
        turn = seed % len(self.systems)  # another one begins each round
        order = self.systems[turn:] + self.systems[:turn]
        fits = {}
        for system in order:
            fits[system] = yield from self.enter(system, seed)
        keeper = running.Keeper({
            folder / "rounds" / str(seed) / system.replace(":", "-"): fit
            for system, (fit, _test) in fits.items()
        })  # fmt: skip
        for weights, fit in keeper.fits.items():
            if (weights / "resume.safetensors").exists():
                fit.go_on(weights / "resume.safetensors", weights / "best.safetensors")
        while not all(fit.done for fit, _test in fits.values()):
            for system, (fit, _test) in fits.items():
                if fit.done:
                    continue
                with running.gentle_interrupt() as interrupt:
                    fit.go(TURN, interrupt.is_set)
                    if interrupt.is_set() or keeper.due():
                        keeper.keep()
                if interrupt.is_set():
                    raise Interrupted(folder)
                part = fmean(fit.fraction for fit, _test in fits.values())
                yield self._event("train", system, seed, part, fits)
        for system, (fit, test) in fits.items():
            yield self._event("test", system, seed, 1.0, fits)
            self.results[system].append(_result(fit, test))
        self.spent += time.perf_counter() - begun

    def _event(
        self, phase: str, system: str, seed: int, part: float, fits: dict[str, tuple[Fit, Feed]]
    ) -> Event:
        whole = (seed + part) / self.args["seeds"]
        rows = [
            {
                "system": name,
                "seed": seed,
                "seconds": fit.seconds,
                "fraction": fit.fraction,
                "val": fit.curve[-1].get(f"val {fit.watched}") if fit.curve else None,
                "test": [result.score.mean().item() for result in self.results[name]],
            }
            for name, (fit, _test) in sorted(fits.items())
        ]
        left = self.forecast.seconds * (1 - whole)
        return Event(phase, whole, left, f"{system}, {seed + 1}/{self.args['seeds']}", rows=rows)

    def write_round(self, path: Path) -> None:
        tensors, about = {}, {}
        for system, results in self.results.items():
            result = results[-1]
            tensors[f"{system}/score"] = result.score
            tensors[f"{system}/guess"] = result.guess
            about[system] = [result.curve, result.seconds, result.examples]
        saving.write_tensors(path, tensors, about)

    def read_round(self, path: Path) -> None:
        tensors, about = saving.read_tensors(path)
        for system, (curve, seconds, examples) in about.items():
            score, guess = tensors[f"{system}/score"], tensors[f"{system}/guess"]
            self.results[system].append(Result(score, guess, curve, seconds, examples))

    def judge(self, folder: Path) -> ComparisonRecord:
        groups = list(self.parts.test.group) or None
        scores = {
            system: torch.stack([result.score for result in results])
            for system, results in self.results.items()
        }
        rows = sorted(
            (self._row(system, scores[system], groups) for system in self.systems),
            key=lambda row: -row.value,
        )
        ranked = [row.system for row in rows]
        arrays = {system: scores[system].numpy() for system in ranked}
        verdicts = judging.judge(arrays, groups=groups)
        return ComparisonRecord(
            folder=folder,
            task="classify",
            data=self.args["data"],
            budget=self.args["budget"],
            seeds=self.args["seeds"],
            cases=len(self.parts.test),
            measure="accuracy",
            rows=rows,
            verdicts=verdicts,
            sentence=judging.sentence(
                verdicts, rows, self.args["seeds"], len(self.parts.test), _("accuracy"), "points"
            ),
            curves={name: [r.curve for r in results] for name, results in self.results.items()},
            scores=scores,
            guesses={
                system: torch.stack([result.guess for result in results])
                for system, results in self.results.items()
            },
            report=folder / "report.html",
            receipt={
                **running.receipt(self._all(), self.everything),
                "command": self.command(),
                "forecast": asdict(self.forecast),
                "outcome": asdict(Cost(self.spent, memory.peak())),
            },
            skipped=self.everything.skipped,
            leaking=self.split.leaking,
            torn=self.split.torn,
            grouped=self.everything.grouped,
            test=self.parts.test,
        )

    def _row(self, system: str, scores: Tensor, groups: list[str] | None) -> Row:
        results = self.results[system]
        measure = judging.interval(scores.numpy(), groups)
        parameters, flops = self.costs[system]
        return Row(
            system=system,
            measure="accuracy",
            value=measure.value,
            low=measure.low,
            high=measure.high,
            train_seconds=fmean(result.seconds for result in results),
            examples_seen=fmean(result.examples for result in results),
            parameters=parameters,
            flops=flops,
            seeds=tuple(scores.mean(1).tolist()),
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


def _result(fit: Fit, test: Feed) -> Result:
    fit.use_best()
    probability = fit.system.probabilities(test)
    return Result(
        score=score(probability, test.cases.label)["accuracy"],
        guess=probability.argmax(1),
        curve=fit.curve,
        seconds=fit.seconds,
        examples=fit.step * fit.batch,
    )


def _write(record: ComparisonRecord) -> None:
    from souron.reporting import report

    path = record.folder / "results.csv"
    with saving.atomically(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(record.rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in record.rows)
    report.comparison_report(record)
    saving.write_json(record.folder / "receipt.json", {**record.as_json(), **record.receipt})
