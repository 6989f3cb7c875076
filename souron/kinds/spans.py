"""Spans: labelled parts of a text, such as names of persons and places."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from souron.kinds import files
from souron.kinds.kind import Kind
from souron.utils.messages import N_, _

TINTS = ("#cfe3f5", "#fbd9c4", "#c5eadb", "#f2d5e6", "#ddeffb", "#fae6bd", "#e3e3e3")


class Span(NamedTuple):
    """A labelled part of a text."""

    text: str
    label: str
    start: int  # characters of the whole text
    end: int
    score: float = 1.0  # confidence, 0..1

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "score": round(self.score, 4)}


@dataclass(frozen=True)
class Spans(Kind):
    """Non-overlapping labelled parts of a text, in order."""

    widget = "spans"
    noun = N_("spans")
    suffix = ".json"

    text: str
    spans: Sequence[Span]
    file: str = ""

    def __post_init__(self) -> None:
        end = 0
        for span in self.spans:
            inside = end <= span.start < span.end <= len(self.text)
            if not inside or self.text[span.start : span.end] != span.text:
                raise files.wrong(
                    _("a span from {start} to {end}").format(start=span.start, end=span.end),
                    _("parts of the text, one after the other"),
                )
            end = span.end

    def save(self, path: Path) -> None:
        """Save as JSON, rows ``label,text,start,end,score`` (``.csv``) or text (``.html``)."""
        suffix = files.ending(path, (".json", ".csv", ".html"))
        if suffix == ".csv":
            head = ("label", "text", "start", "end", "score")
            rows = [(s.label, s.text, s.start, s.end, round(s.score, 4)) for s in self.spans]
            told = files.separated([head, *rows]).decode()
        elif suffix == ".html":
            told = f"<!doctype html><meta charset='utf-8'>{self._repr_html_()}"
        else:
            told = json.dumps(self.as_json(), ensure_ascii=False, indent=1)
        files.write(path, told.encode("utf-8", "replace"))

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "spans": [span.as_json() for span in self.spans]}

    def __str__(self) -> str:
        if not self.spans:
            return _("nothing is marked")
        return "\n".join(
            f"{self.called(one.label)}\t{' '.join(one.text.split())}\t{one.start}–{one.end}\t{one.score:.2f}"
            for one in self.spans
        )

    def _repr_html_(self) -> str:
        """Return the text, each span in its label's colour and followed by the label."""
        return f"<div style='white-space:pre-wrap'>{marked(self.text, self.spans, called=self.called)}</div>"


def marked(text: str, spans: Sequence[Span], labels: Sequence[str] = (), called: Callable[[str], str] = str) -> str:
    """Return HTML of a text with its spans in colours, which follow the order of ``labels``.

    ``called`` gives a label as it is shown.

    >>> marked("Anna sang.", [Span("Anna", "person", 0, 4)])[-41:]
    "1.00'>Anna<sub> person</sub></mark> sang."
    """
    known = list(labels) or sorted({span.label for span in spans})
    parts, end = [], 0
    for span in spans:
        tint = TINTS[known.index(span.label) % len(TINTS)] if span.label in known else TINTS[-1]
        parts.append(
            f"{escape(text[end : span.start])}<mark style='background:{tint};color:#111' "
            f"title='{span.score:.2f}'>{escape(span.text)}<sub> {escape(called(span.label))}</sub></mark>"
        )
        end = span.end
    return "".join([*parts, escape(text[end:])])
