"""Blocks: what reports, the terminal, notebooks and documents draw. A section is a title and a list of them.

>>> table = Table(["system", "accuracy"], [["cnn", Cell("93.2 %", 0.932)]])
>>> Section("result", "Result", ["A sentence.", table]).blocks[0]
'A sentence.'
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Self

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
    """A text with its look: of a table's cell, of a part of it, or of a paragraph.

    ``value`` is what a CSV holds, two numbers for the ends of an interval; ``style`` is a class of the style sheet or
    one of ``code``, ``mark``, ``pre`` and ``strong``; ``link`` an address, ``image`` a data URI or a ``Tile``, and
    ``place`` a measure from 0 to 1 that a page draws as a whisker behind the text.
    """

    value: Any
    style: str
    link: str
    image: Any
    place: Any
    parts: tuple[str, ...]  # the texts, each with its look, that it consists of

    def __new__(
        cls, text: str, value: Any = None, style: str = "", link: str = "", image: Any = "", place: Any = None
    ) -> Self:
        """Make a text that knows the rest.

        >>> cell = Cell("93.2 %", 0.932)
        >>> cell, cell.value
        ('93.2 %', 0.932)
        """
        cell = super().__new__(cls, text)
        cell.value, cell.style, cell.link, cell.image, cell.place = value, style, link, image, place
        cell.parts = ()
        return cell

    @classmethod
    def of(cls, *parts: str, between: str = " ", style: str = "") -> Self:
        """Join texts that differ in their look.

        >>> Cell.of("cnn", Cell("few cases", style="worse"))
        'cnn few cases'
        """
        cell = cls(between.join(parts), style=style)
        cell.parts = tuple(part for each in parts for part in (between, each))[1:]
        return cell


class Note(str):
    """A caveat: the command line prints it on stderr."""


class Hint(str):
    """A suggestion of what to do next: the command line prints it on stderr, unless --quiet."""


@dataclass(frozen=True)
class Plot:
    uri: str
    alt: str
    width: int  # CSS pixels
    caption: str = ""

    def __rich__(self) -> str:
        return self.caption or self.alt


@dataclass(frozen=True)
class Tile:
    """A small image with lines of text below."""

    uri: str
    alt: str
    side: int  # pixels
    lines: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Gallery:
    """Small images side by side."""

    tiles: Sequence[Tile]
    large: bool = False

    def __rich__(self) -> str:
        return "\n".join(filter(None, (", ".join(filter(None, (*tile.lines, tile.file))) for tile in self.tiles)))


@dataclass(frozen=True)
class Live:
    """HTML made by souron that moves, sounds, or that a script of its page works on, and what it says as a text."""

    html: Markup
    text: str = ""

    def __rich__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Group:
    """Blocks below a heading; ``look`` is "folded", "columns" or "beside"."""

    title: str
    blocks: "Sequence[Block]"
    look: str = ""

    def __rich__(self) -> Any:
        return printable(self.title, self.blocks)


@dataclass(frozen=True)
class Section:
    """One part of a report."""

    name: str  # the link to it
    title: str
    blocks: "Sequence[Block]"

    def drawn(self) -> "list[Block]":
        """Return the blocks below the title, which a table of that title does not repeat; see ``page.html``."""
        return [each.below(self.title) if isinstance(each, Table) else each for each in self.blocks]

    def tables(self) -> "list[Table]":
        """Return the tables, also those in groups; one without a title has that of the section."""
        return [replace(each, title=each.title or self.title) for each in _tables(self.blocks)]

    def __rich__(self) -> Any:
        return printable(self.title, self.blocks)


@dataclass(frozen=True)
class Table:
    """A table for the terminal and the page; without columns, of names and their values."""

    columns: Sequence[str]  # without a heading if all are ""
    rows: Sequence[Sequence[str]]
    title: str = ""
    right: Sequence[str] = ()  # the columns that are aligned to the right
    text: str = ""  # an explanation below it
    wide: Sequence[str] = ()  # the columns that a terminal has no room for

    def below(self, title: str) -> "Table":
        """Return the table as it stands below a heading, which it does not repeat."""
        return replace(self, title="") if self.title == title else self

    def whiskers(self) -> set[int]:
        """Return the numbers of the columns with a whisker behind the text."""
        return {place for row in self.rows for place, cell in enumerate(row) if getattr(cell, "place", None)}

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


Block = str | Note | Table | Plot | Gallery | Group | Live  # a text is a paragraph


def sections(*parts: tuple[str, str, Sequence[Block]]) -> list[Section]:
    """Return the sections, each of a name, a title and its blocks, that have any."""
    return [Section(*each) for each in parts if each[2]]


def pictures(text: str, plots: Sequence[Plot]) -> list[Block]:
    """Return a paragraph, and the plots with what they show below; [] without any."""
    return [text, *(replace(each, caption=each.alt) for each in plots)] if plots else []


def texts(text: str, read: Iterable[tuple[str, Sequence[tuple[str, str]]]]) -> list[Block]:
    """Return a paragraph, and texts to read: below each heading names and their texts; [] without any."""
    groups = [
        Group(title, [Table([], [(name, Cell(words, style="text")) for name, words in named])]) for title, named in read
    ]
    return [text, *groups] if groups else []


def again(command: str) -> list[Block]:
    """Return the command that does the same, to be copied."""
    return [_("This command does it again:"), Cell(command, style="pre")]


def printable(title: str, blocks: Sequence[Block]) -> Any:
    """Return what a terminal shows of blocks below a heading."""
    from rich.console import Group as Lines
    from rich.text import Text

    lines = [block if hasattr(block, "__rich__") else Text(block) for block in blocks]
    return Lines(*([Text(title, style="bold")] if title else []), *lines)


def _tables(blocks: Sequence[Block]) -> Iterator[Table]:
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Group):
            yield from _tables(block.blocks)


def _number_of(cell: str) -> Any:
    value = getattr(cell, "value", None)
    return cell if value is None else value


def _ends(column: str) -> list[str]:
    return [f"{column}, {end}" for end in (_("lower end"), _("upper end"))]


def skipped_lines(skipped: Sequence[Any], most: int = 5) -> list[str]:
    """Return lines about files that could not be used, a blank one last; [] without any."""
    if not skipped:
        return []
    shown = [f"  {each.file}: {each.reason}" for each in skipped[:most]]
    more = ["  " + _("and {n} more").format(n=len(skipped) - most)] if len(skipped) > most else []
    return [_("Files that could not be used: {count}").format(count=len(skipped)), *shown, *more, ""]


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
