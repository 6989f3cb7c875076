"""Medical terms, Japanese to English and back, with four options to choose from (EDICT).

Breen: Building an Electronic Japanese-English Dictionary (1995). https://www.edrdg.org/

Entries that the dictionary marks as medicine, anatomy, dentistry or pharmacy; the first English
word is the answer. The wrong options are from the same field. The direction in which a term is
asked depends on the seed. The questions measure vocabulary, not clinical judgement.
"""

import random
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from souron.data.dataset import Dataset
from souron.data.language import exam_papers
from souron.data.language.exam_papers import Entry
from souron.data.load import found

ja = "医学用語の和英・英和の四択問題 (EDICT)。シードごとに新しい問題用紙になる"
task = "choose"
licence = "CC-BY-SA-3.0"
source = "https://www.edrdg.org/"
cases = 2_953
needs = ("edict.utf8",)
debian = ("edict", "usr/share/edict")
keeps = ("edict.utf8",)
megabytes = 10

FIELDS = {"med": "medicine", "anat": "anatomy", "dent": "dentistry", "pharm": "pharmacy"}
MARK = re.compile(r"\((med|anat|dent|pharm)\)")
LINE = re.compile(r"(\S+) (?:\[([^\]]*)\] )?/(.*)/$")
TAGS = re.compile(r"(?:\([^()]*\)\s*)+")
SEARCH_ONLY = ("(sK)", "(iK)", "(oK)", "(ik)")  # rare spellings
MOST_BYTES = 100_000_000


def load(side: int | None = None) -> Dataset:
    return paper(0)


def paper(seed: int) -> Dataset:
    """Make a paper with every term once; options and directions depend on the seed."""
    entries = [
        entry
        for file, word, meanings, field in _terms(found("terms") / needs[0])
        for entry in [_asked(file, word, meanings, field, seed)]
    ]
    return exam_papers.paper("terms", entries, seed, source, licence)


def _asked(file: str, word: str, meanings: tuple[str, ...], field: str, seed: int) -> Entry:
    english = random.Random(f"{seed}/way/{file}").random() < 0.5
    text, answer, also = (
        (f"{word}を英語で", meanings[0], meanings[1:]) if english else (f"{meanings[0]} in Japanese", word, meanings)
    )
    language = "ja" if english else "en"
    return Entry(file, text, answer, f"{field}/{language}", field, frozenset(also), meanings[0], language)


@lru_cache(maxsize=2)
def _terms(path: Path) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Return (name, Japanese, English words, field) of each marked entry, each spelling once."""
    known: set[str] = set()
    terms = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            for word, meanings, field in _read(line):
                if word not in known:
                    known.add(word)
                    terms.append((f"{field}/{word}", word, meanings, field))
    return terms


def _read(line: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield the content of an EDICT line if its first sense belongs to one of the fields."""
    parts = LINE.match(line.strip()) if MARK.search(line[:200]) else None
    if parts is None or any(tag in parts[3] for tag in SEARCH_ONLY):
        return
    senses = parts[3].split("/")
    tags = TAGS.match(senses[0])
    first = MARK.search(tags[0]) if tags else None
    meanings = filter(None, (_untagged(sense) for sense in senses))
    told = tuple(dict.fromkeys(meanings))
    if first and told:
        yield parts[1], told, FIELDS[first[1]]


def _untagged(sense: str) -> str:
    """Remove the tags of a sense: ``(n) (med) caries`` -> ``caries``."""
    tags = TAGS.match(sense)
    return (sense[tags.end() :] if tags else sense).strip()
