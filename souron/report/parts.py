"""Facts, tables and sections, the parts of a page; importing them loads no other reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from souron.utils import terminal

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
