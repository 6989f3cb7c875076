"""The filled table of a reporting guideline: JSON, page, Markdown and Word document."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from souron.action import Fact, Record, Section, Table, sections
from souron.actions.reporting import facts, paragraphs
from souron.actions.reporting.guidelines import Guideline, Item
from souron.actions.reporting.source import Source, text
from souron.data.display_names import called
from souron.utils import files, units, word
from souron.utils.messages import N_, _

MARKDOWN, WORD = "reporting.md", "reporting.docx"
STATUSES = {
    "filled": N_("filled from the run"),
    "partly": N_("filled in part"),
    "to write": N_("to be written by you"),
    "not applicable": N_("does not apply"),
}


@dataclass(frozen=True)
class Answer:
    """An item with what the run says about it."""

    item: Item
    status: str  # a key of ``STATUSES``
    names: tuple[str, ...]  # of the facts that fill it

    def text(self, source: Source) -> str:
        """Return what the run says, in the reader's language; "" where it says nothing."""
        return facts.told(source, self.names)

    @property
    def hint(self) -> str:
        """The text that is still to be written; "" for an item that is filled."""
        if self.status == "to write":
            return str(self.item.hint)
        return str(self.item.rest) if self.status == "partly" else ""


def filled(guideline: Guideline, source: Source) -> list[Answer]:
    """Answer each item of a guideline from a run's files.

    An item is ``filled`` or ``partly`` filled only where a fact is known, ``not applicable`` where a fact rules it out,
    else ``to write``.
    """
    found = []
    for item in guideline.items:
        known = tuple(name for name in item.facts if facts.told(source, [name]))
        ruled_out = tuple(name for name in item.without if facts.told(source, [name]))
        if ruled_out:
            found.append(Answer(item, "not applicable", ruled_out))
        elif known:
            found.append(Answer(item, "partly" if item.rest else "filled", known))
        else:
            found.append(Answer(item, "to write", ()))
    return found


@dataclass
class ReportingRecord(Record):
    """A guideline's items, each filled from a run or left to the author, and two paragraphs for the paper."""

    eyebrow = N_("reporting")
    json_file = "reporting.json"

    guideline: Guideline
    source: Source
    answers: list[Answer]
    folder: Path | None

    def page_title(self) -> str:
        return _("{guideline} for {run}").format(guideline=self.guideline.name, run=self._run)

    @property
    def _run(self) -> str:
        name = self.source.folder.resolve().name
        return (
            text(name)
            if not self.source.data
            else _("{system} on {data}").format(
                system=self.source.system or _("a comparison"),
                data=called(text(self.source.options.get("data") or self.source.data.get("name"))),
            )
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "guideline": self.guideline.name,
            "reference": self.guideline.reference,
            "doi": self.guideline.doi,
            "numbering_compared_with": self.guideline.numbered,
            "run": str(self.source.folder),
            "counts": dict(self._counts),
            **self._told(),
            "translated": _translated(self._told),
        }

    def _told(self) -> dict[str, Any]:
        return {
            "items": [
                {
                    "number": one.item.number,
                    "section": str(one.item.section),
                    "text": str(one.item.text),
                    "status": one.status,
                    "value": one.text(self.source),
                    "to_write": one.hint,
                }
                for one in self.answers
            ],
            "methods": paragraphs.methods(self.source),
            "results": paragraphs.results(self.source),
        }

    @property
    def _counts(self) -> dict[str, int]:
        counted = Counter(one.status for one in self.answers)
        return {status: counted[status] for status in STATUSES}

    def sentences(self) -> list[str]:
        counts = self._counts
        form = _(
            "{guideline}: {filled} of {rows} items and sub-items filled from the run, {partly} in part; {left} to be "
            "written by you."
        )
        told = form.format(
            guideline=self.guideline.name,
            filled=counts["filled"],
            rows=len(self.answers),
            partly=counts["partly"],
            left=counts["to write"],
        )
        if counts["not applicable"]:
            told += " " + _("Does not apply: {count}.").format(count=counts["not applicable"])
        return [told]

    def facts(self) -> list[Fact]:
        return [Fact(_(STATUSES[status]), units.whole(count)) for status, count in self._counts.items()]

    def notes(self) -> list[str]:
        found = [
            _(
                "The item texts are shortened in our own words. Hand in the guideline's own form: https://doi.org/{doi}"
            ).format(doi=self.guideline.doi),
            _("A filled item states what the run's files hold. Check each before you hand it in."),
        ]
        if not self.guideline.numbered:
            found.append(_("The numbering of the items was not checked against the guideline."))
        return found

    def tables(self) -> Sequence[Table]:
        return [self._table()]

    def _table(self) -> Table:
        return Table(
            (_("item"), _("asks for"), _("status"), _("from the run"), _("to be written by you")),
            list(self._rows()),
            self.guideline.name,
            text=f"{self.guideline.reference} https://doi.org/{self.guideline.doi}",
        )

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for one in self.answers:
            yield one.item.number, str(one.item.text), _(STATUSES[one.status]), one.text(self.source), one.hint

    def shown(self) -> list[Any]:
        from souron.action import Note

        paths = [self.folder / name for name in (MARKDOWN, WORD)] if self.folder else []
        return [
            *self.sentences(), "", _("Methods"), paragraphs.methods(self.source), "", _("Results"),
            paragraphs.results(self.source), "", *map(str, paths), *map(Note, self.notes()),
        ]  # fmt: skip

    def sections(self) -> list[Section]:
        methods, results = paragraphs.methods(self.source), paragraphs.results(self.source)
        return sections(
            ("methods", _("Methods"), [methods] if methods else []),
            ("results", _("Results"), [results] if results else []),
            ("items", self.guideline.name, [replace(self._table(), title="")]),
        )

    def write(self) -> Path | None:
        """Write the JSON, the pages, ``reporting.md`` and ``reporting.docx``. Raises UserError."""
        if self.folder is None:
            return None
        files.write_text(self.folder / MARKDOWN, self.markdown())
        files.write_bytes(self.folder / WORD, self.document())
        return super().write()

    def markdown(self) -> str:
        """Return the paragraphs and the table in Markdown, in the reader's language."""
        from souron.report import page

        table = self._table()
        return page.card(
            "reporting.md",
            title=self.page_title(),
            sentences=self.sentences(),
            methods=paragraphs.methods(self.source),
            results=paragraphs.results(self.source),
            table=table,
            notes=self.notes(),
        )

    def document(self) -> bytes:
        """Return the same as a Word document."""
        table = self._table()
        made = word.new(self.page_title())
        word.paragraph(made, self.sentences()[0], bold=True)
        for note in self.notes():
            word.bullet(made, note)
        for title, words in (
            (_("Methods"), paragraphs.methods(self.source)),
            (_("Results"), paragraphs.results(self.source)),
        ):
            if words:
                word.heading(made, title)
                word.paragraph(made, words)
        word.heading(made, self.guideline.name)
        word.paragraph(made, table.text)
        word.table(made, table.columns, table.rows)
        return word.as_bytes(made)


def _translated(make: Any) -> dict[str, Any]:
    from souron.report import page

    return page.in_other_languages(make)
