"""The record of ``souron references``: each reference with its result and the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Fact, Record
from souron.actions.references.findings import STATES, Finding, counts, ranked
from souron.report.blocks import Section, Table, sections
from souron.utils import units
from souron.utils.messages import N_, _


@dataclass
class ReferencesRecord(Record):
    """The references of a text."""

    eyebrow = N_("references")
    json_file = "references.json"

    name: str  # of the text's file; "" for standard input
    findings: Sequence[Finding]
    entries: int  # in the library
    folder: Path = Path()  # once it is known where it is written

    def page_title(self) -> str:
        return _("References in {text}").format(text=self.name or _("a text"))

    def as_json(self) -> dict[str, Any]:
        return {
            "citations": [one.as_json() for one in self.findings],
            "counts": counts(self.findings),
            "library": self.entries,
            "notes": self.notes(),
            "report": str(self.report),
        }

    def sentences(self) -> list[str]:
        if not self.findings:
            return [_("no reference was found in the text")]
        by_state = counts(self.findings).items()
        text = _("References: {count} ({counts}).")
        return [
            text.format(
                count=units.whole(len(self.findings)),
                counts=_(", ").join(f"{_(STATES[state])}: {count}" for state, count in by_state),
            )
        ]

    def facts(self) -> list[Fact]:
        by_state = counts(self.findings).items()
        return [
            *(Fact(_(STATES[state]), units.whole(count)) for state, count in by_state),
            Fact(_("publications in your library"), units.whole(self.entries)),
        ]

    def notes(self) -> list[str]:
        caveats = {
            "impossible": _(
                "“Cannot exist” is about the identifier, which may have been copied wrongly in "
                "honest work: look the publication up by its title."
            ),
            "absent": _(
                "Most of what is published is not in your library: a reference that is not in it may well exist."
            ),
            "possible": _(
                "Without a library only references that cannot exist are recognised; a good invention passes."
            ),
        }
        found = counts(self.findings)
        return [text for state, text in caveats.items() if state in found]

    def sections(self) -> list[Section]:
        rows = [(one.reference, _(STATES[one.state]), one.reason()) for one in ranked(self.findings)]
        table = Table((_("reference"), _("result"), _("reason")), rows)
        return sections(("references", _("References, those that cannot exist first"), [table] if rows else []))
