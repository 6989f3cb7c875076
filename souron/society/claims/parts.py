"""A text taken apart, so that two texts can be compared part by part."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from souron.society.claims import quantities, words
from souron.society.claims.quantities import Day, Quantity
from souron.society.claims.words import Name, Negative, Pole, Word

NEAR = 36  # characters around a finding that tell what it is about


class Change(NamedTuple):
    """Something that the sentence says and the passage does not, or says otherwise."""

    kind: str
    answer: str  # as the sentence says it; "" where it lacks a negation
    source: str  # as the passage says it; "" where it says nothing of the sort
    start: int  # in the sentence as it stands; -1 where it is not there
    end: int
    first: int  # in the passage as it stands; -1 where it is not there
    last: int

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


@dataclass(frozen=True)
class Parts:
    """A text taken apart."""

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
        text, normal, quantities.quantities(plain), quantities.dates(plain),
        words.poles(plain), words.negatives(plain), words.names(plain),
        words.words(plain), words.pieces(plain), words.japanese(plain),
    )  # fmt: skip


def changed(
    kind: str, claim: Parts, source: Parts, mine: tuple[int, int] | None,
    its: tuple[int, int] | None,
) -> Change:  # fmt: skip
    answer, start, end = claim.cut(*mine) if mine else ("", -1, -1)
    told, first, last = source.cut(*its) if its else ("", -1, -1)
    return Change(kind, answer, told, start, end, first, last)


def around(text: Parts, start: int, end: int) -> dict[str, float]:
    """Words near a place -> how near, at most 1."""
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


def shared(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(min(near, other[word]) for word, near in one.items() if word in other)
