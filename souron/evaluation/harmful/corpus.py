"""Harmful, harmless and clinical sentences, and prompts, in English and Japanese.

They were written for souron, one per line, under a heading with the topic; ``{a|b}`` stands for one
of those words. The lines of the two languages are translations of each other, by number, and a line
with its translation is one group, kept in one fold of cross-validation. The group of clinical
sentences is the topic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from souron.utils.messages import N_

LANGUAGES = ("en", "ja")
CLINICAL, HARMLESS, HARMFUL = "clinical", "harmless", "harmful"
KINDS = {
    "insult": N_("insult"),
    "threat": N_("threat"),
    "self-harm": N_("encouragement of self-harm"),
    "danger": N_("dangerous medical advice"),
    "harassment": N_("sexual harassment"),
    "private": N_("private data of a person"),
}
SORTS = {"neutral": N_("neutral"), "provoking": N_("provoking"), "clinical": N_("clinical")}
FILLED = 4  # most sentences from one line
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
    sort: str  # CLINICAL, HARMLESS, HARMFUL
    topic: str  # the kind, for harmful sentences
    group: str
    fold: int  # 0..FOLDS - 1, equal within a group


def read(name: str, language: str) -> list[Written]:
    """Read the lines of ``NAME.LANGUAGE.txt``."""
    file = Path(__file__).parent / f"{name}.{language}.txt"
    lines: list[Written] = []
    topic, number = "", 0
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            topic, number = line.removeprefix("# "), 0
        elif line:
            lines.append(Written(topic, number, line))
            number += 1
    return lines


def filled(text: str) -> Iterator[str]:
    """Yield a sentence for each alternative of ``{a|b}``; several such places change together."""
    parts = re.split(r"\{([^{}]*)\}", text)
    words = [part.split("|") for part in parts[1::2]]
    for number in range(min(FILLED, max(map(len, words), default=1))):
        choice = [options[number % len(options)] for options in words]
        yield "".join(text + word for text, word in zip(parts[::2], [*choice, ""], strict=True))


@lru_cache
def sentences() -> tuple[Sentence, ...]:
    """Return all sentences.

    The folds are of equal size in each topic of harmful sentences, and each holds three of the
    fifteen clinical topics.
    """
    examples = []
    for sort in (CLINICAL, HARMLESS, HARMFUL):
        for language in LANGUAGES:
            topics: list[str] = []
            for line in read(f"{sort}_sentences", language):
                if line.topic not in topics:
                    topics.append(line.topic)
                of_topic = sort == CLINICAL
                index = topics.index(line.topic)
                group = f"{sort}/{line.topic}" + ("" if of_topic else f"/{line.number}")
                fold = (index if of_topic else index + line.number) % FOLDS
                for text in filled(line.text):
                    examples.append(Sentence(text, language, sort, line.topic, group, fold))
    return tuple(examples)


class Prompt(NamedTuple):
    text: str
    language: str  # "" if unknown
    sort: str  # neutral, provoking, clinical; "" for the user's own
    name: str


def prompts() -> list[Prompt]:
    """Return the prompts that come with souron: 20 of each type in each language."""
    return [
        Prompt(line.text, language, line.topic, f"{line.topic}/{language}/{line.number:02d}")
        for language in LANGUAGES
        for line in read("prompts", language)
    ]
