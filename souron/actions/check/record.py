"""The records of ``souron check``: sentences with their passages and differences, references."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.action import Cell, Fact, Live, Record, Section, Table, sections
from souron.actions.check import page
from souron.actions.references import findings as references
from souron.actions.references.findings import Finding
from souron.evaluation.claims.parts import Change
from souron.report.page import part
from souron.report.page import write as write_page
from souron.utils import units
from souron.utils.messages import N_, _

STATES = {
    "supported": N_("supported"),
    "contradicted": N_("contradicted"),
    "not found": N_("not found"),
    "no claim": N_("nothing to check"),
}
JUDGED = ("supported", "contradicted", "not found")
SIGNS = {"supported": "✓", "contradicted": "✗", "not found": "?", "no claim": "·"}
KINDS = {
    "number": N_("value"),
    "unit": N_("unit"),
    "date": N_("date"),
    "side": N_("side"),
    "order": N_("before or after"),
    "amount": N_("more or less"),
    "polarity": N_("opposite"),
    "negation": N_("negation"),
    "name": N_("name"),
    "swap": N_("exchanged"),
    "comparison": N_("at least or at most"),
    "word": N_("word"),
}


@dataclass(frozen=True)
class Checked:
    """A sentence of the answer with its deciding passage."""

    sentence: str
    start: int  # characters of the answer
    end: int
    state: str  # a key of STATES
    passage: str = ""  # the nearest one, even if nothing was found
    file: str = ""
    first: int = -1  # characters of the file's text
    last: int = -1
    score: float = 0.0  # probability that the passage supports it
    changed: Sequence[Change] = ()
    unchecked: Sequence[str] = ()  # kinds that could not be checked
    agree: tuple[int, int] | None = None  # resampled answers that agree, of how many

    @property
    def sign(self) -> str:
        return SIGNS[self.state]

    @property
    def state_name(self) -> str:
        return _(STATES[self.state])

    def told(self) -> list[str]:
        """Return the differences from the passage, and the agreement of resampled answers."""
        said = [change_text(change) for change in self.changed]
        if self.agree is not None:
            text = _("{count} of {all} answers that were sampled again say so")
            said.append(text.format(count=self.agree[0], all=self.agree[1]))
        return said

    def as_json(self) -> dict[str, Any]:
        told = {
            "sentence": self.sentence,
            "state": self.state,
            "passage": self.passage,
            "file": self.file,
            "score": round(self.score, 4),
            "changed": [change.as_json() for change in self.changed],
            "start": self.start,
            "end": self.end,
            "first": self.first,
            "last": self.last,
            "unchecked": list(self.unchecked),
        }
        if self.agree is not None:
            told["agree"] = {"answers": self.agree[0], "of": self.agree[1]}
        return told


@dataclass(kw_only=True)
class CheckRecord(Record):
    """A record that may be one page in place of a folder."""

    eyebrow = N_("check")
    json_file = "check.json"

    folder: Path | None = None
    page: Path | None = None  # a file of its own

    def write(self) -> Path | None:
        if self.page is None:
            return super().write()
        return write_page(self.page, self._page(()))


@dataclass
class CheckedAnswer(CheckRecord):
    """An answer checked against its sources."""

    answer: str
    checked: Sequence[Checked]
    files: int
    source_sentences: int
    skipped: Sequence[str] = ()  # files that are not plain text
    citations: Sequence[Finding] = ()
    seconds: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(each.state for each in self.checked)
        return {state: found[state] for state in STATES}

    def as_json(self) -> dict[str, Any]:
        told = {
            "sentences": [each.as_json() for each in self.checked],
            "counts": self.counts,
            "files": self.files,
            "source_sentences": self.source_sentences,
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
        }
        if self.citations:
            told["citations"] = [finding.as_json() for finding in self.citations]
        return told

    def page_title(self) -> str:
        return _("Is the answer supported by its sources?")

    def sentences(self) -> list[str]:
        found = self.counts
        text = _("{sentences} sentences: {supported} supported, {contradicted} contradicted, {missing} not found.")
        return [
            text.format(
                sentences=units.whole(len(self.checked) - found["no claim"]),
                supported=units.whole(found["supported"]),
                contradicted=units.whole(found["contradicted"]),
                missing=units.whole(found["not found"]),
            )
        ]

    def facts(self) -> list[Fact]:
        found = self.counts
        return [
            Fact(_("sentences"), units.whole(len(self.checked))),
            *(Fact(_(STATES[state]), units.whole(found[state])) for state in JUDGED),
            Fact(_("source files"), units.whole(self.files)),
            Fact(_("time"), units.seconds(self.seconds)),
        ]

    def notes(self) -> list[str]:
        said = [
            _(
                "Supported means that a source says so, not that it is true. The check misses "
                "errors and raises false alarms: read the passages."
            )
        ]
        if any(each.unchecked for each in self.checked):
            said.append(
                _(
                    "Where a passage is in another language, numbers, units, dates and "
                    "sides were checked, negation and names were not."
                )
            )
        if self.skipped:
            text = _("Not read, since they are no plain text: {files}. Save them as .txt first.")
            said.append(text.format(files=", ".join(self.skipped[:5])))
        return said

    def tables(self) -> list[Table]:
        rows = [
            (f"{each.sign} {each.state_name}", line(each.sentence), "\n".join(described(each))) for each in self.checked
        ]
        columns = (_("state"), _("sentence"), _("passage"))
        return [Table(columns, rows), *table_of(self.citations)]

    def sections(self) -> list[Section]:
        cited = _("Kryscinski and others (2020), arXiv:1910.12840; Manakul and others (2023), arXiv:2303.08896.")
        answer = Live(part("claims.html", answer=page.answer(self)), self.answer)
        return [
            Section("answer", _("The answer"), [answer]),
            Section("passages", _("Sentence by sentence"), [Live(page.rows(self)), Cell(cited, style="faint")]),
            *section_of(self.citations),
        ]

    def __str__(self) -> str:
        lines = self.sentences()
        for each in self.checked:
            lines.append(f"{each.sign} {each.state_name}: {line(each.sentence)}")
            lines += [f"    {told}" for told in described(each)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return page.fragment(self)


@dataclass
class CheckedReferences(CheckRecord):
    """The references of an answer, checked without its sources."""

    citations: Sequence[Finding]
    file: str  # as on the command line

    def as_json(self) -> dict[str, Any]:
        return {"citations": [finding.as_json() for finding in self.citations]}

    def page_title(self) -> str:
        return _("Do the references exist?")

    def sentences(self) -> list[str]:
        counted = [
            f"{_(references.STATES[state])}: {count}" for state, count in references.counts(self.citations).items()
        ]
        return [", ".join(counted) or _("no reference was found in the text")]

    def notes(self) -> list[str]:
        text = _("only the references were checked; for the sentences: {command}")
        return [text.format(command=f"souron check {self.file} sources=notes/")]

    def tables(self) -> list[Table]:
        return table_of(self.citations)

    def sections(self) -> list[Section]:
        return section_of(self.citations)


def table_of(findings: Sequence[Finding]) -> list[Table]:
    """Return a table of references, the impossible ones first; none for no references."""
    rows = [
        (_(references.STATES[each.state]), line(each.reference), each.reason()) for each in references.ranked(findings)
    ]
    columns = (_("state"), _("reference"), _("why"))
    return [Table(columns, rows, _("References"))] if rows else []


def section_of(findings: Sequence[Finding]) -> list[Section]:
    return sections(("citations", _("References"), [Live(page.citations(findings))] if findings else []))


def line(text: str) -> str:
    return " ".join(text.split())


def described(each: Checked) -> list[str]:
    """Return the differences, and the passage with its position."""
    told = each.told()
    if each.passage and each.state != "no claim":
        place = _("characters {start}–{end}").format(start=units.whole(each.first), end=units.whole(each.last))
        name = f"{Path(each.file).name}, {place}" if each.file else place
        told.append(f"{line(each.passage)}  ({name})")
    return told


def change_text(change: Change) -> str:
    """Describe a difference: ``number: 250 mg, the source has 500 mg``."""
    kind = _(KINDS[change.kind])
    if change.kind == "negation":
        if change.answer:
            text = _("{kind}: {answer} is in the answer alone")
        else:
            text = _("{kind}: {source} is in the source alone")
    elif change.source:
        text = _("{kind}: {answer}, the source has {source}")
    else:
        text = _("{kind}: {answer} is not in the passage")
    return text.format(kind=kind, answer=line(change.answer), source=line(change.source))
