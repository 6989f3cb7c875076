"""Multiple choice: a question with its options in, a probability for each option out.

Hugging Face calls it multiple-choice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data import texts
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.evaluation.answers import dense, stacked
from souron.evaluation.language import exams
from souron.evaluation.language.likelihood import language_model, log_likelihoods, tokenized
from souron.kinds.labels import Labels
from souron.kinds.question import MOST_LETTERS, MOST_OPTIONS, Question
from souron.metrics import calibration
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task, Trainings
from souron.training.loop import Progress, Run
from souron.utils.messages import N_, UserError, _

MOST = 1_000  # training questions for fitting the scale, which is a single number
STEPS = 8
TOGETHER = 32  # questions between two progress reports
CONTROL = "accuracy without the question"
Item = texts.Question  # a question of a case; ``Question`` is the content of a file


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    options: int = 4  # of the question with the most


class Batch(NamedTuple):
    question: ListColumn  # of Item
    label: Tensor  # index of the right option


class Chooser(System):
    """A multiple-choice system.

    ``scores`` rates each option; the score times ``scale`` is its log probability up to a constant.
    A chooser fits only the scale, by Newton's method.
    """

    task = "choose"
    full_batch = True
    spec: Spec

    VARIANTS: ClassVar[tuple[str, ...]] = ("",)  # scoring methods; validation cases select one
    PRIORS: ClassVar[tuple[float, ...]] = (0.0,)  # candidate weights of the options-only score
    # one is selected on validation cases
    ORDERED: ClassVar[bool] = False  # whether the position of an option among the others matters
    START: ClassVar[float] = 1.0  # initial scale

    scale: Tensor  # (variants,)

    def __init__(self, config: Any, spec: Spec | None) -> None:
        super().__init__(config, spec or Spec())
        self.most_steps = STEPS
        self.register_buffer("scale", torch.full((len(self.VARIANTS),), self.START))

    def scores(self, questions: Sequence[Item]) -> Tensor:
        """Return scores (B, variants, options) float32, -inf for options that a question lacks.

        A question with an empty text is scored by its options alone.
        """
        raise NotImplementedError

    def logits(self, questions: Sequence[Item], variant: int = 0) -> Tensor:
        """Return logits (B, options). Raises UserError if a score is not a number."""
        scores = self.scores(questions)[:, variant]
        return exams.checked(scores, questions) * self.scale[variant]

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        yield from self.scaled(data, run)

    @torch.no_grad()
    def scaled(self, data: Any, run: Run) -> Iterator[Progress]:
        """Fit the scale by minimising the log loss, a convex function of one number."""
        batches = list(islice(data.once(TOGETHER), MOST // TOGETHER + 1))
        scores = padded([self.scores(list(batch.question)) for batch in batches])
        label = torch.cat([batch.label for batch in batches])
        x = scores.double().transpose(0, 1)  # (variants, N, options)
        there = x.isfinite()
        x = torch.where(there, x, torch.zeros_like(x))
        scale = self.scale.double() if run.start else torch.zeros(len(x), dtype=torch.float64)
        rows = torch.arange(len(label))
        for step in range(run.start, min(run.steps, STEPS)):
            logits = torch.where(there, scale[:, None, None] * x, -torch.inf)
            p = logits.softmax(2)
            mean = (p * x).sum(2)
            slope = (mean - x[:, rows, label]).mean(1)
            curve = (p * (x - mean[..., None]).square()).sum(2).mean(1)
            loss = -p[:, rows, label].clamp(min=1e-12).log().mean()
            scale = scale - (slope / curve.clamp(min=1e-9)).clamp(-50, 50)
            self.scale.copy_(scale)
            yield Progress(step, {"log loss": loss})

    def remarks(self, questions: Sequence[Item]) -> list[str]:
        """Return remarks on how these questions were read, in the reader's language."""
        return []

    @torch.no_grad()
    def predict(self, question: Question) -> Labels:
        """Return the probability of each option; for a single question no other order is tried."""
        item = Item(question.text, question.options, question.subject)
        return Labels(question.file, question.options, self.logits([item]).softmax(1)[0].tolist(), of_image=False)


class Choice(Task):
    """The best option over all cyclic orders, and the accuracy of the options alone."""

    title = N_("multiple choice")
    takes = Question
    gives = Labels
    metrics = (
        Metric(N_("accuracy"), unit="share", headline=True),
        Metric(N_("accuracy without the question"), unit="share", headline=True),
        Metric(N_("log loss"), higher_is_better=False, kind="loss"),
    )
    watches = "log loss"
    default_data = "terms"
    target = "questions"
    formats = ("questions",)

    def check(self, data: Dataset, options: Any) -> None:
        check_questions(data)

    def spec(self, train: Dataset) -> Spec:
        return Spec(max(len(question.options) for question in train.input))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec()

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        return Batch(rows.input, rows.target)

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target  # options are numbered by position

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Chooser)
        answers = _asked(system, list(data.cases.input), 0)
        return {
            "accuracy": exams.share_right(answers["picked"], data.cases.target),
            "log loss": -_of_right(_mean_probability(answers["logits"]), data.cases.target).log(),
        }

    def decide(self, system: System, val: Dataset, setup: Setup) -> dict[str, float]:
        """Select the scoring variant, the weight of the options-only prior and the temperature.

        They are chosen on validation cases; the plain method is kept unless another is better.
        """
        assert isinstance(system, Chooser)
        if not len(val):
            return {}
        questions, best, decision = list(val.input), -1.0, {}
        for variant in range(len(system.VARIANTS)):
            answers = _asked(system, questions, variant)
            for prior in system.PRIORS:
                logits = _less(answers["logits"], answers["without"], prior)
                picks = exams.picked(logits, questions)
                right = float(exams.share_right(picks, val.target).mean())
                if right > best:
                    warmth = calibration.temperature(_mean_probability(logits), val.target)
                    best = right
                    decision = {"variant": float(variant), "prior": prior, "temperature": warmth}
        return decision

    @torch.no_grad()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Chooser)
        questions, parts = list(test.input), []
        for start in range(0, len(questions), TOGETHER):
            parts.append(logits_of(system, questions[start : start + TOGETHER], decision))
            yield Step(min(1.0, (start + TOGETHER) / len(questions)), _("answering questions"))
        yield Step(1.0, result=answers_of(parts, questions, decision))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        target = setup.test.target
        p = [_of_right(dense(answers, "probability"), target) for answers in seeds]
        return {
            "accuracy": exams.stacked_right(seeds, "picked", target),
            CONTROL: exams.stacked_right(seeds, "picked without", target),
            "log loss": -torch.stack(p).double().log().numpy(),
        }

    def result(self, trainings: Trainings, setup: Setup) -> exams.ExamResult:
        return exams.result(trainings, setup.test)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> dict[str, Any]:
        """Return system -> the option chosen by its first seed, (cases,)."""
        return {name: stacked(seeds, "probability")[0].argmax(1) for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "right option", "picked", "probability", "share of orders right"
        probability = dense(answers, "probability")
        right = exams.share_right(dense(answers, "picked"), test.target).tolist()
        for row, question in enumerate(test.input):
            index = int(probability[row].argmax())
            yield (
                test.file[row],
                question.options[int(test.target[row])],
                question.options[index],
                round(float(probability[row, index]), 4),
                round(right[row], 4),
            )

    def next_command(self, run: str) -> str:
        return f"souron exam {run} seed=1"


def check_questions(data: Dataset) -> None:
    """Raise UserError unless every case is a question with exactly one right option."""
    has_numbers = data.target is not None and data.labels is not None
    entries = data.input.entries if isinstance(data.input, ListColumn) else []
    if not has_numbers or not entries or not all(isinstance(e, texts.Question) for e in entries):
        raise UserError(
            "no questions",
            _("{data} holds no questions with options").format(data=data.name),
            expected=_("a CSV or JSONL with the columns question, options, answer"),
            fix="data=terms",
            exit=3,
        )
    for name, question, right in zip(data.file, entries, data.target.tolist(), strict=True):
        options = [option.strip() for option in question.options]
        letters = len(question.text) + sum(map(len, options))
        wrong = (
            _("{count} options").format(count=len(options))
            if not 2 <= len(options) <= MOST_OPTIONS
            else _("two options are alike")
            if len(set(options)) < len(options)
            else _("the key is option {place} of {count}").format(place=right + 1, count=len(options))
            if not 0 <= right < len(options)
            else _("it has {count} characters").format(count=letters)
            if letters > MOST_LETTERS
            else ""
        )
        if wrong:
            raise UserError(
                "question",
                f"{name[:80]}: {wrong}",
                expected=_(
                    "2 to {most} options, no two alike, one of them the key, and at most {letters} characters"
                ).format(most=MOST_OPTIONS, letters=MOST_LETTERS),
                exit=3,
            )


def padded(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate scores (B, ..., options), padding missing orders and options with -inf."""
    wide = max(part.shape[-1] for part in parts)
    deep = max(part.shape[-2] for part in parts)
    return torch.cat(
        [F.pad(part, (0, wide - part.shape[-1], 0, deep - part.shape[-2]), value=-torch.inf) for part in parts]
    )


def _asked(system: Chooser, questions: Sequence[Item], variant: int) -> dict[str, Tensor]:
    """Return ``logits`` and, for the options alone, ``without``: (B, orders, options).

    The options are numbered as in the question; ``picked`` is (B, orders).
    """
    orders = max(len(question.options) for question in questions)
    answers = {}
    for name, every in (("logits", questions), ("without", [*map(exams.unasked, questions)])):
        if not system.ORDERED:
            logits = system.logits(every, variant).cpu()
            answers[name] = logits[:, None].repeat(1, orders, 1)
            continue
        turns = []
        for order in range(orders):
            rotations = [exams.turned(question, order % len(question.options)) for question in every]
            logits = system.logits(rotations, variant).cpu()
            for row, question in enumerate(every):
                count = len(question.options)
                logits[row, :count] = logits[row, :count].roll(order % count)
            turns.append(logits)
        answers[name] = torch.stack(turns, 1)
    return answers | {"picked": exams.picked(answers["logits"], questions)}


def logits_of(system: Chooser, questions: Sequence[Item], decision: Mapping[str, float]) -> dict[str, Tensor]:
    """Return ``logits`` and ``without`` of some questions, (B, orders, options).

    They may differ in the last digit between batches of other questions: batches are of ``TOGETHER``.
    """
    answers = _asked(system, questions, int(decision.get("variant", 0)))
    return {name: answers[name] for name in ("logits", "without")}


def answers_of(
    parts: Sequence[Mapping[str, Tensor]], questions: Sequence[Item], decision: Mapping[str, float]
) -> Answers:
    """Return the answers to all questions from the logits of their batches, in their order."""
    whole = {name: padded([part[name] for part in parts]) for name in ("logits", "without")}
    logits = _less(whole["logits"], whole["without"], decision.get("prior", 0.0))
    return {
        "probability": _mean_probability(logits / decision.get("temperature", 1.0)),
        "picked": exams.picked(logits, questions),
        "picked without": exams.picked(whole["without"], questions),
    }


def _less(logits: Tensor, without: Tensor, prior: float) -> Tensor:
    """Subtract ``prior`` times the logits of the options alone."""
    if not prior:
        return logits
    return torch.where(logits.isfinite(), logits - prior * without, logits)


def _mean_probability(logits: Tensor) -> Tensor:
    """Average (B, orders, options) over the orders of each question: (B, options)."""
    there = logits.isfinite().any(2)
    p = torch.where(there[..., None], logits, torch.zeros_like(logits)).softmax(2)
    return (p * there[..., None]).sum(1) / there.sum(1)[:, None]


def _of_right(probability: Tensor, target: Tensor) -> Tensor:
    """Return the probability of the right option, (B,), at least 1e-9."""
    rows = torch.arange(len(target))
    return probability[rows, target].clamp(min=1e-9)


__all__ = [
    "Batch",
    "Choice",
    "Chooser",
    "Item",
    "Spec",
    "check_questions",
    "language_model",
    "log_likelihoods",
    "padded",
    "tokenized",
]
