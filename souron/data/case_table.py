"""The cases of a data set as a table: file, label, group, part and further columns, written as CSV."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from souron.utils import files

if TYPE_CHECKING:
    from souron.data.dataset import Dataset

COLUMNS = ("filename", "label", "group", "part")
CLEANED = re.compile(r"(?:checked|corrected)(?:-(\d+))?\.csv", re.IGNORECASE)  # tables written beside files


def rows(cases: "Dataset") -> list[dict[str, str]]:
    """Return the row of each case in a table: ``COLUMNS`` and the cases' further columns.

    The cases need a label each.
    """
    labels = cases.labels
    assert labels is not None, "without labels there is no table"
    blank = [""] * len(cases)
    fixed = (cases.file, [cases.classes[label] for label in labels], cases.group or blank, cases.part or blank)
    columns = dict(zip(COLUMNS, fixed, strict=True)) | {n: v for n, v in cases.columns.items() if n not in COLUMNS}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def write(path: Path, table: Sequence[Mapping[str, str]]) -> None:
    """Write rows as a CSV. Raises UserError."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(table[0]) if table else COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    files.write_text(path, stream.getvalue())
