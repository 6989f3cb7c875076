"""Notebooks of the lecture: their files, and the functions that each leaves to its reader.

``notebooks/en/11_boxes.ipynb`` and ``notebooks/ja/11_boxes.ipynb`` are written from one source, see
``notebooks/build.py`` of the repository.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from souron.hub import fetch
from souron.lecture import checks
from souron.utils import files
from souron.utils.messages import UserError, _, near

CHECK = re.compile(r'^checks\.check\("(\w+)"', re.MULTILINE)
ROW = re.compile(r'^ROW = "(\w+)"$', re.MULTILINE)
HEADING = re.compile(r"^# (.+)$", re.MULTILINE)


def names() -> list[str]:
    """List the notebooks in their order.

    >>> names()[0], names()[-1]
    ('1_first_run', 'letters_to_manners')
    """
    folders = files.package_folders("lecture/notebooks/en")
    return ordered(file.stem for folder in folders for file in folder.glob("*.ipynb"))


def ordered(some: Iterable[str]) -> list[str]:
    """Sort names of notebooks by their numbers.

    >>> ordered(["10_clinic", "letters_to_manners", "9_fair_comparison"])
    ['9_fair_comparison', '10_clinic', 'letters_to_manners']
    """
    return sorted(some, key=lambda name: (len(name.split("_")[0]), name))


def find(name: str, language: str) -> Path:
    """Return the file of a notebook, ``language`` is en or ja. Raises UserError."""
    if name not in names():
        raise UserError(
            "notebook",
            _("no notebook is named {name!r}").format(name=name[:40]),
            expected=near(name[:40], names()),
            fix="souron lecture notebooks",
        )
    files_there = [folder / f"{name}.ipynb" for folder in files.package_folders(f"lecture/notebooks/{language}")]
    return next(file for file in files_there if file.is_file())


@cache
def cells(name: str, language: str) -> tuple[str, ...]:
    """Return the text of each cell of a notebook. Raises UserError."""
    notebook = json.loads(find(name, language).read_text(encoding="utf-8"))
    return tuple("".join(cell["source"]) for cell in notebook["cells"])


def title(name: str, language: str) -> str:
    """Return the heading of a notebook. Raises UserError.

    >>> title("12_masks", "en").split(".")[0]
    '12'
    """
    heading = HEADING.search(cells(name, language)[0])
    return heading[1] if heading else name


def functions(name: str) -> list[str]:
    """Return the functions that a notebook leaves to its reader. Raises UserError.

    >>> functions("11_boxes")
    ['box_overlap', 'average_precision']
    """
    return [function for cell in cells(name, "en") for function in CHECK.findall(cell)]


@cache
def by_row() -> dict[str, list[tuple[str, str]]]:
    """Return (function, notebook) of each row that has some.

    The row is read from the text of the function's file: an import of all files takes seconds.

    >>> by_row()["D2"]
    [('box_overlap', '11_boxes')]
    """
    rows: dict[str, list[tuple[str, str]]] = {}
    for notebook in names():
        for function in functions(notebook):
            for row in ROW.findall(checks.source(function)):
                rows.setdefault(row, []).append((function, notebook))
    return rows


def copy(folder: Path, language: str, chosen: Sequence[str] = ()) -> list[Path]:
    """Copy the chosen notebooks, or all, into a new folder and return them.

    Raises UserError where the folder exists, a name is unknown, or the disk cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(
            "exists",
            _("{path} is there already").format(path=folder),
            expected=_("a new folder"),
            fix="souron lecture notebooks OTHER",
            exit=5,
        )
    sources = [find(name, language) for name in dict.fromkeys(chosen or names())]
    with fetch.work_folder(folder.absolute().parent) as work:
        made = work / "notebooks"
        for source in sources:
            files.write_bytes(made / source.name, source.read_bytes())
        try:
            made.rename(folder)
        except OSError as error:
            raise files.cannot_write(folder, error) from error
    return [folder / source.name for source in sources]
