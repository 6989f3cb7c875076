"""Reporting guidelines: the items that a journal asks for, one file a guideline, found by its name.

``stard-ai.toml`` holds a guideline, its items shortened in our own words, in English and Japanese:

    name = "STARD-AI"
    reference = "..."                  authors, title, journal, year
    doi = "..."
    numbered = "..."                   the source with which numbers and contents were compared; "" where none was found

    [[section]]                        in the guideline's order
    en = "Methods"
    ja = "方法"
    [section.items]
    15a = { en = "...", ja = "...", facts = ["model"], hint = "index_test", rest = "users" }

``facts`` are names in ``facts.FACTS`` that answer the item, ``hint`` a name in ``hints.toml``: what belongs there where
no fact is known; ``rest`` is what is still to be written where one is. ``without`` are facts for which the item does
not apply.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from souron.actions.reporting.facts import FACTS
from souron.utils.messages import language

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Words:
    """A text in both languages."""

    en: str
    ja: str

    def __str__(self) -> str:
        return self.ja if language() == "ja" else self.en


@dataclass(frozen=True)
class Item:
    """One row of a checklist."""

    number: str
    section: Words
    text: Words
    hint: Words
    facts: tuple[str, ...] = ()
    rest: Words | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guideline:
    """A checklist with its source."""

    key: str
    name: str
    reference: str
    doi: str
    numbered: str
    items: tuple[Item, ...]


NAMES = tuple(sorted(file.stem for file in HERE.glob("*.toml") if file.stem != "hints"))


@cache
def read(name: str) -> Guideline:
    """Read a guideline by its name, such as ``stard-ai``. Raises KeyError where its file lacks a field.

    >>> read("claim").items[0].number
    '1'
    """
    held, hints = _toml(name), {key: Words(**one) for key, one in _toml("hints").items()}
    items = [
        Item(
            number,
            Words(section["en"], section["ja"]),
            Words(one["en"], one["ja"]),
            hints[one["hint"]],
            _known(one.get("facts", ())),
            hints[one["rest"]] if "rest" in one else None,
            _known(one.get("without", ())),
        )
        for section in held["section"]
        for number, one in section["items"].items()
    ]
    return Guideline(name, held["name"], held["reference"], held["doi"], held["numbered"], tuple(items))


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _known(names: Any) -> tuple[str, ...]:
    unknown = set(names) - FACTS.keys()
    assert not unknown, f"no such facts: {unknown}"
    return tuple(names)
