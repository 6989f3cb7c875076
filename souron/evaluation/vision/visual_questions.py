"""Evaluate visual question answering, with attention maps.

Every question is asked twice: about its own image, and about the image of another case of the same
subset. An answer that is right the second time can be guessed from the question alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn
from souron.data.targets.picture_questions import PictureQuestion
from souron.evaluation.answers import Answers, Setup, Sparse, dense
from souron.evaluation.vision.matching import subsets
from souron.metrics import answer as metrics
from souron.stats.records import Measure

TOGETHER = 64  # images in a batch
SHOWN = 24  # right answers, and as many wrong ones, whose attention a report shows
NONE = -1


@dataclass
class AnswerSetup(Setup):
    """A setup with the answers that ``chosen`` indexes, the same for all systems and folds."""

    known: tuple[str, ...] = field(default=(), kw_only=True)


class Flat(NamedTuple):
    """Questions of several images, one after the other."""

    texts: list[str]
    row: Tensor  # (n,) the case of each question
    answer: Tensor  # (n,) index of the true answer, ``NONE`` where it is unknown


@dataclass(frozen=True)
class OfQuestions:
    """Figures of a subset of the questions."""

    subset: str  # "" all
    language: str  # "" all
    sort: str  # "" all
    questions: int
    pictures: int
    measures: dict[str, Measure]


@dataclass(frozen=True)
class AnswerResult:
    """The results of one run for its report."""

    parts: tuple[OfQuestions, ...]
    known: tuple[str, ...]  # answers that ``chosen`` indexes

    def as_json(self) -> dict[str, Any]:
        return {
            "questions": [
                {
                    "subset": part.subset,
                    "language": part.language,
                    "sort": part.sort,
                    "questions": part.questions,
                    "pictures": part.pictures,
                    **{name: vars(measure) for name, measure in part.measures.items()},
                }
                for part in self.parts
            ]
        }


def flat(questions: Sequence[Sequence[PictureQuestion]], answers: Sequence[str]) -> Flat:
    """Concatenate the questions of all cases, with answers as indices into ``answers``."""
    number = {answer: index for index, answer in enumerate(answers)}
    every = [(row, question) for row, row_questions in enumerate(questions) for question in row_questions]
    return Flat(
        [question.question for _row, question in every],
        torch.tensor([row for row, _one in every], dtype=torch.long),
        torch.tensor([number.get(question.answer, NONE) for _row, question in every], dtype=torch.long),
    )


@dataclass(frozen=True)
class Known:
    """The subset of each case and its questions."""

    names: list[str]  # the subset of each case
    questions: list[tuple[PictureQuestion, ...]]

    @classmethod
    def of(cls, data: Dataset) -> "Known":
        return cls(subsets(data), list(data.target))

    @property
    def subsets(self) -> list[str]:
        return list(dict.fromkeys(self.names))

    @property
    def sorts(self) -> list[str]:
        return list(dict.fromkeys(question.sort for questions in self.questions for question in questions))

    @property
    def languages(self) -> list[str]:
        return sorted({question.language for questions in self.questions for question in questions})

    def where(self, width: int, subset: str = "", language: str = "", sort: str = "") -> Tensor:
        """Mask of the questions of a subset, language and sort, (N, ``width``) bool; "" selects
        all.
        """
        mask = torch.zeros(len(self.questions), width, dtype=torch.bool)
        for row, (name, questions) in enumerate(zip(self.names, self.questions, strict=True)):
            if subset in ("", name):
                for column, question in enumerate(questions):
                    mask[row, column] = language in ("", question.language) and sort in ("", question.sort)
        return mask


def every_answer(data: Dataset) -> tuple[str, ...]:
    """Return all distinct answers, sorted."""
    return tuple(sorted({question.answer for questions in data.target for question in questions}))


def most_questions(data: Dataset) -> int:
    """Return the largest number of questions about one image."""
    return max((len(questions) for questions in data.target), default=0)


def strangers(data: Dataset) -> Tensor:
    """Index of another case of the same subset for each case, (N,), to swap the images.

    It belongs to another group wherever the subset has more than one.
    """
    partners = torch.arange(len(data)).roll(1)
    names = subsets(data)
    units = data.units or [str(row) for row in range(len(data))]
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    for name in dict.fromkeys(names):
        rows = sorted((row for row in order if names[row] == name), key=lambda row: units[row])
        if len(rows) > 1:  # shift by the size of the largest group
            most = max(Counter(units[row] for row in rows).values())
            there = torch.tensor(rows)
            partners[there] = there.roll(min(most, len(rows) - 1))
    return partners


def asked(system: Any, data: Dataset, most: int, vocabulary: Sequence[str]) -> Iterator[tuple[float, Answers | None]]:
    """Yield (fraction done 0..1, None), and at the end (1, answers about all cases).

    Answers per case and question, (N, ``most``): ``right`` and ``others``, whether the answer is
    right with its own image and with another one, NaN where there is no question; ``log loss`` with
    its own image; ``chosen``, the index in ``vocabulary`` of the most probable answer, and its
    ``probability``.
    """
    count = len(data)
    answers = {name: torch.full((count, most), torch.nan) for name in ("right", "others", "log loss", "probability")}
    answers["chosen"] = torch.full((count, most), NONE)
    stranger = strangers(data)
    place_of = {answer: number for number, answer in enumerate(vocabulary)}
    number = torch.tensor([place_of.get(answer, NONE) for answer in system.spec.answers])
    for start in range(0, count, TOGETHER):
        rows = torch.arange(start, min(start + TOGETHER, count))
        batch = data.only(rows)
        questions = flat(list(batch.target), system.spec.answers)
        index = rows[questions.row], places(questions.row)
        if len(questions.texts):
            own = said(system, batch, questions)
            other = said(system, replace(data.only(stranger[rows]), target=batch.target), questions)
            probability, best = own.softmax(1).max(1)
            answers["right"][index] = metrics.right(own, questions.answer)
            answers["others"][index] = metrics.right(other, questions.answer)
            answers["log loss"][index] = metrics.log_loss(own, questions.answer)
            answers["probability"][index], answers["chosen"][index] = probability, number[best]
        yield min(1.0, (start + TOGETHER) / count), None
    yield 1.0, dict(answers)


def said(system: Any, data: Dataset, questions: Flat) -> Tensor:
    """Compute logits (n, answers) on the CPU."""
    [batch] = system.loader(data).once(len(data))
    features = system.see(batch.image)
    logits, _looked = system.respond(features[questions.row.to(features.device)], system.tokens(questions.texts))
    return logits.float().cpu()


def places(row: Tensor) -> Tensor:
    """Index of each question among those of its image, (n,); ``row`` (n,) ascends."""
    first = torch.searchsorted(row, row)
    return torch.arange(len(row)) - first


def looked_at(system: Any, answers: Answers, data: Dataset) -> Answers:
    """Compute the attention maps of some questions, for a report.

    Returns ``looked`` (n, h, w) and ``question`` (n,) of the chosen cases; {} for a system without
    attention over the image.
    """
    rows, numbers = chosen_cases(answers, data)
    if not rows:
        return {}
    cases = data.only(rows)
    questions_of_cases = [(data.target[row][number],) for row, number in zip(rows, numbers, strict=True)]
    questions = flat(questions_of_cases, system.spec.answers)
    [batch] = system.loader(replace(cases, target=ListColumn(questions_of_cases))).once(len(rows))
    _logits, attention = system.respond(system.see(batch.image), system.tokens(questions.texts))
    if not attention.shape[1]:
        return {}
    side = round(attention.shape[1] ** 0.5)
    index = torch.tensor(rows)
    return {
        "looked": Sparse(index, attention.float().cpu().view(-1, side, side)),
        "question": Sparse(index, torch.tensor(numbers)),
    }


def chosen_cases(answers: Answers, data: Dataset) -> tuple[list[int], list[int]]:
    """Choose cases and one question of each for a report.

    Right and wrong answers are taken from each sort in turn, the most confident first.
    """
    right, sure = dense(answers, "right"), dense(answers, "probability")
    rows: list[int] = []
    numbers: list[int] = []
    for value in (1.0, 0.0):
        queues: dict[str, list[tuple[int, int]]] = {}
        order = torch.where(right == value, sure, -1).flatten().argsort(descending=True)
        for index in order[: int((right == value).sum())].tolist():
            row, number = divmod(index, right.shape[1])
            queues.setdefault(data.target[row][number].sort, []).append((row, number))
        count = 0
        while count < SHOWN and any(queues.values()):
            for queue in queues.values():
                while queue:
                    row, number = queue.pop(0)
                    if row not in rows:
                        rows.append(row)
                        numbers.append(number)
                        count += 1
                        break
    return rows, numbers
