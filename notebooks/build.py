"""Write the lessons as notebooks in both languages: ``make notebooks``.

    source/NAME.py (jupytext, py:percent) -> NAME.ipynb without outputs, in ``en`` and ``ja`` of ``WRITTEN``

They are part of souron-teach, so that whoever installed it has them. A cell with ``lang="en"`` or
``lang="ja"`` goes into that language's notebook alone; code goes into both. A cell ``# %% first_cell``
is replaced by those of ``source/first_cell.py``.
"""

from pathlib import Path
from typing import Any

import jupytext
import nbformat

from souron.lecture.notebooks import ordered

SOURCES = Path(__file__).parent / "source"
WRITTEN = Path(__file__).parent.parent / "packages" / "teach" / "souron" / "lecture" / "notebooks"
LANGUAGES = ("en", "ja")
FIRST = "first_cell"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> None:
    for name in names():
        for language in LANGUAGES:
            file = WRITTEN / language / f"{name}.ipynb"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text(name, language), encoding="utf-8")
            print(file)


def names() -> list[str]:
    """The lessons, in their order."""
    return ordered(file.stem for file in SOURCES.glob("*.py") if file.stem != FIRST)


def text(name: str, language: str) -> str:
    """The notebook's file; every time the same."""
    return nbformat.writes(notebook(name, language)) + "\n"


def notebook(name: str, language: str) -> Any:
    """One lesson in one language."""
    cells = []
    for cell in _cells(name):
        if cell.metadata.pop("lang", language) != language:
            continue
        if cell.cell_type == "markdown":
            cell.source = flowing(cell.source)
        else:
            cell.source = cell.source.replace('LANGUAGE = "en"', f'LANGUAGE = "{language}"')
        cell["id"] = f"cell-{len(cells)}"
        cells.append(cell)
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.validate(made)
    return made


def _cells(name: str) -> list[Any]:
    cells = []
    for cell in jupytext.read(SOURCES / f"{name}.py", fmt="py:percent").cells:
        if cell.metadata.get("title") == FIRST:
            cells += _cells(FIRST)
        else:
            cells.append(cell)
    return cells


def flowing(words: str) -> str:
    """Each paragraph on one line: what was broken for the editor's sake is joined, Japanese without
    a space."""
    out: list[str] = []
    for line in words.split("\n"):
        before = out[-1] if out else ""
        own = line.startswith(("#", "- ", "```")) or not line
        if own or not before or before.startswith("#"):
            out.append(line)
        else:
            wide = ord(before[-1]) > 0x2E7F or ord(line.lstrip()[0]) > 0x2E7F
            out[-1] = before + ("" if wide else " ") + line.lstrip()
    return "\n".join(out)


if __name__ == "__main__":
    main()
