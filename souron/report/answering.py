"""Answers to warnings of the data check, which also replace the warnings on pages that are written already."""

from pathlib import Path

from souron.data.quality import warnings as data_warnings
from souron.report.page import spelled, write
from souron.utils.messages import LANGUAGES, use_language

PAGES = ("report.html", "report.*.html", "card.md")  # of a run or comparison


def answer(project: Path, data: str | Path, key: str, sentence: str) -> None:
    """Keep a person's answer to a warning, and write it into the pages of the runs on that data; "" takes it back.

    Raises UserError where a file cannot be written.
    """
    place = data_warnings.place_of(data)
    folders = [receipt.parent for receipt in project.glob("*/*/receipt.json")]
    before = {folder: _texts(folder, place, key) for folder in folders}
    data_warnings.answer(project, place, key, sentence)
    for folder, old in before.items():
        for page in [page for pattern in PAGES for page in folder.glob(pattern)] if old else []:
            text = page.read_text(encoding="utf-8")
            for was, now in zip(old, _texts(folder, place, key), strict=True):
                text = text.replace(spelled(was, page), spelled(now, page))
            write(page, text)


def _texts(folder: Path, place: str, key: str) -> list[str]:
    """Return the lines of a run about a warning in each language, or about its answer."""
    own = [one for one in data_warnings.of_run(folder) if (one.place, one.key) == (place, key)]
    lines = []
    for wish in LANGUAGES:
        with use_language(wish):
            lines += data_warnings.texts(own, folder)
    return lines
