"""Questions to pages of help, asked in Japanese and English; some have no answer there.

The help has the same paragraphs in both languages, each with the same id. A text consists of the
English paragraphs of many pages, about 50 000 characters; a Japanese question is the translation of
one of them, whose English original should be found. English questions are the titles of pages, any
paragraph of which is correct. A third of the questions are about pages that are not in the text.
Pages are distributed with a seed: no page of a test text is in a training text.

Paragraphs and titles are not questions as people ask them: what is measured is cross-lingual
retrieval of meaning, and detection of unanswerable questions.
"""

import html
import random
import re
from pathlib import Path

from souron.data.dataset import Dataset, ListColumn
from souron.data.language.retrieval import Search, Shelf, places
from souron.data.load import found
from souron.data.sets import manual_pairs
from souron.utils.messages import _

ja = "LibreOffice ヘルプへの日本語と英語の質問。答えが本文にないものも含む"
task = "retrieve"
targets = ("passages",)
licence = "MPL-2.0"
source = "https://packages.debian.org/source/sid/libreoffice"
cases = 1_430
needs = ("en-US/text", "ja/text")
debian = (("libreoffice-help-en-us", "libreoffice-help-ja"), "usr/share/libreoffice/help")
keeps = (".html",)
only_needed = True
megabytes = 5

SEED = 0
LETTERS = 50_000  # characters of a text
TEXTS = {"train": 4, "val": 2, "test": 6}
QUESTIONS = {"ja": 50, "en": 30}  # per text, with their answer in it
ABSENT = {"ja": 25, "en": 15}  # per text, without an answer in it
FEWEST = 40  # characters of an English paragraph
KANA = re.compile(r"[\u3041-\u30ff]")
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
Pair = tuple[str, str, str, str, str]  # page, id, English, Japanese, the page's English title


def load(side: int | None = None, target: str = "passages") -> Dataset:
    every = pairs(found("help_questions"))
    pages = sorted({page for page, *_rest in every})
    rng = random.Random(SEED)
    rng.shuffle(pages)
    by_page: dict[str, list[Pair]] = {}
    for pair in every:
        by_page.setdefault(pair[0], []).append(pair)
    count = sum(TEXTS.values())
    dealt = [[pair for page in pages[k::count] for pair in by_page[page]] for k in range(count)]
    parts = [part for part, texts in TEXTS.items() for _text in range(texts)]
    rows = [
        (*row, part, f"text {number}")
        for number, part in enumerate(parts)
        for row in _asked(
            dealt[number], [d for d, p in zip(dealt, parts, strict=True) if p == part and d is not dealt[number]], rng
        )
    ]
    return Dataset(
        name="help_questions",
        input=ListColumn([row[1] for row in rows]),
        target=ListColumn([row[2] for row in rows]),
        classes=(),
        file=[f"{row[5]}/{row[3]}/{row[0]}" for row in rows],
        group=[f"{row[5]}/{row[0].partition('#')[0]}" for row in rows],
        part=[row[4] for row in rows],
        augment=(),
        source=source,
        licence=licence,
        grouped=_("pages of the help"),
        columns={"language": [row[3] for row in rows]},
    )


def _asked(pairs: list[Pair], others: list[list[Pair]], rng: random.Random) -> list[tuple]:
    """Return (case, search, target, language) for one text, including unanswerable questions from
    other texts of the same part."""
    inside: list[Pair] = []
    letters = 0
    for pair in pairs:
        if letters < LETTERS:
            inside.append(pair)
            letters += len(pair[2])
    kept = {pair[0] for pair in inside}
    shelf = Shelf([english for _page, _id, english, *_rest in inside])
    elsewhere = [pair for other in others for pair in other if pair[0] not in kept]
    rows = []
    for k in rng.sample(range(len(inside)), min(QUESTIONS["ja"], len(inside))):
        page, id, _english, japanese, _title = inside[k]
        rows.append((f"{page}#{id}", Search(japanese, shelf.text), places(shelf.spans[k]), "ja"))
    for page, id, _english, japanese, _title in rng.sample(elsewhere, min(ABSENT["ja"], len(elsewhere))):
        rows.append((f"{page}#{id}", Search(japanese, shelf.text), places(), "ja"))
    for said, count, place in ((inside, QUESTIONS["en"], True), (elsewhere, ABSENT["en"], False)):
        titles = _titles(said)
        for title in rng.sample(sorted(titles), min(count, len(titles))):
            own = [shelf.spans[k] for k, pair in enumerate(inside) if pair[0] == titles[title]]
            rows.append((titles[title], Search(title, shelf.text), places(*own) if place else places(), "en"))
    return rows


def _titles(pairs: list[Pair]) -> dict[str, str]:
    """Map unique titles of two words or more to their pages."""
    found: dict[str, list[str]] = {}
    for page, title in dict.fromkeys((pair[0], pair[4]) for pair in pairs):
        found.setdefault(title, []).append(page)
    return {title: pages[0] for title, pages in found.items() if len(pages) == 1 and " " in title}


def pairs(folder: Path) -> list[Pair]:
    """Return the longer paragraphs that the pages have in both languages, each text once."""
    titles: dict[str, str] = {}
    made: list[Pair] = []
    for page, id, english, japanese in manual_pairs.pairs(folder):
        if page not in titles:
            titles[page] = _title(folder / needs[0] / f"{page}.html")
        if len(english) >= FEWEST and KANA.search(japanese):
            made.append((page, id, english, japanese, titles[page]))
    return made


def _title(file: Path) -> str:
    found = TITLE.search(file.read_text("utf-8", "replace"))
    return " ".join(html.unescape(found[1]).split()) if found else ""
