"""Examination papers made of a dictionary: each seed makes another one.

A paper asks for every term once. Its wrong options are answers of other terms of the same family,
never one that would be right as well, and the right one stands at a place drawn at random.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from souron.data.dataset import Dataset, ListColumn
from souron.data.texts import Question

OPTIONS = 4
LETTERS = "ABCDEFGHIJ"
MOST_OPTIONS = len(LETTERS)


@dataclass(frozen=True)
class Entry:
    """What one question is made of."""

    file: str  # its own name
    text: str  # the question
    answer: str
    family: str  # whose other members' answers are the wrong options
    subject: str
    also: frozenset[str] = frozenset()  # further answers that would be right
    group: str = ""  # entries of one meaning, which a split keeps together
    language: str = ""  # of the question


def paper(name: str, entries: Sequence[Entry], seed: int, source: str, licence: str) -> Dataset:
    """A question of each entry whose family has enough members, in the order of the entries."""
    families: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        families[entry.family].append(entry)
    asked, questions, right = [], [], []
    for entry in entries:
        chance = random.Random(f"{seed}/{entry.file}")
        options = _wrong(entry, families[entry.family], chance)
        if len(options) < OPTIONS - 1:
            continue
        place = chance.randrange(OPTIONS)
        options.insert(place, entry.answer)
        asked.append(entry)
        questions.append(Question(entry.text, tuple(options), entry.subject))
        right.append(place)
    return Dataset(
        name,
        ListColumn(questions),
        torch.tensor(right, dtype=torch.long),
        tuple(LETTERS[:OPTIONS]),
        [entry.file for entry in asked],
        [entry.group or entry.file for entry in asked],
        augment=(),
        source=source,
        licence=licence,
        columns={
            "subject": [entry.subject for entry in asked],
            "language": [entry.language for entry in asked],
        },
    )


def _wrong(entry: Entry, family: Sequence[Entry], chance: random.Random) -> list[str]:
    """``OPTIONS - 1`` answers that are wrong for the entry, no two alike; fewer where the family
    has no more."""
    taken = {spelt(entry.answer), *map(spelt, entry.also)}
    found: list[str] = []
    for other in chance.sample(family, len(family)) if len(family) < 50 else _drawn(family, chance):
        if taken.isdisjoint({spelt(other.answer), *map(spelt, other.also)}):
            taken.add(spelt(other.answer))
            found.append(other.answer)
        if len(found) == OPTIONS - 1:
            break
    return found


def _drawn(family: Sequence[Entry], chance: random.Random) -> Iterable[Entry]:
    """Members again and again, without shuffling all of a large family for each question."""
    return (family[chance.randrange(len(family))] for _try in range(50 * OPTIONS))


def spelt(word: str) -> str:
    """As words are compared: small letters, single spaces."""
    return " ".join(word.lower().split())


__all__ = ["LETTERS", "MOST_OPTIONS", "OPTIONS", "Entry", "paper", "spelt"]
