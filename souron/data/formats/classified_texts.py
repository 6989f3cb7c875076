"""Classified texts: CSV, TSV or JSONL with ``text`` and ``label``, or a folder of ``.txt`` files
for each class, also inside ``train``, ``val`` and ``test``.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from souron.data.formats import texts
from souron.data.formats.csv_table import COLUMNS
from souron.data.formats.folder import missing, natural, walk
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import (
    RECORDS,
    TABLES,
    Dataset,
    Faults,
    Located,
    any_file,
    columns,
    gathered,
    keys,
    made,
    name_of,
    numbered,
    part_of,
    read,
    rows,
    value,
)
from souron.data.texts import Fault, usable, worded
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
SUFFIXES = (".txt", ".md")
TEXT = ("text", "sentence", "document", "content", "body", "本文", "文", "テキスト", "文章")
LABEL = ("label", "class", "category", "target", "ラベル", "クラス", "分類", "カテゴリ", "正解")
LONGEST = 100  # characters of a label
FEWEST = 2  # classes


def describes(path: Path) -> bool:
    return any_file(path, (*RECORDS, *TABLES), _labelled) or (
        path.is_dir() and texts.has_texts(path) and len(_classes(path)) >= FEWEST
    )


def _labelled(path: Path) -> bool:
    names = {*map(name_of, columns(path)), *map(name_of, keys(path))}
    files = names & set(COLUMNS["file"])
    return bool(names & set(TEXT)) and bool(names & set(LABEL)) and not files


def _classes(path: Path) -> set[str]:
    return {label for _file, _name, label, _part in _listed(path, Faults())}


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read texts with a class each. Rows without a text or a label are skipped and reported. Raises
    UserError if fewer than two classes remain."""
    if not path.exists():
        raise missing(path)
    faults = Faults()
    tables = any_file(path, (*RECORDS, *TABLES), _labelled) or path.is_file()
    found = made(rows(path, faults), _row, faults) if tables else _files(path, faults, reading)
    labels = [one.thing[1] for one in found]
    classes = tuple(sorted(set(labels), key=natural))
    if len(classes) < FEWEST and found:
        raise UserError(
            "one class",
            _("{path} has only one class: {label}").format(path=readable(path), label=", ".join(classes)),
            expected=_("at least two classes"),
            exit=3,
        )
    told = [one._replace(thing=one.thing[0]) for one in found]
    return gathered(
        readable(path.name), told, faults, numbered(labels, classes), classes=classes, source=readable(path)
    )


def _row(row: Mapping[str, Any]) -> tuple[str, str]:
    label = value(row, LABEL)
    label = str(label) if isinstance(label, int | float) else label
    if label is None or label == "":
        raise Fault("no label", _("the label is empty"))
    return worded(value(row, TEXT), "text"), " ".join(usable(label, "label").split())[:LONGEST]


def _listed(path: Path, faults: Faults) -> list[tuple[Path, str, str, str]]:
    """Return file, name, class and part of each text in a class folder."""
    found = []
    for file, name in walk(path, faults.skipped):
        *folders, _last = PurePosixPath(name).parts
        part = part_of(folders[0]) if len(folders) > 1 else ""
        folders = folders[1:] if part else folders
        if file.suffix.lower() in SUFFIXES and len(folders) == 1:
            found.append((file, name, folders[0], part))
    return sorted(found, key=lambda one: natural(one[1]))


def _files(path: Path, faults: Faults, reading: Reading) -> list[Located]:
    found, listed = [], _listed(path, faults)
    for done, (file, name, label, part) in enumerate(listed):
        if reading.progress:
            reading.progress(done, len(listed))
        try:
            found.append(Located(name, (worded(read(file, path)), label), part))
        except UserError as trouble:
            faults.add(name, trouble.code, trouble.found)
        except Fault as fault:
            faults.add(name, fault.code, fault.reason)
    return found
