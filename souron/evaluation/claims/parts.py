"""Parse a text into parts that can be compared with those of another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from souron.evaluation.claims import quantities, words
from souron.evaluation.claims.quantities import Day, Quantity
from souron.evaluation.claims.words import Name, Negative, Pole, Word

NEAR = 36  # characters of context around a finding


class Change(NamedTuple):
    """A difference between the sentence and the passage."""

    kind: str
    answer: str  # in the sentence; "" for a missing negation
    source: str  # in the passage; "" if it says nothing about it
    start: int  # in the original sentence; -1 if absent
    end: int
    first: int  # in the original passage; -1 if absent
    last: int

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


@dataclass(frozen=True)
class Parts:
    """A parsed text."""

    text: str
    normal: quantities.Normal
    quantities: Sequence[Quantity]
    dates: Sequence[Day]
    poles: Sequence[Pole]
    negatives: Sequence[Negative]
    names: Sequence[Name]
    words: Sequence[Word]
    pieces: Sequence[str]
    japanese: bool

    def cut(self, start: int, end: int) -> tuple[str, int, int]:
        first, last = self.normal.span(start, end)
        return self.text[first:last], first, last


@lru_cache(maxsize=8192)
def parts(text: str) -> Parts:
    normal = quantities.normal(text)
    plain = normal.text
    return Parts(
        text,
        normal,
        quantities.quantities(plain),
        quantities.dates(plain),
        words.poles(plain),
        words.negatives(plain),
        words.names(plain),
        words.words(plain),
        words.pieces(plain),
        words.japanese(plain),
    )


def changed(
    kind: str, claim: Parts, source: Parts, mine: tuple[int, int] | None, its: tuple[int, int] | None
) -> Change:
    answer, start, end = claim.cut(*mine) if mine else ("", -1, -1)
    quote, first, last = source.cut(*its) if its else ("", -1, -1)
    return Change(kind, answer, quote, start, end, first, last)


def around(text: Parts, start: int, end: int) -> dict[str, float]:
    """Return the words near a position with their proximity, at most 1."""
    near: dict[str, float] = {}
    for word in text.words:
        gap = max(word.start - end, start - word.end)
        if 0 <= gap <= NEAR:
            near[word.stem] = max(near.get(word.stem, 0.0), 1 / (1 + gap / 4))
    for pole in text.poles:
        gap = max(pole.start - end, start - pole.end)
        if 0 <= gap <= NEAR:
            key = f"{pole.pair} {pole.pole}"
            near[key] = max(near.get(key, 0.0), 1 / (1 + gap / 4))
    return near


def shared(weights: dict[str, float], other: dict[str, float]) -> float:
    return sum(min(near, other[word]) for word, near in weights.items() if word in other)
