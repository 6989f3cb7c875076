"""Search a system's settings on validation cases, and measure on test cases what that was worth.

Each trial trains the system once, for ``budget``, on the training part. Its result is the best
figure on the validation part; the test part is not looked at. Settings are proposed by Optuna's
tree-structured Parzen estimator (Bergstra and others 2011,
https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization). At the end the best
settings and the default ones are compared on the test part, with the same budget and further seeds:
the difference and its interval are what tuning was worth for new cases.

    space=rate:1e-4..1e-1,layers:2|4     a number between two, on a logarithmic scale; one of several

The first trial is of the default settings. Finished trials are kept in ``journal.log``, in the form
of Optuna's journal.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from souron import registry
from souron.data import display_names
from souron.engines import engine
from souron.kinds.signature import Choice
from souron.report.parts import Fact
from souron.runs import fit as run_fit
from souron.runs.compare import Comparison, comparing
from souron.runs.events import Event, left, result
from souron.study import Given, Record, Study, Table
from souron.training.budget import Budget
from souron.utils import units
from souron.utils.messages import N_, UserError, _

TURN = 1.0  # seconds of training between two looks at the clock
TENFOLD = 10.0  # the default search of the rate: from a tenth of its own to ten times it
JOURNAL = "journal.log"
APART = 1000  # the first seed of the trials, which the comparison at the end does not use


@dataclass(frozen=True)
class Options:
    data: Annotated[str, Choice(N_("a data set, or a folder"), metavar="DATA")] = "digits"
    trials: Annotated[int, Choice(N_("how many settings are tried (default 10)"), low=2, high=1000)] = 10
    budget: Annotated[str, Choice(N_("training of each trial: 60s, 5min, 5ep, 20000ex (default 30s)"))] = "30s"
    space: Annotated[
        str, Choice(N_("what is searched, such as rate:1e-4..1e-1,layers:2|4 (default: the rate)"), metavar="SPACE")
    ] = ""
    seeds: Annotated[int, Choice(N_("trainings with which default and best are compared (default 3)"), low=2)] = 3
    seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0
    at_once: Annotated[int, Choice(N_("trials proposed together, for an engine (default 1)"), low=1, high=256)] = 1
    on: Annotated[str, Choice(N_("where trials run: processes:4, dask://HOST:PORT, slurm, ray"), metavar="ENGINE")] = ""


@dataclass(frozen=True)
class Range:
    """A number between two, searched on a logarithmic scale."""

    low: float
    high: float
    whole: bool = False  # integers only


@dataclass(frozen=True)
class Among:
    """One of several values, as they are typed."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and their figure on the validation part."""

    changes: Mapping[str, str]
    value: float  # nan where the training failed
    trouble: str = ""

    @property
    def name(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.changes.items()) or _("default")


class Tune(Study):
    """Search settings with ``trials`` trainings, and compare the best with the default."""

    title = N_("Search a system's settings, and measure what that was worth.")
    examples = (
        "souron tune cnn data=digits trials=8 budget=5s",
        "souron tune vit_tiny data=digits 'space=rate:1e-4..1e-1,layers:2|4' trials=12 on=processes:2 at_once=2",
    )
    group = "train"
    given = Given("SYSTEM", N_("a system"))

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        system = given[0]
        optuna = imported()
        space = read_space(options.space, registry.load_system(system)[1])
        yield Event("data", text=options.data)
        comparison = prepared(system, options.data, options.budget)
        watches = comparison.task.watches
        higher = comparison.task.metric(watches).higher_is_better
        folder = self.new_folder(f"{system}-{display_names.folder(options.data)}")
        search = Search(optuna, space, higher, options.seed, folder)
        yield Event("train", folder=folder)
        while len(search.trials) < options.trials:
            count = min(options.at_once, options.trials - len(search.trials))
            for trial in search.tried(system, options, search.proposed(count)):
                done = len(search.trials) / options.trials
                figure = comparison.task.metric(watches).text(trial.value) if not trial.trouble else trial.trouble
                yield Event("train", done, left(search.begun, done), f"{trial.name}: {figure}")
        record = Tuned(folder, system, options.data, options.budget, watches, search.trials, search.best)
        if record.best.changes:
            better = f"{system}:" + ",".join(f"{name}={value}" for name, value in record.best.changes.items())
            told = comparing(
                [system, better],
                options.data,
                budget=options.budget,
                seeds=options.seeds,
                project=str(self.project),
                on=options.on or None,
            )
            for event in told:
                record.verdict = event.record
                yield Event(event.phase, event.fraction, event.seconds_left, event.text)
        yield Event("done", 1.0, record=record)


class Search:
    """The trials so far, and Optuna's next proposals."""

    def __init__(self, optuna: Any, space: Mapping[str, Range | Among], higher: bool, seed: int, folder: Path | None):
        self.begun = time.monotonic()
        self.higher, self.trials = higher, list[Trial]()
        self.failed = optuna.trial.TrialState.FAIL
        storage = None
        if folder is not None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

            path = str(folder / JOURNAL)  # the lock works on Windows, too
            storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
        self.study = optuna.create_study(
            storage=storage,
            sampler=optuna.samplers.TPESampler(seed=seed),
            direction="maximize" if higher else "minimize",
        )
        self.distributions = {
            name: optuna.distributions.CategoricalDistribution(one.values)
            if isinstance(one, Among)
            else optuna.distributions.IntDistribution(int(one.low), int(one.high), log=True)
            if one.whole
            else optuna.distributions.FloatDistribution(one.low, one.high, log=True)
            for name, one in space.items()
        }

    def proposed(self, count: int) -> list[tuple[Any, dict[str, str]]]:
        """Return settings to try, each with Optuna's handle; the first of all are the default ones."""
        first: list[tuple[Any, dict[str, str]]] = [(None, {})] if not self.trials else []
        asked = [self.study.ask(self.distributions) for _trial in range(count - len(first))]
        return [*first, *((one, {name: written(value) for name, value in one.params.items()}) for one in asked)]

    def tried(self, system: str, options: Options, proposed: Sequence[tuple[Any, dict[str, str]]]) -> Iterator[Trial]:
        """Train with each of the settings, on an engine if one is named, and yield the trials."""
        parts = {
            number: (system, options.data, options.budget, options.seed, changes)
            for number, (_handle, changes) in enumerate(proposed)
        }
        if options.on:
            results = engine.gather(options.on, attempt, parts.items())
        else:
            results = ((number, attempt(*given)) for number, given in parts.items())
        for number, (value, trouble) in results:
            handle, changes = proposed[number]
            if handle is not None and trouble:
                self.study.tell(handle, state=self.failed)
            elif handle is not None:
                self.study.tell(handle, value)
            self.trials.append(Trial(changes, value, trouble))
            yield self.trials[-1]

    @property
    def best(self) -> Trial:
        """Return the best trial; of equal ones the first, so that the default wins a tie."""
        fine = [trial for trial in self.trials if not trial.trouble]
        if not fine:
            raise UserError(
                "training", _("none of the trials ended with a figure"), expected=self.trials[0].trouble, exit=4
            )
        return max(fine, key=lambda trial: trial.value if self.higher else -trial.value)


def imported() -> Any:
    """Return Optuna. Raises UserError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "package", _("{name} is not installed").format(name="optuna"), fix="pip install 'souron[tune]'", exit=4
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def written(value: Any) -> str:
    """Return a proposed value as it is typed: a number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@lru_cache(1)
def prepared(system: str, data: str, budget: str) -> Comparison:
    """Return the settings of a training without a test, with its data read once. Raises UserError."""
    from souron.runs import options as run_options

    Budget.parse(budget)
    common, own = run_options.read(run_options.CompareOptions, {"budget": budget, "seeds": 1}, "souron tune --help")
    kept = {name: value for name, value in common.items() if name not in run_options.NOT_KEPT}
    comparison = Comparison({"systems": [system], "data": data, **kept, "pretrained": "False", **own})
    comparison.check()
    for step in comparison.steps_of_setup():
        comparison.setup = step.result
    return comparison


def attempt(system: str, data: str, budget: str, seed: int, changes: Mapping[str, str]) -> tuple[float, str]:
    """Train once: the best figure on the validation part, or nan and what went wrong."""
    comparison = prepared(system, data, budget)
    name = system + (":" + ",".join(f"{key}={value}" for key, value in changes.items()) if changes else "")
    _seed, split = comparison.rounds[0]
    watched = f"val {comparison.task.watches}"
    try:
        fit = result(comparison.enter(name, APART + seed, split)).trainer
        while not fit.done:
            with run_fit.gentle_interrupt() as interrupt:
                fit.go(TURN, interrupt.is_set)
            if interrupt.is_set():
                raise KeyboardInterrupt
    except UserError as error:  # settings that the system refuses, or too little memory
        return math.nan, error.found
    values = [row[watched] for row in fit.curve if watched in row and math.isfinite(row[watched])]
    if not values:
        return math.nan, _("no figure on the validation part")
    return (max if comparison.task.metric(comparison.task.watches).higher_is_better else min)(values), ""


def read_space(text: str, config: Any) -> dict[str, Range | Among]:
    """Parse a space. Raises UserError for a field that the system has not.

    Example:
        >>> read_space("layers:2|4", registry.load_system("vit")[1])
        {'layers': Among(values=('2', '4'))}
    """
    known = {item.name: getattr(config, item.name) for item in fields(config)}
    if not text:
        if not isinstance(known.get("rate"), float):
            raise UserError("option", _("this system has no learning rate to search"), expected="space=NAME:LOW..HIGH")
        return {"rate": Range(known["rate"] / TENFOLD, known["rate"] * TENFOLD)}
    space: dict[str, Range | Among] = {}
    for part in text.split(","):
        name, _colon, values = (word.strip() for word in part.partition(":"))
        if name not in known:
            raise UserError(
                "option",
                _("no option is named {name!r}").format(name=name),
                expected=", ".join(known),
                fix="souron tune --help",
            )
        space[name] = read_range(part, values, isinstance(known[name], int) and not isinstance(known[name], bool))
    return space


def read_range(part: str, values: str, whole: bool) -> Range | Among:
    if ".." not in values:
        among = tuple(filter(None, values.split("|")))
        if len(among) > 1:
            return Among(among)
    else:
        try:
            low, high = map(float, values.split(".."))
        except ValueError:
            low = high = math.nan
        if 0 < low < high < math.inf and (not whole or low >= 1):
            return Range(low, high, whole)
    raise UserError(
        "option",
        _("{name}={value} is not understood").format(name="space", value=part),
        expected="rate:1e-4..1e-1, layers:2|4",
    )


@dataclass
class Tuned(Record):
    """The trials, and the comparison of the best settings with the default ones."""

    folder: Path | None
    system: str
    data: str
    budget: str
    watches: str
    trials: list[Trial]
    best: Trial
    verdict: Any = None  # a ``ComparisonRecord``; None where nothing was better than the default
    eyebrow: ClassVar[str] = N_("settings")
    json_file: ClassVar[str] = "tune.json"

    def page_title(self) -> str:
        return _("Settings of {system} on {data}").format(system=self.system, data=self.data)

    def as_json(self) -> dict[str, Any]:
        worth = {} if self.verdict is None else {"worth": self.verdict.as_json()}
        return {
            "system": self.system,
            "data": self.data,
            "budget": self.budget,
            "watches": self.watches,
            "trials": [
                {"changes": dict(one.changes), "value": None if one.trouble else one.value, "trouble": one.trouble}
                for one in self.trials
            ],
            "best": dict(self.best.changes),
            **worth,
        }

    def sentences(self) -> list[str]:
        count = _("{count} settings of {system} were tried on validation cases, {budget} each.").format(
            count=len(self.trials), system=self.system, budget=self.budget
        )
        if self.verdict is None:
            return [_("Nothing was better than the default settings."), count]
        best = _("Best on validation cases: {settings}.").format(settings=self.best.name)
        return [best, _("On test cases, with other seeds: {sentence}").format(sentence=self.verdict.sentence), count]

    def facts(self) -> list[Fact]:
        return [Fact(_("best settings"), self.best.name), Fact(_("trials"), units.count(len(self.trials)))]

    def notes(self) -> list[str]:
        failed = sum(bool(one.trouble) for one in self.trials)
        chosen = _(
            "The figures of the trials chose the settings, and are too good for that reason. What counts is the "
            "comparison on test cases."
        )
        return [chosen, *([_("{count} trials failed.").format(count=failed)] if failed else [])]

    def tables(self) -> Sequence[Table]:
        metric = registry.metric(self.watches)
        sign = -1 if metric.higher_is_better else 1
        ordered = sorted(self.trials, key=lambda one: math.inf if one.trouble else sign * one.value)
        rows = [[one.name, one.trouble or metric.text(one.value)] for one in ordered]
        return [Table([_("settings"), _("{measure}, validation").format(measure=metric.title)], rows)]
