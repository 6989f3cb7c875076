"""Multiple-choice examinations: accuracy over all cyclic orders of the options.

Reported beside it: accuracy from the options alone, calibration, and the published pass marks where
the questions are comparable.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron import registry
from souron.data.dataset import Dataset
from souron.data.texts import Question
from souron.evaluation.answers import Answers, Trainings, stacked
from souron.metrics import calibration
from souron.stats.records import Measure
from souron.utils.messages import UserError, _

PASS_MARKS = (("USMLE", 0.60), ("Med-PaLM", 0.672), ("Med-PaLM 2", 0.854))
FEWEST, STEM, STEM_JA = 20, 250, 90  # questions; characters of a median stem, of a Japanese one
PATIENT = re.compile(r"\b(?:year|month|week|day)s?[- ]old\b|\bpatient\b|歳|患者", re.IGNORECASE)
MOSTLY = 0.8  # of the questions
SHUFFLE = 4711  # seed of the shuffled key


def turned(question: Question, by: int) -> Question:
    """Rotate the options of a question so that the one at ``by`` comes first."""
    options = question.options
    return question._replace(options=options[by:] + options[:by])


def unasked(question: Question) -> Question:
    """Return the question with its options alone, without the text."""
    return question._replace(text="")


def checked(scores: Tensor, questions: Sequence[Question]) -> Tensor:
    """Return scores (B, options), which are -inf beyond a question's options.

    Raises UserError where the score of an option is not finite.
    """
    for row, question in zip(scores, questions, strict=True):
        if not bool(row[: len(question.options)].isfinite().all()):
            raise UserError(
                "not finite",
                _("the score of an option is not a finite number: {question}").format(question=question.text[:60]),
                expected=_("a model that computes finite numbers"),
                fix=_("train it again, with a smaller learning rate"),
                exit=3,
            )
    return scores


def picked(scores: Tensor, questions: Sequence[Question]) -> Tensor:
    """Return the option with the highest score in each order, (B, orders) int64.

    ``scores`` (B, orders, options) has the options numbered as in the question. Among equal scores,
    the option shown first is picked; -1 where a question has fewer orders.
    """
    options = torch.full(scores.shape[:2], -1, dtype=torch.long)
    for row, question in enumerate(questions):
        count = len(question.options)
        for order in range(count):
            order_scores = scores[row, order, :count].roll(-order)
            options[row, order] = (int(order_scores.argmax()) + order) % count
    return options


def share_right(picks: Tensor, target: Tensor) -> Tensor:
    """Return the fraction of orders answered correctly for each question, (B,) float64.

    ``picks`` is (B, orders), ``target`` (B,). A question counts once, however often it is asked.
    """
    valid = picks >= 0
    return ((picks == target[:, None]) & valid).sum(1).double() / valid.sum(1)


def chance(cases: Dataset) -> float:
    """Return the expected accuracy of random guessing."""
    return float(np.mean([1 / len(question.options) for question in cases.input]))


def shuffled_key(cases: Dataset) -> Tensor:
    """Return random answers (N,) as a control key; scoring above chance on it reveals an error."""
    generator = torch.Generator().manual_seed(SHUFFLE)
    counts = torch.tensor([len(question.options) for question in cases.input])
    return (torch.rand(len(counts), generator=generator) * counts).long()


def why_no_pass_marks(questions: Sequence[Question]) -> str:
    """Explain why the pass marks of USMLE-style papers do not apply to these questions.

    "" where they apply: enough questions with 4 or 5 options, long stems, and patients in them.
    """
    if len(questions) < FEWEST:
        return _("{count} questions are too few").format(count=len(questions))
    few = np.mean([len(question.options) in (4, 5) for question in questions])
    if few < MOSTLY:
        return _("{share:.0%} of the questions have 4 or 5 options").format(share=few)
    stems = [question.text for question in questions]
    japanese = np.mean([bool(re.search("[ぁ-んァ-ヶ一-龠]", stem)) for stem in stems]) > 0.5
    length, least = median(map(len, stems)), STEM_JA if japanese else STEM
    if length < least:
        return _(
            "half of the questions are shorter than {length:.0f} characters, where a clinical stem has {least} or more"
        ).format(length=length, least=least)
    clinical = np.mean([bool(PATIENT.search(stem)) for stem in stems])
    if clinical < MOSTLY:
        return _("{share:.0%} of the questions are about a patient").format(share=clinical)
    return ""


@dataclass(frozen=True)
class ExamResult:
    """The results of an examination for its report."""

    accuracy: Measure
    control: Measure  # without the questions
    shuffled: Measure  # with the shuffled key
    chance: float
    by_subject: dict[str, Measure]
    ece: float
    curve: list[calibration.Bin]
    confidence: NDArray[np.float64]  # (cases,) probability of the picked option
    decision: dict[str, float]
    no_pass_marks: str  # why they are not shown; "" where they are

    @property
    def fair(self) -> bool:
        """Return whether the shuffled key scores at chance, within four standard errors."""
        error = (self.chance * (1 - self.chance) / max(1, self.shuffled.n)) ** 0.5
        return abs(self.shuffled.value - self.chance) <= 4 * error

    def as_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy.value,
            "low": self.accuracy.low,
            "high": self.accuracy.high,
            "n": self.accuracy.n,
            "control": self.control.value,
            "chance": self.chance,
            "shuffled_key": self.shuffled.value,
            "expected_calibration_error": self.ece,
            "pass_marks": {} if self.no_pass_marks else dict(PASS_MARKS),
            "by_subject": {name: asdict(measure) for name, measure in self.by_subject.items()},
        }


def result(trainings: Trainings, cases: Dataset) -> ExamResult:
    answers, target = trainings.answers, cases.target
    units, training = cases.units, trainings.training_of
    right = stacked_right(answers, "picked", target)
    probability = stacked(answers, "probability")
    subjects = [question.subject for question in cases.input]
    accuracy, by_subject = registry.metric("accuracy"), {}
    for name in sorted(set(subjects) - {""}):
        rows = [i for i, subject in enumerate(subjects) if subject == name]
        groups = None if units is None else [units[i] for i in rows]
        by_subject[name] = accuracy.measure(right[:, rows], groups, trainings.training_of_rows(rows))
    return ExamResult(
        accuracy.measure(right, units, training),
        accuracy.measure(stacked_right(answers, "picked without", target), units, training),
        accuracy.measure(stacked_right(answers, "picked", shuffled_key(cases)), units, training),
        chance(cases),
        by_subject,
        calibration.expected_error(probability, target),
        calibration.curve(probability, target, groups=units),
        probability.max(2).mean(0),
        dict(trainings.decision),
        why_no_pass_marks(list(cases.input)),
    )


def stacked_right(answers: Sequence[Answers], name: str, target: Tensor) -> NDArray[np.float64]:
    """Return the fraction of orders answered correctly, (seeds, cases)."""
    picks = torch.from_numpy(stacked(answers, name)).long()
    return torch.stack([share_right(picks_of_seed, target) for picks_of_seed in picks]).numpy()
