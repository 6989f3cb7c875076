"""Token classification: a text in, its labelled spans out, such as persons, places and dates.

Hugging Face calls it token-classification, or ner.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language.tokenizer import SIZE, Tokenizer
from souron.evaluation.answers import Setup
from souron.evaluation.language import complete, named_entities
from souron.evaluation.language.named_entities import Sentence, TagResult, spans_of, tags_of, units
from souron.kinds.signature import Choice
from souron.kinds.spans import Spans
from souron.kinds.text import Text
from souron.metrics import tag as metrics
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Jackknifed, Step, Task, Trainings, as_it_is
from souron.utils.messages import N_, UserError, _

AT_ONCE = 32  # sentences per step of evaluation
MOST_SHOWN = 12  # sentences in a comparison


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a tagger needs before it is built."""

    labels: tuple[str, ...]
    tokenizer: str  # ``Tokenizer.packed``
    vocabulary: int = SIZE + 1  # tokens, including the mask token


class Tagger(System):
    """A tagger: ``found`` predicts the labelled spans of texts."""

    task = "tag"
    spec: Spec

    NEW: ClassVar[tuple[str, ...]] = ()  # layers not loaded from a pretrained run

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    def found(self, texts: Sequence[str]) -> list[list[list[float]]]:
        """Return the spans of each text in order: label, start, end, score."""
        raise NotImplementedError

    def loader(
        self, data: Dataset, augment: Augment | None = None, seed: int = 0, device: torch.device | None = None
    ) -> Loader:
        """Load the cases as ``Sentence``; with ``augment``, apply the system's augmentation."""
        sentences = named_entities.sentences(data)
        change = None if augment is None else self.changes(sentences)
        sentence_data = replace(data, input=ListColumn(sentences), target=None)
        return Loader(sentence_data, self.batch, change, seed, device or self.device)

    def changes(self, sentences: Sequence[Sentence]) -> Augment | None:
        """Return the augmentation of training sentences ``sentences``, applied anew each time."""
        return None

    def batch(self, rows: Rows) -> Any:
        return rows.input

    def freeze(self) -> None:
        raise UserError("option", _("a tagger's layers are trained together"), expected="freeze=false", exit=2)

    @torch.inference_mode()
    def predict(
        self, text: Text, *, least: Annotated[float, Choice(N_("minimum confidence"), low=0, high=1)] = 0.0
    ) -> Spans:
        """Return the labelled spans of the text."""
        [spans] = self.found([text.text])
        return Spans(text.text, named_entities.named(text.text, spans, self.spec.labels, least), text.file)


class Tagging(Jackknifed, Task):
    """The spans of every test sentence, evaluated as in CoNLL."""

    title = N_("tagging of words")
    takes = Text
    gives = Spans
    metrics = (
        Metric(N_("span F1"), unit="share", headline=True, kind="share"),
        Metric(N_("span precision"), unit="share", headline=True, kind="share"),
        Metric(N_("span recall"), unit="share", headline=True, kind="share"),
    )
    watches = "span F1"
    default_data = "entities"
    target = "tags"
    formats = ("tagged_texts",)
    augments = True
    inherits = ("tokenizer", "vocabulary")
    begins_with = ("fill_mask",)

    def check(self, data: Dataset, options: Any) -> None:
        words = data.input.entries if isinstance(data.input, ListColumn) else []
        tags = data.target.entries if isinstance(data.target, ListColumn) else []
        pairs = zip(words, tags, strict=False)
        if not tags or not all(isinstance(w, tuple) and len(w) == len(t) for w, t in pairs):
            raise UserError(
                "no tags",
                _("{data} holds no sentences with tags").format(data=data.name),
                expected=_("a word and its tag a line, as CoNLL files have it"),
                fix="data=entities",
                exit=3,
            )
        if not any(bool(t.any()) for t in tags):
            raise UserError(
                "no tags",
                _("nothing is marked in {data}").format(data=data.name),
                expected=_("tags such as B-LOC and I-LOC"),
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        texts = [sentence.text for sentence in named_entities.sentences(train)]
        tokenizer = complete.tokenizer_for(replace(train, input=ListColumn(texts)))
        labels = named_entities.labels_of(train.classes)
        return Spec(labels, tokenizer.packed(), len(tokenizer) + 1)

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(("LOC", "ORG", "PER", "MISC"), "")

    def batch(self, rows: Rows, spec: Spec) -> Any:
        return rows.input

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        if names:
            super().augmentation(names)
        return as_it_is

    def renumbered(self, target: Any, number: Tensor) -> ListColumn:
        return ListColumn([number[tags] for tags in target])

    def head(self, system: System) -> tuple[str, ...]:
        return system.NEW if isinstance(system, Tagger) else ()

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Tagger)
        sentences = list(data.cases.input)
        spans = found(system, [sentence.text for sentence in sentences])
        counts = metrics.counts(spans, [sentence.spans.numpy() for sentence in sentences])
        scores = metrics.scores(counts, data.cases.units)
        return {name: torch.from_numpy(values) for name, values in scores.items()}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, Tagger)
        texts, spans = [sentence.text for sentence in named_entities.sentences(test)], []
        for start in range(0, len(texts), AT_ONCE):
            spans += found(system, texts[start : start + AT_ONCE])
            share = len(spans) / len(texts)
            yield Step(share, _("measuring on {n} unseen cases").format(n=len(test)))
        yield Step(1.0, result=named_entities.packed(spans))

    def judge(self, answers: Answers, setup: Setup) -> dict[str, NDArray[np.float64]]:
        spans = named_entities.unpacked(answers, len(setup.test))
        true = [sentence.spans.numpy() for sentence in named_entities.sentences(setup.test)]
        return metrics.scores(metrics.counts(spans, true), setup.test.units)

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        yield Step(1.0, result={})

    def details_seconds(self, trainer: Any, setup: Any, training: float, look: float) -> float:
        return 0.0

    def result(self, trainings: Trainings, setup: Setup) -> TagResult:
        return named_entities.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> list[Any]:
        """Return sentences in which the first seeds of the systems found different spans."""
        first = {name: seeds[0] for name, seeds in answers.items()}
        return list(islice(named_entities.differing(first, setup.test), MOST_SHOWN))

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "label", "text", "start", "end", "score"
        labels, spans_of_cases = (named_entities.labels_of(test.classes), named_entities.unpacked(answers, len(test)))
        for file, sentence, spans in zip(test.file, named_entities.sentences(test), spans_of_cases, strict=True):
            for span in named_entities.named(sentence.text, spans, labels):
                yield file, span.label, span.text, span.start, span.end, round(span.score, 4)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} FILE"


@torch.inference_mode()
def found(system: Tagger, texts: Sequence[str]) -> list[Any]:
    """Find the spans of texts, ``AT_ONCE`` at a time."""
    return [spans for start in range(0, len(texts), AT_ONCE) for spans in system.found(texts[start : start + AT_ONCE])]


__all__ = ["Sentence", "Spec", "Tagger", "Tagging", "spans_of", "tags_of", "units"]
