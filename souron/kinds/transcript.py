"""Transcripts: what was said in a sound, piece by piece with its times."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from souron.kinds import files
from souron.kinds.kind import Kind
from souron.utils.messages import N_, _

FORMS = ("srt", "vtt", "txt", "json")
UNSPACED = ("ja", "zh", "yue", "th", "lo", "my", "km", "bo")  # written without spaces


class Piece(NamedTuple):
    """A phrase with the times of its beginning and its end, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript(Kind):
    """The text of a sound, in order of time; ``form`` is the sort of file that is to be saved."""

    noun = N_("transcript")
    widget = "transcript"
    suffix = ".txt"

    pieces: Sequence[Piece]
    language: str = ""  # "en", "ja"; "" where unknown
    seconds: float = 0.0  # of the whole sound
    form: str = ""
    file: str = ""

    def __post_init__(self) -> None:
        before = 0.0
        for piece in self.pieces:
            if not before <= piece.start <= piece.end < float("inf"):
                raise files.wrong(
                    _("a phrase from {start} s to {end} s").format(start=piece.start, end=piece.end),
                    _("times in order, the beginning before the end"),
                )
            before = piece.start
        object.__setattr__(self, "kept", bool(self.form))
        if self.form:
            object.__setattr__(self, "suffix", f".{self.form}")

    @property
    def text(self) -> str:
        """The whole text, without times."""
        between = "" if self.language in UNSPACED else " "
        return between.join(piece.text for piece in self.pieces).strip()

    def subtitles(self, form: str = "srt") -> str:
        """Return the pieces as SubRip (``srt``) or WebVTT (``vtt``) subtitles.

        >>> print(Transcript([Piece(0, 1.5, "Good morning.")]).subtitles())
        1
        00:00:00,000 --> 00:00:01,500
        Good morning.
        <BLANKLINE>
        """
        mark = "," if form == "srt" else "."
        blocks = ["WEBVTT\n"] if form == "vtt" else []
        for number, piece in enumerate(self.pieces, 1):
            times = f"{clock(piece.start, mark)} --> {clock(piece.end, mark)}"
            # a blank line, or an arrow, would end or begin a subtitle
            words = " ".join(piece.text.replace("-->", "→").split())
            counted = f"{number}\n" if form == "srt" else ""
            blocks.append(f"{counted}{times}\n{words}\n")
        return "\n".join(blocks)

    def save(self, path: Path) -> None:
        """Save the text, with times as SubRip, WebVTT or JSON, by the suffix. Raises UserError."""
        form = files.ending(path, [f".{form}" for form in FORMS])[1:]
        if form == "json":
            words = json.dumps(self.as_json(), ensure_ascii=False, indent=1)
        else:
            words = self.text + "\n" if form == "txt" else self.subtitles(form)
        files.write(path, words.encode("utf-8", "replace"))

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "language": self.language,
            "seconds": round(self.seconds, 3),
            "pieces": [
                {"start": round(start, 3), "end": round(end, 3), "text": text} for start, end, text in self.pieces
            ],
        }

    def __str__(self) -> str:
        if not self.pieces:
            return _("(no speech)")
        return "\n".join(f"[{clock(piece.start)} → {clock(piece.end)}] {piece.text}" for piece in self.pieces)

    def _repr_html_(self) -> str:
        if not self.pieces:
            return f"<p>{escape(_('(no speech)'))}</p>"
        rows = [(clock(piece.start), clock(piece.end), piece.text) for piece in self.pieces]
        columns = (_("from"), _("to"), _("text"))
        return files.html_table(columns, rows, self.file or self.language)


def clock(seconds: float, mark: str = ".") -> str:
    """Format a time as hours, minutes, seconds and milliseconds.

    >>> clock(3723.5)
    '01:02:03.500'
    """
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
