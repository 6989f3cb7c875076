"""Paragraphs of LibreOffice's help in English, each with its Japanese translation.

The Document Foundation: LibreOffice Help 25.2. https://help.libreoffice.org/

A paragraph has the same id in both languages, so that the pairs are exact. Untranslated paragraphs
are left out, and so are repeated ones in either language. All pairs of a page are in one part.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from souron.data.dataset import Dataset, ListColumn
from souron.data.load import found
from souron.data.readers.html_text import inline
from souron.data.texts import bare, language
from souron.utils.messages import _

ja = "LibreOffice ヘルプの英語の段落と、その日本語訳の対"
task = "translate"
licence = "MPL-2.0"
source = "https://help.libreoffice.org/"
cases = 16_000
needs = ("en-US/text", "ja/text")
debian = (("libreoffice-help-en-us", "libreoffice-help-ja"), "usr/share/libreoffice/help")
keeps = (".html",)
only_needed = True
megabytes = 5

PARAGRAPH = re.compile(r'(?s)<(p|h[1-6])\s+id="((?:par|hd)_id\w{1,30})"[^>]*>(.*?)</\1>')
SHORTEST, LONGEST = 3, 400  # characters
TEST, VAL = 0.06, 0.03  # of the pages


def load(side: int | None = None) -> Dataset:
    rows = list(pairs(found("manual_pairs")))
    return Dataset(
        name="manual_pairs",
        input=ListColumn([english for _page, _number, english, _japanese in rows]),
        target=ListColumn([japanese for *_rest, japanese in rows]),
        classes=(),
        file=[f"{page}#{number}" for page, number, *_texts in rows],
        group=[page for page, *_rest in rows],
        grouped=_("pages of the help"),
        part=[part_of(page) for page, *_rest in rows],
        augment=(),
        source=source,
        licence=licence,
        columns={"language": ["en"] * len(rows), "target language": ["ja"] * len(rows)},
    )


def pairs(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield page, id of the paragraph, English text, Japanese text."""
    english, japanese = (folder / need for need in needs)
    known: set[str] = set()
    for file in sorted(english.rglob("*.html")):
        page = file.relative_to(english).as_posix()
        other = japanese / page
        translated = paragraphs(other) if other.is_file() else {}
        for number, text in paragraphs(file).items():
            told = translated.get(number, "")
            marks = {bare(text), bare(told)}
            right = language(text) == "en" and language(told) == "ja"
            short = all(SHORTEST <= len(each) <= LONGEST for each in (text, told))
            if right and short and not marks & known:
                known |= marks
                yield page.removesuffix(".html"), number, text, told


def paragraphs(file: Path) -> dict[str, str]:
    """Map the ids of a page's paragraphs to their texts."""
    page = file.read_text("utf-8", "replace")
    return {found[2]: inline(found[3]) for found in PARAGRAPH.finditer(page)}


def part_of(page: str) -> str:
    """Assign a page to a part, by its name alone."""
    place = place_of(page)
    return "test" if place < TEST else "val" if place < TEST + VAL else "train"


def place_of(page: str) -> float:
    """Hash a page's name to a number in 0..1, uniformly distributed."""
    return int.from_bytes(blake2b(page.encode(), digest_size=4).digest(), "big") / 2**32
