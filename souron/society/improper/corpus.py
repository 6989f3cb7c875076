"""Sentences that are improper, proper or clinical, and prompts, in English and in Japanese.

Written for souron, a line each, under a heading that says the topic; ``{a|b}`` stands for one of
those words. The lines of the two languages are translations of each other, number by number, and
a line with its translation is one group: cross-validation keeps it on one side. Of clinical
sentences the group is the topic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from souron.utils.messages import N_

LANGUAGES = ("en", "ja")
CLINICAL, PROPER, IMPROPER = "clinical", "proper", "improper"
KINDS = {
    "insult": N_("insult"),
    "threat": N_("threat"),
    "self-harm": N_("encouragement of self-harm"),
    "danger": N_("dangerous medical advice"),
    "harassment": N_("sexual harassment"),
    "private": N_("private data of a person"),
}
SORTS = {"neutral": N_("neutral"), "provoking": N_("provoking"), "clinical": N_("clinical")}
FILLED = 4  # sentences of one line at most
FOLDS = 5


class Written(NamedTuple):
    """A line of one of the files."""

    topic: str
    number: int  # within the topic, from 0
    text: str


@dataclass(frozen=True)
class Sentence:
    text: str
    language: str
    sort: str  # CLINICAL, PROPER, IMPROPER
    topic: str  # of improper ones the kind
    group: str
    fold: int  # 0..FOLDS - 1, the same for the whole group


def read(name: str, language: str) -> list[Written]:
    """The lines of ``NAME.LANGUAGE.txt``."""
    file = Path(__file__).parent / f"{name}.{language}.txt"
    found: list[Written] = []
    topic, number = "", 0
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            topic, number = line.removeprefix("# "), 0
        elif line:
            found.append(Written(topic, number, line))
            number += 1
    return found


def filled(text: str) -> Iterator[str]:
    """A sentence for each word of ``{a|b}``; several such places change together."""
    parts = re.split(r"\{([^{}]*)\}", text)
    words = [part.split("|") for part in parts[1::2]]
    for number in range(min(FILLED, max(map(len, words), default=1))):
        chosen = [each[number % len(each)] for each in words]
        yield "".join(text + word for text, word in zip(parts[::2], [*chosen, ""], strict=True))


@lru_cache
def sentences() -> tuple[Sentence, ...]:
    """All of them. The folds are as large as each other in each topic of improper ones, and hold
    each three of the fifteen clinical topics."""
    made = []
    for sort in (CLINICAL, PROPER, IMPROPER):
        for language in LANGUAGES:
            topics: list[str] = []
            for line in read(f"{sort}_sentences", language):
                if line.topic not in topics:
                    topics.append(line.topic)
                of_topic = sort == CLINICAL
                place = topics.index(line.topic)
                group = f"{sort}/{line.topic}" + ("" if of_topic else f"/{line.number}")
                fold = (place if of_topic else place + line.number) % FOLDS
                for text in filled(line.text):
                    made.append(Sentence(text, language, sort, line.topic, group, fold))
    return tuple(made)


class Prompt(NamedTuple):
    text: str
    language: str  # "" where it is not known
    sort: str  # neutral, provoking, clinical; "" of a person's own
    name: str


def prompts() -> list[Prompt]:
    """The prompts that come with souron: 20 of each sort in each language."""
    return [
        Prompt(line.text, language, line.topic, f"{line.topic}/{language}/{line.number:02d}")
        for language in LANGUAGES
        for line in read("prompts", language)
    ]
