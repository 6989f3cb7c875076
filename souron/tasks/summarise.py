"""Extractive summarisation: a long text in, its most important sentences out, verbatim.

Hugging Face calls it summarization.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader, Rows
from souron.data.language.sentences import Sentence, sentences
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.language import generated_texts
from souron.evaluation.language.generated_texts import WrittenResult
from souron.kinds.passages import Passage, Passages
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics.metric import Metric
from souron.metrics.summary import rouge_l, rouge_n, units
from souron.system import System
from souron.task import Answers, Scores, Step, Task, Trainings
from souron.tasks.translate import check_pairs, texts_of
from souron.training.loop import Progress, Run
from souron.utils.messages import N_, UserError, _

NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")
TRIED = (6, 5, 4, 3, 2, 1)  # candidate numbers of sentences of a summary
LEARNT_FROM = 120  # most training texts used; only one number is fitted
MOST = 50  # most sentences that may be requested
MOST_READ = 4_000  # most sentences of a text


@dataclass(frozen=True)
class Spec:
    """The number of texts, all that a summariser needs before it is built."""

    texts: int = 0


class Batch(NamedTuple):
    text: Sequence[str]
    summary: Sequence[str]  # written by a person


class Summariser(System):
    """An extractive summariser: ``chosen`` selects sentences of a text.

    Only ``length``, the number of sentences, is fitted.
    """

    task = "summarise"
    needs_fit = False
    full_batch = True
    spec: Spec

    length: Tensor  # ()

    def __init__(self, config: Any, spec: Spec | None) -> None:
        super().__init__(config, spec or Spec())
        self.most_steps = len(TRIED)
        self.register_buffer("length", torch.tensor(3))

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    @abstractmethod
    def chosen(self, texts: Sequence[str], most: int) -> list[tuple[int, float]]:
        """Return the indices and scores of at most ``most`` sentences, the best first."""

    def summary(self, text: str, most: int) -> list[tuple[Sentence, float]]:
        """Return the selected sentences in text order. Raises UserError for too long a text."""
        parts = sentences(text)
        if len(parts) > MOST_READ:
            raise UserError(
                "long text",
                _("a text of {count} sentences").format(count=len(parts)),
                expected=_("at most {most} sentences, such as one chapter").format(most=MOST_READ),
                exit=3,
            )
        scores = self.chosen([sentence.text for sentence in parts], most) if parts else []
        return [(parts[index], score) for index, score in sorted(scores)]

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        """Fit the number of sentences that maximises ROUGE-1, one candidate per step."""
        cases = data.cases.only(range(min(LEARNT_FROM, len(data.cases))))
        best = 2.0
        for step, length in enumerate(TRIED[: run.steps]):
            pairs = zip(cases.input, texts_of(cases), strict=True)
            right = [compared(joined(self.summary(t, length)), lead)[0] for t, lead in pairs]
            wrong = 1 - sum(right) / len(right)
            if wrong < best:
                best = wrong
                self.length.fill_(length)
            if step >= run.start:
                yield Progress(step, {"1 - ROUGE-1": torch.tensor(wrong)})

    @torch.inference_mode()
    def predict(
        self,
        text: Text,
        *,
        count: Annotated[int, Choice(N_("how many sentences; 0: as many as in training"), low=0, high=MOST)] = 0,
    ) -> Passages:
        """Return the most important sentences in text order. Raises UserError if there are none."""
        selection = self.summary(text.text, count or int(self.length))
        if not selection:
            raise UserError(
                "empty text",
                _("{file} has no sentence: no letter and no digit stands in it").format(
                    file=text.file or _("the text")
                ),
                expected=_("a text to read"),
                exit=3,
            )
        quotes = [Passage(*sentence, score) for sentence, score in selection]
        return Passages("", quotes, True, text.text, text.file)


class Summary(Task):
    """The overlap of the selected sentences with summaries by people."""

    title = N_("summarisation")
    takes = Text
    gives = Passages
    metrics = (
        Metric(N_("ROUGE-1"), unit="share", headline=True),
        Metric(N_("ROUGE-2"), unit="share"),
        Metric(N_("ROUGE-L"), unit="share", headline=True),
    )
    default_data = "manual_leads"
    target = "summaries"
    formats = ("text_pairs",)
    fewest_classes = 0

    def check(self, data: Dataset, options: Any) -> None:
        check_pairs(
            data,
            _("{data} holds no texts with summaries").format(data=data.name),
            _("a CSV, TSV or JSONL with source and target"),
            "data=manual_leads",
        )

    def spec(self, train: Dataset) -> Spec:
        return Spec(len(train))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec()

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        return Batch(list(rows.input), list(rows.target))

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Summariser)
        pairs = zip(data.cases.input, texts_of(data.cases), strict=True)
        length = int(system.length)
        figures = [compared(joined(system.summary(text, length)), lead) for text, lead in pairs]
        return dict(zip(NAMES, torch.tensor(figures).T, strict=True))

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Summariser)
        summaries, figures = [], []
        for row, (text, lead) in enumerate(zip(test.input, texts_of(test), strict=True), 1):
            summaries.append(joined(system.summary(text, int(system.length))))
            figures.append(compared(summaries[-1], lead))
            if row % 8 == 0:
                yield Step(0.99 * row / len(test), _("summarising"))
        rows = generated_texts.shown_rows(test)
        yield Step(
            1.0,
            result={
                **dict(zip(NAMES, torch.tensor(figures).T, strict=True)),
                "said": generated_texts.kept(rows, [summaries[row] for row in rows]),
            },
        )

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return {name: stacked(seeds, name) for name in NAMES}

    def result(self, trainings: Trainings, setup: Setup) -> WrittenResult:
        return generated_texts.result(trainings, setup.test, NAMES, ("said",))

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", *NAMES
        columns = [dense(answers, name).tolist() for name in NAMES]
        for file, *values in zip(test.file, *columns, strict=True):
            yield file, *(round(value, 4) for value in values)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} text.txt"


def joined(selection: Sequence[tuple[Sentence, float]]) -> str:
    return "\n".join(sentence.text for sentence, _score in selection)


def compared(summary: str, right: str) -> tuple[float, float, float]:
    """Return ``NAMES`` of a summary compared with a reference."""
    ours, theirs = units(summary), units(right)
    return rouge_n(ours, theirs, 1), rouge_n(ours, theirs, 2), rouge_l(ours, theirs)


__all__ = ["Batch", "Spec", "Summariser", "Summary"]
