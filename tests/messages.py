"""Souron's messages and their Japanese: ``make locale`` after a message has changed.

It collects the messages, keeps the translations that are still wanted, drops the others, and
compiles. What it names at the end waits for a translation in ``souron.po``; translate, and run it
again. Python is read with ``ast`` and not with Babel's own extractor, which sees what stands within
an f-string from Python 3.12 on only.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
SOURCES = [*(ROOT / "souron").rglob("*.py"), *(ROOT / "docs").glob("*.py")]
TEMPLATES = ROOT / "souron" / "report" / "templates"
TRANSLATED = ROOT / "souron" / "locale" / "ja" / "LC_MESSAGES" / "souron.po"
COMPILED = TRANSLATED.with_suffix(".mo")
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


def extracted() -> set[str]:
    """Every message of souron, of its reports and of its documentation's generated pages."""
    found: set[str] = set()
    for source in SOURCES:
        found.update(in_python(source.read_text(encoding="utf-8")))
    for template in TEMPLATES.glob("*.*"):
        found.update(in_template(template.read_text(encoding="utf-8")))
    return found


def translated() -> Catalog:
    with TRANSLATED.open("rb") as file:
        return read_po(file, locale="ja")


def update() -> list[str]:
    """Write ``souron.po`` and ``souron.mo`` anew; the messages that have no translation yet."""
    old = translated()
    new = Messages(
        locale="ja",
        fuzzy=False,
        header_comment="# Souron's messages in Japanese. After a message has changed: make locale",
    )
    for message in sorted(extracted()):
        before = old.get(message)
        new.add(message, before.string if before and not before.fuzzy else "")
    with TRANSLATED.open("wb") as file:
        write_po(file, new, width=0, no_location=True, sort_output=True)
    with COMPILED.open("wb") as file:
        write_mo(file, new)
    return [message.id for message in new if message.id and not message.string]


if __name__ == "__main__":
    waiting = update()
    for message in waiting:
        print(repr(message))
    sys.exit(bool(waiting))
