"""Multiple-choice examination papers from a dictionary; each seed gives a different one.

A paper asks about every term once. Its wrong options are answers of other terms of the same family,
never one that would also be correct, and the correct one is at a random position.
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
    """A dictionary entry from which one question is made."""

    file: str  # its unique name
    text: str  # the question
    answer: str
    family: str  # the group of entries whose answers are the wrong options
    subject: str
    also: frozenset[str] = frozenset()  # further correct answers
    group: str = ""  # entries of one meaning, kept together in a split
    language: str = ""  # of the question


def paper(name: str, entries: Sequence[Entry], seed: int, source: str, licence: str) -> Dataset:
    """Make a question from each entry whose family has enough members, in the order of the
    entries."""
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
        columns={"subject": [entry.subject for entry in asked], "language": [entry.language for entry in asked]},
    )


def _wrong(entry: Entry, family: Sequence[Entry], chance: random.Random) -> list[str]:
    """Choose ``OPTIONS - 1`` distinct wrong answers for the entry; fewer if the family is too
    small."""
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
    """Yield random members with replacement, without shuffling a large family for each question."""
    return (family[chance.randrange(len(family))] for _try in range(50 * OPTIONS))


def spelt(word: str) -> str:
    """Normalise a word for comparison: lower case, single spaces."""
    return " ".join(word.lower().split())


__all__ = ["LETTERS", "MOST_OPTIONS", "OPTIONS", "Entry", "paper", "spelt"]
