"""Measure a trained system again: on its own test cases, or on other data beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from souron import registry
from souron.action import Action, Given, Record
from souron.data.quality import warnings as data_warnings
from souron.evaluation import external
from souron.evaluation.external import Change
from souron.evaluation.record import RunRecord
from souron.inference import modes, whole
from souron.kinds.signature import Choice, only_one
from souron.report import blocks, wording
from souron.runs import evaluate
from souron.runs.events import Event
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass(frozen=True)
class Options:
    data: Annotated[str, Choice(N_("other data: a set's name, a folder, or a CSV"), metavar="D")] = ""
    model: Annotated[str, Choice(N_("the system, as an option"), metavar="SYSTEM")] = ""
    fast: Annotated[
        str, Choice(N_("the engine of many answers: auto (default), off, f32, bf16, int8"), metavar="HOW")
    ] = ""
    group: Annotated[
        str, Choice(N_("which images belong to one patient: a column, a pattern for file names, or none"), metavar="G")
    ] = ""
    allow_leak: Annotated[bool, Choice(N_("ignore leakage of patients or images (not recommended)"))] = False
    window: Annotated[
        str, Choice(N_("grey values of DICOM to show: centre,width; full; the file's"), metavar="C,W")
    ] = ""


@dataclass
class ValRecord(Record):
    """The measures of a trained system, and how they differ from its own test."""

    eyebrow = N_("validation")
    json_file = "val.json"

    run: str
    data: str | None  # None: its own test cases
    measured: RunRecord
    folder: Path | None

    @property
    def changes(self) -> list[Change]:
        return external.side_by_side(self.measured.internal, self.measured.measures)

    def page_title(self) -> str:
        return _("{system} on {data}").format(system=self.measured.system, data=Path(self.measured.data).name)

    def as_json(self) -> dict[str, Any]:
        record, changes = self.measured, self.changes
        told = record.details.as_json() if hasattr(record.details, "as_json") else {}
        beside = {"external": external.as_json(changes, wording.change_sentence(changes))} if changes else {}
        return {
            "run": self.run,
            "data": self.data,
            "engine": record.engine,
            "measures": {name: asdict(measure) for name, measure in record.measures.items()},
            **beside,
            **({} if record.unlike is None else {"unlike": record.unlike}),
            **data_warnings.as_json(record.warnings, record.folder),
            **({"notes": record.notes} if record.notes else {}),
            **told,
        }

    def sentences(self) -> list[str]:
        if self.changes:
            return [wording.change_sentence(self.changes)]
        name, measure = next(iter(self.measured.measures.items()))
        metric = registry.metric(name)
        text = _("{system}: {measure} {value} ({interval}) on {count} cases of {data}.")
        return [
            text.format(
                system=self.measured.system,
                measure=metric.title,
                value=metric.text(measure.value),
                interval=metric.interval(measure.low, measure.high),
                count=units.whole(measure.n),
                data=Path(self.measured.data).name,
            )
        ]

    def notes(self) -> list[str]:
        warnings = data_warnings.current(self.measured.warnings, self.measured.folder)
        return [*self.measured.notes, *(one.text for one in warnings)]

    def tables(self) -> Sequence[blocks.Table]:
        rest = {name: one for name, one in self.measured.measures.items() if name not in self.measured.internal}
        beside = [wording.change_table(self.changes)] if self.changes else []
        return [*beside, *([wording.measure_table(rest)] if rest else [])]


class Val(Action):
    """Evaluate a run, or a system that comes ready trained, on its test cases or on all cases of other data.

    Each task has options of its own, such as ``samples``.
    """

    title = N_("Measure a trained system again, on its test cases or others.")
    examples = (
        "souron val runs/classify/cnn-digits",
        "souron val runs/classify/resnet-photos data=others/",
        "souron val resnet",
    )
    group = "train"
    given = Given("RUN|SYSTEM", N_("a run's folder, or a system that comes ready trained"), 0, 1)
    lookup = True
    of_tasks = "all"
    reads_only = True

    def run(self, given: Sequence[str], options: Any) -> Iterator[Event]:
        self.given.check(given, self.examples[0], least=0 if options.model else 1)
        run = str(only_one(" ".join(given), options.model))
        mode = modes.chosen_mode(options.fast)
        yield Event("test", text=run)
        chosen = {name: value for name, value in vars(options).items() if name not in ("data", "model", "fast")}
        notices: list[str] = []
        record = evaluate.examine(
            run,
            options.data or None,
            hasten=whole.hastening(mode, notices.append),
            **{name: value for name, value in chosen.items() if value not in (None, "")},
        )
        for text in notices:
            yield Event("test", 1.0, note=text)
        folder = self.new_folder(Path(run).name)
        yield Event("done", 1.0, record=ValRecord(run, options.data or None, record, folder))
