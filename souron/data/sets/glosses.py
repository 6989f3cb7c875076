"""Which medical term does a definition mean? Four options; or plain texts (WordNet).

Miller: WordNet: A Lexical Database for English (1995). https://doi.org/10.1145/219717.219748

As questions: the definitions of diseases, symptoms, parts of the body, medicines, procedures and
injuries. The wrong options are terms with the same parent; a definition that contains its term is
left out. As texts: all 117 659 definitions, in pieces of about 6 000 characters from one
lexicographer file each. Language models were trained on WordNet: only the form of a paper is new.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from souron.data.dataset import Dataset, ListColumn
from souron.data.language import exam_papers
from souron.data.language.exam_papers import Entry, spelt
from souron.data.load import found

ja = "医学用語の定義に合う語を選ぶ英語の四択問題。または定義文の平文 (WordNet)"
task = "choose"
licence = "WordNet"
source = "https://doi.org/10.1145/219717.219748"
cases = 2_377
needs = ("data.noun", "data.verb", "data.adj", "data.adv")
debian = ("wordnet-base", "usr/share/wordnet")
keeps = ("data.noun", "data.verb", "data.adj", "data.adv")
megabytes = 7
targets = ("questions", "texts")

ROOTS = {  # of the subjects, by their offset in the file of WordNet 3.0
    "14070360": "disease",
    "14299637": "symptom",
    "14285662": "injury",
    "01024392": "procedure",
    "03740161": "medicine",
    "05220461": "part of the body",
}
MOST_LETTERS = 6_000  # characters of a piece of text
LETTER = re.compile(r"\([a-z]+\)$")  # syntactic marker after an adjective


class Synset(NamedTuple):
    """A WordNet synset: the words of one meaning."""

    place: str
    file: str  # number of the lexicographer file
    words: tuple[str, ...]
    parents: tuple[str, ...]
    children: tuple[str, ...]
    gloss: str


def load(side: int | None = None, target: str = "questions") -> Dataset:
    return texts() if target == "texts" else paper(0)


def paper(seed: int) -> Dataset:
    """Make a paper with each definition once, and other options for each seed."""
    return exam_papers.paper("glosses", _entries(found("glosses")), seed, source, licence)


def texts() -> Dataset:
    """Return all definitions as ``word, word: definition``, line by line, in pieces."""
    folder = found("glosses")
    pieces: list[str] = []
    names: list[str] = []
    for need in needs:
        lines: list[str] = []
        size, before = 0, ""
        for synset in [*_synsets(folder / need), None]:
            line = f"{', '.join(synset.words)}: {synset.gloss}" if synset else ""
            full = size + len(line) > MOST_LETTERS
            if lines and (synset is None or full or synset.file != before):
                pieces.append("\n".join(lines))
                names.append(f"{need}/{len(pieces):05d}")
                lines, size = [], 0
            lines.append(line)
            size += len(line) + 1
            before = synset.file if synset else ""
    return Dataset(
        "glosses",
        ListColumn(pieces),
        None,
        (),
        names,
        augment=(),
        source=source,
        licence=licence,
        columns={"language": ["en"] * len(pieces)},
    )


@lru_cache(maxsize=2)
def _entries(folder: Path) -> list[Entry]:
    """Return the definitions that ask for a term."""
    synsets = {synset.place: synset for synset in _synsets(folder / needs[0])}
    entries, seen = [], set()
    for root, subject in ROOTS.items():
        for place, parent in _below(synsets, root):
            synset = synsets[place]
            definition = synset.gloss.partition('; "')[0].strip()
            holds = any(spelt(word) in spelt(definition) for word in synset.words)
            if place in seen or holds or not definition:
                continue
            seen.add(place)
            word, *also = synset.words
            file = f"{subject}/{place}-{word}"
            entries.append(Entry(file, definition, word, parent, subject, frozenset(also), language="en"))
    return entries


def _below(synsets: dict[str, Synset], root: str) -> Iterator[tuple[str, str]]:
    """Yield all hyponyms of ``root``, each with the parent through which it was first reached."""
    waiting, seen = [root], {root}
    while waiting:
        parent = waiting.pop(0)
        for child in synsets[parent].children if parent in synsets else ():
            if child in synsets and child not in seen:
                seen.add(child)
                waiting.append(child)
                yield child, parent


def _synsets(path: Path) -> Iterator[Synset]:
    """Yield the synsets of a data file, see wndb(5WN)."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("  "):  # the licence
                continue
            known, _bar, gloss = line.partition(" | ")
            place, file, _kind, count, *rest = known.split(" ")
            words = 2 * int(count, 16)
            pointers = rest[words + 1 :]
            told = [pointers[i : i + 2] for i in range(0, len(pointers) - 3, 4)]
            yield Synset(
                place,
                file,
                tuple(LETTER.sub("", word.replace("_", " ")) for word in rest[:words:2]),
                tuple(other for sign, other in told if sign in ("@", "@i")),
                tuple(other for sign, other in told if sign in ("~", "~i")),
                gloss.strip(),
            )
