"""Search a system's settings on validation cases, and measure on test cases what that was worth.

Each trial trains the system once, for ``budget``, on the training part. Its result is the best
figure on the validation part; the test part is not looked at. Settings are proposed by Optuna's
tree-structured Parzen estimator (Bergstra and others 2011,
https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization). At the end the best
settings and the default ones are compared on the test part, with the same budget and further seeds:
the difference and its interval are what tuning was worth for new cases. There is one split however few
the cases are: cross-validation would test on every case, also on those that chose the settings.

    space=rate:1e-4..1e-1,layers:2|4     a number between two, on a logarithmic scale; one of several

The first trial is of the default settings. ``journal.jsonl`` holds the settings of the search on its
first line and a finished trial on each further one. ``resume`` runs the same search anew, with the
same seed, and takes the figures of finished trials from there instead of training: so a resumed search
proposes what an undisturbed one does.
"""

import json
import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from souron import registry
from souron.action import Action, Given, Record, Table
from souron.data import display_names
from souron.data.dataset import content
from souron.data.quality import warnings as data_warnings
from souron.engines import engine
from souron.kinds.signature import Choice
from souron.report.blocks import Fact
from souron.runs import fit as run_fit
from souron.runs import folder as run_folder
from souron.runs.compare import Comparison, comparing
from souron.runs.events import Event, Interrupted, changed, left, result
from souron.training.budget import Budget
from souron.utils import files, units
from souron.utils.messages import N_, UserError, _

TURN = 1.0  # seconds of training between two looks at the clock
TENFOLD = 10.0  # the default search of the rate: from a tenth of its own to ten times it
JOURNAL = "journal.jsonl"
MOST_JOURNAL = 10_000_000  # bytes
NOT_KEPT = ("on", "resume")  # options that may differ when a search is resumed
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
    on: Annotated[str, Choice(N_("where trials run: processes:4, dask://HOST:PORT, slurm"), metavar="ENGINE")] = ""
    resume: Annotated[
        str, Choice(N_("resume an interrupted search; without a folder the latest"), metavar="FOLDER")
    ] = ""


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


class Tune(Action):
    """Search settings with ``trials`` trainings, and compare the best with the default."""

    title = N_("Search a system's settings, and measure what that was worth.")
    examples = (
        "souron tune cnn data=digits trials=8 budget=5s",
        "souron tune vit_tiny data=digits 'space=rate:1e-4..1e-1,layers:2|4' trials=12 on=processes:2 at_once=2",
    )
    group = "train"
    given = Given("SYSTEM", N_("a system"))

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        optuna = imported()
        if options.on:
            engine.find(options.on)  # says what is wrong before anything is read
        journal = Journal(None)
        if options.resume:
            journal = Journal.read(self._folder_to_resume(options.resume))
            system, options = self._resumed(journal, given, options)
        else:
            system = given[0]
        space = read_space(options.space, registry.load_system(system)[1])
        yield Event("data", text=options.data)
        comparison = prepared(system, options.data, options.budget)
        settings = settings_of(system, options) | {"content": content(comparison.everything)}
        if options.resume:
            journal.check(settings)
        elif folder := self.new_folder(f"{system}-{display_names.folder(options.data)}"):
            journal = Journal.new(folder, settings)
        try:
            yield from self._searching(Search(optuna, space, comparison, options.seed, journal), system, options)
        except KeyboardInterrupt as stop:
            if journal.folder is None:
                raise
            raise Interrupted(journal.folder, f"souron tune resume={shlex.quote(str(journal.folder))}") from stop

    def _searching(self, search: "Search", system: str, options: Options) -> Iterator[Event]:
        """Run the trials that are missing, and then the comparison."""
        journal, metric = search.journal, search.metric
        kept = len(journal.trials)
        yield Event("train", folder=journal.folder)
        while len(search.trials) < options.trials:
            count = min(options.at_once, options.trials - len(search.trials))
            for trial in search.tried(system, options, search.proposed(count)):
                done = len(search.trials)
                figure = metric.text(trial.value) if not trial.trouble else trial.trouble
                seconds = left(search.begun, (done - kept) / max(1, options.trials - kept))
                yield Event("train", done / options.trials, seconds, f"{trial.name}: {figure}")
        record = Tuned(journal.folder, system, options.data, options.budget, search.watches, search.trials, search.best)
        if record.best.changes:
            better = f"{system}:" + ",".join(f"{name}={value}" for name, value in record.best.changes.items())

            def passed_on(event: Event) -> Event:
                if event.folder is not None and event.folder.name != journal.comparison:
                    journal.note_comparison(event.folder.name)
                record.verdict = event.record
                return Event(event.phase, event.fraction, event.seconds_left, event.text)

            yield from changed(self._comparing([system, better], options, journal), passed_on)
        yield Event("done", 1.0, record=record)

    def _comparing(self, systems: list[str], options: Options, journal: "Journal") -> Iterator[Event]:
        """Compare the best settings with the default ones, or go on with the comparison that was begun."""
        project, search = self.project, Path(options.resume).absolute()
        if options.resume and search.parent.name == self.name:
            project = search.parents[1]
        wanted = {"systems": systems, "data": options.data, "budget": options.budget, "seeds": options.seeds}
        wanted |= one_split(systems[0])
        begun = project / "compare" / journal.comparison if journal.comparison else None
        if begun is not None and _is_comparison(begun, wanted):
            return comparing(resume=begun, on=options.on or None)
        return comparing(**wanted, project=str(project), on=options.on or None)

    def _folder_to_resume(self, wish: str) -> Path:
        """Return the folder of a search; the latest unfinished one for "true". Raises UserError."""
        if wish.lower() != "true":
            return Path(wish)
        place = self.project / self.name
        unfinished = [path for path in place.glob(f"*/{JOURNAL}") if not (path.parent / Tuned.json_file).exists()]
        if not unfinished:
            raise UserError(
                "resume",
                _("no search in {folder} waits to be resumed").format(folder=place),
                expected=_("the folder of an interrupted search"),
                fix="souron tune resume=FOLDER",
                exit=3,
            )
        return max(unfinished, key=lambda path: path.stat().st_mtime).parent

    def _resumed(self, journal: "Journal", given: Sequence[str], options: Options) -> tuple[str, Options]:
        """Return the system and the options of the search that is resumed.

        Raises UserError where the command names another system, or an option differs that is given:
        one at its default counts as not given.
        """
        system = str(journal.settings.get("system"))
        known = {one.name for one in fields(Options)} - set(NOT_KEPT)
        kept = self.read({name: journal.settings[name] for name in known & set(journal.settings)})
        asked = {name: getattr(options, name) for name in known if getattr(options, name) != getattr(Options, name)}
        journal.check({**asked, **({"system": given[0]} if given else {})})
        return system, replace(kept, on=options.on, resume=str(journal.folder))


def settings_of(system: str, options: Options) -> dict[str, Any]:
    """Return the settings that determine a search."""
    return {"system": system, **{name: value for name, value in asdict(options).items() if name not in NOT_KEPT}}


def _is_comparison(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Return whether a folder is that of a comparison with these arguments."""
    with suppress(UserError):
        args = run_folder.read_args(folder, tuple(wanted))
        return all(args[name] == value for name, value in wanted.items())
    return False


@dataclass
class Journal:
    """The file that a search is resumed from: its settings, and what has finished.

    A line is appended and flushed to the disk once a trial is over. A last line without its end was being
    written when the search was killed; it is cut off.
    """

    folder: Path | None  # None: nothing is kept
    settings: dict[str, Any] = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)  # by their number, from 0
    comparison: str = ""  # name of the folder in ``compare``

    @classmethod
    def new(cls, folder: Path, settings: dict[str, Any]) -> "Journal":
        files.write_text(folder / JOURNAL, files.as_json({"settings": settings}) + "\n")
        return cls(folder, settings)

    @classmethod
    def read(cls, folder: Path) -> "Journal":
        """Read the journal of a search. Raises UserError where there is none, or it is damaged."""
        path, number = folder / JOURNAL, 1
        try:
            if path.stat().st_size > MOST_JOURNAL:
                raise ValueError(_("it is larger than {size}").format(size=units.size(MOST_JOURNAL)))
            whole, end, rest = path.read_bytes().rpartition(b"\n")
            if rest:
                os.truncate(path, len(whole + end))
            first, *lines = whole.decode("utf-8").split("\n")
            journal = cls(folder, dict(json.loads(first)["settings"]))
            for line in lines:
                number += 1
                journal._take(json.loads(line))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                "journal",
                _("{path} cannot be read, line {number}: {why}").format(path=path, number=number, why=error),
                expected=_("the folder of a search, with the journal that souron tune wrote"),
                fix="souron tune resume=FOLDER",
                exit=3,
            ) from error
        return journal

    def _take(self, line: dict[str, Any]) -> None:
        if "comparison" in line:
            name = str(line["comparison"])
            if Path(name).name != name or name == ".." or "\\" in name:
                raise ValueError(name)
            self.comparison = name
            return
        value = math.nan if line["value"] is None else float(line["value"])
        changes = {str(name): str(setting) for name, setting in line["changes"].items()}
        self.trials[int(line["number"])] = Trial(changes, value, str(line["trouble"]))

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise UserError where the search that is kept has other settings."""
        differ = [name for name, value in settings.items() if self.settings.get(name) != value]
        if differ:
            raise UserError(
                "journal",
                _("{folder} holds a search with other settings: {names}").format(
                    folder=self.folder, names=", ".join(f"{name}={self.settings.get(name)}" for name in sorted(differ))
                ),
                expected=_("the same data, and no other options than on="),
                fix=f"souron tune resume={shlex.quote(str(self.folder))}",
                exit=3,
            )

    def kept(self, number: int, changes: Mapping[str, str]) -> Trial | None:
        """Return a finished trial; None where it has to be run. Raises UserError for one of other settings."""
        trial = self.trials.get(number)
        if trial is not None and trial.changes != changes:
            raise UserError(
                "journal",
                _("trial {number} in {folder} is of {found}, and the search proposes {wanted}").format(
                    number=number + 1, folder=self.folder, found=trial.name, wanted=Trial(changes, 0.0).name
                ),
                expected=_("a journal of this search, by the same versions of souron and Optuna"),
                exit=3,
            )
        return trial

    def add(self, number: int, trial: Trial) -> None:
        self.trials[number] = trial
        self._append({"number": number, "changes": dict(trial.changes), "value": trial.value, "trouble": trial.trouble})

    def note_comparison(self, name: str) -> None:
        self.comparison = name
        self._append({"comparison": name})

    def _append(self, line: dict[str, Any]) -> None:
        if self.folder is None:
            return
        path = self.folder / JOURNAL
        try:
            with path.open("ab") as file:
                file.write(f"{files.as_json(line)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise files.cannot_write(path, error) from error


class Search:
    """The trials so far, and Optuna's next proposals.

    Optuna's study is in memory: a resumed search goes through the same proposals again.
    """

    def __init__(
        self, optuna: Any, space: Mapping[str, Range | Among], comparison: Any, seed: int, journal: Journal
    ) -> None:
        self.begun, self.journal = time.monotonic(), journal
        self.watches = comparison.task.watches
        self.metric = comparison.task.metric(self.watches)
        self.higher, self.trials = self.metric.higher_is_better, list[Trial]()
        self.failed = optuna.trial.TrialState.FAIL
        self.study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed), direction="maximize" if self.higher else "minimize"
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
        """Yield the trials of the settings: those of the journal, then others as their trainings end.

        Trainings run on an engine if one is named. In the end ``trials`` are in the order of ``proposed``.
        """
        before = len(self.trials)
        finished: dict[int, Trial] = {}
        parts = {}
        for number, (_handle, changes) in enumerate(proposed, before):
            if (trial := self.journal.kept(number, changes)) is not None:
                finished[number] = trial
            else:
                parts[number] = (system, options.data, options.budget, options.seed, changes)
        for number, trial in [*finished.items()]:
            yield self._counted(proposed[number - before][0], trial)
        if options.on and parts:
            results = engine.gather(options.on, attempt, parts.items())
        else:
            results = ((number, attempt(*given)) for number, given in parts.items())
        for number, (value, trouble) in results:
            handle, changes = proposed[number - before]
            finished[number] = Trial(changes, value, trouble)
            self.journal.add(number, finished[number])
            yield self._counted(handle, finished[number])
        self.trials[before:] = [finished[number] for number in sorted(finished)]

    def _counted(self, handle: Any, trial: Trial) -> Trial:
        """Tell Optuna the figure of a trial, and return the trial; the default one has no ``handle``."""
        if handle is not None and trial.trouble:
            self.study.tell(handle, state=self.failed)
        elif handle is not None:
            self.study.tell(handle, trial.value)
        self.trials.append(trial)
        return trial

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


def one_split(system: str) -> dict[str, Any]:
    """Return the options with which no case is tested that the search chose on: no cross-validation."""
    known = registry.tasks()[registry.find(system)[0].task].options
    return {"folds": 1} if any(option.name == "folds" for option in known) else {}


@lru_cache(1)
def prepared(system: str, data: str, budget: str) -> Comparison:
    """Return the settings of a training without a test, with its data read once. Raises UserError."""
    from souron.runs import options as run_options

    Budget.parse(budget)
    asked = {"budget": budget, "seeds": 1, **one_split(system)}
    common, own = run_options.read(run_options.CompareOptions, asked, "souron tune --help")
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
        return [*self._of_data(), chosen, *([_("{count} trials failed.").format(count=failed)] if failed else [])]

    def _of_data(self) -> list[str]:
        """Return the warnings of the data check about the data of the comparison."""
        return [] if self.verdict is None else data_warnings.texts(self.verdict.warnings, self.verdict.folder)

    def tables(self) -> Sequence[Table]:
        metric = registry.metric(self.watches)
        sign = -1 if metric.higher_is_better else 1
        ordered = sorted(self.trials, key=lambda one: math.inf if one.trouble else sign * one.value)
        rows = [[one.name, one.trouble or metric.text(one.value)] for one in ordered]
        return [Table([_("settings"), _("{measure}, validation").format(measure=metric.title)], rows)]
