"""Text classification: a text in, class probabilities out (Hugging Face: text-classification)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.portable import Answer, Free, Input, Portable
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language.tokenizer import SIZE, Tokenizer
from souron.evaluation.language import complete
from souron.kinds.labels import Labels
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics.classification import score
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Setup, Step, Task
from souron.tasks.classify import Classification
from souron.utils.messages import N_, UserError, _


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a classifier needs before it is built."""

    labels: tuple[str, ...]
    tokenizer: str = ""  # ``Tokenizer.packed``
    vocabulary: int = SIZE  # tokens


class Batch(NamedTuple):
    text: Any  # texts in the system's form: tokens (B, T) int64, or a ListColumn
    label: Tensor  # (B,)


class TextClassifier(System):
    """A text classifier: ``forward`` maps encoded texts to logits (B, labels)."""

    task = "classify_text"
    spec: Spec

    def encoded(self, texts: Sequence[str]) -> list[Any]:
        """Encode each text once, before training."""
        return list(texts)

    def loader(
        self, data: Dataset, augment: Augment | None = None, seed: int = 0, device: torch.device | None = None
    ) -> Loader:
        token_data = replace(data, input=ListColumn(self.encoded(list(data.input))))
        return Loader(token_data, self.batch, augment, seed, device or self.device)

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(self(batch.text), batch.label)

    @torch.inference_mode()
    def probabilities(self, data: Loader) -> Tensor:
        """Return class probabilities (cases, labels)."""
        return torch.cat([self(batch.text).float().softmax(1).cpu() for batch in data.once(64)])

    def cut(self, texts: Sequence[str]) -> int:
        """Return the number of texts that are truncated."""
        return 0

    def carried(self, tokenizer: Tokenizer, context: int) -> Portable:
        """Return what others run: tokens (B, T), padded with -1, in; probabilities (B, labels) out."""

        def of_rows(texts: Any) -> tuple[Tensor]:
            return (self.batch(Rows(ListColumn(self.encoded(list(texts))), None)).text,)

        return Portable(
            Answer(self, lambda tokens: (self(tokens).float().softmax(1),)),
            (Input("tokens", (min(8, context),), torch.int64, {0: Free(2, context)}, self.spec.vocabulary),),
            ("probability",),
            "tokens",
            "labels",
            self.spec.labels,
            {"probability": 1},
            {"context": context},
            of_rows=of_rows,
            of_kind=lambda text: of_rows([text.text]),
            beside={"tokenizer.json": tokenizer.backend.to_str(pretty=False)},
        )

    @torch.inference_mode()
    def predict(self, text: Text) -> Labels:
        """Return the probability of each label."""
        batch = self.batch(Rows(ListColumn(self.encoded([text.text])), None))
        probability = self(batch.text).float().softmax(1)[0]
        return Labels(text.file, self.spec.labels, tuple(probability.tolist()), of_image=False)


@dataclass(frozen=True)
class Options:
    positive: Annotated[str | None, Choice(N_("the class to detect, such as a disease"))] = None
    prevalence: Annotated[
        float | None, Choice(N_("prevalence where it will be used, for predictive values"), low=0, high=1)
    ] = None
    sensitivity: Annotated[
        float | None, Choice(N_("what the threshold must reach on validation cases, such as 0.95"), low=0, high=1)
    ] = None


class TextClassification(Classification, Task):
    """The probability of each label for every test text."""

    title = N_("text classification")
    takes = Text  # type: ignore[assignment]
    gives = Labels
    metrics = (
        Metric(N_("accuracy"), unit="share", headline=True),
        Metric(N_("AUC"), headline=True, kind="area"),
        Metric(N_("sensitivity"), unit="share", headline=True),
        Metric(N_("specificity"), unit="share", headline=True),
        Metric(N_("positive predictive value"), unit="share"),
        Metric(N_("negative predictive value"), unit="share"),
        Metric(N_("balanced accuracy"), unit="share"),
        Metric(N_("Brier score"), higher_is_better=False, kind="loss", most=2.0),
        Metric(N_("log loss"), higher_is_better=False, kind="loss", most=27.64),
    )
    watches = "accuracy"
    default_data = "mails"
    target = "classified_texts"
    formats = ("classified_texts",)
    not_compared = ("positive", "prevalence", "sensitivity")  # type: ignore[assignment]
    fewest_classes = 2
    augments = False

    def check(self, data: Dataset, options: Any) -> None:
        if not isinstance(data.input, ListColumn) or not all(isinstance(text, str) for text in data.input):
            raise UserError(
                "no texts",
                _("{data} holds no texts").format(data=data.name),
                expected=_("a CSV or JSONL with text and label, or a folder of texts per class"),
                fix="data=mails",
                exit=3,
            )
        super().check(data, options)

    def spec(self, train: Dataset) -> Spec:  # type: ignore[override]
        tokenizer = complete.tokenizer_for(train)
        return Spec(train.classes, tokenizer.packed(), len(tokenizer))

    def example(self, system: type[System], size: str) -> Spec:  # type: ignore[override]
        return Spec(("ham", "spam"))

    def batch(self, rows: Rows, spec: Spec) -> Batch:  # type: ignore[override]
        return Batch(rows.input, rows.target)

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        return Task.augmentation(self, names)

    def head(self, system: System) -> tuple[str, ...]:
        return ()

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, TextClassifier)
        return score(system.probabilities(data), data.cases.target)

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        yield Step(1.0, result={})

    def rehearse(self, system: System, setup: Setup) -> None:
        """Run nothing: evaluation needs no more memory than training."""

    def details_seconds(self, trainer: Any, setup: Setup, training: float, look: float) -> float:
        return 0.0

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> Any:
        return super().compared(answers, setup)


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str], most: int) -> list[Tensor]:
    """Tokenise texts, truncated to ``most`` tokens including the start token: (n,) int64 each."""
    return [torch.tensor([tokenizer.start, *ids[: most - 1]]) for ids in tokenizer.encode_many(list(texts))]


def padded(rows: Sequence[Tensor], pad: int) -> Tensor:
    """Stack rows of tokens to (B, T), padded with ``pad`` at the end."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=pad)


__all__ = ["Batch", "Spec", "TextClassification", "TextClassifier", "padded", "tokens_of"]
