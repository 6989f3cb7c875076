"""Read files of texts, records and tables into cases. What cannot be used is counted and named by
``file:line``; reading continues.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch

from souron.data.dataset import Dataset, ListColumn, Skipped
from souron.data.formats.folder import missing
from souron.data.patients import COLUMN
from souron.data.texts import Fault, language, plain, shown
from souron.kinds import files
from souron.kinds.codecs.limits import check_file, readable, trouble
from souron.utils.messages import UserError, _

T = TypeVar("T")
NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})
MOST_CASES = 1_000_000
MOST_SKIPPED = 10_000  # that are listed individually
MOST_BYTES = 200_000_000  # of a file
SNIFFED = 65_536  # bytes examined to determine a file's content
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "学習": "train",
    "訓練": "train",
    "検証": "val",
    "テスト": "test",
    "評価": "test",
}
BEYOND, OTHER = re.compile("[^\0-\x7f]"), re.compile("[\x80-\x9f\uff61-\uff9f]")
STRANGE = 3  # the inverse of the largest share of ``OTHER`` in characters beyond ASCII
RECORDS = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
LONGEST_NAME = 100  # characters of a group


class Located(NamedTuple):
    """An item of a file, with its position: ``exam.jsonl:12``."""

    place: str
    thing: Any
    part: str = ""
    group: str = ""  # patient, author, ...: a column of the table


@dataclass
class Faults:
    """The unusable items of some files. Beyond ``MOST_SKIPPED`` only their count is kept."""

    skipped: list[Skipped] = field(default_factory=list)
    more: int = 0

    def add(self, place: str, code: str, reason: str) -> None:
        if len(self.skipped) < MOST_SKIPPED:
            self.skipped.append(Skipped(place, code, reason))
        else:
            self.more += 1

    def told(self) -> tuple[Skipped, ...]:
        rest = _("{count} more were left out").format(count=self.more)
        return (*self.skipped, *([Skipped("…", "more", rest)] if self.more else []))


def read(path: Path, inside: Path | None = None) -> str:
    """Read the text of a file: UTF-8, UTF-16 with a byte order mark, or cp932. Raises UserError,
    also if decoding gives half-width katakana and control codes, which indicates another encoding.
    """
    check_file(path, inside, MOST_BYTES, "unreadable")
    text = files.words(path, MOST_BYTES)
    if STRANGE * len(OTHER.findall(text)) > len(BEYOND.findall(text)):
        raise trouble(path, "not a text", _("neither UTF-8 nor Shift_JIS"))
    return text


def beginning(path: Path) -> str:
    """Return the beginning of a file, to determine its content; "" if it cannot be read."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(SNIFFED)
    except OSError:
        return ""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw[: raw.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp932", "replace")


def keys(path: Path) -> set[str]:
    """Return the names in the first object of a file of records; empty for other files."""
    if path.suffix.lower() not in RECORDS or not path.is_file():
        return set()
    text = beginning(path)
    begins = text.find("{")
    if begins < 0 or text[:begins].strip() not in ("", "["):
        return set()
    try:
        found = json.JSONDecoder().raw_decode(text, begins)[0]
    except (ValueError, RecursionError):  # invalid, or longer than the part examined
        return set(re.findall(r'"(\w{1,40})"\s*:', text))
    return {name.lower() for name in found}


def columns(path: Path) -> list[str]:
    """Return the names in the first line of a table; empty for other files."""
    if path.suffix.lower() not in TABLES or not path.is_file():
        return []
    first = beginning(path).partition("\n")[0]
    return next(csv.reader([first.strip()], delimiter=_separator(path, first)), [])


def files_of(path: Path, suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """Return the file itself, or the files of a folder with these suffixes, each with the part that
    its name tells: ``train.jsonl``."""
    if path.is_file():
        return [(path, "")]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    return [(file, part_of(file.stem)) for file in found if file.is_file()]


def any_file(path: Path, suffixes: Sequence[str], fits: Callable[[Path], bool]) -> bool:
    """Return whether the file fits, or the first file of a folder."""
    if path.is_file():
        return path.suffix.lower() in suffixes and fits(path)
    return path.is_dir() and any(fits(file) for file, _part in files_of(path, suffixes)[:1])


def records(path: Path, faults: Faults, part: str = "") -> Iterator[Located]:
    """Yield the objects of a JSONL file, or of a JSON list, each with its position. Raises
    UserError if the file cannot be read as text."""
    text = read(path)
    found = _elements(text) if text.lstrip().startswith("[") else _lines(text)
    for number, (line, thing) in enumerate(found):
        place = f"{readable(path.name)}:{line}"
        if number >= MOST_CASES:
            why = _("only the first {count} cases are read").format(count=f"{MOST_CASES:,}")
            faults.add(place, "too large", why)
            return
        if isinstance(thing, dict):
            told = part_of(thing.get("part", thing.get("split")))
            yield Located(place, thing, told or part)
        elif isinstance(thing, ValueError | RecursionError):
            faults.add(place, "broken JSON", str(thing))
        else:
            why = _("not an object: {thing}").format(thing=shown(thing))
            faults.add(place, "broken JSON", why)


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the number and the content of each line, or the error if it is invalid."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, error


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the elements of a JSON list with their lines; after an invalid one, continue at the
    next line that begins an object."""
    decoder, gap, following = json.JSONDecoder(), re.compile(r"[\s,]*"), re.compile(r"\n\s*\{")
    at, line, counted = text.index("[") + 1, 1, 0
    while True:
        spaces = gap.match(text, at)
        at = spaces.end() if spaces else at
        line, counted = line + text.count("\n", counted, at), at
        if at >= len(text) or text[at] == "]":
            return
        try:
            thing, at = decoder.raw_decode(text, at)
            yield line, thing
        except (ValueError, RecursionError) as error:
            yield line, error
            found = following.search(text, at + 1)
            at = found.start() if found else len(text)


def table(path: Path, faults: Faults, part: str = "") -> Iterator[Located]:
    """Yield the rows of a CSV or TSV as dicts, keyed by the header names after ``name_of``. Raises
    UserError if the file cannot be read as text."""
    text = read(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(path, text.partition("\n")[0]))
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        place = f"{readable(path.name)}:{line}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            faults.add(place, "broken row", str(error))
            continue
        if row is None or line > MOST_CASES:
            return
        if not names:
            names = [name_of(name) for name in row]
        elif any(map(str.strip, row)):
            if len(row) > len(names):
                why = _("{count} cells below {names} names").format(count=len(row), names=len(names))
                faults.add(place, "broken row", why)
                continue
            given = dict(zip(names, [*row, *[""] * (len(names) - len(row))], strict=True))
            told = part_of(given.get("part") or given.get("split"))
            yield Located(place, given, told or part)


def _separator(path: Path, first: str) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)


def name_of(name: str) -> str:
    """Normalise a name: ``"Option A"`` and ``"option_a"`` are equal."""
    return re.sub(r"[\s_\-\ufeff]", "", name).lower()


def rows(path: Path, faults: Faults) -> Iterator[Located]:
    """Yield the records and rows of a file, or of a folder's files."""
    for file, part in files_of(path, (*RECORDS, *TABLES)):
        if file.suffix.lower() in TABLES:
            yield from table(file, faults, part)
            continue
        for one in records(file, faults, part):
            named = {name_of(str(name)): value for name, value in one.thing.items()}
            yield one._replace(thing=named)


def made(found: Iterable[Located], make: Callable[[Mapping[str, Any]], Any], faults: Faults) -> list[Located]:
    """Convert each item with ``make``; those for which it raises ``Fault`` are left out and
    reported."""
    kept = []
    for one in found:
        try:
            kept.append(one._replace(thing=make(one.thing), group=_group(one.thing)))
        except Fault as fault:
            faults.add(one.place, fault.code, fault.reason)
    return kept


def _group(row: Mapping[str, Any]) -> str:
    given = value(row, COLUMN)
    return str(given).strip()[:LONGEST_NAME] if isinstance(given, str | int | float) else ""


def value(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the value of the first of the names that is present."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def gathered(name: str, found: Sequence[Located], faults: Faults, target: Any = None, **known: Any) -> Dataset:
    """Build the data set of some cases, named by their ``place``. Raises UserError if there are
    none."""
    if not found:
        refuse_none(name, faults)
    entries = [case.thing for case in found]
    parts = [case.part for case in found]
    further = known.pop("columns", {})
    if any(case.group for case in found):
        known = {"group": [case.group for case in found], "grouped": _("a column of the table")} | known
    return Dataset(
        name=name,
        input=ListColumn(entries),
        target=target,
        file=_once([case.place for case in found]),
        part=parts if any(parts) else (),
        skipped=faults.told(),
        augment=(),
        columns={"language": [language(plain(entry)) for entry in entries], **further},
        **{"classes": (), **known},
    )


def read_pairs(
    path: Path,
    pair: Callable[[Mapping[str, Any]], tuple[str, T]],
    columns: Mapping[str, Callable[[T], Any]] = NO_COLUMNS,
) -> Dataset:
    """Read a file whose rows hold a text and its target.

    ``pair`` returns both for a row, or raises Fault where the row is to be left out and reported;
    ``columns`` are further ones, computed from each target. Raises UserError if no row can be used.
    """
    if not path.exists():
        raise missing(path)
    faults = Faults()
    found = made(rows(path, faults), pair, faults)
    targets = [one.thing[1] for one in found]
    texts = [one._replace(thing=one.thing[0]) for one in found]
    further = {name: [column(target) for target in targets] for name, column in columns.items()}
    return gathered(readable(path.name), texts, faults, ListColumn(targets), source=readable(path), columns=further)


def refuse_none(name: str, faults: Faults) -> None:
    """Raise UserError: no case can be used, with the first reason."""
    first = next((f"{skip.file}: {skip.reason}" for skip in faults.skipped), "")
    raise UserError(
        "no case",
        _("{data} holds no case that can be used ({first})").format(data=name, first=first)
        if first
        else _("{data} holds no case that can be used").format(data=name),
        expected=_("at least one complete case"),
        fix=f"souron data check {name}",
        exit=3,
    )


def _once(places: Iterable[str]) -> list[str]:
    """Make names unique: the second ``a.txt:3`` becomes ``a.txt:3#2``."""
    seen: Counter[str] = Counter()
    found = []
    for place in places:
        seen[place] += 1
        found.append(place if seen[place] == 1 else f"{place}#{seen[place]}")
    return found


def part_of(thing: Any) -> str:
    """Return ``train``, ``val`` or ``test`` for the name in a record or of a folder; else ""."""
    return PARTS.get(thing.strip().lower(), "") if isinstance(thing, str) else ""


def numbered(labels: Sequence[str], classes: Sequence[str]) -> torch.Tensor:
    """Return the number of each label, (N,)."""
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number[label] for label in labels], dtype=torch.long)
