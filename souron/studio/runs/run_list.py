"""List of the runs, comparisons and unfinished runs of a project, read from their files.

The files are not trusted: one that is too large, damaged or not a regular file makes a damaged run,
which is still listed, so that it can be viewed and deleted.
"""

import json
import math
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from souron import registry
from souron.data.quality import warnings as data_warnings
from souron.runs import folder as run_folder
from souron.studio.security.paths import folder_size, is_folder
from souron.utils import files, units
from souron.utils.messages import LANGUAGES, UserError, _, language

MOST_BYTES = {".yaml": 10**6, ".json": 2 * 10**7}  # of a file
WANTED = ("system", "systems", "data", "rows", "measures", "sentence", "outcome", "notes", "translated", "warnings")
LONGEST = 200  # characters of a text from a file
MOST_NOTES = 20

served: ContextVar[Path | None] = ContextVar("served", default=None)  # the project of the request being answered

State = Literal["finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class Result:
    """The headline measure; for a comparison, that of the best system."""

    measure: str
    value: float
    low: float
    high: float
    system: str = ""  # of a comparison

    def __str__(self) -> str:
        if not self.measure:
            return ""
        metric = registry.metric(self.measure)
        value, interval = metric.text(self.value), metric.interval(self.low, self.high)
        return " ".join(filter(None, (self.system, metric.title, value, f"({interval})")))


@dataclass(frozen=True)
class Run:
    folder: Path  # project/task/name
    state: State
    made: float  # seconds since 1970
    systems: tuple[str, ...] = ()
    data: str = ""
    why: str = ""  # reason why it is damaged
    result: Result | None = None
    seconds: float | None = None  # of training
    sentence: str = ""  # of a comparison, in the reader's language where available
    notes: tuple[str, ...] = ()  # the warnings of the data check and the caveats of the report, likewise
    warnings: tuple[str, ...] = ()  # the former alone

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def task(self) -> str:
        return self.folder.parent.name

    @property
    def compares(self) -> bool:
        return self.task == "compare"


@contextmanager
def serving(project: Path | None) -> Iterator[None]:
    """Set the project whose runs a request may use, for code that knows no studio."""
    before = served.set(project)
    try:
        yield
    finally:
        served.reset(before)


def runs(project: Path) -> list[Run]:
    """Return all runs, newest first."""
    return sorted(map(read, folders(project)), key=lambda run: (-run.made, str(run.folder)))


def folders(project: Path) -> Iterator[Path]:
    """Yield the folders of runs and comparisons, and other folders with an args.yaml."""
    known = {entry.task for entry in registry.entries().values()} | {"compare"}
    for task in _below(project):
        for folder in _below(task):
            if task.name in known or (folder / "args.yaml").is_file():
                yield folder


@dataclass(frozen=True)
class Page:
    """A page that belongs to no run, such as a tour, an audit or a checked answer."""

    file: Path
    kind: str  # its parent folder, "audit", or its file name, "tour"
    made: float  # seconds since 1970

    @property
    def name(self) -> str:
        return self.file.parent.name


def pages(project: Path) -> list[Page]:
    """Return the pages that belong to no run, newest first; of translations only the first."""
    runs_, found = set(folders(project)), []
    for top in _below(project):
        for folder in {top, *_below(top)} - runs_:
            try:
                files_ = [path for path in folder.glob("*.html") if _is_plain(path)]
            except OSError:
                continue
            found += [
                Page(path, path.stem if folder == top else top.name, _changed(path))
                for path in files_
                if not is_translation(path)
            ]
    return sorted(found, key=lambda page: (-page.made, str(page.file)))


def is_translation(path: Path) -> bool:
    """Return whether a page is a translation that lies beside it, such as ``report.ja.html``."""
    return path.with_suffix("").suffix.lstrip(".") in LANGUAGES


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _below(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.name[0] != "." and is_folder(p)]
    except OSError:
        return []


def find(project: Path, named: str | Path) -> Path:
    """Return the folder ``project/task/name`` of a run or comparison.

    ``named`` is its path, or ``task/name``. Raises UserError where it leads elsewhere, is hidden,
    or is a link.
    """
    for path in (Path(named), project / named):
        with suppress(OSError, ValueError, RuntimeError):
            task = path.parent.resolve()
            inside = task.parent == project.resolve() and path.name != ".."
            if inside and not path.name.startswith(".") and not task.name.startswith("."):
                folder = project / task.name / path.name
                if is_folder(folder):
                    return folder
    raise UserError(
        "not a run",
        _("there is no run {name}").format(name=str(named)[:200]),
        expected=_("one of the folders in {folder}").format(folder=project),
        fix="ls runs/*",
        exit=3,
    )


def finished(project: Path, named: str | Path) -> Run | None:
    """Return the finished run of that name; None where there is none any more."""
    try:
        run = read(find(project, named))
    except UserError:
        return None
    return run if run.state == "finished" else None


def changed(run: Run) -> list[str]:
    """Warn if files of a finished run have changed since it ended."""
    try:
        what = run_folder.changed(run.folder) if run.state == "finished" else ""
    except UserError as trouble:
        what = trouble.found
    return [_("Careful: {what}.").format(what=what)] if what else []


def read(folder: Path) -> Run:
    """Read the summary of a run's folder."""
    args, receipt = folder / "args.yaml", folder / "receipt.json"
    made = max(_changed(args), _changed(receipt)) or _changed(folder)
    try:
        about = _load(args)
        systems = about["systems"] if "systems" in about else [about["system"]]
        if not isinstance(systems, list) or not all(isinstance(name, str) for name in systems):
            raise KeyError("systems")
        finished = receipt.is_symlink() or receipt.exists()
        written = _load(receipt) if finished else {}
    except (OSError, ValueError, KeyError, RecursionError, yaml.YAMLError) as error:
        return Run(folder, "damaged", made, why=_why(error))
    outcome, told = written.get("outcome"), written.get("translated")
    own = told.get(language()) if isinstance(told, dict) else None
    said = own if isinstance(own, dict) else written
    seconds = _number(outcome.get("seconds")) if isinstance(outcome, dict) else math.nan
    return Run(
        folder,
        "finished" if finished else "unfinished",
        made,
        tuple(name[:LONGEST] for name in systems),
        _text(about.get("data")),
        result=_result(written),
        seconds=seconds if math.isfinite(seconds) else None,
        sentence=_text(said.get("sentence"), 10 * LONGEST),
        notes=tuple(_text(note, 10 * LONGEST) for note in data_warnings.caveats(written, folder)[:MOST_NOTES] if note),
        warnings=tuple(data_warnings.texts(data_warnings.read(written), folder)),
    )


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


def _load(path: Path) -> Mapping[str, Any]:
    """Load a YAML or JSON file. Raises OSError, ValueError, YAMLError, RecursionError."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError(_("{file} is no ordinary file").format(file=path.name))
    return _parsed(path, about.st_size, about.st_mtime_ns, about.st_ino)


@lru_cache(16384)
def _parsed(path: Path, size: int, *_mark: int) -> Mapping[str, Any]:
    if size > MOST_BYTES[path.suffix]:
        raise ValueError(_("{file} has {size}, which is too much").format(file=path.name, size=units.size(size)))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_("{file} is no text").format(file=path.name)) from error
    content = files.parse_yaml(text) if path.suffix == ".yaml" else json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(_("{file} does not describe a run").format(file=path.name))
    return {name: content[name] for name in WANTED if name in content}


def _text(value: Any, most: int = LONGEST) -> str:
    return str(value)[:most] if isinstance(value, str | int | float) else ""


def _number(value: Any) -> float:
    plain = isinstance(value, int | float) and abs(value) < 1e300
    return float(value) if plain else math.nan


def _result(written: Mapping[str, Any]) -> Result | None:
    """Return the first row of a comparison or the first measure, which is the headline."""
    try:
        if written.get("rows"):
            row = written["rows"][0]
            name = row.get("measure")
        else:
            name, row = next(iter(written["measures"].items()))
        value, low, high = (_number(row.get(end)) for end in ("value", "low", "high"))
        return Result(_text(name), value, low, high, _text(row.get("system")))
    except (LookupError, AttributeError, StopIteration):
        return None


def weight(run: Run) -> int:
    """Return the size of the run's files in bytes, cached for a minute."""
    return _weight(run.folder, run.made, int(time.time() // 60))


@lru_cache(16384)
def _weight(folder: Path, made: float, minute: int) -> int:
    return folder_size(folder)


def task_name(task: str) -> str:
    return _("comparison") if task == "compare" else registry.task_name(task)
