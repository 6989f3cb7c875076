"""Overview of a data set of texts: counts, lengths, languages and examples."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from souron.data import texts
from souron.data.dataset import Dataset
from souron.data.target import Target, target_of
from souron.data.targets.texts import languages
from souron.data.texts import Preference, Question
from souron.kinds.chat import Turn
from souron.report import plots
from souron.report.page import Fact, page, parts_and_groups, plot, write
from souron.utils import units
from souron.utils.messages import _

READ = 3  # texts of each class or language
MOST_READ = 18
FEW = 6  # most values of a column for which examples are shown
LONGEST = 1_200  # characters of a text that are shown
MOST_VALUES = 12  # of a column
MOST_CLASSES = 40


class Example(NamedTuple):
    """One case to read."""

    file: str
    told: str  # its class, language and part
    lines: list[tuple[str, str]]  # (speaker or kind, text)


def texts_page(cases: Dataset, folder: Path) -> Path:
    """Write ``data.html`` into ``folder``; return the page's path. Raises UserError."""
    target = target_of(cases)
    letters = [len(texts.plain(entry)) for entry in cases.input]
    headings = {
        "examples": _("Examples to read"),
        "lengths": _("Lengths"),
        "classes": _(target.heading),
        "known": _("What is known of each"),
        "parts": _("Parts and groups"),
        "skipped": _("Texts and lines that were left out"),
    }
    there = {
        "classes": _classes(target) if cases.classes else [],
        "known": _columns(cases),
        "parts": parts_and_groups(cases, _("{count} texts")),
        "skipped": cases.skipped,
    }
    text = page(
        "data_texts.html",
        title=cases.name,
        eyebrow=_("data"),
        facts=[
            Fact(_("texts"), units.whole(len(cases)), sort_of(cases)),
            Fact(_("characters"), units.whole(sum(letters))),
            Fact(_("languages"), languages(cases)),
            Fact(_("left out"), units.whole(len(cases.skipped))),
        ],
        contents=[(name, title) for name, title in headings.items() if there.get(name, True)],
        headings=headings,
        examples=examples(cases),
        lengths=_lengths(letters),
        histogram=plot(
            plots.histogram(torch.tensor(letters, dtype=torch.float32), _("characters")),
            _("how many texts have how many characters"),
        ),
        **there,
    )
    return write(folder / "data.html", text)


def sort_of(cases: Dataset) -> str:
    """Name the kind of the cases, such as conversations or preferences."""
    first = cases.input[0]
    if isinstance(first, Preference):
        return _("preferences: a prompt, the chosen and the rejected answer")
    if isinstance(first, Question):
        return _("questions with options")
    if isinstance(first, tuple) and isinstance(first[0], Turn):
        return _("conversations")
    if isinstance(first, tuple):
        return _("sentences whose words have tags")
    if cases.classes:
        return _("texts with a class each")
    return _("plain texts") if cases.target is None else _("texts with their translations")


def examples(cases: Dataset) -> list[Example]:
    """Return examples of each class, or else of each language and each column with few values."""
    target = target_of(cases)
    if target.one_class:
        rows = [row for found in target.rows(READ).values() for row in found]
    else:
        few = [values for values in cases.columns.values() if len(set(values)) <= FEW]
        alike: dict[tuple[str, ...], list[int]] = {}
        for row in range(len(cases)):
            alike.setdefault(tuple(values[row] for values in few), []).append(row)
        rows = [row for found in alike.values() for row in _spread(found)]
    return [_example(cases, row) for row in rows[:MOST_READ]]


def _spread(rows: list[int]) -> list[int]:
    """Return up to ``READ`` rows, evenly spaced."""
    every = max(1, len(rows) // READ)
    return rows[::every][:READ]


def _example(cases: Dataset, row: int) -> Example:
    target = target_of(cases)
    told = [cases.part[row] if cases.part else ""]
    told += [values[row] for values in cases.columns.values()]
    lines = _lines(cases.input[row])
    if answer := target.answer(row):
        lines.append((_(target.answer_name), answer))
    shown = [(who, _cut(text)) for who, text in lines]
    return Example(cases.file[row], ", ".join(filter(None, told)), shown)


def _lines(entry: object) -> list[tuple[str, str]]:
    if isinstance(entry, Preference):
        turns = [(turn.role, turn.text) for turn in entry.prompt]
        return [*turns, (_("chosen"), entry.chosen), (_("rejected"), entry.rejected)]
    if isinstance(entry, tuple) and entry and isinstance(entry[0], Turn):
        return [(turn.role, turn.text) for turn in entry]
    return [("", texts.plain(entry))]


def _cut(text: str) -> str:
    """Truncate a text and append the number of characters left out."""
    if len(text) <= LONGEST:
        return text
    more = _("… and {count} more characters").format(count=units.whole(len(text) - LONGEST))
    return f"{text[:LONGEST]}{more}"


def _lengths(letters: list[int]) -> list[tuple[str, str]]:
    quantiles = np.quantile(letters, (0, 0.25, 0.5, 0.75, 1))
    names = (_("shortest"), _("a quarter is shorter than"), _("middle"), _("a quarter is longer than"), _("longest"))
    return [
        (name, _("{count} characters").format(count=units.whole(round(value))))
        for name, value in zip(names, quantiles.tolist(), strict=True)
    ]


def _classes(target: Target) -> list[tuple[str, str]]:
    counted = sorted(zip(target.cases.classes, target.counts(), strict=True), key=lambda pair: -pair[1])
    return [(name, units.whole(count)) for name, count in counted[:MOST_CLASSES]]


def _columns(cases: Dataset) -> list[tuple[str, str]]:
    """Return the values of each column and their numbers of cases."""
    told = []
    for name, values in cases.columns.items():
        count = Counter(values)
        shown = [f"{value or '–'} {units.whole(n)}" for value, n in count.most_common(MOST_VALUES)]
        more = len(count) - MOST_VALUES
        rest = [_("and {count} more").format(count=more)] if more > 0 else []
        told.append((name, ", ".join([*shown, *rest])))
    return told
