"""Souron's messages and their Japanese: ``make locale`` after a message has changed.

It collects the messages, keeps the translations that are still wanted, drops the others, and
compiles. What it names at the end waits for a translation in ``souron.po``, or in the catalogue of a
distribution, such as ``packages/clinic/souron/locale/ja/LC_MESSAGES/clinic.po``, which holds what the
core does not say; translate, and run it again. Python is read with ``ast`` and not with Babel's own
extractor, which sees what stands within an f-string from Python 3.12 on only.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import jinja2
import roots
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = roots.ROOT
CATALOGS = {  # the folder ``souron/`` of the core and of each distribution -> its catalogue
    house: house / "locale" / "ja" / "LC_MESSAGES" / f"{house.parent.name if at else 'souron'}.po"
    for at, house in enumerate(roots.houses())
}
MARKS = ("_", "N_")


class Messages(Catalog):
    """A catalogue without dates and versions, so that it changes with its messages only."""

    mime_headers = [
        ("Project-Id-Version", "souron"),
        ("Language", "ja"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", "8bit"),
    ]


def in_python(text: str) -> Iterator[str]:
    """The literal texts within ``_()`` and ``N_()``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS:
            message = node.args[0]
            if isinstance(message, ast.Constant):
                yield message.value


def in_template(text: str) -> Iterator[str]:
    for node in jinja2.Environment().parse(text).find_all(jinja2.nodes.Call):
        if isinstance(node.node, jinja2.nodes.Name) and node.node.name in MARKS:
            yield node.args[0].as_const()


def extracted() -> dict[Path, set[str]]:
    """Return the messages of each ``souron/``, of its reports and of the documentation's generated pages.

    Those that the core has, too, are not repeated.
    """
    found: dict[Path, set[str]] = {}
    for house in CATALOGS:
        own: set[str] = set()
        for source in [*house.rglob("*.py"), *([] if found else (ROOT / "docs").glob("*.py"))]:
            own.update(in_python(source.read_text(encoding="utf-8")))
        for template in (house / "report" / "templates").glob("*.*"):
            own.update(in_template(template.read_text(encoding="utf-8")))
        found[house] = own.difference(*found.values())
    return found


def translated(house: Path) -> Catalog:
    with CATALOGS[house].open("rb") as file:
        return read_po(file, locale="ja")


def everything() -> list[Message]:
    """Return the messages of all catalogues, with their translations."""
    return [message for house in CATALOGS for message in translated(house) if message.id]


def update() -> list[str]:
    """Write every catalogue anew; the messages that have no translation yet.

    A message that moves to another catalogue keeps its translation.
    """
    there = [translated(house) for house in CATALOGS if CATALOGS[house].is_file()]
    known = {message.id: message.string for catalogue in there for message in catalogue if not message.fuzzy}
    return [message for house, wanted in extracted().items() for message in write(house, wanted, known)]


def write(house: Path, wanted: set[str], known: Mapping[str, str]) -> list[str]:
    """Write the catalogue of one ``souron/``; its messages that have no translation yet."""
    new = Messages(
        locale="ja",
        fuzzy=False,
        header_comment="# Souron's messages in Japanese. After a message has changed: make locale",
    )
    for message in sorted(wanted):
        new.add(message, known.get(message, ""))
    CATALOGS[house].parent.mkdir(parents=True, exist_ok=True)
    with CATALOGS[house].open("wb") as file:
        write_po(file, new, width=0, no_location=True, sort_output=True)
    with CATALOGS[house].with_suffix(".mo").open("wb") as file:
        write_mo(file, new)
    return [message.id for message in new if message.id and not message.string]


if __name__ == "__main__":
    waiting = update()
    for message in waiting:
        print(repr(message))
    sys.exit(bool(waiting))
