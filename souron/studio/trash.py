"""A run under another name, a run in the bin, and back again.

A folder moves in one step, within one file system and never over another; where that cannot be,
all stays as it was. What a link stands for is never touched.
"""

import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from souron.studio.jobs import ALIVE, Job, Jobs
from souron.utils.messages import UserError, _

BIN = Path(".studio") / "bin"
NAME = re.compile(r"\w[\w.\-]*")
LONGEST = 100  # bytes of a name
TIME = "%Y%m%dT%H%M%S%f"
THROWN = re.compile(r"(\d{8}T\d{12})-(\w+)-([^.].*)", re.DOTALL)  # when, task, name


@dataclass(frozen=True)
class Thrown:
    """A run in the bin."""

    id: str  # the name of its folder there
    task: str
    name: str
    when: datetime
    bytes: int


def is_folder(path: Path) -> bool:
    """A folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):  # a zero byte, half a letter
        return False


def find(project: Path, named: str | Path) -> Path:
    """The folder ``project/task/name`` of a run or comparison, named as the command line does or
    as ``task/name``. Raises UserError for what leads elsewhere, is hidden, or a link."""
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


def weigh(folder: Path) -> int:
    """Bytes of all its files, links not followed."""
    total = 0
    for place, _folders, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def user_of(jobs: Jobs, folder: Path) -> Job | None:
    """The waiting or running job that works in the folder or reads it."""
    place = folder.resolve()
    return next((job for job in jobs.all() if job.state in ALIVE and _uses(job, place)), None)


def _uses(job: Job, place: Path) -> bool:
    values = [text for word in job.words for text in (word, word.partition("=")[2]) if text]
    return any(_within(path, place) for path in (job.folder, *map(Path, values)) if path)


def _within(path: Path, place: Path) -> bool:
    try:
        return path.resolve().is_relative_to(place)
    except (OSError, ValueError, RuntimeError):
        return False


def refuse_used(jobs: Jobs, folder: Path) -> None:
    """Raises UserError where a job needs the folder. Ask with ``jobs.changing()``, so that none
    begins meanwhile."""
    job = user_of(jobs, folder)
    if job is not None:
        raise UserError(
            "in use",
            _("a job works with {name}: {words}").format(
                name=folder.name, words=" ".join(["souron", *job.words])
            ),
            expected=_("a folder that no job works with"),
            fix=_("stop the job first, or wait for it"),
            exit=5,
        )


def rename(jobs: Jobs, folder: Path, name: str) -> Path:
    """Give a run another name; its folder then. Raises UserError."""
    target = folder.with_name(checked(name))
    with jobs.changing():
        refuse_used(jobs, folder)
        move(folder, target)
    return target


def checked(name: str) -> str:
    """Raises UserError for a name that a run's folder cannot have on every computer."""
    name = unicodedata.normalize("NFC", name.strip())
    if not NAME.fullmatch(name) or name.endswith(".") or len(name.encode()) > LONGEST:
        raise UserError(
            "name",
            _("{name!r} cannot be a run's name").format(name=name[:LONGEST]),
            expected=_("letters, numbers, and . _ - after the first; {most} bytes at most").format(
                most=LONGEST
            ),
            fix="cnn-digits-2",
        )
    return name


def move(source: Path, target: Path) -> None:
    """In one step, over nothing that is there. Raises UserError, and all is then as it was."""
    taken = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.name == "posix":  # elsewhere renaming goes over nothing by itself
            target.mkdir()  # takes the name: renaming goes over an empty folder, and no other
            taken = True
        source.rename(target)
    except OSError as error:
        if taken:
            with suppress(OSError):
                target.rmdir()
        if isinstance(error, FileExistsError):
            raise _exists(target) from error
        raise _cannot_move(source, target, error) from error


def _exists(target: Path) -> UserError:
    return UserError(
        "exists",
        _("{path} is there already").format(path=target),
        expected=_("a name that is free"),
        fix=_("rename that one first"),
        exit=5,
    )


def _cannot_move(source: Path, target: Path, error: OSError) -> UserError:
    return UserError(
        "disk",
        _("{source} cannot become {target}: {why}").format(
            source=source, target=target, why=error.strerror or error
        ),
        expected=_("both on one disk, and the right to write there; nothing was changed"),
        exit=4,
    )


def bin_of(project: Path) -> Path:
    """The folder of what was thrown away. Raises UserError where a link leads elsewhere."""
    place = project / BIN
    if place.resolve() != project.resolve() / BIN:
        raise UserError(
            "outside",
            _("{path} leads out of {folder}").format(path=place, folder=project),
            expected=_("a folder, or nothing, there"),
            exit=3,
        )
    return place


def throw(jobs: Jobs, project: Path, folder: Path) -> str:
    """Move a run into the bin; what it is called there. Raises UserError."""
    id = f"{datetime.now().strftime(TIME)}-{folder.parent.name}-{folder.name}"
    with jobs.changing():
        refuse_used(jobs, folder)
        move(folder, bin_of(project) / id)
    return id


def thrown(project: Path) -> list[Thrown]:
    """What is in the bin, the latest first."""
    place = project / BIN
    try:
        names = sorted((path.name for path in place.iterdir() if is_folder(path)), reverse=True)
    except OSError:
        return []
    return list(_told(place, names))


def _told(place: Path, names: Iterable[str]) -> Iterator[Thrown]:
    for id in names:
        with suppress(ValueError):  # no date of this world
            if found := THROWN.fullmatch(id):
                when = datetime.strptime(found[1], TIME)
                yield Thrown(id, found[2], found[3], when, weigh(place / id))


def _in_bin(project: Path, id: str) -> Path | None:
    """A run's folder in the bin, where there is one of that name."""
    place = bin_of(project) / id
    inside = THROWN.fullmatch(id) and Path(id).name == id
    return place if inside and is_folder(place) else None


def put_back(project: Path, id: str) -> Path:
    """Undo ``throw``; the run's folder. Raises UserError where its name was taken meanwhile."""
    place, found = _in_bin(project, id), THROWN.fullmatch(id)
    if place is None or found is None:
        raise UserError(
            "missing",
            _("{name} is not in the bin any more").format(name=id[:200]),
            expected=_("a run that is in the bin"),
            exit=3,
        )
    target = project / found[2] / found[3]
    if target.parent.exists() and not is_folder(target.parent):
        raise _exists(target.parent)
    move(place, target)
    return target


def empty(project: Path, ids: Sequence[str]) -> None:
    """Delete these for good, and what an earlier emptying left. Raises UserError for what stays."""
    for id in ids:
        place = _in_bin(project, id)
        if place is not None:
            with suppress(FileNotFoundError):  # put back meanwhile
                # taken away in one step, so that nobody puts the half of it back
                place.rename(place.with_name(f".{id[:60]}"))
    _clear(bin_of(project))


def _clear(place: Path) -> None:
    """Delete what was hidden there."""
    hidden = [path for path in place.glob(".*") if is_folder(path)]
    for path in hidden:
        shutil.rmtree(path, ignore_errors=True)
    left = [path for path in hidden if path.exists()]
    if left:
        raise UserError(
            "disk",
            _("{path} cannot be deleted entirely").format(path=left[0]),
            expected=_("the right to delete there"),
            exit=4,
        )
