"""Data that a page offers: the user's own first, then data sets on this computer, then others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import display_names, load
from souron.data.case_table import CLEANED
from souron.studio import naming
from souron.studio.forms import controls
from souron.studio.runs import run_list
from souron.studio.security.paths import is_folder
from souron.studio.shared import Studio
from souron.utils.messages import UserError, _

MOST = 50  # of the user's own


def choices(studio: Studio) -> list[tuple[str, str]]:
    """Return (shown, value for a command) of all data."""
    sets = sorted(load.names().values(), key=lambda entry: entry.where() is None)
    return [*own(studio), *((f"{e.name} – {registry.about(e)} ({where(e)})", e.name) for e in sets)]


def field(studio: Studio, value: str, about: str, **more: Any) -> Markup:
    """Return the field ``data``: a list, and a text field for another folder or table; see ``controls.either``."""
    either = controls.either("data", choices(studio), value, _("or the path of a folder or a table"), **more)
    return controls.labelled(_("data"), either, about)


def own(studio: Studio) -> list[tuple[str, str]]:
    """Return data that was uploaded, cleaned or used before, newest first."""
    found: dict[str, str] = {}
    for path in (*brought(studio), *used(studio)):
        found.setdefault(path, display_names.called(path))
        if len(found) == MOST:
            break
    names = list(found.values())
    return [(name if names.count(name) == 1 else f"{name} – {Path(path).parent}", path) for path, name in found.items()]


def brought(studio: Studio) -> Iterator[str]:
    """Yield uploads, each preceded by the cleaned tables in it."""
    for folder in uploads(studio):
        yield from reversed(cleaned(studio, folder))
        yield studio.roots.spell(folder.absolute())


def used(studio: Studio) -> Iterator[str]:
    """Yield the data of jobs and runs that still exists."""
    options = [naming.taken(job.words)[2] for job in studio.jobs.all()]
    for text in dict.fromkeys(
        [
            *(option.get("fix", "") for option in options),
            *(o.get("data", "") for o in options),
            *(run.data for run in run_list.runs(studio.project)),
        ]
    ):
        if text and not naming.known(text):
            try:
                path = studio.roots.check(text)
            except UserError:
                continue
            if path.exists():
                yield studio.roots.spell(path)


def place(studio: Studio) -> Path:
    """Return the folder of uploads."""
    return studio.project / ".studio" / "uploads"


def uploads(studio: Studio) -> list[Path]:
    """Return uploads, newest first; unfinished ones are hidden."""
    try:
        there = [p for p in place(studio).iterdir() if p.name[0] != "." and is_folder(p)]
        return sorted(there, key=lambda path: -path.stat().st_mtime)
    except OSError:
        return []


def cleaned(studio: Studio, folder: Path) -> list[str]:
    """Return the cleaned tables that the data check wrote into a folder."""
    try:
        return [
            studio.roots.spell(path.absolute())
            for path in sorted(folder.glob("*.csv"))
            if CLEANED.fullmatch(path.name) and not path.is_symlink()
        ]
    except OSError:
        return []


def where(entry: load.DataEntry) -> str:
    return _("here") if entry.where() else _("to be fetched first")
