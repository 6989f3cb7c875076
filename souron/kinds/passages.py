"""Passages: quotes found in a text, with their positions."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from souron.kinds import files
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, _

AROUND = 240  # characters of context shown before and after a passage
ASIAN = r"[\u2e80-\uffee]"
BROKEN = re.compile(rf"(?<={ASIAN})[ \t]*(?:\r\n|\r|\n)\s*(?={ASIAN})")  # a line within Japanese


class Passage(NamedTuple):
    """A quote with its position and score."""

    text: str
    start: int  # characters of the whole text
    end: int
    score: float
    file: str = ""  # the text it is from

    def line(self) -> str:
        """Return the text in one line, without line breaks."""
        return in_one_line(self.text)

    def as_json(self) -> dict[str, Any]:
        told = {"text": self.text, "start": self.start, "end": self.end, "score": round(self.score, 4)}
        return told | ({"file": self.file} if self.file else {})


@dataclass(frozen=True)
class Passages(Kind):
    """The passages of a text that are nearest to a question, the nearest first.

    ``found`` is False where even the nearest is too far from it to be surely an answer.
    """

    widget = "passages"
    noun = N_("passages")
    suffix = ".json"

    question: str
    quotes: Sequence[Passage]
    found: bool = True
    text: str = ""  # the whole text, to show context; "" where there are several
    file: str = ""
    missing: Sequence[str] = ()  # numbers in the question that do not occur in the text

    def __post_init__(self) -> None:
        for quote in self.quotes:
            if not 0 <= quote.start <= quote.end:
                raise files.wrong(
                    _("a passage from {start} to {end}").format(start=quote.start, end=quote.end),
                    _("characters of the text, the first before the last"),
                )

    @property
    def verdict(self) -> str:
        """Statement that no sentence is surely an answer; "" where one is."""
        if self.found:
            return ""
        if self.missing:
            text = _("Not in the text: {numbers} does not occur in it. Nearest to the question:")
            return text.format(numbers=", ".join(self.missing))
        return _("No sentence is surely an answer. The nearest ones, which may answer it in other words:")

    def rows(self) -> list[tuple[str, str, str]]:
        """Return position, score and text of each passage, for people."""
        return [(place(quote, self.file), f"{quote.score:.2f}", quote.line()) for quote in self.quotes]

    def save(self, path: Path) -> None:
        """Save as JSON, or as ``file,start,end,score,text`` (``.csv``)."""
        if files.ending(path, (".json", ".csv")) == ".csv":
            head = ("file", "start", "end", "score", "text")
            rows = [(q.file or self.file, q.start, q.end, q.score, q.text) for q in self.quotes]
            files.write(path, _safe(files.separated, [head, *rows]))
        else:
            told = json.dumps(self.as_json(), ensure_ascii=False, indent=1)
            files.write(path, told.encode("utf-8", "replace"))

    def as_json(self) -> dict[str, Any]:
        return {"question": self.question, "found": self.found, "quotes": [quote.as_json() for quote in self.quotes]}

    def __str__(self) -> str:
        lines = [f"{where}  {score}  {text}" for where, score, text in self.rows()]
        return "\n".join(([self.verdict] if self.verdict else []) + lines)

    def _repr_html_(self) -> str:
        """Return the quotes as a list, each with its highlighted context."""
        verdict = f"<p class='verdict'>{escape(self.verdict)}</p>" if self.verdict else ""
        items = "".join(
            f"<li><blockquote>{escape(text)}</blockquote>"
            f"<small>{escape(where)} · {score}</small>{_in_place(self.text, quote)}</li>"
            for quote, (where, score, text) in zip(self.quotes, self.rows(), strict=True)
        )
        return f"{verdict}<ol class='quotes'>{items}</ol>"


def in_one_line(text: str) -> str:
    """Return a wrapped text in one line; where Japanese goes on in the next line there is no blank.

    >>> in_one_line("The ward\\nopens."), in_one_line("病\\n棟は 9時")
    ('The ward opens.', '病棟は 9時')
    """
    return " ".join(BROKEN.sub("", text).split())


def place(quote: Passage, file: str = "") -> str:
    """Return the position of a passage: ``guide.txt, characters 1,204–1,251``.

    >>> place(Passage("to be", 1204, 1209, score=0.8), "texts/guide.txt")
    'guide.txt, characters 1,204–1,209'
    """
    told = _("characters {start}–{end}").format(start=units.whole(quote.start), end=units.whole(quote.end))
    name = Path(quote.file or file).name
    return f"{name}, {told}" if name else told


def _in_place(text: str, quote: Passage) -> str:
    """Return the text around a passage, folded."""
    if not text or text[quote.start : quote.end] != quote.text:
        return ""
    before = text[max(0, quote.start - AROUND) : quote.start]
    after = text[quote.end : quote.end + AROUND]
    return (
        f"<details><summary>{escape(_('in context'))}</summary>"
        f"<p style='white-space:pre-wrap'>{'…' if quote.start > AROUND else ''}{escape(before)}"
        f"<mark>{escape(quote.text)}</mark>{escape(after)}"
        f"{'…' if quote.end + AROUND < len(text) else ''}</p></details>"
    )


def _safe(write: Any, rows: Any) -> bytes:
    """Write CSV of texts that may hold lone surrogates."""
    clean = [
        [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in row] for row in rows
    ]
    return write(clean)
