"""Passage retrieval: a text and a question in, the passages that answer it out, verbatim.

The nearest tasks at Hugging Face are ``question-answering`` (removed in transformers 5) and, for
embeddings alone, ``feature-extraction``.
"""

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader, Rows
from souron.data.language.retrieval import Search
from souron.data.language.sentences import Sentence, columns, sentences
from souron.evaluation.answers import Setup, dense, stacked
from souron.kinds.passages import Passage, Passages, in_one_line
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics import retrieval
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.training.loop import Data, Progress, Run
from souron.utils.messages import N_, UserError, _

MOST_PASSAGES = 50
LONGEST_QUESTION = 2_000  # characters
NUMBER = re.compile(r"\d[\d,]*\d\d")
EVERY = 10**9  # more than any number of cases: one batch holds all
MOST_PARTS = 8  # sentences of a question that are queried separately
FOUND = 3  # passages per test question kept for the report
KEPT = 2  # documents whose index is cached
TOLD = "told whether it is there"


@dataclass(frozen=True)
class Spec:
    """The number of questions, all that a retriever needs before it is built."""

    questions: int = 0


class Batch(NamedTuple):
    search: Sequence[Search]
    target: Sequence[Tensor]  # (n, 2) each: the character spans of the relevant passages


class Retriever(System):
    """A retriever: ``index`` prepares the sentences of a text, ``rank`` scores them for a question.

    Only ``least`` is fitted: the score above which the answer is taken to be in the text.
    """

    task = "retrieve"
    needs_fit = False
    full_batch = True
    slow_index = False  # True: the index is worth saving to a file
    reads_for_each = False  # True: a language model reads the whole text for each question
    learns_from = EVERY  # most training questions used
    spec: Spec

    least: Tensor  # ()

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("least", torch.tensor(float(config.least)))
        self._indexed: dict[str, tuple[list[Sentence], Any]] = {}

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    @abstractmethod
    def index(self, texts: Sequence[str]) -> Iterator[tuple[float, Any]]:
        """Yield progress 0..1 and, with the last step, the index of these sentences."""

    @abstractmethod
    def rank(self, index: Any, question: str) -> Tensor:
        """Return scores (sentences,) float32: how well each sentence answers the question."""

    def ranking(self, index: Any, question: str) -> Iterator[tuple[float, Tensor]]:
        """Yield progress 0..1 and, with the last step, the scores from ``rank``."""
        yield 1.0, self.rank(index, question)

    def found_in(self, document: str) -> tuple[list[Sentence], Any]:
        """Return a document's sentences and their index, cached for the next question."""
        if document not in self._indexed:
            while len(self._indexed) >= KEPT:
                self._indexed.pop(next(iter(self._indexed)))
            passages = sentences(document)
            index = None
            for _done, index in self.index([in_one_line(sentence.text) for sentence in passages]):  # noqa: B007
                pass
            self._indexed[document] = passages, index
        return self._indexed[document]

    def scores_of(self, search: Search) -> tuple[list[Sentence], Tensor]:
        passages, index = self.found_in(search.document)
        return passages, self.rank(index, search.question) if passages else torch.zeros(0)

    def asked(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rank, the best score and the best passages of each question.

        The rank (B,) int64 of the relevant passage counts from 1 and is 0 where there is none. The
        best score (B,) is 0 where a number in the question does not occur in the text. The spans
        (B, FOUND, 2) int64 of the best passages are -1 where there are fewer.
        """
        ranks, best = [], []
        positions = torch.full((len(batch.search), FOUND, 2), -1)
        for row, (search, target) in enumerate(zip(batch.search, batch.target, strict=True)):
            passages, score = self.scores_of(search)
            spans = torch.tensor([passage[1:] for passage in passages], dtype=torch.int64).reshape(-1, 2)
            ranks.append(retrieval.rank(score, overlapping(spans, target.cpu())))
            nowhere = missing_numbers(search.question, [search.document])
            best.append(float(score.max()) if len(score) and not nowhere else 0.0)
            places = top(score, [passage.text for passage in passages], FOUND)
            positions[row, : len(places)] = spans[places]
        return torch.tensor(ranks), torch.tensor(best), positions

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Fit the threshold of answerability on training questions, one candidate per step."""
        batch: Batch = next(iter(data.endless(self.learns_from)))
        _rank, best, _found = self.asked(batch)
        there = torch.tensor([len(target) > 0 for target in batch.target])
        candidates = retrieval.best_threshold(best.numpy(), there.numpy())
        wrong = 1.0
        for step, (level, share) in enumerate(candidates[: run.steps]):
            if share < wrong:
                wrong = share
                self.least.fill_(level)
            if step >= run.start:
                yield Progress(step, {"told wrongly": torch.tensor(wrong)})

    @torch.inference_mode()
    def predict(
        self,
        text: Text,
        *,
        question: Annotated[str, Choice(N_("what is asked of the text"))] = "",
        passages: Annotated[int, Choice(N_("how many passages to show"), low=1, high=MOST_PASSAGES)] = 8,
    ) -> Passages:
        """Return the sentences most similar to the question.

        Raises UserError for a question that is empty or too long, and for a text without a
        sentence.
        """
        check_question(question)
        sentences_of_text, score = self.scores_of(Search(question, text.text))
        if not sentences_of_text:
            raise no_sentence(text.file)
        texts = [sentence.text for sentence in sentences_of_text]
        quotes = [Passage(*sentences_of_text[i], float(score[i])) for i in top(score, texts, passages)]
        return Passages(question, quotes, quotes[0].score >= float(self.least), text.text, text.file)


class OfLanguage(NamedTuple):
    """Results for the questions in one language."""

    asked: int
    there: int  # number of them that the text answers
    measures: dict[str, Measure]


@dataclass(frozen=True)
class RetrieveResult:
    """The results shown in a run's report."""

    by_language: dict[str, OfLanguage]

    def as_json(self) -> dict[str, Any]:
        return {
            "by_language": {
                language: {name: measure.value for name, measure in part.measures.items()}
                for language, part in self.by_language.items()
            }
        }


class Retrieval(Task):
    """Rank of the relevant passage, and detection of questions without an answer."""

    title = N_("passage retrieval")
    takes = Text
    gives = Passages
    metrics = (
        Metric(N_("hit@1"), unit="share", headline=True),
        Metric(N_("hit@3"), unit="share"),
        Metric(N_("hit@8"), unit="share", headline=True),
        Metric(N_("mean reciprocal rank"), kind="share"),
        Metric(N_("told whether it is there"), unit="share", headline=True),
    )
    default_data = "help_questions"
    target = "passages"
    formats = ()

    def check(self, data: Dataset, options: Any) -> None:
        if not isinstance(data.input[0], Search):
            raise UserError(
                "no questions",
                _("{data} has no questions to a text").format(data=data.name),
                expected=_("questions with the passages that answer them"),
                fix="data=help_questions",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        return Spec(len(train))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec()

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        return Batch(list(rows.input), list(rows.target))

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Retriever)
        ranks, best, places = [], [], []
        for number, batch in enumerate(system.loader(test).once(16)):
            result = system.asked(batch)
            ranks.append(result[0])
            best.append(result[1])
            places.append(result[2])
            yield Step(min(0.99, 16 * (number + 1) / len(test)), _("asking"))
        score = torch.cat(best)
        answerable = (score >= system.least.cpu()).float()
        yield Step(
            1.0, result={"rank": torch.cat(ranks), "score": score, "found": answerable, "places": torch.cat(places)}
        )

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Retriever)
        ranks = torch.cat([system.asked(batch)[0] for batch in data.once(16)])
        scores = _of(ranks.numpy()[None], there(data.cases))
        return {name: torch.from_numpy(values[0]) for name, values in scores.items()}

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        answerable = there(setup.test)
        predictions = stacked(seeds, "found") > 0.5
        return _of(stacked(seeds, "rank"), answerable) | {TOLD: (predictions == answerable) * 1.0}

    def result(self, trainings: Trainings, setup: Setup) -> RetrieveResult:
        test = trainings.test
        languages = test.columns.get("language", ())
        parts = {}
        for language in sorted(set(languages)):
            rows = [row for row, name in enumerate(languages) if name == language]
            seeds: list[Answers] = [
                {name: dense(answers, name)[rows] for name in ("rank", "found")} for answers in trainings.answers
            ]
            part = replace(setup, test=test.only(rows))
            answerable = there(part.test)
            measures = self.measures(seeds, part, trainings.training_of_rows(rows))
            if not answerable.any():
                measures = {TOLD: measures[TOLD]}
            parts[language] = OfLanguage(len(rows), int(answerable.sum()), measures)
        return RetrieveResult(parts)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "question", "rank", "score", "found"
        rows = zip(test.file, test.input, *(dense(answers, n) for n in ("rank", "score", "found")), strict=True)
        for file, search, rank, score, flag in rows:
            yield file, search.question, int(rank), round(float(score), 4), bool(flag)

    def next_command(self, run: str) -> str:
        return f'souron ask FILE "..." retriever={run}'


def _of(rank: Any, there: Any) -> dict[str, Any]:
    """Return the metrics of the answerable questions from ranks (seeds, cases)."""
    return {f"hit@{most}": retrieval.of_some(retrieval.hits(rank, most), there) for most in retrieval.HITS} | {
        "mean reciprocal rank": retrieval.of_some(retrieval.reciprocal(rank), there)
    }


def there(data: Dataset) -> Any:
    """Return a mask (cases,) of the questions that the text answers."""
    return np.array([len(target) > 0 for target in data.target])


def overlapping(spans: Tensor, target: Tensor) -> Tensor:
    """Return a mask (N,) of the spans (N, 2) that overlap one of ``target`` (n, 2)."""
    low = torch.maximum(spans[:, None, 0], target[None, :, 0])
    high = torch.minimum(spans[:, None, 1], target[None, :, 1])
    return (low < high).any(1)


def parts(question: str) -> list[str]:
    """Return the question and, if it has several sentences, each of its first ones."""
    first_parts = [part.text for part in sentences(question)[:MOST_PARTS]]
    return [question, *first_parts] if len(first_parts) > 1 else [question]


def missing_numbers(question: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the numbers of three or more digits in a question that occur in none of the texts.

    An example is the number of another patient: embeddings hardly distinguish numbers.
    """
    numbers = dict.fromkeys(NUMBER.findall(unicodedata.normalize("NFKC", question)))
    for text in texts if numbers else ():
        plain = unicodedata.normalize("NFKC", text).replace(",", "")
        numbers = {number: None for number in numbers if number.replace(",", "") not in plain}
    return tuple(numbers)


def top(score: Tensor, texts: Sequence[str], most: int) -> list[int]:
    """Return the indices of the best scores (N,), best first; ties in the order of the text.

    Repeated sentences are returned once.
    """
    row_of: dict[str, int] = {}
    for row in score.argsort(descending=True, stable=True).tolist():
        row_of.setdefault(" ".join(texts[row].split()), row)
        if len(row_of) >= most:
            break
    return list(row_of.values())


def check_question(question: str) -> None:
    """Raise UserError for a question that is empty or too long."""
    if question.strip() and len(question) <= LONGEST_QUESTION:
        return
    raise UserError(
        "question",
        _("a question of {count} characters").format(count=len(question.strip())),
        expected=_("1 to {count} characters").format(count=LONGEST_QUESTION),
        fix='souron ask FILE "..."',
    )


def no_sentence(file: str) -> UserError:
    return UserError(
        "empty text",
        _("{file} has no sentence: no letter and no digit stands in it").format(file=file or _("the text")),
        expected=_("a text to read"),
        exit=3,
    )


__all__ = ["Batch", "Retrieval", "Retriever", "Spec", "columns", "parts"]
