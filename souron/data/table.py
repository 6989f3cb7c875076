"""A CSV that names pictures: ``filename,label[,group][,part]``, files relative to the CSV."""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from souron.data.cases import Cases, Skipped
from souron.data.folder import PARTS, Listed, gather, missing
from souron.kinds.image import readable
from souron.speaking import Trouble, _

COLUMNS = {
    "file": ("filename", "file", "image", "path", "filepath"),
    "label": ("label", "class", "target"),
    "group": ("group", "patient", "patient_id", "patientid", "subject", "subject_id"),
    "part": ("part", "split"),
}


def load(
    path: Path,
    side: int | None = None,
    group: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    window: str | None = None,
) -> Cases:
    """The pictures that a CSV lists, in its order; ``side``, ``group``, ``progress`` and
    ``window`` as in ``folder``. ``group`` may also name a column. ``scan.dcm#3`` is the third frame
    of a DICOM file.

    Rows whose file is missing, damaged, listed twice or outside the CSV's folder, or which have
    no label, are skipped and reported. Raises Trouble where the CSV cannot be read, lacks a
    column, or leaves fewer than two classes.
    """
    if not path.is_file():
        raise missing(path)
    listed: dict[str, Listed] = {}
    skipped: list[Skipped] = []
    for row in _rows(path, group):
        name = row["file"].strip()
        if not name:
            continue
        place, frame = _find(path.parent, name), 0
        if (framed := re.fullmatch(r"(.+)#([1-9]\d{0,4})", name)) and not os.path.lexists(place):
            place, frame = _find(path.parent, framed[1]), int(framed[2])
        file = readable(Path(os.path.relpath(place, path.parent)).as_posix())
        file += f"#{frame}" if frame else ""
        label = unicodedata.normalize("NFC", row["label"].strip())
        if not label:
            skipped.append(Skipped(file, "no label", _("the label is empty")))
        elif file in listed:
            why = _("listed before, as {label!r}").format(label=listed[file].label)
            skipped.append(Skipped(file, "duplicate", why))
        else:
            part = _part(row["part"].strip(), path)
            listed[file] = Listed(place, file, label, row["group"].strip(), part, frame)
    rows = list(listed.values())
    return gather(path, path.parent, rows, skipped, side, group, progress, window)


def _rows(path: Path, group: str | None) -> list[dict[str, str]]:
    """Rows with the keys of ``COLUMNS``, whatever the CSV calls its columns."""
    text = _text(path)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise _unreadable(path, str(error)) from error
    header = {name.strip().lower(): name for name in reader.fieldnames or ()}
    names = {
        column: next((header[alias] for alias in aliases if alias in header), None)
        for column, aliases in COLUMNS.items()
    }
    if group is not None:  # another column, a pattern for the files' names, or none
        names["group"] = header.get(group.lower())
    if names["file"] is None or names["label"] is None:
        raise Trouble(
            "columns",
            _("{path} has the columns: {names}").format(
                path=readable(path), names=first.strip()[:200]
            ),
            expected="filename,label[,group][,part]",
            fix=_("name the columns in the first line"),
            exit=3,
        )
    return [{c: row[name] if name else "" for c, name in names.items()} for row in rows]


def _text(path: Path) -> str:
    raw = path.read_bytes()
    encodings = ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp932")
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise _unreadable(path, _("neither UTF-8 nor Shift_JIS"))


def _unreadable(path: Path, why: str) -> Trouble:
    return Trouble(
        "unreadable",
        _("{path} cannot be read as a CSV: {why}").format(path=readable(path), why=why),
        expected=_("text in UTF-8, separated by commas"),
        exit=3,
    )


def _find(folder: Path, name: str) -> Path:
    """The file, also where the CSV writes backslashes or composes its Unicode otherwise."""
    spellings = [name, name.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    places = [Path(os.path.normpath(folder / spelling)) for spelling in spellings]
    return next((place for place in places if os.path.lexists(place)), places[1])


def _part(name: str, path: Path) -> str:
    if name and name.lower() not in PARTS:
        raise Trouble(
            "part",
            _("{path} names the part {name!r}").format(path=readable(path), name=name),
            expected="train, val, test",
            exit=3,
        )
    return PARTS.get(name.lower(), "")
