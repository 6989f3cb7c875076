"""Train several systems at equal budgets, and say which is better; of finished runs, say it at once."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron import registry
from souron.action import Action, Given, Record, Table
from souron.actions.train import recorded, trained_options, warnings_of_data
from souron.actions.verdict import VerdictStudy
from souron.evaluation import fixed_margin
from souron.evaluation.record import ComparisonRecord
from souron.hub import names
from souron.kinds.signature import changed_options
from souron.report import blocks, verdict
from souron.runs import compare, folder
from souron.runs.elsewhere.rounds import Waiting
from souron.runs.events import Event
from souron.runs.options import CommandOptions, CompareOptions
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _


@dataclass(frozen=True)
class Options(CompareOptions, CommandOptions):
    pass


@dataclass
class CompareRecord(Record):
    """A comparison, in a folder that is written already."""

    eyebrow = N_("comparison")

    compared: ComparisonRecord
    folder: Path | None = None

    def page_title(self) -> str:
        return self.compared.data

    def as_json(self) -> dict[str, Any]:
        return self.compared.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        return [self.compared.sentence, *filter(None, [self.compared.patients])]

    def tables(self) -> Sequence[Table]:
        return verdict.tables(self.compared.ranking)

    def shown(self) -> list[Any]:
        return [
            *super().shown(),
            *warnings_of_data(self.compared),
            *blocks.skipped_lines(self.compared.skipped),
            _("report: {path}").format(path=self.compared.report),
        ]

    def write(self) -> None:
        """Write nothing, since a comparison writes its folder itself."""


@dataclass
class WaitingRecord(Record):
    """A comparison whose rounds are played by jobs."""

    eyebrow = N_("comparison")

    waiting: Waiting
    folder: Path | None = None

    def page_title(self) -> str:
        return self.waiting.folder.name

    def as_json(self) -> dict[str, Any]:
        return self.waiting.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        return [self.waiting.sentence]

    def shown(self) -> list[Any]:
        return list(self.sentences())


class Compare(Action):
    """Compare systems trained at equal budgets, or runs that are finished."""

    title = N_("Train systems at equal budgets and test which is better.")
    examples = (
        "souron compare mlp cnn resnet data=digits budget=10s seeds=3",
        "souron compare resnet18 vit data=photos/ budget=5min seeds=5 --json",
        "souron compare mlp cnn data=digits budget=1min margin=2        (is one not inferior by more than 2 points?)",
        "souron compare runs/classify/mlp-digits runs/classify/cnn-digits   (trained already: a verdict at once)",
        "souron compare --resume",
    )
    group = "train"
    given = Given("SYSTEMS", N_("two or more systems' names, or the folders of finished runs"), 0, None, names=True)
    page = "compare"
    of_tasks = "compared"

    def run(self, given: Sequence[str], options: Any) -> Iterator[Event]:
        resumed = folder.to_resume(options.resume, self.project, "compare")
        self.given.check(given, self.examples[0], least=0 if resumed else 1)
        if given and all(map(names.is_run, given)):
            yield from self.of_runs(given, options)
            return
        for system in given:
            registry.find(system.partition(":")[0])
        chosen = trained_options(options, CompareOptions.budget)
        if resumed is not None:
            chosen["resume"] = resumed
        hardware.use_cores(options.workers)
        comparing = compare.comparing(given, options.data or None, project=str(self.project), **chosen)
        yield from recorded(comparing, options.forecast, _record_of)

    def of_runs(self, runs: Sequence[str], options: Any) -> Iterator[Event]:
        """Judge finished runs, as ``souron verdict`` does. Raises UserError, also for options of a training."""
        if chosen := changed_options(options).keys() - {"margin"}:
            words = " ".join(map(shlex.quote, runs))
            raise UserError(
                "option",
                _("{given} cannot go together with runs, which are trained").format(given=", ".join(sorted(chosen))),
                expected=_("folders of runs alone"),
                fix=f"souron compare {words} margin=2",
                exit=2,
            )
        judge, margin = VerdictStudy(self.project, writes=False), fixed_margin.asked(options.margin, None)
        yield from judge.run(runs, judge.read({} if margin is None else {"margin": margin}))


def _record_of(record: Any) -> Record:
    return WaitingRecord(record) if isinstance(record, Waiting) else CompareRecord(record, record.folder)
