"""Answer a question from long texts by quotations, optionally in a model's words."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from souron.action import Action, Given
from souron.actions.ask.reading import Reading, Seen
from souron.data.language.sentences import Sentence, sentences
from souron.evaluation.language import unsupported_words
from souron.kinds.passages import Passage, Passages, in_one_line
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.runs import documents, passage_index
from souron.runs.events import Event, last, left
from souron.tasks.retrieve import MOST_PASSAGES, Retriever, check_question, missing_numbers, no_sentence, top
from souron.utils.messages import N_, UserError, _

SHOWN = 3  # default number of passages
TOLD = 3  # passages given to a language model
INDEXING = 0.005  # share of the work, if a language model reads the whole text for each question


@dataclass(frozen=True)
class Options:
    passages: Annotated[int, Choice(N_("how many passages to show (default 3)"), low=1, high=50)] = 3
    model: Annotated[str, Choice(N_("a language model that answers in a sentence"), metavar="RUN")] = ""
    retriever: Annotated[
        str, Choice(N_("what finds passages: encoder (default), bm25, windows, a run"), metavar="SYSTEM|RUN")
    ] = "encoder"
    forget: Annotated[bool, Choice(N_("keep no index of the texts in the cache"))] = False


class Ask(Action):
    """Quote the sentences of texts that answer a question, with their positions."""

    title = N_("Ask long texts a question: answers are quoted with positions.")
    examples = (
        'souron ask guide.txt "When is the ward open?"',
        'souron ask notes/ more.md "患者のアレルギーは何ですか" passages=8',
        'souron ask - "When is the ward open?" --json',
        'souron ask guide.txt "When is the ward open?" model=runs/complete/gpt-manuals',
    )
    group = "language"
    given = Given(
        "FILE... QUESTION", N_("texts (.txt, .md), folders of them, or - for what is piped in; the question"), 2, None
    )
    lookup = True  # the texts may be of patients
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        *texts, question = given
        for event in asking(
            texts, question, options.passages, retriever=options.retriever, model=options.model, keep=not options.forget
        ):
            if event.record is not None:
                event.record.folder = self.new_folder(Path(event.record.texts[0].file).stem)
            yield event


def ask(source: Any, question: str, **options: Any) -> Reading:
    """Answer a question from ``source``: a file, a folder, several of them, or a ``Text``.

    ``passages`` is the number to quote; ``retriever`` is ``encoder``, ``bm25``, ``windows`` or a
    run; ``model`` is a language model that phrases the answer, and with which ``windows`` reads;
    ``keep`` caches the index. Nothing but the index is written. Raises UserError.

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
    question = documents.printable(question)
    check_question(question)
    if not 1 <= passages <= MOST_PASSAGES:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="passages", value=passages),
            expected=f"1..{MOST_PASSAGES}",
        )
    yield Event("data", text=_("reading the text"))
    texts = documents.read(source)
    system = documents.retriever_of(retriever, model)
    speaker = None
    if model:
        yield Event("data", text=_("loading {name}").format(name=model))
        speaker = documents.speaker_of(model)
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
    yield Event(
        "done",
        1.0,
        record=Reading(
            found,
            answer,
            unsupported_words.unsupported(answer, against),
            seen,
            time.monotonic() - begun,
            read,
            model,
            texts,
            windows,
        ),
    )


def _scored(
    system: Retriever, text: str, cut: Sequence[Sentence], question: str, keep: bool
) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield progress 0..1 and, with the last step, the scores of a text's sentences."""
    index, score = None, torch.zeros(0)
    share = INDEXING if system.reads_for_each else 1.0
    steps = passage_index.indexed(system, text, [in_one_line(one.text) for one in cut], keep)
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
    question: str,
    texts: Sequence[Text],
    cut: Sequence[Sequence[Sentence]],
    scores: Sequence[torch.Tensor],
    most: int,
    least: float,
) -> Passages:
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


def _letters(texts: Any) -> int:
    """Count the non-blank characters."""
    return sum(len(text) - sum(map(text.count, " \t\r\n\f\v\u3000")) for text in texts)


def _all(texts: Sequence[Text]) -> int:
    return max(1, _letters(text.text for text in texts))


def _share(texts: Sequence[Text], cut: Sequence[Sequence[Sentence]]) -> float:
    return _letters(one.text for each in cut for one in each) / _all(texts)


__all__ = ["Ask", "Options", "Reading", "ask", "asking"]
