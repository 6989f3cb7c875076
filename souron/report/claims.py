"""Page of a checked answer: each sentence marked, with its passage and their differences."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from souron.report.page import Fact, page
from souron.report.page import write as write_page
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.society.claims.record import Check, Checked

CLASSES = {
    "supported": "supported", "contradicted": "contradicted", "not found": "missing",
    "no claim": "none",
}  # fmt: skip


def write(record: "Check", path: Path) -> Path:
    """Write one offline HTML file; return its path. Raises UserError."""
    found = record.counts
    text = page(
        "claims.html",
        title=_("Is the answer supported by its sources?"),
        eyebrow=_("check"),
        contents=(),
        headline=record.headline(),
        notes=record.remarks(),
        facts=[
            Fact(_("sentences"), units.whole(len(record.checked))),
            Fact(_("supported"), units.whole(found["supported"])),
            Fact(_("contradicted"), units.whole(found["contradicted"])),
            Fact(_("not found"), units.whole(found["not found"])),
            Fact(_("source files"), units.whole(record.files)),
        ],
        answer=answer(record),
        rows=rows(record),
        citations=_citations(record.citations),
    )
    return write_page(path, text)


def fragment(record: "Check") -> str:
    """Return the answer and its table as HTML, for a notebook or another page."""
    head = Markup("<p><strong>{}</strong></p>").format(record.headline())
    return str(head + answer(record) + rows(record) + _citations(record.citations))


def answer(record: "Check") -> Markup:
    """Return the answer as HTML; each sentence has a sign and a colour and links to its row."""
    parts, at = [], 0
    for number, each in enumerate(record.checked, 1):
        parts.append(Markup("{}").format(record.answer[at : each.start]))
        parts.append(Markup(
            '<a class="claim {}" href="#claim-{}"><b aria-hidden="true">{}</b>'
            '<span class="hidden">{}: </span>{}</a>'
        ).format(
            CLASSES[each.state], number, each.sign, each.state_name, each.sentence
        ))  # fmt: skip
        at = each.end
    parts.append(Markup("{}").format(record.answer[at:]))
    return Markup('<div class="claims">{}</div>').format(Markup("").join(parts))


def rows(record: "Check") -> Markup:
    """Return a table with the state, sentence, passage and differences of each claim."""
    heads = [_("state"), _("sentence"), _("passage"), _("what differs")]
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(text) for text in heads)
    body = Markup("").join(
        _row(number, each) for number, each in enumerate(record.checked, 1)
        if each.state != "no claim"
    )  # fmt: skip
    return Markup(
        '<div class="scroll" tabindex="0"><table class="claims-table"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(head, body)


def _row(number: int, each: "Checked") -> Markup:
    mine = [(change.start, change.end) for change in each.changed if change.start >= 0]
    its = [(change.first, change.last) for change in each.changed if change.first >= 0]
    place = ""
    if each.passage:
        name = Path(each.file).name
        place = _("characters {start}–{end}").format(
            start=units.whole(each.first), end=units.whole(each.last)
        )
        place = f"{name}, {place}" if name else place
    said = Markup("<br>").join(each.told())
    return Markup(
        '<tr id="claim-{}" class="{}"><th scope="row"><b aria-hidden="true">{}</b> {}</th>'
        "<td>{}</td><td>{}<br><small>{}</small></td><td>{}</td></tr>"
    ).format(
        number, CLASSES[each.state], each.sign, each.state_name, marked(each.sentence, mine),
        marked(each.passage, its), place, said,
    )  # fmt: skip


def marked(text: str, spans: Iterable[tuple[int, int]]) -> Markup:
    """Mark the ``spans`` (start, end) of a text; overlapping spans become one mark."""
    parts, at = [], 0
    for start, end in sorted(spans):
        start = max(start, at)
        if start < end <= len(text):
            parts.append(Markup("{}<mark>{}</mark>").format(text[at:start], text[start:end]))
            at = end
    parts.append(Markup("{}").format(text[at:]))
    return Markup("").join(parts)


def _citations(findings: Iterable[Any]) -> Markup:
    found = list(findings)
    if not found:
        return Markup("")
    items = Markup("").join(
        Markup("<li><q>{}</q> {}</li>").format(each.reference, each.told()) for each in found
    )
    return Markup("<h2>{}</h2><ul>{}</ul>").format(_("References"), items)
