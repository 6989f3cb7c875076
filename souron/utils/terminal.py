"""Tables for a terminal, and texts that it may print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

BAR = "█"


def table(*columns: str, title: str = "", right: Sequence[str] = ()) -> "Table":
    """Return a table without borders; the columns named in ``right`` hold numbers.

    It has no heading if all columns are ``""``.
    """
    from rich.table import Table

    made = Table(
        title=title or None,
        box=None,
        pad_edge=False,
        header_style="bold",
        title_justify="left",
        title_style="bold",
        show_header=any(columns),
    )
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in right
        )
    return made


def pairs(rows: Sequence[tuple[str, "RenderableType"]]) -> "Table":
    """Return a table of names and values without a heading."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def likelihoods(guesses: Sequence[tuple[str, float]], width: int = 20) -> "Table":
    """Return a table of labels with their probabilities and bars."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", width=9)
    grid.add_column(width=width)
    grid.add_column(overflow="fold")
    for label, probability in guesses:
        grid.add_row(units.percent(probability), BAR * round(width * probability), label)
    return grid


def bars(amounts: dict[str, int], width: int = 30, most: int = 50) -> "Table":
    """Return a table of counts with bars."""
    from rich.table import Table

    largest = max(amounts.values(), default=1)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="ellipsis", no_wrap=True)
    grid.add_column(justify="right")
    grid.add_column()
    for name, amount in list(amounts.items())[:most]:
        grid.add_row(name, units.whole(amount), BAR * max(1, round(width * amount / largest)))
    if len(amounts) > most:
        grid.add_row(_("and {n} more").format(n=len(amounts) - most), "", "")
    return grid


def printable(text: str) -> str:
    """Remove control characters, which a terminal would obey."""
    return "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160))
