"""Facts, tables and sections, the parts of a page; importing them loads no other reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    def __rich__(self) -> Any:
        if not self.columns:
            return terminal.pairs([(name, value) for name, value in self.rows])
        made = terminal.table(*self.columns, right=self.right)
        for row in self.rows:
            made.add_row(*row)
        return made


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
