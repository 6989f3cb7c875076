"""Word documents: headings, paragraphs and tables in fonts for both languages."""

import io
from collections.abc import Sequence
from typing import Any

MOST_ROWS = 500  # of a table
JAPANESE = "Yu Gothic"  # in Word, which replaces it by another Japanese font where it is missing
STYLES = ("Normal", "Title", "Heading 1", "Heading 2", "List Bullet")


def new(title: str) -> Any:
    """Return a document with its title, without an author."""
    from docx import Document
    from docx.oxml.ns import qn
    from docx.shared import Pt

    document = Document()
    for style in STYLES:
        font = document.styles[style].element.get_or_add_rPr().get_or_add_rFonts()
        for place in ("w:asciiTheme", "w:eastAsiaTheme", "w:hAnsiTheme", "w:cstheme"):
            font.attrib.pop(qn(place), None)
        for place, name in (("w:ascii", "Calibri"), ("w:hAnsi", "Calibri"), ("w:eastAsia", JAPANESE)):
            font.set(qn(place), name)
    document.styles["Normal"].font.size = Pt(10.5)
    document.core_properties.title = plain(title)
    document.core_properties.author = document.core_properties.comments = ""
    document.add_heading(plain(title), 0)
    return document


def heading(document: Any, text: str) -> None:
    document.add_heading(plain(text), 1)


def paragraph(document: Any, text: str, bold: bool = False) -> None:
    document.add_paragraph().add_run(plain(text)).bold = bold


def bullet(document: Any, text: str) -> None:
    document.add_paragraph(plain(text), style="List Bullet")


def table(document: Any, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Add a table of at most ``MOST_ROWS`` rows."""
    made = document.add_table(rows=1, cols=len(heads), style="Light Grid Accent 1")
    for cell, head in zip(made.rows[0].cells, heads, strict=True):
        cell.text = plain(head)
    for row in rows[:MOST_ROWS]:
        for cell, value in zip(made.add_row().cells, row, strict=True):
            cell.text = plain(value)


def as_bytes(document: Any) -> bytes:
    """Return the document as a ``.docx`` file."""
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def plain(value: Any) -> str:
    """Return a text without the control characters that XML forbids.

    >>> plain("a\\x00b")
    'ab'
    """
    kept = "".join(letter for letter in str(value) if letter >= " " or letter in "\t\n")
    return kept.encode("utf-8", "replace").decode()
