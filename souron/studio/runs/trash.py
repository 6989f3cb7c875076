"""Rename a run, or move it to the desktop's bin, unless a job uses it."""

import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

from souron.studio import naming
from souron.studio.jobs.job_queue import ALIVE, Job, Jobs
from souron.utils.messages import UserError, _

NAME = re.compile(r"\w[\w.\-]*")
LONGEST = 100  # bytes of a name


def user_of(jobs: Jobs, folder: Path) -> Job | None:
    """Return the waiting or running job that uses the folder; None if there is none."""
    place = folder.resolve()
    return next((job for job in jobs.all() if job.state in ALIVE and _uses(job, place)), None)


def _uses(job: Job, place: Path) -> bool:
    values = [text for word in job.words for text in (word, word.partition("=")[2]) if text]
    return any(_within(path, place) for path in (job.folder, *map(Path, values)) if path)


def _within(path: Path, place: Path) -> bool:
    try:
        return path.resolve().is_relative_to(place)
    except (OSError, ValueError, RuntimeError):  # not a path
        return False


def refuse_used(jobs: Jobs, folder: Path) -> None:
    """Check that no job uses the folder. Raises UserError otherwise.

    Call within ``jobs.changing()``, so that no job starts meanwhile.
    """
    job = user_of(jobs, folder)
    if job is not None:
        raise UserError(
            "in use",
            _("a job works with {name}: {words}").format(name=folder.name, words=naming.job(job.words, job.meant)),
            expected=_("a folder that no job works with"),
            fix=_("stop the job first, or wait for it"),
            exit=5,
        )


def to_bin(jobs: Jobs, folder: Path) -> None:
    """Move a run to the bin. Raises UserError where there is none; nothing is deleted then."""
    from send2trash import send2trash

    with jobs.changing():
        refuse_used(jobs, folder)
        try:
            send2trash(str(folder.resolve()))
        except OSError as error:
            raise UserError(
                "bin",
                _("{name} cannot go to this computer's bin: {why}").format(
                    name=folder.name, why=error.strerror or error
                ),
                expected=_("a bin on the disk of the runs; nothing was deleted"),
                fix=_("delete the folder {path} yourself").format(path=folder),
                exit=4,
            ) from error


def rename(jobs: Jobs, folder: Path, name: str) -> Path:
    """Rename a run without overwriting anything, and return its new folder.

    Raises UserError, with everything left unchanged.
    """
    target = folder.with_name(checked(name))
    with jobs.changing():
        refuse_used(jobs, folder)
        made = False
        try:
            if os.name == "posix":  # other systems never overwrite on renaming
                target.mkdir()  # reserves the name: renaming replaces only an empty folder
                made = True
            folder.rename(target)
        except OSError as error:
            if made:
                with suppress(OSError):
                    target.rmdir()
            raise _cannot_rename(folder, target, error) from error
    return target


def _cannot_rename(folder: Path, target: Path, error: OSError) -> UserError:
    if isinstance(error, FileExistsError):
        return UserError(
            "exists",
            _("{path} is there already").format(path=target),
            expected=_("a name that is free"),
            fix=_("rename that one first"),
            exit=5,
        )
    return UserError(
        "disk",
        _("{source} cannot become {target}: {why}").format(source=folder, target=target, why=error.strerror or error),
        expected=_("the right to write there; nothing was changed"),
        exit=4,
    )


def checked(name: str) -> str:
    """Check that a name is valid for a folder on every system. Raises UserError otherwise."""
    name = unicodedata.normalize("NFC", name.strip())
    if not NAME.fullmatch(name) or name.endswith(".") or len(name.encode()) > LONGEST:
        raise UserError(
            "name",
            _("{name!r} cannot be a run's name").format(name=name[:LONGEST]),
            expected=_("letters, numbers, and . _ - after the first; {most} bytes at most").format(most=LONGEST),
            fix="cnn-digits-2",
        )
    return name
