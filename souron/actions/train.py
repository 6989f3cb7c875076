"""Train one system, test it on unseen cases, and write a report."""

import ast
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from souron import registry
from souron.action import Action, Given, Hint, Note, Record, Table
from souron.data.quality import warnings as data_warnings
from souron.evaluation.record import Cost, RunRecord
from souron.kinds.signature import Choice, changed_options, yes_or_no
from souron.report import blocks, wording
from souron.runs import folder, train
from souron.runs.events import Event, Forecast, changed
from souron.runs.options import CommandOptions, TrainOptions, word
from souron.training.budget import one_budget
from souron.utils import hardware, units
from souron.utils.messages import N_, _, unknown_option

SHIPPED = "efficientnet_lite"  # its weights come with souron
OF_THE_ACTION = {"model", "data", "epochs", "time", "resume", "workers", "forecast", "no_forecast", "own", "project"}


@dataclass(frozen=True)
class Options(TrainOptions, CommandOptions):
    model: Annotated[str, Choice(N_("the system, as an option"), metavar="SYSTEM")] = ""
    no_forecast: Annotated[bool, Choice(N_("start without a forecast"))] = False
    own: Annotated[dict[str, str] | None, Choice(N_("fields of the system's Config"))] = None


@dataclass
class TrainRecord(Record):
    """A training and its test, in a folder that is written already."""

    eyebrow = N_("training")

    trained: RunRecord
    folder: Path | None = None

    def page_title(self) -> str:
        return self.trained.system

    def as_json(self) -> dict[str, Any]:
        return self.trained.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        run = self.trained
        return [cases_of(run.system, run.data, run.parts, run.task), *filter(None, [run.patients])]

    def tables(self) -> Sequence[Table]:
        run = self.trained
        measured = [wording.measure_table(run.measures)] if run.measures else []
        return [*measured, costs(run.forecast, run.outcome)]

    def shown(self) -> list[Any]:
        run = self.trained
        use = registry.load_task(run.task).next_command(shlex.quote(str(run.folder)))
        *measured, spent = self.tables()
        return [
            *self.sentences(),
            "",
            *(part for table in measured for part in (table, "")),
            *warnings_of_data(run),
            spent,
            "",
            *blocks.skipped_lines(run.skipped),
            _("report: {path}").format(path=run.folder / self.page_file),
            _("use it: {command}").format(command=use),
        ]

    def write(self) -> None:
        """Write nothing, since a training writes its folder itself."""


@dataclass
class ForecastRecord(Record):
    """The time and memory that a training or a comparison would take."""

    eyebrow = N_("forecast")

    forecast: Forecast
    folder: Path | None = None

    def page_title(self) -> str:
        return _("forecast")

    def as_json(self) -> dict[str, Any]:
        return self.forecast.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        asked = self.forecast.asked
        systems = asked.get("systems") or [asked["system"]]
        task = registry.find(systems[0].partition(":")[0])[0].task
        return [cases_of(", ".join(systems), asked["data"], self.forecast.cases, task), *self.forecast.sentences()]

    def tables(self) -> Sequence[Table]:
        each = self.forecast.each
        return [Table([], [(f"  {name}", units.seconds(time)) for name, time in each.items()])] if each else []

    def shown(self) -> list[Any]:
        return [*self.sentences(), *self.tables()]


class Train(Action):
    """Train one system; without a name, the last layer of a network whose weights come with souron."""

    title = N_("Train a system, test it on unseen cases, write a report.")
    examples = (
        "souron train data=photos/              (transfer learning with the weights that are here)",
        "souron train cnn data=digits budget=10s",
        "souron train resnet18 data=photos/ epochs=5 imgsz=64",
        "souron train resnet18 data=photos/ pretrained=true freeze=true",
        "souron train cnn data=digits rate=0.01     (any field of the system's Config)",
        "souron train cnn data=digits epochs=20 --forecast",
        "souron train cnn data=digits budget=1min --no-forecast",
        "souron train --resume",
    )
    group = "train"
    given = Given("SYSTEM", N_("a system's name, with or without a size: resnet, resnet18"), 0, 1, names=True)
    page = "train"
    of_tasks = "all"

    def run(self, given: Sequence[str], options: Any) -> Iterator[Event]:
        system, own = " ".join(given) or options.model, dict(options.own or {})
        if given and options.model:
            own["model"] = options.model
        chosen = trained_options(options, TrainOptions.budget)
        resumed = folder.to_resume(options.resume, self.project, "train")
        if resumed is None and not system:
            self.given.check((), self.examples[1], least=0 if options.data else 1)
            system = SHIPPED
            chosen = {"pretrained": "true", **chosen, "freeze": True}
            text = _("no system is named: transfer learning with {system}, whose ImageNet weights come with souron")
            yield Event("data", note=text.format(system=SHIPPED))
        if "pretrained" in chosen:
            chosen["pretrained"] = yes_or_no(chosen["pretrained"])
        if resumed is not None:
            chosen["resume"] = resumed
        if options.no_forecast:
            chosen["forecast"] = False
        hardware.use_cores(options.workers)
        training = train.training(
            system,
            options.data or None,
            config=config_fields(system, own) if own else {},
            project=str(self.project),
            **chosen,
        )
        yield from recorded(training, options.forecast, lambda record: TrainRecord(record, record.folder))


def trained_options(options: Any, budget: str) -> dict[str, Any]:
    """Return what an action hands on to a training; ``budget`` is the default. Raises UserError."""
    chosen = changed_options(options)
    one = one_budget(options.budget, options.epochs, options.time, budget)
    of_training = {name: value for name, value in chosen.items() if name not in OF_THE_ACTION}
    return {**of_training, **({} if one == budget else {"budget": one})}


def recorded(running: Iterator[Event], forecast: bool, record_of: Any) -> Iterator[Event]:
    """Yield the events of a training, the last with the record of an action: of the ``forecast`` alone where asked."""

    def change(event: Event) -> Event:
        return event if event.record is None else replace(event, record=record_of(event.record))

    if forecast:
        for event in running:
            if event.forecast is not None:
                yield replace(event, record=ForecastRecord(event.forecast))
                return
            yield event
    yield from changed(running, change)


def cases_of(system: str, data: Any, parts: Mapping[str, int], task: str) -> str:
    """Return a sentence on what is trained on how many cases."""
    train, test = units.whole(parts["train"]), units.whole(parts["test"])
    if not registry.load_task(task).held_out:
        return _("{system} on {data}: {cases} cases").format(system=system, data=data, cases=train)
    text = _("{system} on {data}: {train} training cases, {test} test cases")
    return text.format(system=system, data=data, train=train, test=test)


def costs(forecast: Cost, outcome: Cost) -> Table:
    """Return the table of the estimated and the measured time and memory."""
    heads = ("", _("forecast"), _("outcome"))
    rows = [
        (name, form(before) if before else units.UNKNOWN, form(after))
        for name, form, before, after in (
            (_("training time"), units.seconds, forecast.seconds, outcome.seconds),
            (_("memory"), units.size, forecast.bytes, outcome.bytes),
        )
    ]
    return Table(heads, rows, right=heads[1:])


def warnings_of_data(record: Any) -> list[Any]:
    """Return the warnings of the data check about a result's data, and how they are answered."""
    found = data_warnings.current(record.warnings, record.folder)
    still = [one for one in found if not one.answer]
    shown: list[Any] = [Note(one.text) for one in found]
    if still:
        command = f'souron data check {shlex.quote(str(record.data))} answer="{still[0].key}: ..."'
        text = _("to answer a warning, so that the answer stands in its place: {command}")
        shown.append(Hint(text.format(command=command)))
    return shown


def config_fields(system: str, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return fields of a system's Config. Raises UserError for one that it lacks."""
    entry, _size = registry.find(system)
    known = [
        item.target.id
        for node in ast.parse(entry.file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Config"
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    for name in chosen:
        if name not in known:
            options = [one for one in registry.action("train").options if one.type is not dict]
            raise unknown_option(
                name, [*(word(one).replace("_", "-") for one in options), *known], "souron train --help"
            )
    return dict(chosen)
