"""A checked answer as HTML: each sentence marked, with its passage and their differences."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from souron.actions.references import findings as references
from souron.actions.references.findings import Finding
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.actions.check.record import Checked, CheckedAnswer

CLASSES = {"supported": "supported", "contradicted": "contradicted", "not found": "missing", "no claim": "none"}


def fragment(record: "CheckedAnswer") -> str:
    """Return the answer and its tables as HTML, for a notebook."""
    head = Markup("<p><strong>{}</strong></p>").format(" ".join(record.sentences()))
    parts = head + answer(record) + rows(record)
    if record.citations:
        parts += Markup("<h2>{}</h2>").format(_("References"))
        parts += citations(record.citations)
    return str(parts)


def citations(findings: Sequence[Finding]) -> Markup:
    """Return references as an HTML list, impossible ones first."""
    rows = Markup("").join(
        Markup('<li class="{}"><q>{}</q> <strong>{}</strong> {}</li>').format(
            each.state, each.reference, _(references.STATES[each.state]), each.reason()
        )
        for each in references.ranked(findings)
    )
    return Markup('<ul class="citations">{}</ul>').format(rows)


def answer(record: "CheckedAnswer") -> Markup:
    """Return the answer as HTML; each sentence has a sign and a colour and links to its row."""
    parts, at = [], 0
    for number, each in enumerate(record.checked, 1):
        parts.append(Markup("{}").format(record.answer[at : each.start]))
        parts.append(
            Markup(
                '<a class="claim {}" href="#claim-{}"><b aria-hidden="true">{}</b>'
                '<span class="hidden">{}: </span>{}</a>'
            ).format(CLASSES[each.state], number, each.sign, each.state_name, each.sentence)
        )
        at = each.end
    parts.append(Markup("{}").format(record.answer[at:]))
    return Markup('<div class="claims">{}</div>').format(Markup("").join(parts))


def rows(record: "CheckedAnswer") -> Markup:
    """Return a table with the state, sentence, passage and differences of each claim."""
    heads = [_("state"), _("sentence"), _("passage"), _("what differs")]
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(text) for text in heads)
    body = Markup("").join(
        _row(number, each) for number, each in enumerate(record.checked, 1) if each.state != "no claim"
    )
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
        place = _("characters {start}–{end}").format(start=units.whole(each.first), end=units.whole(each.last))
        place = f"{name}, {place}" if name else place
    said = Markup("<br>").join(each.told())
    return Markup(
        '<tr id="claim-{}" class="{}"><th scope="row"><b aria-hidden="true">{}</b> {}</th>'
        "<td>{}</td><td>{}<br><small>{}</small></td><td>{}</td></tr>"
    ).format(
        number,
        CLASSES[each.state],
        each.sign,
        each.state_name,
        marked(each.sentence, mine),
        marked(each.passage, its),
        place,
        said,
    )


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
