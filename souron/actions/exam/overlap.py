"""Find the questions of an exam that a run has read in training, by common sequences of words.

Brown and others: Language Models are Few-Shot Learners (2020), appendix C.
https://doi.org/10.48550/arXiv.2005.14165

A question counts as seen if eight consecutive words of it, or all if it has fewer, occur in a
training text; in Japanese a character counts as a word.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from souron import registry
from souron.data import load
from souron.data.dataset import Dataset
from souron.data.texts import Question
from souron.runs import folder as run_folder
from souron.runs import prepare
from souron.utils.messages import UserError, _

WORDS = 8  # consecutive words
MOST_WORDS = 20_000_000  # of training texts that are searched
WORD = re.compile(r"[぀-ヿ㐀-鿿々]|[^\W_぀-ヿ㐀-鿿々]+")  # a Japanese character, else a word


@dataclass(frozen=True)
class Overlap:
    """The questions of an exam that a run has read."""

    questions: int  # of the paper
    seen: tuple[int, ...] = ()  # indices of the questions read
    answered: tuple[int, ...] = ()  # indices of those whose correct option occurs in the same text
    texts: int = 0  # number of texts searched
    data: str = ""  # their source
    unknown: str = ""  # what could not be searched, and why, in the reader's language

    def as_json(self) -> dict[str, Any]:
        return {
            "seen": len(self.seen),
            "with_answer": len(self.answered),
            "training_texts": self.texts,
            "data": self.data,
            "unknown": self.unknown,
        }


def of_run(folder: Path, paper: Dataset) -> Overlap:
    """Search the training texts of the run in ``folder`` for the exam's questions."""
    try:
        args = run_folder.read_args(folder)
        task = prepare.task_of(args)
        data = load.load(
            str(args["data"]),
            args.get("side"),
            args.get("group"),
            args.get("window"),
            task.fewest_classes,
            formats=task.formats,
            target=task.target,
        )
        rows = prepare.read_split(folder, data, task).train.tolist()
    except UserError as error:
        why = _("the texts it was trained on cannot be read again ([{code}] {found})").format(
            code=error.code, found=error.found
        )
        return Overlap(len(paper), unknown=why)
    questions, keys = list(paper.input), paper.target.tolist()
    learnt = ("\n".join(strings(data.input[row])) for row in rows)
    seen, answered = of_texts(questions, keys, learnt)
    unknown = unknown_of(str(args["system"]))
    return Overlap(len(paper), seen, answered, len(rows), str(args["data"]), unknown)


def of_texts(
    questions: Sequence[Question], keys: Sequence[int], texts: Iterable[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices of questions found, and of those found with the correct option."""
    wanted: dict[tuple[str, ...], list[int]] = {}
    for number, question in enumerate(questions):
        said = words(question.text)
        for run in runs(said, min(WORDS, len(said))):
            wanted.setdefault(run, []).append(number)
    lengths = sorted({len(run) for run in wanted})
    answers = [" ".join(words(question.options[key])) for question, key in zip(questions, keys, strict=True)]
    seen: set[int] = set()
    answered: set[int] = set()
    left = MOST_WORDS
    for text in texts:
        said = words(text)[:left]
        left -= len(said)
        hit = {number for length in lengths for run in runs(said, length) if run in wanted for number in wanted[run]}
        if hit:
            whole = f" {' '.join(said)} "
            answered |= {number for number in hit if f" {answers[number]} " in whole}
            seen |= hit
        if left <= 0:
            break
    return tuple(sorted(seen)), tuple(sorted(answered))


def words(text: str) -> list[str]:
    """Return the lower-cased words, with full and half width unified."""
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def runs(said: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    """Yield all sequences of ``length`` words; none for an empty text."""
    if length:
        yield from zip(*(islice(said, start, None) for start in range(length)), strict=False)


def strings(entry: Any) -> Iterator[str]:
    """Yield the texts of a case of any structure."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, tuple):
        for part in entry:
            yield from strings(part)


def unknown_of(system: str) -> str:
    """Return why the training texts of a pretrained system are unknown; "" for other systems."""
    entry = registry.find(system)[0]
    if entry.status != "pretrained" and entry.name != "open_model":
        return ""
    return _("{system} brings weights whose training texts are not here").format(system=entry.name)
