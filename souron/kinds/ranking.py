"""Rankings: several texts by score."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

from souron.kinds import files
from souron.kinds.codecs import limits
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture, html
from souron.utils import units
from souron.utils.messages import N_, _

MOST = 10_000  # texts
MOST_LETTERS = 10_000  # characters of a text
BAR, WIDTH = "█", 20  # width of the longest bar in characters
HEAD = ("text", "score")
STYLE = """<style>
.ranking th { text-align: left }
.ranking th[scope=col] { overflow-wrap: normal; white-space: nowrap }
.ranking th[scope=row] { font-weight: normal; overflow-wrap: anywhere }
.ranking td:nth-child(3) { width: 25% }
.ranking td:last-child { text-align: right; white-space: nowrap }
.ranking .bar { background: #0072b2; height: 0.8em; min-width: 1px }
</style>"""
EXAMPLE = '{"ranking": [{"text": "...", "score": 0.5}]}'


class Scored(NamedTuple):
    """A text with its score."""

    text: str
    score: float  # a cosine, -1..1, or a probability

    def line(self) -> str:
        """Return the text in one line, without line breaks."""
        return " ".join(self.text.split())


@dataclass(frozen=True, eq=False)
class Ranking(Kind):
    """Texts with their scores, the best first; ties keep their given order."""

    widget = "ranking"
    noun = N_("ranking")
    suffix = ".json"
    formats = (".json", ".csv")
    of_image = True

    texts: Sequence[Scored]
    picture: Picture | None = None  # the query image
    file: str = ""
    partial: bool = False  # the scores are probabilities, the smallest left out
    notes: Sequence[str] = ()  # remarks in the reader's language

    def __post_init__(self) -> None:
        if not 1 <= len(self.texts) <= MOST:
            raise files.wrong(_("{count} texts").format(count=len(self.texts)), f"1..{MOST}")
        found = []
        for text, score in self.texts:
            if not math.isfinite(score):
                raise files.wrong(_("a score that is not finite"), _("a number for each text"))
            if not text.strip() or len(text) > MOST_LETTERS:
                raise files.wrong(
                    _("a text of {count} characters").format(count=units.count(len(text.strip()))), f"1..{MOST_LETTERS}"
                )
            found.append(Scored(text, float(score)))
        object.__setattr__(self, "texts", tuple(sorted(found, key=lambda one: -one.score)))

    @classmethod
    def of(cls, texts: Sequence[str], scores: Iterable[float], picture: Picture | None = None, **told: Any) -> Self:
        """Create a ranking from texts and a score for each, in any order.

        ``told`` are further fields. Raises UserError.
        """
        pairs = [Scored(*pair) for pair in zip(texts, map(float, scores), strict=True)]
        return cls(pairs, picture, picture.file if picture else "", **told)

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read a file that ``save`` wrote. Raises UserError, also "not a ranking"."""
        if path.suffix.lower() == ".csv":
            return cls(_from_csv(path), file=str(path))
        told = files.parsed(path)
        rows = told.get("ranking") if isinstance(told, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _no_ranking(path)
        return cls([_scored(row.get("text"), row.get("score"), path) for row in rows], file=str(path))

    @property
    def best(self) -> Scored:
        return self.texts[0]

    @property
    def sure(self) -> bool:
        """True where the scores are probabilities."""
        if self.partial:
            return True
        scores = [one.score for one in self.texts]
        return min(scores) >= 0 and abs(sum(scores) - 1) < 1e-3

    def told(self, score: float) -> str:
        """Format a score for people."""
        return units.percent(score) if self.sure else f"{score:.3f}"

    def shares(self) -> list[float]:
        """Return the length of each bar, 0..1.

        Probabilities are shown as they are; cosines, which are all close together, relative to the
        best.
        """
        longest = 1.0 if self.sure else max(self.best.score, 1e-9)
        return [min(1.0, max(0.0, one.score / longest)) for one in self.texts]

    def save(self, path: Path) -> None:
        """Save as JSON, as ``text,score`` (``.csv``), or as a page (``.html``)."""
        suffix = files.ending(path, (".json", ".csv", ".html"))
        if suffix == ".csv":
            written = files.separated([HEAD, *((_whole(t), repr(s)) for t, s in self.texts)])
        elif suffix == ".html":
            page = f"<!doctype html><meta charset='utf-8'>{self._repr_html_()}"
            written = page.encode("utf-8", "replace")
        else:
            written = json.dumps(self.as_json(), ensure_ascii=False, indent=1).encode()
        files.write(path, written)

    def as_json(self) -> dict[str, Any]:
        told = {"ranking": [{"text": _whole(t), "score": score} for t, score in self.texts]}
        return told | ({"notes": list(self.notes)} if self.notes else {})

    def __str__(self) -> str:
        """Return a numbered line for each text with score and bar; then the notes."""
        digits = len(str(len(self.texts)))
        scores = [self.told(one.score) for one in self.texts]
        wide = max(map(len, scores))
        rows = zip(self.texts, scores, self.shares(), strict=True)
        lines = [
            f"{number:>{digits}}. {score:>{wide}} {BAR * round(WIDTH * share):{WIDTH}} {one.line()}"
            for number, (one, score, share) in enumerate(rows, 1)
        ]
        return "\n".join([*lines, *self.notes])

    def bars(self) -> str:
        """Return a table with a bar for each text."""
        rows = "".join(
            f"<tr><td>{number}</td><th scope='row'>{escape(one.text)}</th>"
            f"<td aria-hidden='true'><div class='bar' style='width:{share:.1%}'></div></td>"
            f"<td>{escape(self.told(one.score))}</td></tr>"
            for number, (one, share) in enumerate(zip(self.texts, self.shares(), strict=True), 1)
        )
        measure = _("probability") if self.sure else _("cosine similarity")
        head = (
            f"<tr><th scope='col'>{escape(_('rank'))}</th><th scope='col'>{escape(_('text'))}</th>"
            f"<td aria-hidden='true'></td><th scope='col'>{escape(measure)}</th></tr>"
        )
        caption = f"<caption>{escape(Path(self.file).name)}</caption>"
        notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in self.notes)
        return f"{STYLE}<table class='ranking'>{caption}{head}{rows}</table>{notes}"

    def _repr_html_(self) -> str:
        """Return the image, where there is one, beside the texts with a bar each."""
        if self.picture is None:
            return self.bars()
        seen = html(self.picture.image, str(self.picture))
        return (
            "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
            f"<div style='flex:0 1 16em'>{seen}</div>"
            f"<div style='flex:1 1 16em;min-width:0'>{self.bars()}</div></div>"
        )


def _whole(text: str) -> str:
    """Replace lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _from_csv(path: Path) -> list[Scored]:
    try:
        head, *rows = csv.reader(io.StringIO(files.words(path), newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        raise _no_ranking(path) from error
    if tuple(head) != HEAD or any(len(row) != len(HEAD) for row in rows):
        raise _no_ranking(path)
    return [_scored(text, score, path) for text, score in rows]


def _scored(text: Any, score: Any, path: Path) -> Scored:
    if not isinstance(text, str) or isinstance(score, bool):
        raise _no_ranking(path)
    try:
        return Scored(text, float(score))
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_ranking(path) from error


def _no_ranking(path: Path) -> Exception:
    return limits.trouble(path, "not a ranking", _("no texts with a score each"), EXAMPLE)
