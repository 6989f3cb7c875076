"""Answers of language models that are marked right or wrong: JSONL, one answer a line.

    {"case": "q1", "method": "gpt", "correct": true}
    {"id": "q1", "model": "llama", "score": 0, "group": "passage 7"}

Names of keys are those of the columns of a table (``prediction_table.ALIASES``); without a method
the answers are those of a method named as their file. A mark is true or false, or 1 or 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from souron.data.formats.csv_table import key_of
from souron.data.prediction_table import ALIASES, NAMED, Sheet, sheet_of
from souron.data.readers.text_files import Faults, records
from souron.kinds.codecs.limits import readable, trouble
from souron.utils.messages import UserError, _, listed

SUFFIXES = (".jsonl", ".ndjson")
MARKS = ("correct", "iscorrect", "right", "passed", "score", "正誤", "正答")  # the more specific ones first
MARKED = {True: "right", False: "wrong"}
CLASSES = ("wrong", "right")
MOST_CHARACTERS = 1000  # of a name


def read(paths: Sequence[Path]) -> Sheet:
    """Read marked answers into a table of labels whose truth is "right". Raises UserError.

    Lines that cannot be read, or lack a case or a mark, are named and refused.
    """
    columns: dict[str, list[str]] = {name: [] for name in ("case", "method", "prediction", "truth", "group", "seed")}
    for path in paths:
        faults, count = Faults(), 0
        for place, thing, *_rest in records(path, faults):
            why = _add(columns, thing, readable(path.stem))
            if why:
                faults.add(place, "broken row", why)
            count += not why
        if faults.skipped:
            raise _refused(path, faults)
        if not count:
            raise trouble(path, "empty file", _("there is no answer in it"))
    for name in ("group", "seed"):
        if not any(columns[name]):
            del columns[name]
    return sheet_of(columns, ", ".join(readable(path.name) for path in paths))


def _add(columns: Mapping[str, list[str]], thing: Mapping[str, Any], method: str) -> str:
    """Add an answer to the columns; return what it lacks, "" for nothing."""
    given = {key_of(str(name)): value for name, value in thing.items()}
    case = _name(_values(given, ALIASES["case"]))
    if not case:
        return _("no case, such as {example}").format(example='"case": "q1"')
    mark = next(_values(given, MARKS), None)
    if not isinstance(mark, bool | int | float) or mark not in (0, 1):
        return _("no mark, such as {example}").format(example='"correct": true')
    columns["case"].append(case)
    columns["method"].append(_name(_values(given, ALIASES["method"])) or method)
    columns["prediction"].append(MARKED[bool(mark)])
    columns["truth"].append(MARKED[True])
    for name in ("group", "seed"):
        columns[name].append(_name(_values(given, ALIASES[name])))
    return ""


def _values(given: Mapping[str, Any], aliases: Sequence[str]) -> Iterator[Any]:
    """Yield the values under these names."""
    return (given[name] for name in aliases if name in given)


def _name(values: Iterator[Any]) -> str:
    """Return the first value as a name; "" for what is none."""
    value = next(values, None)
    return str(value).strip()[:MOST_CHARACTERS] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _refused(path: Path, faults: Faults) -> UserError:
    lines = [f"{one.file} ({one.reason})" for one in faults.skipped]
    return UserError(
        "broken row",
        _("{path}: {count} lines cannot be used: {lines}").format(
            path=readable(path.name), count=len(lines) + faults.more, lines=listed(lines, NAMED)
        ),
        expected='{"case": "q1", "method": "gpt", "correct": true}',
        exit=3,
    )
