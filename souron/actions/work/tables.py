"""Tables of tasks with their exposure labels, and of employment: read and check them.

Eloundou, Manning, Mishkin, Rock: GPTs are GPTs (2023). https://arxiv.org/abs/2303.10130

    E0  no exposure: a language model does not halve the time that the task takes
    E1  direct exposure: a language model alone halves it, at equal quality
    E2  exposed with software that is built on a language model (E3, pictures, counts as E2)

A table has a line for each task; ``people`` may be called ``human_exposure_agg`` and ``gpt4``
``gpt4_exposure``, as in the authors' own. ``gpt4`` and ``Task Type`` may be missing.
"""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from souron.kinds import files
from souron.kinds.codecs.limits import check_file, printable, readable, trouble
from souron.utils.files import package_folders
from souron.utils.messages import _

LABELS = ("E0", "E1", "E2")
MERGED = {"E3": "E2"}
CODE, TASK, TITLE, TYPE = "O*NET-SOC Code", "Task", "Title", "Task Type"
PEOPLE, GPT4 = ("people", "human_exposure_agg"), ("gpt4", "gpt4_exposure")
CORE = "Core"
OTHERS = 0.5  # weight of a task that is not core
MOST_BYTES = 40_000_000
MOST_TASKS = 100_000
MOST_LETTERS = 1_000  # of a task or a title
SOC = 7  # characters of the six digits with their hyphen: 29-1023
FOLDER = "data/work"


@dataclass(frozen=True)
class Task:
    """One task of an occupation. ``people`` and ``gpt4`` are E0, E1 or E2; ``gpt4`` may be ""."""

    text: str
    core: bool
    people: str
    gpt4: str

    @property
    def weight(self) -> float:
        return 1.0 if self.core else OTHERS


@dataclass(frozen=True)
class Occupation:
    code: str  # O*NET-SOC: 29-1023.00
    title: str
    tasks: tuple[Task, ...]

    @property
    def soc(self) -> str:
        """Return the six-digit code of the Bureau of Labor Statistics."""
        return self.code[:SOC]


@dataclass(frozen=True)
class Table:
    """Occupations in the order of the file."""

    occupations: tuple[Occupation, ...]
    name: str  # of the file, for display

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(task for one in self.occupations for task in one.tasks)

    @property
    def by_gpt4(self) -> bool:
        """Return whether GPT-4's labels are present."""
        return all(task.gpt4 for task in self.tasks)


@dataclass(frozen=True)
class Employed:
    """The employees of an occupation of the Bureau of Labor Statistics."""

    code: str  # 29-1023
    title: str
    workers: int


def shipped() -> Path:
    """Return the path of the table that comes with souron."""
    return folder() / "tasks.tsv.gz"


def folder() -> Path:
    return package_folders(FOLDER)[0]


def usual() -> Table:
    """Load the table that comes with souron: the tasks of 923 occupations."""
    return kept(shipped())


@lru_cache(maxsize=2)
def kept(path: Path) -> Table:
    return read(path)


def read(path: Path) -> Table:
    """Read a table of tasks, with tabs or commas, gzipped or not. Raises UserError."""
    check_file(path, None, MOST_BYTES, "unreadable")
    text = _text(path)
    occupations: dict[tuple[str, str], list[Task]] = {}
    for line, row in _rows(text, path, (CODE, TASK, TITLE, PEOPLE)):
        key = row[CODE], row[TITLE]
        task = Task(
            row[TASK],
            row.get(TYPE, CORE) == CORE,
            _label(row[PEOPLE[0]], path, line),
            _label(row[GPT4[0]], path, line) if GPT4[0] in row else "",
        )
        occupations.setdefault(key, []).append(task)
    if not occupations:
        raise trouble(path, "no tasks", _("there is a heading and no task below it"))
    found = tuple(Occupation(*key, tuple(tasks)) for key, tasks in occupations.items())
    return Table(found, readable(path.name))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(path: Path) -> str:
    if path.suffix != ".gz":
        return files.words(path, MOST_BYTES)
    try:
        with gzip.open(path) as stream:
            raw = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise trouble(path, "unreadable", str(error)) from error
    return files.decoded(raw, path, MOST_BYTES)


def _rows(text: str, path: Path, needed: tuple[str | tuple[str, ...], ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the cells by the first of their names. Raises UserError."""
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names: list[str] = []
    try:
        for number, row in enumerate(reader):
            if not names:
                names = [_usual(name.strip()) for name in row]
                _check_names(names, path, needed)
            elif number > MOST_TASKS:
                found = _("more than {count} tasks").format(count=f"{MOST_TASKS:,}")
                raise trouble(path, "too large", found)
            elif any(map(str.strip, row)):
                if len(row) != len(names):
                    found = _("line {line} has {count} cells below {names} names").format(
                        line=reader.line_num, count=len(row), names=len(names)
                    )
                    raise trouble(path, "broken row", found)
                cells = (printable(cell.strip())[:MOST_LETTERS] for cell in row)
                yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        found = _("line {line}: {why}").format(line=reader.line_num, why=error)
        raise trouble(path, "broken row", found) from error


def _usual(name: str) -> str:
    return next((each[0] for each in (PEOPLE, GPT4) if name in each), name)


def _check_names(names: list[str], path: Path, needed: tuple[str | tuple[str, ...], ...]) -> None:
    first = [name if isinstance(name, str) else name[0] for name in needed]
    missing = [name for name in first if name not in names]
    if missing:
        shown = ", ".join(printable(name)[:30] for name in names[:12])
        raise trouble(
            path,
            "columns",
            _("the columns {missing} are missing; there are: {names}").format(missing=", ".join(missing), names=shown),
            ", ".join(first),
        )


def _label(said: str, path: Path, line: int) -> str:
    label = MERGED.get(said, said)
    if label not in LABELS:
        found = _("line {line}: the label {label!r} is unknown").format(line=line, label=said[:20])
        raise trouble(path, "label", found, ", ".join((*LABELS, *MERGED)))
    return label


@lru_cache(maxsize=1)
def employment() -> tuple[Employed, ...]:
    """Load the employees of the United States in May 2021, by detailed occupation.

    Public domain.
    """
    path = folder() / "employment.csv"
    rows = _rows(files.words(path, MOST_BYTES), path, ("OCC_CODE", "OCC_TITLE", "TOT_EMP"))
    return tuple(Employed(row["OCC_CODE"], row["OCC_TITLE"], int(row["TOT_EMP"])) for _line, row in rows)


def explained(label: str) -> str:
    """Return the meaning of a label in a few words."""
    return {
        "E0": _("no exposure"),
        "E1": _("exposed to a language model alone"),
        "E2": _("exposed with software built on one"),
    }[label]


__all__ = ["Employed", "Occupation", "Table", "Task", "employment", "read", "usual"]
