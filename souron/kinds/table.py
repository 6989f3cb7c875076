"""Tables: named columns, a row for each case. CSV files are read and written."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from souron.kinds import files
from souron.kinds.codecs import limits
from souron.kinds.kind import Kind
from souron.utils import units
from souron.utils.messages import N_, _

MOST_CELLS = 5_000_000
MOST_COLUMNS = 10_000
SHOWN = 100  # rows in a notebook or on a terminal
SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table(Kind):
    """Rows with a value for each column; values from a file are strings."""

    widget = "table"
    noun = N_("table")
    suffix = ".csv"
    formats = (".csv", ".tsv")

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    file: str = ""

    def __post_init__(self) -> None:
        width = len(self.columns)
        _check(len(self.rows), width)
        for number, row in enumerate(self.rows, 1):
            if len(row) != width:
                raise files.wrong(
                    _("{count} values in row {number}").format(count=len(row), number=number),
                    _("{count}, one for each column").format(count=width),
                )

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read a CSV file with a header; values are separated by commas, semicolons or tabs."""
        text = files.words(path)
        first = text.partition("\n")[0]
        separator = max(SEPARATORS, key=first.count)
        rows: list[list[str]] = []
        cells = 0
        try:
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                cells += len(row)
                rows += [row] if row else []
                _check(len(rows), len(rows[0]) if rows else 1, cells)
        except csv.Error as error:
            raise limits.trouble(path, "unreadable", _("cannot be read as a CSV: {why}").format(why=error)) from error
        if not rows:
            raise limits.trouble(path, "empty file", _("a table without a heading"))
        return cls(tuple(rows[0]), tuple(map(tuple, rows[1:])), str(path))

    def column(self, name: str) -> list[Any]:
        """Return the values of a column. Raises UserError where none has that name."""
        if name not in self.columns:
            raise files.wrong(_("no column is named {name!r}").format(name=name), ", ".join(self.columns))
        place = list(self.columns).index(name)
        return [row[place] for row in self.rows]

    def save(self, path: Path) -> None:
        files.ending(path, (".csv",))
        files.write(path, files.separated([self.columns, *self.rows]))

    def as_json(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}

    def __str__(self) -> str:
        lines = ["\t".join(map(str, row)) for row in (self.columns, *self.rows[:SHOWN])]
        return "\n".join(lines + ([self.left_out] if self.left_out else []))

    @property
    def left_out(self) -> str:
        """Remark shown where only the first rows are shown."""
        if len(self.rows) <= SHOWN:
            return ""
        return _("and {n} more").format(n=units.whole(len(self.rows) - SHOWN))

    def _repr_html_(self) -> str:
        return files.html_table(self.columns, self.rows[:SHOWN], self.left_out)


def _check(rows: int, columns: int, cells: int = 0) -> None:
    """Raise UserError for a table that is too large or empty."""
    if not 1 <= columns <= MOST_COLUMNS or max(cells, rows * columns) > MOST_CELLS:
        raise files.wrong(
            _("{rows} rows of {columns}").format(rows=rows, columns=columns),
            _("at most {columns} columns and {cells} values").format(
                columns=units.whole(MOST_COLUMNS), cells=units.whole(MOST_CELLS)
            ),
        )
