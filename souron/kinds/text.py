"""Texts."""

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

from souron.kinds import files
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, _

MOST_LETTERS = 20_000_000
STDIN = "-"


@dataclass(frozen=True)
class Text(Kind):
    """A plain text in any language."""

    widget = "text"
    noun = N_("text")
    suffix = ".txt"
    formats = (".txt", ".md")

    text: str
    file: str = ""
    continues: int = 0  # characters at its beginning, which were given
    score: float | None = None  # how sure its writer was
    notes: tuple[str, ...] = ()  # remarks in the reader's language

    def __post_init__(self) -> None:
        if len(self.text) > MOST_LETTERS:
            raise files.wrong(
                _("a text of {count} characters").format(count=units.count(len(self.text))),
                _("at most {count}").format(count=units.count(MOST_LETTERS)),
            )

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        return cls(files.words(path), str(path))

    def save(self, path: Path) -> None:
        files.write(path, self.text.encode("utf-8", "replace"))

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"text": self.text}
        if self.score is not None:
            told["score"] = round(self.score, 4)
        return told | ({"notes": list(self.notes)} if self.notes else {})

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in self.notes)
        return f"<div style='white-space:pre-wrap'>{escape(self.text)}</div>{notes}"


def text_of(given: Any) -> Text:
    """Return a ``Text`` unchanged, that of standard input for ``"-"``, or that of a file.

    Lone surrogates, which terminals reject, become ``?``. Raises UserError.

    >>> text_of(Text("He took 250 mg.")).text
    'He took 250 mg.'
    """
    if isinstance(given, Text):
        text = given
    elif str(given) == STDIN:
        raw = sys.stdin.buffer.read(files.MOST_TEXT + 1)
        text = Text(files.decoded(raw, Path(STDIN)))
    else:
        text = Text.read(Path(given))
    return Text(text.text.encode("utf-8", "replace").decode(), text.file)
