"""A table of numbers: a row is a case, a column a feature. CSV or TSV, the first line is the
header.

Columns that identify a case are not features: ``label``, ``group``, ``part`` (and their other
names, see ``csv_table``), row numbers (``id``, ``no``, 番号), and columns of text, which are kept
in ``Dataset.columns``. NumPy's ``.npy`` holds the array (cases, features) without names.
"""

import csv
import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.csv_table import COLUMNS, LONGEST, key_of, part_of, text_of, value_of
from souron.data.formats.folder import natural
from souron.data.readers.settings import Reading
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
RUNNING = ("", "id", "no", "index", "row", "case", "unnamed:0", "番号", "行")  # by ``key_of``
LOOKED_AT = 200  # rows examined to distinguish a table of numbers from a list of images
MOST_VALUES = 200_000_000


def describes(path: Path) -> bool:
    """Return whether a file is NumPy's ``.npy``, or a table with numbers and without a column of
    files."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".npy":
        return True
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    try:
        names, rows = _read(path, LOOKED_AT)
    except UserError:
        return False
    keys = {key_of(name) for name in names}
    return not keys & set(COLUMNS["file"]) and bool(_features(names, rows, None))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read a table of features. A row that lacks a number is skipped and reported. ``group`` names
    a column, or is "none". Raises UserError if the file cannot be read, has no column of numbers,
    or has no complete row."""
    if path.suffix.lower() == ".npy":
        return _load_array(path)
    names, rows = _read(path)
    features = _features(names, rows, reading.group)
    if not features:
        raise UserError(
            "columns",
            _("{path} has no column of numbers: {names}").format(path=readable(path), names=", ".join(names)[:LONGEST]),
            expected=_("a table whose columns are numbers"),
            exit=3,
        )
    skipped, kept, points = [], [], []
    for place, row in enumerate(rows):
        values = [_number(row[column]) for column in features]
        if None in values:
            why = _("{column}: {value!r} is no number").format(
                column=names[features[values.index(None)]], value=row[features[values.index(None)]][:LONGEST]
            )
            skipped.append(Skipped(_row(place), "no number", why))
        else:
            kept.append(place)
            points.append(values)
    if not kept:
        raise UserError(
            "no case",
            _("no row of {path} has a number in each of its {count} columns").format(
                path=readable(path), count=len(features)
            ),
            expected=_("at least one complete row"),
            exit=3,
        )
    known = _known(names, reading.group)

    def column(place: int | None) -> list[str]:
        return [] if place is None else [value_of(rows[row][place])[:LONGEST] for row in kept]

    label = column(known["label"])
    classes = tuple(sorted(set(label), key=natural))
    number = {name: i for i, name in enumerate(classes)}
    further = set(range(len(names))) - set(features) - set(known.values())
    group, part = column(known["group"]), [part_of(name, path) for name in column(known["part"])]
    return Dataset(
        name=readable(path.name),
        input=torch.tensor(points, dtype=torch.float32),
        target=torch.tensor([number[name] for name in label]) if label else None,
        classes=classes,
        file=[_row(place) for place in kept],
        group=group if any(group) else (),
        grouped=_("a column of the table") if any(group) else "",
        part=part if any(part) else (),
        skipped=tuple(skipped),
        augment=(),
        source=readable(path),
        columns={names[place]: column(place) for place in sorted(further) if names[place]},
    )


def _load_array(path: Path) -> Dataset:
    try:
        points = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the head is a Python expression: reading a damaged one can raise anything
        raise _unreadable(path, str(error)[:LONGEST]) from error
    if points.ndim != 2 or not points.size or points.dtype.kind not in "fiub":
        raise _unreadable(path, f"{points.dtype} {points.shape}")
    if points.size > MOST_VALUES:
        raise _unreadable(path, _("over {count} million values").format(count=MOST_VALUES // 10**6))
    table = torch.from_numpy(np.array(points, dtype=np.float32))
    complete = table.isfinite().all(1)
    rows = range(len(table))
    skipped = [Skipped(_row(place), "no number", _("a value is not finite")) for place in rows if not complete[place]]
    if not complete.any():
        raise _unreadable(path, _("no row is complete"))
    return Dataset(
        readable(path.name),
        table[complete],
        None,
        (),
        [_row(place) for place in rows if complete[place]],
        skipped=tuple(skipped),
        augment=(),
        source=readable(path),
    )


def _read(path: Path, most: int | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, and the rows."""
    text = text_of(path)
    first = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        names = [name.strip() for name in next(lines, [])]
        rows = [row for row in islice(lines, most) if row]
    except csv.Error as error:
        raise _unreadable(path, str(error)) from error
    width = len(names)
    return names, [[*row[:width], *[""] * (width - len(row))] for row in rows]


def _known(names: Sequence[str], group: str | None) -> dict[str, int | None]:
    """Return the indices of the columns of label, group and part. Raises UserError."""
    keys = [key_of(name) for name in names]
    known = {
        what: next((place for place, key in enumerate(keys) if key in COLUMNS[what]), None)
        for what in ("label", "group", "part")
    }
    if group == "none":
        known["group"] = None
    elif group is not None:
        if key_of(group) not in keys:
            raise UserError(
                "group", _("no column is named {name!r}").format(name=group), expected=", ".join(names)[:LONGEST]
            )
        known["group"] = keys.index(key_of(group))
    return known


def _features(names: Sequence[str], rows: Sequence[Sequence[str]], group: str | None) -> list[int]:
    """Return the indices of numeric columns: more than half of their non-empty values are
    numbers."""
    reserved = {place for place in _known(names, group).values() if place is not None}
    for place, name in enumerate(names):
        if key_of(name) in (*RUNNING, *COLUMNS["group"]):
            reserved.add(place)
    found = []
    for place in range(len(names)):
        filled = [value for row in rows if (value := value_of(row[place]))]
        numbers = sum(_number(value) is not None for value in filled)
        if place not in reserved and numbers * 2 > len(filled):
            found.append(place)
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e38 else None  # the range of float32; also excludes nan


def _row(place: int) -> str:
    return f"row {place + 1}"


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(
        "unreadable",
        _("{path} cannot be read as a table of numbers: {why}").format(path=readable(path), why=why),
        expected=_("rows of numbers, the first line names the columns; or .npy of (cases, columns)"),
        exit=3,
    )
