"""Answer a question from long texts by quotations, optionally in a model's words."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from souron import registry
from souron.data.sentences import Sentence, sentences
from souron.evaluation import support
from souron.evaluation.speaking import Speaker
from souron.kinds import files as kind_files
from souron.kinds.passages import Passage, Passages
from souron.kinds.text import MOST_LETTERS, Text
from souron.runs import folder as run_folder
from souron.runs import loading, passage_index
from souron.runs.events import Event, last, left
from souron.tasks.retrieve import (
    MOST_PASSAGES,
    Retriever,
    check_question,
    missing_numbers,
    no_sentence,
    top,
)  # fmt: skip
from souron.utils import files, units
from souron.utils.messages import UserError, _

MOST_FILES = 1_000
SHOWN = 3  # default number of passages
TOLD = 3  # passages given to a language model
INDEXING = 0.005  # share of the work, if a language model reads the whole text for each question
STDIN = "-"


@dataclass(frozen=True)
class Seen:
    """Share of the texts that each model has read, 0..1 of their non-blank characters."""

    encoder: float
    model: float
    told: float = 0.0  # share that the answer is based on

    def as_json(self) -> dict[str, float]:
        return {"encoder": round(self.encoder, 6), "model": round(self.model, 6)}


@dataclass(frozen=True)
class Reading:
    """An answer: the passages, and optionally a language model's sentence."""

    passages: Passages
    answer: str  # "" without a language model, or if the text has no answer
    unsupported: list[tuple[int, int]]  # spans of words that no passage contains
    seen: Seen
    seconds: float  # total
    seconds_to_read: float  # until the index was ready
    model: str = ""
    texts: Sequence[Text] = field(default=(), repr=False)
    windows: bool = False  # whether a language model read the whole text to find them

    @property
    def found(self) -> bool:
        return self.passages.found

    def as_json(self) -> dict[str, Any]:
        told = self.passages.as_json()
        return {
            "answer": self.answer,
            "found": self.found,
            "quotes": told["quotes"],
            "unsupported": [self.answer[first:end] for first, end in self.unsupported],
            "missing": list(self.passages.missing),
            "seen": self.seen.as_json(),
            "seconds": round(self.seconds, 3),
            "question": told["question"],
            "model": self.model,
        }

    def __str__(self) -> str:
        lines = [str(self.passages)]
        if self.answer:
            marked = support.marked(self.answer, self.unsupported, "[?", "]")
            lines += ["", f"{self.model}: {marked}", *self.remarks()]
        return "\n".join([*lines, "", self.share()])

    def remarks(self) -> list[str]:
        """Return a remark on how far the passages support the answer."""
        if not self.unsupported:
            return [
                _("Every word of it occurs in the passages; read them to see whether it is right.")
            ]
        return [_("Words between [? and ] occur in none of the passages.")]

    def share(self) -> str:
        """Describe how much of the text each model has read."""
        if self.windows:
            read = _("To find the passages, a language model read {share} of the text.").format(
                share=units.percent(self.seen.model, 0)
            )
        else:
            read = _("The sentences that were compared are {share} of the text.").format(
                share=units.percent(self.seen.encoder, 0)
            )
        if not self.model:
            return read
        said = (
            _("For its answer the language model saw {share}.")
            if self.windows
            else _("The language model saw {share}.")
        )
        return f"{read} " + said.format(share=units.percent(self.seen.told, 2))

    def _repr_html_(self) -> str:
        from html import escape

        answer = support.marked(self.answer, self.unsupported, "\0", "\1")
        answer = escape(answer).replace("\0", "<mark>").replace("\1", "</mark>")
        said = f"<p><b>{escape(self.model)}</b> {answer}</p>" if self.answer else ""
        return f"{self.passages._repr_html_()}{said}<p><small>{escape(self.share())}</small></p>"


def ask(source: Any, question: str, **options: Any) -> Reading:
    """Answer a question from ``source``: a file, a folder, several of them, or a ``Text``.

    ``passages`` is the number to quote; ``retriever`` is ``encoder``, ``bm25``, ``windows`` or a
    run;
    ``model`` is a language model that phrases the answer, and with which ``windows`` reads;
    ``keep``
    caches the index. Raises UserError.

    Example:
        >>> import souron
        >>> from souron.kinds.text import Text
        >>> text = Text("It opens at nine.")
        >>> souron.ask(text, "When does it open?")  # doctest: +SKIP
    """
    return last(asking(source, question, **options))


def asking(
    source: Any,
    question: str,
    passages: int = SHOWN,
    retriever: str = "encoder",
    model: str = "",
    keep: bool = True,
    seed: int = 0,
) -> Iterator[Event]:
    """Run ``ask`` and yield its events; the last one has the ``Reading``."""
    begun = time.monotonic()
    question = printable(question)
    check_question(question)
    if not 1 <= passages <= MOST_PASSAGES:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="passages", value=passages),
            expected=f"1..{MOST_PASSAGES}",
        )
    yield Event("data", text=_("reading the text"))
    texts = documents(source)
    system = retriever_of(retriever, model)
    speaker = None
    if model:
        yield Event("data", text=_("loading {name}").format(name=model))
        speaker = speaker_of(model)
    cut = [sentences(text.text) for text in texts]
    count = sum(map(len, cut))
    if not count:
        raise no_sentence(", ".join(text.file for text in texts[:3]))
    started, before, scores = time.monotonic(), 0, []
    for text, each in zip(texts, cut, strict=True):
        score = torch.zeros(0)
        for part, score in _scored(system, text.text, each, question, keep):  # noqa: B007
            done = (before + part * len(each)) / count
            yield Event("read", done, left(started, done), _("reading the text"))
        before += len(each)
        scores.append(score)
    read = time.monotonic() - begun
    found = _passages(question, texts, cut, scores, passages, float(system.least))
    told, answer = [quote for quote in found.quotes[:TOLD] if speaker and found.found], ""
    if speaker is not None and told:
        yield Event("answer", text=_("the language model is writing"))
        answer, count = speaker.answer(question, [quote.line() for quote in told], seed)
        told = told[:count]
    read_all, told_share = _share(texts, cut), _letters(q.text for q in told) / _all(texts)
    windows = system.reads_for_each
    seen = Seen(0.0, read_all, told_share) if windows else Seen(read_all, told_share, told_share)
    against = [*(quote.text for quote in told), question]
    yield Event("done", 1.0, record=Reading(
        found, answer, support.unsupported(answer, against), seen,
        time.monotonic() - begun, read, model, texts, windows,
    ))  # fmt: skip


def _scored(
    system: Retriever, text: str, cut: Sequence[Sentence], question: str, keep: bool
) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield progress 0..1 and, with the last step, the scores of a text's sentences."""
    index, score = None, torch.zeros(0)
    share = INDEXING if system.reads_for_each else 1.0
    steps = passage_index.indexed(system, text, [one.text for one in cut], keep)
    for part, index in steps:  # noqa: B007
        yield share * part, score
    ranks = system.ranking(index, question) if cut else iter(())
    while True:
        with torch.inference_mode():
            step = next(ranks, None)
        if step is None:
            return
        yield share + (1 - share) * step[0], step[1]


def _passages(
    question: str, texts: Sequence[Text], cut: Sequence[Sequence[Sentence]],
    scores: Sequence[torch.Tensor], most: int, least: float,
) -> Passages:  # fmt: skip
    """Select the best sentences of all texts."""
    where = [(number, one) for number, each in enumerate(cut) for one in each]
    score = torch.cat(list(scores))
    several = len(texts) > 1
    quotes = [
        Passage(*where[i][1], float(score[i]), texts[where[i][0]].file if several else "")
        for i in top(score, [one.text for _number, one in where], most)
    ]
    missing = missing_numbers(question, (text.text for text in texts))
    found = quotes[0].score >= least and not missing
    whole = "" if several else texts[0].text
    return Passages(question, quotes, found, whole, "" if several else texts[0].file, missing)


def speaker_of(name: str) -> Speaker:
    """Load a language model: a run, or an open one (``smollm2``, a file, a folder).

    Raises UserError.
    """
    return Speaker(loading.language_model(name), name)


def documents(source: Any) -> list[Text]:
    """Read the texts of a name, a path, several of them or a ``Text``.

    Raises UserError for anything but text, and for texts that are empty or too large.
    """
    given = [source] if isinstance(source, str | Path | Text) else list(source)
    found, letters = [], 0
    for text in _each(given):
        letters += len(text.text)
        found.append(Text(printable(text.text), text.file))
        if len(found) > MOST_FILES or letters > MOST_LETTERS:
            raise UserError(
                "too large",
                _("{files} files with {letters} characters, or more").format(
                    files=units.whole(len(found)), letters=units.whole(letters)
                ),
                expected=_("at most {files} files and {letters} characters").format(
                    files=units.whole(MOST_FILES), letters=units.whole(MOST_LETTERS)
                ),
                exit=3,
            )
    if not found:
        raise UserError(
            "no texts",
            _("no text in {names}").format(names=", ".join(map(str, given[:3]))),
            expected=_("files that end in {ends}").format(ends=", ".join(Text.formats)),
            exit=3,
        )
    return found


def _each(given: Sequence[Any]) -> Iterator[Text]:
    for one in given:
        if isinstance(one, Text):
            yield one
        elif str(one) == STDIN:
            raw = sys.stdin.buffer.read(kind_files.MOST_TEXT + 1)
            yield Text(kind_files.decoded(raw, Path(STDIN)), "")
        else:
            folder = Path(one).is_dir()
            for path in files.find_files([one]):
                if not folder or path.suffix.lower() in Text.formats:
                    yield Text.read(path)


def printable(text: str) -> str:
    """Replace lone surrogates, keeping the length; terminals reject them."""
    return text.encode("utf-8", "replace").decode()


def retriever_of(name: str, model: str = "") -> Retriever:
    """Load a retriever: ``encoder``, ``bm25``, ``windows``, or a run of one.

    ``model`` is the language model of ``windows``. Raises UserError.
    """
    folder = Path(name)
    if folder.exists():
        system = run_folder.load(folder)
    else:
        kind, config = registry.load_system(name)
        if not issubclass(kind, Retriever):
            raise _other(name, kind.task, "retrieve")
        if model and hasattr(config, "model"):
            config = replace(config, model=model)
        system = kind(config, None).eval()
    if not isinstance(system, Retriever):
        raise _other(name, system.task, "retrieve")
    return system


def _other(name: str, found: str, task: str) -> UserError:
    return UserError(
        "task",
        _("{name} is made for {task}").format(name=name, task=registry.task_name(found)),
        expected=registry.task_name(task),
        fix="souron list",
    )


def _letters(texts: Any) -> int:
    """Count the non-blank characters."""
    return sum(len(text) - sum(map(text.count, " \t\r\n\f\v\u3000")) for text in texts)


def _all(texts: Sequence[Text]) -> int:
    return max(1, _letters(text.text for text in texts))


def _share(texts: Sequence[Text], cut: Sequence[Sequence[Sentence]]) -> float:
    return _letters(one.text for each in cut for one in each) / _all(texts)


__all__ = ["Reading", "ask", "asking", "documents"]
