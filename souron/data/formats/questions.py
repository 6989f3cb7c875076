"""Multiple-choice questions: CSV, TSV or JSONL with ``question``, the options, and ``answer``.

Options are a list (``options``, ``choices``), an object (``{"A": ...}``, as in MedQA), or columns
``A`` to ``H``, ``option_a``, ``opa`` (as in MedMCQA). The answer is a letter, a number or the
option's text; ``answer_idx`` and ``cop`` are recognised, too. A CSV without a header is read like
MMLU's: question, A, B, C, D, answer.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from souron.data.formats.folder import missing
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import (
    RECORDS,
    TABLES,
    Dataset,
    Faults,
    Located,
    any_file,
    columns,
    files_of,
    gathered,
    keys,
    made,
    name_of,
    part_of,
    read,
    rows,
    value,
)
from souron.data.texts import Fault, Question, bare, shown, usable
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
LETTERS = "abcdefgh"
QUESTION = ("question", "stem", "sent1", "問題", "設問", "質問")
OPTIONS = ("options", "choices", "選択肢")
EXACT = ("answeridx", "cop")  # letter or number, never the text
ANSWER = (*EXACT, "answer", "key", "label", "correct", "correctanswer", "正解", "解答", "答え")
SUBJECT = ("subject", "subjectname", "topic", "category", "metainfo", "科目", "分野")
LONGEST = 100  # characters of a subject
FEWER = 5  # ratio of keys that indicate counting from 0 to those from 1, or vice versa


class Keyed(NamedTuple):
    """A question and its key: the option's index, or a number that counts from 0 or from 1."""

    question: Question
    key: int
    counted: bool


def describes(path: Path) -> bool:
    return any_file(path, (*RECORDS, *TABLES), _asks)


def _asks(path: Path) -> bool:
    names = {*map(name_of, columns(path)), *map(name_of, keys(path))}
    options = set(OPTIONS) | {"a", "optiona", "opa"}
    return bool(names & set(QUESTION) and names & options) or _is_mmlus(path)


def _is_mmlus(path: Path) -> bool:
    """Return whether a file has six columns without names, the last a letter."""
    first = columns(path)
    return len(first) == 6 and first[5].strip().upper() in tuple("ABCD")


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read multiple-choice questions; the target is the index of the correct option (N,). Questions
    without a key, or with one outside of the options, are skipped and reported. Raises UserError if
    none can be used, and if numeric keys may count from either 0 or 1."""
    if not path.exists():
        raise missing(path)
    faults = Faults()
    mmlu = [file for file, _part in files_of(path, TABLES) if _is_mmlus(file)]
    told = (one for file in mmlu for one in _mmlu(file)) if mmlu else rows(path, faults)
    found = _from_first(path, made(told, keyed, faults), faults)
    most = max((len(one.thing.question.options) for one in found), default=2)
    return gathered(
        readable(path.name),
        [one._replace(thing=one.thing.question) for one in found],
        faults,
        torch.tensor([one.thing.key for one in found], dtype=torch.long),
        classes=tuple(LETTERS[:most].upper()),
        source=readable(path),
        columns={"subject": [one.thing.question.subject for one in found]},
    )


def _mmlu(path: Path) -> list[Located]:
    names = ("question", *"abcd", "answer")
    subject = path.stem.removesuffix("_test").removesuffix("_dev").removesuffix("_val")
    part = part_of(path.stem.rpartition("_")[2])
    return [
        Located(f"{readable(path.name)}:{number}", {**dict(zip(names, row, strict=False)), "subject": subject}, part)
        for number, row in enumerate(csv.reader(read(path).splitlines(keepends=True)), 1)
        if row
    ]


def keyed(row: Mapping[str, Any]) -> Keyed:
    """Convert a record to a question with its key. Raises Fault if the text, two different options
    or the key is missing."""
    text = usable(value(row, QUESTION), "question")
    options = tuple(
        usable(option, _("option {letter}").format(letter=chr(65 + number)))
        for number, option in enumerate(_options(row))
    )
    if not 2 <= len(options) <= len(LETTERS):
        raise Fault("options", _("{count} options").format(count=len(options)))
    if len(set(map(bare, options))) < len(options):
        raise Fault("options", _("two options are the same"))
    subject = value(row, SUBJECT)
    subject = shown(subject)[:LONGEST] if isinstance(subject, str) else ""
    return Keyed(Question(text, options, subject), *_key(row, options))


def _options(row: Mapping[str, Any]) -> Sequence[Any]:
    given = value(row, OPTIONS)
    if isinstance(given, dict) and isinstance(given.get("text"), list):  # as in ARC
        return given["text"]
    if isinstance(given, dict):
        return [given[name] for name in sorted(given, key=str)]
    if isinstance(given, list):
        return given
    for pattern in ("{}", "option{}", "op{}"):
        names = [pattern.format(letter) for letter in LETTERS]
        found = [row[name] for name in names if row.get(name) not in (None, "")]
        if found:
            return found
    return ()


def _key(row: Mapping[str, Any], options: Sequence[str]) -> tuple[int, bool]:
    """Return the key, and whether it is a number that may count from 0 or from 1."""
    name = next((name for name in ANSWER if row.get(name) not in (None, "")), None)
    if name is None:
        raise Fault("no key", _("no answer is given"))
    given = row[name]
    if isinstance(given, int) and not isinstance(given, bool):
        return given, True
    text = usable(given, name).strip()
    same = [i for i, option in enumerate(options) if bare(option) == bare(text)]
    letter = LETTERS.find(text.lower().strip("().")) if len(text.strip("().")) == 1 else -1
    letter = letter if letter < len(options) else -1
    if name in EXACT:
        same = []
    if same and letter >= 0 and same != [letter]:
        raise Fault("ambiguous key", _("{key} is a letter and the text of another option").format(key=shown(text)))
    if same or letter >= 0:
        return (same or [letter])[0], False
    if text.lstrip("-").isdecimal() and len(text) < 4:
        return int(text), True
    raise Fault("key", _("the answer {key} is none of the {count} options").format(key=shown(text), count=len(options)))


def _from_first(path: Path, found: list[Located], faults: Faults) -> list[Located]:
    """Convert numeric keys to count from 0. Raises UserError if the start cannot be determined."""
    numbers = [(one.thing.key, len(one.thing.question.options)) for one in found if one.thing.counted]
    zero, last = sum(k == 0 for k, _n in numbers), sum(k == n for k, n in numbers)
    if numbers and FEWER * min(zero, last) >= max(zero, last):
        raise UserError(
            "key",
            _("the answers in {path} are numbers that may count from 0 or from 1").format(path=readable(path)),
            expected=_("letters (A, B, ...), or the text of the right option"),
            exit=3,
        )
    kept = []
    for one in found:
        key = one.thing.key - (1 if one.thing.counted and last > zero else 0)
        if 0 <= key < len(one.thing.question.options):
            kept.append(one._replace(thing=one.thing._replace(key=key)))
        else:
            why = _("the answer {key} is none of the {count} options").format(
                key=one.thing.key, count=len(one.thing.question.options)
            )
            faults.add(one.place, "key", why)
    return kept
