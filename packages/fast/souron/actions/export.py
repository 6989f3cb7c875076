"""Write a trained system as a folder that runs without souron."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from souron.action import Action, Given, Hint, Record, Table
from souron.exports import export
from souron.exports.export import Exported
from souron.kinds.signature import Choice, only_one
from souron.runs.events import Event
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass(frozen=True)
class Options:
    model: Annotated[str, Choice(N_("the system, as an option"), metavar="SYSTEM")] = ""
    format: Annotated[str, Choice(N_("the format of the network (default openvino)"), metavar="FORMAT")] = "openvino"
    out: Annotated[str, Choice(N_("the new folder (default: one in RUN, or here)"), metavar="FOLDER")] = ""
    cases: Annotated[
        str,
        Choice(
            N_("what the folder keeps for its check: validation or noise; auto: never images of yours"), metavar="CASES"
        ),
    ] = "auto"


@dataclass
class ExportRecord(Record):
    """A folder that was written, and how equal its answers are."""

    eyebrow = N_("export")

    exported: Exported
    folder: Path | None = None  # holds no page

    def page_title(self) -> str:
        return Path(self.exported.folder).name

    def as_json(self) -> dict[str, Any]:
        return self.exported.as_json()

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        text = _("the same answers as here on {count} cases: off by {worst:.1e} of the outputs' spread at most")
        return [
            _("saved: {path}").format(path=self.exported.folder),
            text.format(count=self.exported.cases, worst=self.exported.max_difference),
        ]

    def tables(self) -> Sequence[Table]:
        rows = [(file, units.size(size)) for file, size in self.exported.sizes()]
        return [Table((_("file"), _("size")), rows, right=(_("size"),))]

    def hints(self) -> list[str]:
        """Return what whoever passes the folder on should know."""
        kept = _("the folder keeps random cases, and none of your data; cases=validation keeps those")
        one = _("it takes one case at a time")
        return [
            *([kept] if self.exported.kept != self.exported.source else []),
            *([_(self.exported.notice)] if self.exported.notice else []),
            *([one] if self.exported.batch == "1" else []),
        ]

    def shown(self) -> list[Any]:
        return [*self.sentences(), *self.tables(), *map(Hint, self.hints())]


class Export(Action):
    """Write a run, or a system that comes ready trained, as a folder that others run; it is checked first."""

    title = N_("Write a trained system as a folder that runs without souron.")
    examples = (
        "souron export resnet                     (as it comes ready trained)",
        "souron export runs/classify/cnn-digits format=onnx",
        "souron export runs/detect/yolo-scenes format=torch out=for_the_clinic/",
        "souron export runs/classify/cnn-patients cases=noise",
    )
    group = "use"
    given = Given("RUN|SYSTEM", N_("a run's folder, or a system that comes ready trained"), 0, 1)
    brief = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        self.given.check(given, self.examples[0], least=0 if options.model else 1)
        name = str(only_one(" ".join(given), options.model))

        def progress(step: str) -> None:
            self.tell(Event(step))

        yield Event("export", text=name)
        exported = export.export(name, options.format, options.out or None, options.cases, progress)
        yield Event("done", 1.0, record=ExportRecord(exported))
