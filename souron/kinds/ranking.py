"""Rankings: which of several texts fit best, each with its score."""

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
from souron.utils.messages import _

MOST = 10_000  # texts
MOST_LETTERS = 10_000  # of a text
BAR, WIDTH = "█", 20  # of the longest bar, letters
HEAD = ("text", "score")
STYLE = """<style>
.ranking th { text-align: left }
.ranking th[scope=row] { font-weight: normal; overflow-wrap: anywhere }
.ranking td:nth-child(3) { width: 25% }
.ranking td:last-child { text-align: right; white-space: nowrap }
.ranking .bar { background: #0072b2; height: 0.8em; min-width: 1px }
</style>"""
EXAMPLE = '{"ranking": [{"text": "...", "score": 0.5}]}'


class Scored(NamedTuple):
    text: str
    score: float  # a cosine, -1..1, or a probability

    def line(self) -> str:
        """The text in one line, whatever line breaks stand in it."""
        return " ".join(self.text.split())


@dataclass(frozen=True, eq=False)
class Ranking(Kind):
    """Texts with their scores, the best first; of equal ones the order they were given in."""

    widget = "ranking"
    suffix = ".json"
    formats = (".json", ".csv")

    texts: Sequence[Scored]
    picture: Picture | None = None  # that was asked about
    file: str = ""
    partial: bool = False  # the scores are probabilities, of which the least are left out
    notes: Sequence[str] = ()  # what is to be known of it, in the reader's language

    def __post_init__(self) -> None:
        if not 1 <= len(self.texts) <= MOST:
            raise files.wrong(_("{count} texts").format(count=len(self.texts)), f"1..{MOST}")
        found = []
        for text, score in self.texts:
            if not math.isfinite(score):
                raise files.wrong(_("a score that is not finite"), _("a number for each text"))
            if not text.strip() or len(text) > MOST_LETTERS:
                raise files.wrong(
                    _("a text of {count} letters").format(count=units.count(len(text.strip()))),
                    f"1..{MOST_LETTERS}",
                )
            found.append(Scored(text, float(score)))
        object.__setattr__(self, "texts", tuple(sorted(found, key=lambda one: -one.score)))

    @classmethod
    def of(
        cls, texts: Sequence[str], scores: Iterable[float], picture: Picture | None = None,
        **told: Any,
    ) -> Self:  # fmt: skip
        """From texts and a score for each, in any order; ``told`` are further fields. Raises
        UserError."""
        pairs = [Scored(*pair) for pair in zip(texts, map(float, scores), strict=True)]
        return cls(pairs, picture, picture.file if picture else "", **told)

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """What ``save`` wrote. Raises UserError, also "not a ranking"."""
        if path.suffix.lower() == ".csv":
            return cls(_from_csv(path), file=str(path))
        told = files.parsed(path)
        rows = told.get("ranking") if isinstance(told, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _no_ranking(path)
        return cls([_scored(row.get("text"), row.get("score"), path) for row in rows],
                   file=str(path))  # fmt: skip

    @property
    def best(self) -> Scored:
        return self.texts[0]

    @property
    def sure(self) -> bool:
        """Are the scores probabilities?"""
        if self.partial:
            return True
        scores = [one.score for one in self.texts]
        return min(scores) >= 0 and abs(sum(scores) - 1) < 1e-3

    def told(self, score: float) -> str:
        """A score as people read it."""
        return units.percent(score) if self.sure else f"{score:.3f}"

    def shares(self) -> list[float]:
        """How long each bar is, 0..1: of probabilities as they are; of cosines, which all lie close
        together, from 0 to the best."""
        longest = 1.0 if self.sure else max(self.best.score, 1e-9)
        return [min(1.0, max(0.0, one.score / longest)) for one in self.texts]

    def save(self, path: Path) -> None:
        """As JSON, or as ``text,score`` (``.csv``), or as a page (``.html``)."""
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
        """A numbered line for each text: its score, a bar, the text; then the notes."""
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
        """A table with a bar for each text."""
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
        """The picture, where there is one, and beside it the texts with a bar each."""
        if self.picture is None:
            return self.bars()
        seen = html(self.picture.image, str(self.picture))
        return (
            "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
            f"<div style='flex:0 1 16em'>{seen}</div>"
            f"<div style='flex:1 1 16em;min-width:0'>{self.bars()}</div></div>"
        )


def _whole(text: str) -> str:
    """Without half a pair of surrogates, which no file can hold."""
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
