"""Find occupations by a title, a similar title, a code, or a Japanese name."""

import csv
import difflib
import json
import re
import shlex
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from souron.actions.work import tables
from souron.actions.work.tables import Occupation, Table
from souron.utils.messages import UserError, _

MOST_LETTERS = 200  # characters of a query
LEAST = 0.7  # minimum similarity, 0 to 1, of a match
NAMED = 0.55  # minimum similarity of a suggestion
COVERED, PRECISE = 0.8, 0.2  # weights of the recall and precision of words
STEM = 4  # minimum common prefix of two words
NEAR = 4  # suggestions
EXAMPLES = ("Registered Nurses", "歯科医師")
CODE = re.compile(r"\d\d-\d{4}(\.\d\d)?")
BEYOND = re.compile("[^\0-\u024f]")  # not Latin


class Called(NamedTuple):
    """An occupation of the whole table, whether or not its tasks are here."""

    code: str
    title: str
    counted_as: str  # its title at the Bureau of Labor Statistics, or ""


class Found(NamedTuple):
    """A match for the query ``asked``, with ``near``, other titles that would fit."""

    occupation: Occupation
    asked: str
    near: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return self.asked.casefold() == self.occupation.title.casefold()


@lru_cache(maxsize=1)
def titles() -> tuple[Called, ...]:
    """Load all occupations of the authors' table, with their titles in employment data."""
    path = tables.folder() / "titles.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(Called(*row) for row in csv.reader(stream))[1:]


@lru_cache(maxsize=1)
def japanese() -> dict[str, str]:
    """Load common Japanese names -> titles."""
    text = (tables.folder() / "japanese.json").read_text(encoding="utf-8")
    return json.loads(text)


def japanese_name(title: str) -> str:
    """Return the first Japanese name of a title; "" without one."""
    return next((name for name, called in japanese().items() if called == title), "")


def find(asked: str, table: Table | None = None) -> Found:
    """Find the occupation with the best matching name.

    Raises UserError if nothing is similar, or if ``table`` has no tasks of it.
    """
    table = table or tables.usual()
    name = " ".join(unicodedata.normalize("NFKC", asked[:MOST_LETTERS]).split())
    here = {one.title: one for one in table.occupations}
    if CODE.fullmatch(name):
        by_code = [one for one in table.occupations if one.code.startswith(name)]
        if by_code:
            return Found(by_code[0], name, tuple(one.title for one in by_code[1 : NEAR + 1]))
        known = [called.title for called in titles() if called.code.startswith(name)]
        raise _absent(known[0], list(here)[:NEAR], table) if known else _unknown(name, list(here)[:NEAR])
    everything = dict.fromkeys([*here, *(called.title for called in titles())])
    ranked = _ranked(name, list(everything))
    if not ranked or ranked[0][0] < LEAST:
        raise _unknown(name, [title for _score, title in ranked[:NEAR]])
    best, *others = [title for score, title in ranked if score >= LEAST][: NEAR + 1]
    if best not in here:
        near = [title for _score, title in ranked if title in here][:NEAR]
        raise _absent(best, near, table)
    return Found(here[best], name, tuple(others))


def _ranked(name: str, known: list[str]) -> list[tuple[float, str]]:
    """Return (similarity, title), the best first; ties by the number of workers."""
    if not name:
        return []
    if BEYOND.search(name):
        scores: dict[str, float] = {}
        for each, title in japanese().items():
            if title in known:
                alike = difflib.SequenceMatcher(None, name, each).ratio()
                scores[title] = max(alike, scores.get(title, 0.0))
    else:
        scores = {title: _nearness(name.casefold(), title.casefold()) for title in known}
    many = {one.title: one.workers for one in tables.employment()}
    order = sorted(scores, key=lambda title: (-scores[title], -many.get(title, 0), title))
    return [(scores[title], title) for title in order if scores[title] >= NAMED]


def _nearness(asked: str, title: str) -> float:
    """Return the similarity of names in 0..1, by characters or by the beginnings of words."""
    if asked == title:
        return 1.0
    letters = difflib.SequenceMatcher(None, asked, title)
    alike = letters.ratio() if letters.real_quick_ratio() > LEAST else 0.0
    words, others = _stems(asked), _stems(title)
    if not words:
        return alike
    found = sum(any(_same(one, other) for other in others) for one in words)
    # below 1, which is for equal names
    worded = 0.99 * (COVERED * found / len(words) + PRECISE * found / max(len(others), 1))
    return min(max(alike, worded), 0.99)


def _stems(text: str) -> list[str]:
    words = re.findall(r"[^\W\d_]+", text)
    return [re.sub(r"(?<=...)(ies|y|es|s)$", "", w) for w in words if w not in ("and", "of", "the")]


def _same(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) >= STEM and long.startswith(short))


def _unknown(name: str, near: list[str]) -> UserError:
    return UserError(
        "occupation",
        _("no occupation is called {name!r}").format(name=name[:60]),
        expected=_("such as: {names}").format(names="; ".join(near or EXAMPLES)),
        fix=_("souron work tasks.txt: your own tasks, a line each"),
        exit=3,
    )


def _absent(title: str, near: list[str], table: Table) -> UserError:
    return UserError(
        "occupation",
        _("the tasks of {title} are not in {table}").format(title=title, table=table.name),
        expected=_("such as: {names}").format(names="; ".join(near)),
        fix=shlex.join(["souron", "work", title]),
        exit=3,
    )
