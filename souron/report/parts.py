"""Facts, tables and sections, the parts of a page; importing them loads no other reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Self

from markupsafe import Markup

from souron.utils import terminal, units
from souron.utils.messages import _

REPORT = "report.html"  # the page of a run, in the language of its command


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    detail: str = ""
    doubt: str = ""  # reason not to rely on it


class Cell(str):
    """The text of a cell, with the number behind it, and its look on a page.

    ``value`` is what a CSV holds, two numbers for the ends of an interval; ``style`` is a class of the style sheet;
    ``link`` an address and ``image`` a data URI, for pages.
    """

    value: Any
    style: str
    link: str
    image: str

    def __new__(cls, text: str, value: Any = None, style: str = "", link: str = "", image: str = "") -> Self:
        """Make a text that knows the rest.

        >>> cell = Cell("93.2 %", 0.932)
        >>> cell, cell.value
        ('93.2 %', 0.932)
        """
        cell = super().__new__(cls, text)
        cell.value, cell.style, cell.link, cell.image = value, style, link, image
        return cell


class Section(NamedTuple):
    """One part of a report."""

    name: str  # the link to it
    title: str
    html: Markup


@dataclass(frozen=True)
class Table:
    """A table for the terminal and the page; without columns, of names and their values."""

    columns: Sequence[str]  # without a heading if all are ""
    rows: Sequence[Sequence[str]]
    title: str = ""
    right: Sequence[str] = ()  # the columns that are aligned to the right
    text: str = ""  # an explanation below it
    wide: Sequence[str] = ()  # the columns that a terminal has no room for

    def __rich__(self) -> Any:
        if not self.columns:
            return terminal.pairs([(name, value) for name, value in self.rows])
        shown = [place for place, name in enumerate(self.columns) if name not in self.wide]
        made = terminal.table(*(self.columns[place] for place in shown), right=self.right)
        for row in self.rows:
            made.add_row(*(row[place] for place in shown))
        return made

    def numbers(self) -> tuple[list[str], list[list[Any]]]:
        """Return the columns and rows for a program: numbers in place of texts, two columns for an interval.

        >>> Table(["system", "interval"], [["cnn", Cell("80-90 %", (0.8, 0.9))]]).numbers()
        (['system', 'interval, lower end', 'interval, upper end'], [['cnn', 0.8, 0.9]])
        """
        rows = [[_number_of(cell) for cell in row] for row in self.rows]
        two = [any(isinstance(row[place], tuple) for row in rows) for place in range(len(self.columns))]
        columns = [_ends(name) if both else [_number_of(name)] for name, both in zip(self.columns, two, strict=True)]
        spread = [
            [
                list(value) if isinstance(value, tuple) else [value] * (1 + both)
                for value, both in zip(row, two, strict=True)
            ]
            for row in rows
        ]
        return list(chain(*columns)), [list(chain(*row)) for row in spread]


def _number_of(cell: str) -> Any:
    value = getattr(cell, "value", None)
    return cell if value is None else value


def _ends(column: str) -> list[str]:
    return [f"{column}, {end}" for end in (_("lower end"), _("upper end"))]


def machine_table(machines: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of the machines that played the rounds of a comparison."""
    speed, threads = _("training cases per second"), _("threads")
    rows = [
        [one["name"], ", ".join(spans(one["rounds"])), units.count(one["speed"]), str(one["threads"])]
        for one in machines
    ]
    title = _("Machines that played the rounds")
    return Table([_("machine"), _("rounds"), speed, threads], rows, title, right=[speed, threads])


def spans(numbers: Sequence[int]) -> Iterator[str]:
    """Yield sorted numbers from 0, counted from 1, with neighbours together.

    >>> list(spans([0, 1, 2, 4]))
    ['1–3', '5']
    """
    for place, number in enumerate(numbers):
        if place == 0 or number != numbers[place - 1] + 1:
            first = number
        if place == len(numbers) - 1 or number != numbers[place + 1] - 1:
            yield f"{first + 1}" if first == number else f"{first + 1}–{number + 1}"
