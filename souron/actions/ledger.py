"""List what a run was trained on: source, licence, cases and files, from the run's own files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Action, Fact, Given, NoOptions, Record
from souron.report import blocks
from souron.runs import datasheet
from souron.runs import folder as run_folder
from souron.runs.datasheet import Datasheet
from souron.runs.events import Event
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass
class LedgerRecord(Record):
    """The data sheet of a run."""

    eyebrow = N_("audit")
    json_file = "ledger.json"

    sheet: Datasheet
    folder: Path | None

    def as_json(self) -> dict[str, Any]:
        return self.sheet.as_json()

    def page_title(self) -> str:
        return _("Training data of {run}").format(run=Path(self.sheet.run).name)

    def sentences(self) -> list[str]:
        text = _("{system} was trained on {count} of {all} cases of {data}.")
        return [
            text.format(
                system=self.sheet.system,
                count=units.whole(self.sheet.part("train").cases),
                all=units.whole(self.sheet.cases),
                data=self.sheet.data,
            )
        ]

    def facts(self) -> list[Fact]:
        train = self.sheet.part("train")
        return [
            Fact(_("training cases"), units.whole(train.cases)),
            Fact(_("classes"), units.whole(len(train.classes))),
            Fact(_("licence"), self.sheet.licence or _("not stated")),
        ]

    def notes(self) -> list[str]:
        return self.sheet.notes()

    def tables(self) -> Sequence[blocks.Table]:
        return self.sheet.tables()


class Ledger(Action):
    """Read the receipt and the split of a finished run; its data need not exist any more.

    A ready-trained system was packed with its data sheet.
    """

    title = N_("List what a run was trained on: source, licence, cases, files.")
    examples = ("souron ledger runs/generate/dcgan-digits", "souron ledger ddpm")
    group = "society"
    given = Given("RUN", N_("a run's folder, or a ready-trained system"))
    within = "audit"
    lookup = True
    reads_only = True

    def run(self, given: Sequence[str], options: NoOptions) -> Iterator[Event]:
        run = run_folder.find(given[0])
        sheet = datasheet.read(run)
        yield Event("done", 1.0, record=LedgerRecord(sheet, self.new_folder(run.name)))
