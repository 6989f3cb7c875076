"""What a system answers to questions about pictures, and where it looked.

Every question is asked twice: about its own picture, and about that of another case of the same
subset. What is right the second time, the question alone gives away.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn
from souron.data.picture_questions import PictureQuestion
from souron.evaluation.answers import Answers, Setup, Sparse, dense
from souron.evaluation.matching import subsets
from souron.metrics import answer as metrics
from souron.stats.records import Measure

TOGETHER = 64  # pictures
SHOWN = 24  # right answers, and wrong ones, of which a report shows where it looked
NONE = -1


@dataclass
class AnswerSetup(Setup):
    """With the answers that ``chosen`` counts, the same for all systems and folds."""

    known: tuple[str, ...] = field(default=(), kw_only=True)


class Flat(NamedTuple):
    """Questions of several pictures, one after the other."""

    texts: list[str]
    row: Tensor  # (n,) whose
    answer: Tensor  # (n,) the number of the true answer, ``NONE`` where it is not known


@dataclass(frozen=True)
class OfQuestions:
    """Figures of some of the questions."""

    subset: str  # "" all
    language: str  # "" all
    sort: str  # "" all
    questions: int
    pictures: int
    measures: dict[str, Measure]


@dataclass(frozen=True)
class AnswerResult:
    """What the report shows of one run."""

    parts: tuple[OfQuestions, ...]
    known: tuple[str, ...]  # answers, which ``chosen`` counts

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


def flat(asked: Sequence[Sequence[PictureQuestion]], answers: Sequence[str]) -> Flat:
    """All questions, by the numbers of the known answers."""
    number = {answer: place for place, answer in enumerate(answers)}
    every = [(row, one) for row, some in enumerate(asked) for one in some]
    return Flat(
        [one.question for _row, one in every],
        torch.tensor([row for row, _one in every], dtype=torch.long),
        torch.tensor([number.get(one.answer, NONE) for _row, one in every], dtype=torch.long),
    )


@dataclass(frozen=True)
class Known:
    """What is known of each question of each case."""

    names: list[str]  # of each case, its subset
    questions: list[tuple[PictureQuestion, ...]]

    @classmethod
    def of(cls, data: Dataset) -> "Known":
        return cls(subsets(data), list(data.target))

    @property
    def subsets(self) -> list[str]:
        return list(dict.fromkeys(self.names))

    @property
    def sorts(self) -> list[str]:
        return list(dict.fromkeys(one.sort for some in self.questions for one in some))

    @property
    def languages(self) -> list[str]:
        return sorted({one.language for some in self.questions for one in some})

    def where(self, width: int, subset: str = "", language: str = "", sort: str = "") -> Tensor:
        """(N, ``width``) bool: the questions of that subset, language and sort; "" any."""
        found = torch.zeros(len(self.questions), width, dtype=torch.bool)
        for row, (name, some) in enumerate(zip(self.names, self.questions, strict=True)):
            if subset in ("", name):
                for place, one in enumerate(some):
                    found[row, place] = language in ("", one.language) and sort in ("", one.sort)
        return found


def every_answer(data: Dataset) -> tuple[str, ...]:
    """Sorted."""
    return tuple(sorted({one.answer for some in data.target for one in some}))


def most_questions(data: Dataset) -> int:
    """Of one picture."""
    return max((len(some) for some in data.target), default=0)


def strangers(data: Dataset) -> Tensor:
    """(N,) of each case another one whose picture is shown instead: of its subset, and of another
    group, as long as there are such."""
    found = torch.arange(len(data)).roll(1)
    names = subsets(data)
    units = data.units or [str(row) for row in range(len(data))]
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    for name in dict.fromkeys(names):
        rows = sorted((row for row in order if names[row] == name), key=lambda row: units[row])
        if len(rows) > 1:  # as far as the largest group is long
            most = max(Counter(units[row] for row in rows).values())
            there = torch.tensor(rows)
            found[there] = there.roll(min(most, len(rows) - 1))
    return found


def asked(
    system: Any, data: Dataset, most: int, known: Sequence[str]
) -> Iterator[tuple[float, Answers | None]]:
    """How much is done, 0..1, and at the end answers about all cases.

    Of each case and question, (N, ``most``): ``right`` and ``others``, whether the answer is right
    about the own picture and about another's, not a number where there is no question; ``log loss``
    about the own; ``chosen``, the number of the most probable answer among the ``known``, and its
    ``probability``.
    """
    count = len(data)
    found = {name: torch.full((count, most), torch.nan)
             for name in ("right", "others", "log loss", "probability")}  # fmt: skip
    found["chosen"] = torch.full((count, most), NONE)
    stranger = strangers(data)
    place_of = {answer: number for number, answer in enumerate(known)}
    number = torch.tensor([place_of.get(answer, NONE) for answer in system.spec.answers])
    for start in range(0, count, TOGETHER):
        rows = torch.arange(start, min(start + TOGETHER, count))
        some = data.only(rows)
        questions = flat(list(some.target), system.spec.answers)
        place = rows[questions.row], places(questions.row)
        if len(questions.texts):
            own = said(system, some, questions)
            other = said(system, replace(data.only(stranger[rows]), target=some.target), questions)
            probability, chosen = own.softmax(1).max(1)
            found["right"][place] = metrics.right(own, questions.answer)
            found["others"][place] = metrics.right(other, questions.answer)
            found["log loss"][place] = metrics.log_loss(own, questions.answer)
            found["probability"][place], found["chosen"][place] = probability, number[chosen]
        yield min(1.0, (start + TOGETHER) / count), None
    yield 1.0, dict(found)


def said(system: Any, data: Dataset, questions: Flat) -> Tensor:
    """Logits (n, answers) on the processor."""
    [batch] = system.loader(data).once(len(data))
    seen = system.see(batch.image)
    logits, _looked = system.respond(seen[questions.row.to(seen.device)],
                                     system.tokens(questions.texts))  # fmt: skip
    return logits.float().cpu()


def places(row: Tensor) -> Tensor:
    """(n,) the place of each question among those of its picture; ``row`` (n,) ascends."""
    first = torch.searchsorted(row, row)
    return torch.arange(len(row)) - first


def looked_at(system: Any, answers: Answers, data: Dataset) -> Answers:
    """Where it looked at some questions: ``looked`` (n, h, w) of ``question`` (n,) of their cases;
    nothing of a system that looks nowhere."""
    rows, numbers = chosen_cases(answers, data)
    if not rows:
        return {}
    some = data.only(rows)
    kept = [(data.target[row][number],) for row, number in zip(rows, numbers, strict=True)]
    questions = flat(kept, system.spec.answers)
    [batch] = system.loader(replace(some, target=ListColumn(kept))).once(len(rows))
    _logits, looked = system.respond(system.see(batch.image), system.tokens(questions.texts))
    if not looked.shape[1]:
        return {}
    side = round(looked.shape[1] ** 0.5)
    place = torch.tensor(rows)
    return {
        "looked": Sparse(place, looked.float().cpu().view(-1, side, side)),
        "question": Sparse(place, torch.tensor(numbers)),
    }


def chosen_cases(answers: Answers, data: Dataset) -> tuple[list[int], list[int]]:
    """Cases and one question of each, for a report: right and wrong answers, of each sort in turn,
    the surest first."""
    right, sure = dense(answers, "right"), dense(answers, "probability")
    rows: list[int] = []
    numbers: list[int] = []
    for wanted in (1.0, 0.0):
        queues: dict[str, list[tuple[int, int]]] = {}
        order = torch.where(right == wanted, sure, -1).flatten().argsort(descending=True)
        for place in order[: int((right == wanted).sum())].tolist():
            row, number = divmod(place, right.shape[1])
            queues.setdefault(data.target[row][number].sort, []).append((row, number))
        taken = 0
        while taken < SHOWN and any(queues.values()):
            for queue in queues.values():
                while queue:
                    row, number = queue.pop(0)
                    if row not in rows:
                        rows.append(row)
                        numbers.append(number)
                        taken += 1
                        break
    return rows, numbers
