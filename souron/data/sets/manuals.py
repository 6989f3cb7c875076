"""Manuals of Debian and LibreOffice in English and Japanese, cut into pieces to write on.

Aoki: Debian Reference (2013-2025). https://www.debian.org/doc/manuals/debian-reference/
Hertzog, Mas: The Debian Administrator's Handbook (2022). https://debian-handbook.info/
The Debian project: Developer's Reference. https://www.debian.org/doc/manuals/developers-reference/
The Document Foundation: LibreOffice Help 25.2. https://help.libreoffice.org/

Pieces of about 6 000 characters, 3 000 in Japanese, each of one chapter, or of consecutive help
pages of one folder. Repeated paragraphs are left out, and so are untranslated ones of the Japanese
help. Chapters and folders of the test and validation pieces are excluded from training in both
languages; from these pieces, paragraphs that begin or end like a training paragraph are removed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from souron.data.dataset import Dataset, ListColumn
from souron.data.load import found
from souron.data.readers.html_text import paragraphs
from souron.data.texts import bare, language
from souron.utils.messages import _

ja = "Debian と LibreOffice のマニュアル。日本語と英語、約 6 000 文字ずつの文章"
task = "complete"
licence = "GPL-2.0-or-later, CC-BY-SA-3.0, MPL-2.0"
source = "https://www.debian.org/doc/"
cases = 1_600
needs = (
    "doc/debian-reference-common/docs",
    "doc/debian-handbook/html/en-US",
    "doc/debian-handbook/html/ja-JP",
    "developers-reference",
    "libreoffice/help/en-US/text",
    "libreoffice/help/ja/text",
)
debian = (
    (
        "debian-reference-en",
        "debian-reference-ja",
        "debian-handbook",
        "developers-reference",
        "developers-reference-ja",
        "libreoffice-help-en-us",
        "libreoffice-help-ja",
    ),
    "usr/share",
)
only_needed = True
keeps = (".html",)
megabytes = 46

TEST, VAL = 60, 24  # pieces of each language, approximate
SMALLEST, LARGEST = 0.5, 16  # pieces of a chapter that may be in the test part
UNEVEN = 0.1  # of the wanted pieces by which the languages may differ
PIECE = {"en": 6_000, "ja": 3_000}  # characters
ENDS = {"en": 40, "ja": 20}  # characters at an end of a paragraph that make it a copy of another
SHORT = 25  # characters of a paragraph that may be repeated
TOLD = 8  # letters that a paragraph needs

Page = tuple[str, str, list[str]]  # its chapter or folder, its language, its paragraphs
Chapters = dict[tuple[str, str], list[list[str]]]  # chapter, language -> its pages' paragraphs

CONTENTS = re.compile(r'(?is)<(div|ul)[^>]*class="(?:toc|navheader|navfooter|docnav[^"]*|list-of[^"]*)".*?</\1>')
CHAPTER = re.compile(r"(?is)<title[^>]*>[^<\d]*(\d+)\s*[.章]\s*(\d*)")


def load(side: int | None = None) -> Dataset:
    every = pages(found("manuals"))
    return pieces("manuals", every, grouped=_("the manuals' chapters and folders"), source=source, licence=licence)


def pieces(name: str, every: Iterable[Page], *, grouped: str, source: str, licence: str) -> Dataset:
    """Cut pages into pieces of texts, with test and validation pieces of other chapters."""
    chapters: Chapters = defaultdict(list)
    known: set[str] = set()
    for chapter, spoken, told in every:
        fresh = [text for text in told if _new(text, spoken, known)]
        if len(fresh) > 1:  # more than its heading
            chapters[chapter, spoken].append(fresh)
    sizes = {key: sum(len(text) for told in pages for text in told) / PIECE[key[1]] for key, pages in chapters.items()}
    part = parts(sizes)
    _without_copies(chapters, part)
    cut = {key: _joined(told, PIECE[key[1]]) for key, told in sorted(chapters.items())}
    rows = [
        (chapter, spoken, number, text)
        for (chapter, spoken), texts in cut.items()
        for number, text in enumerate(texts, 1)
    ]
    return Dataset(
        name=name,
        input=ListColumn([text for *_key, text in rows]),
        target=None,
        classes=(),
        file=[f"{spoken}/{chapter}#{number}" for chapter, spoken, number, _text in rows],
        group=[chapter for chapter, *_rest in rows],
        part=[part.get(chapter, "train") for chapter, *_rest in rows],
        augment=(),
        columns={
            "language": [spoken for _chapter, spoken, *_rest in rows],
            "manual": [chapter.partition("/")[0] for chapter, *_rest in rows],
        },
        grouped=grouped,
        source=source,
        licence=licence,
    )


def pages(folder: Path) -> Iterator[Page]:
    """Yield every page of all manuals, grouped by chapter or folder."""
    for file in sorted((folder / needs[0]).glob("*.html")):
        if re.fullmatch(r"(ch\d+|ap.)\.(en|ja)\.html", file.name):
            chapter, spoken, _end = file.name.split(".")
            yield f"reference/{chapter}", spoken, _read(file)
    for spoken, place in (("en", needs[1]), ("ja", needs[2])):
        there = (folder / place).glob("*.html")
        numbers = {file: CHAPTER.search(_text(file)[:3000]) for file in there}
        placed = [(int(n[1]), int(n[2] or 0), file) for file, n in numbers.items() if n]
        for number, _section, file in sorted(placed):
            yield f"handbook/{number:02d}", spoken, _read(file)
    for spoken, inside in (("en", ""), ("ja", "ja")):
        for file in sorted((folder / needs[3] / inside).glob("*.html")):
            if file.name not in ("index.html", "search.html", "genindex.html"):
                yield f"developers/{file.stem}", spoken, _read(file, 'role="main"')
    yield from help_pages({"en": folder / needs[4], "ja": folder / needs[5]})


def help_pages(folders: dict[str, Path]) -> Iterator[Page]:
    """Yield every page of LibreOffice's help by folder. ``folders``: language -> its pages."""
    for spoken, base in folders.items():
        for file in sorted(base.rglob("*.html")):
            inside = file.parent.relative_to(base).as_posix()
            yield f"help/{inside}", spoken, _read(file, 'id="DisplayArea"')


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace")


def _read(file: Path, begins: str = "<body") -> list[str]:
    page = _text(file)
    page = page[max(0, page.find(begins)) :]
    return paragraphs(CONTENTS.sub(" ", page[page.find(">") + 1 :]))


def _new(text: str, spoken: str, known: set[str]) -> bool:
    """Return whether a paragraph is new prose in that language; long ones are added to
    ``known``."""
    mark = bare(text)
    if sum(map(str.isalpha, text)) < TOLD or mark in known:
        return False
    if len(mark) > SHORT:
        known.add(mark)
        return language(text) == spoken
    return True


def _without_copies(chapters: Chapters, part: dict[str, str]) -> None:
    """Remove paragraphs from test and validation that begin or end like a training paragraph."""

    def ends(text: str, spoken: str) -> set[str]:
        letters = "".join(filter(str.isalpha, bare(text)))
        count = ENDS[spoken]
        return {f"{letters[:count]}…", f"…{letters[-count:]}"} if len(letters) >= count else set()

    learnt = {
        (spoken, end)
        for (chapter, spoken), told in chapters.items()
        if chapter not in part
        for page in told
        for text in page
        for end in ends(text, spoken)
    }
    for (chapter, spoken), told in chapters.items():
        if chapter in part:
            told[:] = [
                [t for t in page if not any((spoken, end) in learnt for end in ends(t, spoken))] for page in told
            ]


def _joined(pages: list[list[str]], size: int) -> list[str]:
    """Join pages into pieces, cutting the longer ones between paragraphs."""
    pieces = [""]
    for page in pages:
        for text in page:
            if len(pieces[-1]) + len(text) > size and len(pieces[-1]) > size // 2:
                pieces.append("")
            pieces[-1] += f"{text}\n"
        pieces[-1] += "\n"
    if len(pieces) > 1 and len(pieces[-1]) < size // 4:
        pieces[-2:] = ["".join(pieces[-2:])]
    return [piece.strip() + "\n" for piece in pieces if piece.strip()]


def parts(counts: dict[tuple[str, str], float]) -> dict[str, str]:
    """Assign chapters to "test" or "val", in an order that depends on their names alone, until each
    language has enough pieces. ``counts``: (chapter, language) -> pieces."""
    names = sorted({name for name, _spoken in counts}, key=_order)
    part: dict[str, str] = {}
    for wanted, most in (("test", TEST), ("val", VAL)):
        have = dict.fromkeys(PIECE, 0.0)
        for name in [*names, *names]:
            sizes = {spoken: counts.get((name, spoken), 0.0) for spoken in PIECE}
            after = {spoken: have[spoken] + size for spoken, size in sizes.items()}
            even = max(after.values()) - min(after.values()) <= UNEVEN * most
            right = SMALLEST < min(sizes.values()) <= LARGEST and max(after.values()) <= most
            if name not in part and right and even:
                part[name], have = wanted, after
    return part


def _order(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()
