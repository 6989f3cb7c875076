"""Copy a folder's DICOM files without what identifies their patients."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from souron.action import Action, Given, NoOptions, Note, Record, Table
from souron.data import deidentify
from souron.report import blocks
from souron.runs.events import Event
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass
class AnonymiseRecord(Record):
    """The copied files, the removed attributes, and what may still identify a patient."""

    eyebrow = N_("data")
    folder = None  # the copy is all that is written

    out: str
    found: deidentify.Copied

    def page_title(self) -> str:
        return _("The anonymous copy")

    def as_json(self) -> dict[str, Any]:
        return {
            "out": self.out,
            "files": self.found.files,
            "removed": self.found.removed,
            "folders": self.found.folders,
            "skipped": [asdict(skipped) for skipped in self.found.skipped],
            "left_out": self.found.others,
            "tables": self.found.tables,
            "burned_in": {"said": self.found.said_burned_in, "likely": self.found.likely_burned_in},
        }

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        return [_("{count} files in {out}").format(count=units.whole(self.found.files), out=self.out)]

    def notes(self) -> list[str]:
        return deidentify.warnings(self.found)

    def tables(self) -> Sequence[Table]:
        found = self.found
        others = _("{count} files that are not DICOM").format(count=units.whole(found.others))
        tables = _("{count} with file, label, patient and part; other columns are left out")
        rows = [
            (_("written"), *self.sentences()),
            (_("removed"), deidentify.counted(found.removed)),
            (_("left out"), others if found.others else ""),
            (_("tables"), tables.format(count=units.whole(found.tables)) if found.tables else ""),
            (_("folders"), ", ".join(found.folders)),
        ]
        return [Table([], [row for row in rows if row[1]])]

    def shown(self) -> list[Any]:
        return [*self.tables(), "", *blocks.skipped_lines(self.found.skipped), *map(Note, self.notes())]

    @property
    def exit_code(self) -> int:
        return 0 if self.found.files else 3


class Anonymise(Action):
    """Copy the DICOM files of a folder to a new one, without identifying attributes."""

    title = N_("Copy a folder's DICOM files without identifying data.")
    examples = ("souron data anonymise scans/ scans-without-names/",)
    group = "data"
    given = Given("FOLDER OUT", N_("a folder, and a new one for its DICOM files without names"), 2, 2)
    within = "data"
    brief = True
    page = "data"

    def run(self, given: Sequence[str], options: NoOptions) -> Iterator[Event]:
        folder, out = given

        def progress(done: int, total: int) -> None:
            self.tell(Event("data", done / total, text=f"{done}/{total}"))

        yield Event("data")
        found = deidentify.anonymise(Path(folder), Path(out), progress)
        yield Event("done", 1.0, record=AnonymiseRecord(out, found))
