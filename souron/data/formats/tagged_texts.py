"""Sentences whose words have tags: CoNLL columns, or JSONL (``tokens``, ``tags``).

In CoNLL files each line is a word with its tag in the last column; an empty line ends the sentence.
Tags are IOB2: ``B-PER`` begins an entity, ``I-PER`` continues it, ``O`` is outside of entities. An
``I-`` that does not continue an entity begins one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from souron.data.dataset import ListColumn
from souron.data.formats.folder import missing
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import (
    RECORDS,
    Dataset,
    Faults,
    Located,
    any_file,
    beginning,
    files_of,
    gathered,
    keys,
    made,
    read,
    records,
    value,
)
from souron.data.texts import Fault, shown, usable
from souron.kinds.codecs.limits import readable
from souron.utils.messages import _

DEFAULT = Reading()
OWN = (".conll", ".iob", ".iob2", ".bio")
COLUMNS = (*OWN, ".txt", ".tsv")
TAG = re.compile(r"O|[BI]-\S{1,60}")
TOKENS, TAGS = ("tokens", "words"), ("tags", "nertags", "ner_tags", "labels")
MOST_WORDS = 10_000  # of a sentence
OUTSIDE = "O"


def describes(path: Path) -> bool:
    return any_file(path, COLUMNS, _in_columns) or any_file(
        path, RECORDS, lambda file: bool(keys(file) & set(TOKENS) and keys(file) & set(TAGS))
    )


def _in_columns(path: Path) -> bool:
    if path.suffix.lower() in OWN:
        return True
    lines = [line.split() for line in beginning(path).splitlines()[:50] if line.strip()]
    tagged = [line for line in lines if len(line) > 1 and TAG.fullmatch(line[-1])]
    return len(tagged) > 0.9 * len(lines) > 0


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read tagged sentences. Sentences with a missing or an invalid tag are skipped and reported.
    Raises UserError if none can be used."""
    if not path.exists():
        raise missing(path)
    faults, found = Faults(), []
    for file, part in files_of(path, (*COLUMNS, *RECORDS)):
        in_records = file.suffix.lower() in RECORDS
        told = records(file, faults, part) if in_records else sentences(file, part)
        found += made(told, tagged, faults)
    return of(readable(path.name), found, faults, source=readable(path))


def of(name: str, found: Sequence[Located], faults: Faults, **known: Any) -> Dataset:
    """Build a data set of sentences; each ``thing`` is a pair of words and tags."""
    classes = classes_of(tag for one in found for tag in one.thing[1])
    number = {tag: i for i, tag in enumerate(classes)}
    tags = [torch.tensor([number[tag] for tag in one.thing[1]]) for one in found]
    words = [one._replace(thing=one.thing[0]) for one in found]
    return gathered(name, words, faults, ListColumn(tags), classes=classes, **known)


def classes_of(tags: Iterator[str]) -> tuple[str, ...]:
    """Return O, then B and I of each entity type, whether or not both occur."""
    names = sorted({tag[2:] for tag in tags if tag != OUTSIDE})
    return (OUTSIDE, *(f"{begins}-{name}" for name in names for begins in "BI"))


def sentences(path: Path, part: str = "") -> Iterator[Located]:
    """Yield words and tags of each sentence, with the number of its first line."""
    lines: list[list[str]] = []
    begins = 1
    for number, line in enumerate([*read(path).splitlines(), ""], 1):
        cells = line.split("\t") if "\t" in line else line.split()
        if line.strip() and not line.startswith("-DOCSTART-"):
            lines.append(cells)
        elif lines:
            words, tags = [cells[0] for cells in lines], [cells[-1].strip() for cells in lines]
            alone = any(len(cells) < 2 for cells in lines)
            told = {"tokens": words, "tags": [] if alone else tags}
            yield Located(f"{readable(path.name)}:{begins}", told, part)
            lines = []
        if not lines:
            begins = number + 1


def tagged(row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return words and tags as IOB2. Raises Fault."""
    words, tags = value(row, TOKENS), value(row, TAGS)
    if not isinstance(words, list) or not isinstance(tags, list) or not words:
        raise Fault("no tags", _("no words and tags"))
    if len(words) != len(tags) or len(words) > MOST_WORDS:
        raise Fault("no tags", _("{words} words and {tags} tags").format(words=len(words), tags=len(tags)))
    wrong = next((t for t in tags if not isinstance(t, str) or not TAG.fullmatch(t)), None)
    if wrong is not None:
        raise Fault("tag", _("the tag {tag} is not O, B-NAME or I-NAME").format(tag=shown(wrong)))
    return tuple(usable(word) for word in words), _begun(tags)


def _begun(tags: Sequence[str]) -> tuple[str, ...]:
    """Replace I by B at the beginning of an entity."""
    found: list[str] = []
    for tag in tags:
        continues = found and found[-1][2:] == tag[2:] and found[-1] != OUTSIDE
        found.append(f"B-{tag[2:]}" if tag.startswith("I-") and not continues else tag)
    return tuple(found)
