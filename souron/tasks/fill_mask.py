"""Masked language modelling: a text with ``[MASK]`` in, the most probable words for it out.

Hugging Face calls it fill-mask.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.blocks.encoder import PAD
from souron.blocks.portable import Answer, Free, Input, Portable
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.language.tokenizer import SIZE, Tokenizer
from souron.evaluation.answers import Setup, dense, stacked
from souron.evaluation.language import complete, fill_mask
from souron.evaluation.language.fill_mask import NAMES, FillResult, Masked
from souron.kinds.labels import Labels
from souron.kinds.signature import Choice
from souron.kinds.text import Text
from souron.metrics.fill_mask import scores as scored
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Scores, Step, Task, Trainings, as_it_is
from souron.utils.messages import N_, UserError, _

MASK = re.compile(r"\s*(?:\[MASK\]|<mask>)")  # a token includes the space before its word
ASKED_AT_ONCE = 32  # windows per step of evaluation
AT_ONCE = 2048  # tokens per training step
PART = "\ufffd"  # stands for a token that is part of a multi-byte character


@dataclass(frozen=True)
class Spec:
    """Properties of the data that a system needs before it is built."""

    tokenizer: str  # ``Tokenizer.packed``
    vocabulary: int = SIZE + 1  # tokens; the last one is the mask


class Batch(NamedTuple):
    """Windows of some cases, padded with ``PAD``."""

    given: Tensor  # (R, T) int64, the masked input
    true: Tensor  # (R, T) int64
    asked: Tensor  # (R, T) bool: True where a token is to be predicted
    case: Tensor  # (R,) int64: index of the window's case within the batch


class MaskFiller(System):
    """A masked language model: ``guesses`` predicts the tokens at masked positions."""

    task = "fill_mask"
    spec: Spec

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    @property
    def mask(self) -> int:
        return self.spec.vocabulary - 1

    @property
    def hidden(self) -> float:
        """Return the share of the tokens that training hides."""
        return fill_mask.SHARE

    @property
    def context(self) -> int:
        """Return the number of tokens in the context window."""
        return self.config.context

    def guesses(self, tokens: Tensor, masked: Tensor) -> Tensor:
        """Return logits (M, vocabulary) at the M positions ``masked`` in tokens (R, T).

        The mask token itself is never probable.
        """
        raise NotImplementedError

    def masked(self, text: str) -> Masked:
        """Tokenise and mask a test text."""
        return fill_mask.for_test(torch.tensor(self.tokenizer.encode(text)), text, self.mask)

    def loader(
        self, data: Dataset, augment: Augment | None = None, seed: int = 0, device: torch.device | None = None
    ) -> Loader:
        """Tokenise and mask the cases; with ``augment``, draw new windows and masks each time."""
        texts = list(data.input)
        token_ids = self.tokenizer.encode_many(texts)
        entries = [
            fill_mask.for_test(torch.tensor(ids, dtype=torch.long), text, self.mask)
            for ids, text in zip(token_ids, texts, strict=True)
        ]
        augmentation = None if augment is None else self._window
        return Loader(replace(data, input=ListColumn(entries)), self.batch, augmentation, seed, device or self.device)

    def _window(self, rows: Rows, generator: Generator) -> Rows:
        return Rows(ListColumn([self._drawn(entry.true, generator) for entry in rows.input]), None)

    def _drawn(self, ids: Tensor, generator: Generator) -> Masked:
        """Draw a random window of a text, and masks in it."""
        spare = max(0, len(ids) - self.context)
        start = int(torch.randint(spare + 1, (), generator=generator))
        ids = ids[start : start + self.context]
        return fill_mask.for_training(ids, self.mask, self.spec.vocabulary, generator, self.hidden)

    def batch(self, rows: Rows) -> Batch:
        return windows(list(rows.input), self.context)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        windows = max(1, AT_ONCE // batch.given.shape[1])
        for rows in torch.arange(len(batch.given)).split(windows):
            part = Batch(*(tensor[rows] for tensor in batch))
            if part.asked.any():
                yield "model", self.loss(part)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy at masked tokens in nats."""
        logits = self.guesses(batch.given, batch.asked)
        return F.cross_entropy(logits.float(), batch.true[batch.asked])

    def carried(self) -> Portable:
        """Return what others run: tokens (B, T) in; probabilities (B, T, vocabulary), never of the mask, out."""

        def probabilities(tokens: Tensor) -> tuple[Tensor]:
            hidden = torch.arange(self.spec.vocabulary, device=tokens.device) == self.mask
            return (self(tokens).float().masked_fill(hidden, -torch.inf).softmax(2),)

        def of_rows(texts: Any) -> tuple[Tensor]:
            return (windows([self.masked(text) for text in texts], self.context).given,)

        return Portable(
            Answer(self, probabilities),
            (Input("tokens", (min(8, self.context),), torch.int64, {0: Free(2, self.context)}, self.spec.vocabulary),),
            ("probability",),
            "tokens",
            "each_token",
            decides={"probability": 2},
            about={"context": self.context, "mask": self.mask},
            of_rows=of_rows,
            beside={"tokenizer.json": self.tokenizer.backend.to_str(pretty=False)},
        )

    @torch.inference_mode()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """Return metric -> (cases,), the mean over the masked tokens of a case."""
        cases, total = int(batch.case.max()) + 1, dict.fromkeys((*NAMES, "count"), torch.zeros(1))
        for rows in torch.arange(len(batch.given)).split(ASKED_AT_ONCE):
            tokens, true, mask, case = (tensor[rows] for tensor in batch)
            owner = case[:, None].expand_as(mask)[mask]
            sums = scored(self.guesses(tokens, mask), true[mask], owner, cases)
            total = {name: total[name] + sums[name].cpu() for name in total}
        return {name: total[name] / total["count"].clamp(min=1) for name in NAMES}

    @torch.inference_mode()
    def predict(
        self, text: Text, *, place: Annotated[int, Choice(N_("which mask, where there are several"), low=1)] = 1
    ) -> Labels:
        """Return the most probable words, or parts of words, for one ``[MASK]`` of the text."""
        tokenizer, parts = self.tokenizer, MASK.split(text.text.strip())
        if not 1 <= place < len(parts):
            raise UserError(
                "no mask",
                _("the text has {count} masks").format(count=len(parts) - 1),
                expected=_("[MASK] in place of a word, and place=1 for the first"),
                fix='"The patient takes a [MASK]."',
                exit=3,
            )
        ids, masks = tokenizer.encode(parts[0]), []
        for piece in tokenizer.encode_many(parts[1:]):
            masks.append(len(ids))
            ids += [self.mask, *piece]
        at = masks[place - 1]
        begin = max(0, min(at - self.context // 2, len(ids) - self.context))
        tokens = torch.tensor([ids[begin : begin + self.context]], device=self.device)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        mask[0, at - begin] = True
        return Labels(text.file, *words(tokenizer, self.guesses(tokens, mask)[0].softmax(0)), of_image=False)


def words(tokenizer: Tokenizer, chance: Tensor) -> tuple[list[str], list[float]]:
    """Return tokens as distinct texts without leading spaces, the most probable first.

    Tokens that are parts of multi-byte characters are merged into one entry.
    """
    share_of: dict[str, float] = {}
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        text = PART if PART in text else text.strip() or text
        share_of[text] = share_of.get(text, 0.0) + float(chance[token])
    ranking = sorted(share_of.items(), key=lambda pair: -pair[1])
    return [word for word, _chance in ranking], [share for _word, share in ranking]


def windows(entries: Sequence[Masked], context: int) -> Batch:
    """Cut texts into consecutive windows."""
    rows: list[tuple[int, Masked]] = []
    for case, entry in enumerate(entries):
        for start in range(0, max(1, len(entry.true)), context):
            part = slice(start, start + context)
            rows.append((case, Masked(*(tensor[part] for tensor in entry))))
    longest = max((len(entry.true) for _case, entry in rows), default=1)
    tokens, true = torch.full((2, len(rows), max(1, longest)), PAD)
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, (_case, entry) in enumerate(rows):
        end = len(entry.true)
        tokens[row, :end], true[row, :end], mask[row, :end] = entry
    device = entries[0].true.device if entries else None
    owner = torch.tensor([number for number, _each in rows])
    return Batch(*(part.to(device) for part in (tokens, true, mask, owner)))


def shorter(batch: Batch, length: int) -> Batch:
    """Cut the windows (R, T) of a batch into windows of at most ``length`` tokens.

    Example:
        >>> tokens = torch.arange(8).view(2, 4)
        >>> shorter(Batch(tokens, tokens, tokens > 5, torch.tensor([0, 1])), 2).given.tolist()
        [[0, 1], [2, 3], [4, 5], [6, 7]]
    """
    parts = -(-batch.given.shape[1] // length)
    spare = parts * length - batch.given.shape[1]
    tokens, true = (F.pad(tensor, (0, spare), value=PAD).view(-1, length) for tensor in (batch.given, batch.true))
    mask = F.pad(batch.asked, (0, spare)).view(-1, length)
    rows = (tokens != PAD).any(1)
    return Batch(tokens[rows], true[rows], mask[rows], batch.case.repeat_interleave(parts)[rows])


class FillMask(Task):
    """Predictions for the masked positions of every test text."""

    title = N_("filling of masks")
    takes = Text
    gives = Labels
    metrics = (
        Metric(N_("accuracy"), unit="share", headline=True),
        Metric(N_("accuracy in five guesses"), unit="share", headline=True),
        Metric(N_("bits per masked token"), higher_is_better=False, unit="bits", headline=True, kind="amount"),
    )
    watches = "bits per masked token"
    default_data = "manuals"
    target = "texts"
    formats = ("texts",)
    fewest_classes = 0
    augments = True
    inherits = ("tokenizer", "vocabulary")

    def check(self, data: Dataset, options: Any) -> None:
        first = next(iter(data.input), None) if isinstance(data.input, ListColumn) else None
        if not isinstance(first, str):
            raise UserError(
                "no texts",
                _("{data} holds no texts").format(data=data.name),
                expected=_("a folder of .txt or .md files"),
                fix="data=manuals",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        tokenizer = complete.tokenizer_for(train)
        return Spec(tokenizer.packed(), len(tokenizer) + 1)

    def example(self, system: type[System], size: str) -> Spec:
        return Spec("")

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        entries = list(rows.input)
        return windows(entries, max(len(entry.true) for entry in entries))

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        if names:
            super().augmentation(names)
        return as_it_is

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, MaskFiller)
        scores = [system.scores(batch) for batch in data.once()]
        return {name: torch.cat([part[name] for part in scores]) for name in NAMES}

    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        assert isinstance(system, MaskFiller)
        scores: list[dict[str, Tensor]] = []
        for batch in system.loader(test).once(8):
            scores.append(system.scores(batch))
            share = min(1.0, len(scores) * 8 / len(test))
            yield Step(share, _("measuring on {n} unseen cases").format(n=len(test)))
        result = {name: torch.cat([part[name] for part in scores]) for name in NAMES}
        yield Step(1.0, result=result)

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return {name: stacked(seeds, name) for name in NAMES}

    @torch.inference_mode()
    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        """Return the predictions for some test texts."""
        assert isinstance(system, MaskFiller)
        yield Step(1.0, result=fill_mask.guessed(system, setup.test))

    def result(self, trainings: Trainings, setup: Setup) -> FillResult:
        return fill_mask.result(trainings, setup)

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> dict[str, Any]:
        """Return system -> the predictions of its first seed for some test texts."""
        return {name: fill_mask.samples(seeds[0]) for name, seeds in answers.items()}

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", "language", *NAMES
        languages = test.columns.get("language") or [""] * len(test)
        columns = [dense(answers, name).tolist() for name in NAMES]
        for file, language, *values in zip(test.file, languages, *columns, strict=True):
            yield file, language, *(round(value, 4) for value in values)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} FILE"
