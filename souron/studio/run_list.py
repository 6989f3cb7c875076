"""Every run, comparison and unfinished run of a project, as its files say.

Nothing in them is believed: what is too large, damaged or no ordinary file makes a run a damaged
one, which is listed all the same, so that it can be looked at and deleted.
"""

import json
import math
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from souron import registry
from souron.studio import trash
from souron.utils import units
from souron.utils.messages import _

MOST_ARGS, MOST_RECEIPT = 10**6, 2 * 10**7  # bytes
LONGEST = 200  # characters of what a file says

State = Literal["finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class Result:
    """The headline measure, of a comparison that of the best system."""

    measure: str
    value: float
    low: float
    high: float
    system: str = ""  # of a comparison

    def __str__(self) -> str:
        if not self.measure:
            return ""
        told = f"{registry.metric(self.measure).title} {registry.metric(self.measure).text(self.value)}"
        between = registry.metric(self.measure).interval(self.low, self.high)
        return " ".join(filter(None, (self.system, told, f"({between})")))


@dataclass(frozen=True)
class Run:
    folder: Path  # project/task/name
    state: State
    made: float  # seconds since 1970
    systems: tuple[str, ...] = ()
    data: str = ""
    why: str = ""  # it is damaged
    result: Result | None = None
    seconds: float | None = None  # of training
    sentence: str = ""  # of a comparison

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def task(self) -> str:
        return self.folder.parent.name

    @property
    def compares(self) -> bool:
        return self.task == "compare"


def runs(project: Path) -> list[Run]:
    """All of them, newest first."""
    found = [read(folder) for folder in folders(project)]
    return sorted(found, key=lambda run: (-run.made, str(run.folder)))


def folders(project: Path) -> Iterator[Path]:
    """The folders of tasks' runs and of comparisons, and others that hold an args.yaml."""
    known = {entry.task for entry in registry.entries().values()} | {"compare"}
    for task in _below(project):
        for folder in _below(task):
            if task.name in known or (folder / "args.yaml").is_file():
                yield folder


def _below(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.name[0] != "." and trash.is_folder(p)]
    except OSError:
        return []


def read(folder: Path) -> Run:
    """What is known of a run."""
    args, receipt = folder / "args.yaml", folder / "receipt.json"
    made = max((_changed(path) for path in (receipt, args)), default=0.0) or _changed(folder)
    try:
        told = _args(args, *_mark(args))
        systems = told["systems"] if "systems" in told else [told["system"]]
        if not isinstance(systems, list) or not all(isinstance(s, str) for s in systems):
            raise ValueError(_("it does not say which system"))
        about = (folder, made, tuple(map(_text, systems)), _text(told.get("data")))
        if not receipt.is_symlink() and not receipt.exists():
            return _run("unfinished", *about)
        written = _receipt(receipt, *_mark(receipt))
    except (OSError, ValueError, KeyError, RecursionError, yaml.YAMLError) as error:
        return Run(folder, "damaged", made, why=_why(error))
    rows = written.get("rows")
    best = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
    return _run(
        "finished",
        *about,
        result=_result(best.get("measure"), best) if best else _headline(written.get("measures")),
        seconds=_seconds(written),
        sentence=_text(written.get("sentence"), 10 * LONGEST),
    )


def _run(
    state: State, folder: Path, made: float, systems: tuple[str, ...], data: str, **more: Any
) -> Run:
    return Run(folder, state, made, systems, data, **more)


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return _("no {file} there").format(file=Path(error.filename).name)
    if isinstance(error, KeyError):
        return _("it does not say which system")
    return _text(getattr(error, "strerror", None) or " ".join(str(error).split())) or _("damaged")


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _mark(path: Path) -> tuple[int, int, int]:
    """What changes with a file, so that it is read once. Raises OSError, ValueError."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError(_("{file} is no ordinary file").format(file=path.name))
    return about.st_mtime_ns, about.st_size, about.st_ino


@lru_cache(4096)
def _args(path: Path, changed: int, size: int, number: int) -> Mapping[str, Any]:
    return _mapping(path, yaml.safe_load(_content(path, size, MOST_ARGS)))


@lru_cache(4096)
def _receipt(path: Path, changed: int, size: int, number: int) -> Mapping[str, Any]:
    wanted = ("rows", "measures", "sentence", "outcome")
    whole = _mapping(path, json.loads(_content(path, size, MOST_RECEIPT)))
    return {name: whole[name] for name in wanted if name in whole}


def _content(path: Path, size: int, most: int) -> str:
    """Raises ValueError where there is more, or no text."""
    if size > most:
        raise ValueError(
            _("{file} has {size}, which is too much").format(file=path.name, size=units.size(size))
        )
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_("{file} is no text").format(file=path.name)) from error


def _mapping(path: Path, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(_("{file} does not describe a run").format(file=path.name))
    return found


def _text(value: Any, most: int = LONGEST) -> str:
    return str(value)[:most] if isinstance(value, str | int | float) else ""


def _number(value: Any) -> float:
    plain = isinstance(value, int | float) and abs(value) < 1e300
    return float(value) if plain else math.nan


def _headline(measures: Any) -> Result | None:
    """The first measure, which is the headline."""
    if not isinstance(measures, dict) or not measures:
        return None
    [name, found], *_others = measures.items()
    return _result(name, found) if isinstance(found, dict) else None


def _result(measure: Any, found: Mapping[str, Any]) -> Result:
    value, low, high = (_number(found.get(end)) for end in ("value", "low", "high"))
    return Result(_text(measure), value, low, high, _text(found.get("system")))


def _seconds(written: Mapping[str, Any]) -> float | None:
    outcome = written.get("outcome")
    seconds = _number(outcome.get("seconds")) if isinstance(outcome, dict) else math.nan
    return seconds if math.isfinite(seconds) else None


def weight(run: Run) -> int:
    """Bytes of its files; looked up once a minute, for it may hold a million pictures."""
    return _weight(run.folder, run.made, int(time.time() // 60))


@lru_cache(4096)
def _weight(folder: Path, made: float, minute: int) -> int:
    return trash.weigh(folder)


def task_name(task: str) -> str:
    return _("comparison") if task == "compare" else registry.task_name(task)
