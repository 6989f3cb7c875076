"""Reads all of the text: where the question becomes likely, there the answer stands.

Sachan, Lewis, Joshi and others: Improving Passage Retrieval with Zero-Shot Question Generation
(2022). https://arxiv.org/abs/2204.07496

    score = (log P(question | passage) - log P(question)) / tokens of the question

Every token of the text goes through a language model, in windows that begin with a sentence. Then
each sentence of the best windows is scored alone, which counts half; a sentence of other windows
counts as if it scored 0 alone. Only the tokens of a text are stored: each question reads the whole
text again, since the question follows a window, and the model's cache of all windows would fill
gigabytes. ``model=`` names an open model or a run of ``gpt``; without one, a byte bigram model of
each window is used, as in Ponte, Croft: A Language Modeling Approach to Information Retrieval
(1998), https://doi.org/10.1145/290941.291008.

Differs from the paper: no other system selects passages before; the question's score without a
passage is subtracted, and windows are scored before sentences; the model is smaller and gets no
instruction; only one threshold is fitted here, above which a text answers at all.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.blocks import int8
from souron.hub import open_models
from souron.tasks.retrieve import Retriever, Spec
from souron.utils.messages import UserError, _

FEWEST = 16  # tokens of a window
TOGETHER = 512  # sentences between two progress reports of tokenisation
LEAST = 1.0  # added to counts: weight of the whole text's statistics
ASKED = "Question:"  # separates a passage from the question


@dataclass(frozen=True)
class Config:
    model: str = "smollm2"  # or a file, a folder, a run of gpt; "": byte counts
    window: int = 256  # tokens
    together: int = 8  # windows at once
    again: int = 4  # windows whose sentences are scored alone
    least: float = 0.87  # threshold in nats per token, chosen on development questions


class Window(NamedTuple):
    first: int  # sentence
    last: int  # sentence, possibly only its beginning
    tokens: list[int]


class Windows(Retriever):
    year = 2022
    ja = "文章の全トークンを窓に分けて言語モデルに読ませ、質問が最も出やすくなる所を答えとする"
    reads_for_each = True
    learns_from = 60
    SIZES = {"tiny": Config(model="", window=64, least=0.1), "small": Config(), "letters": Config(model="", least=0.1)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def index(self, texts: Sequence[str]) -> Iterator[tuple[float, list[list[int]]]]:
        """Yield progress 0..1 and, with the last step, the tokens of each sentence."""
        encode = self._encode
        tokens: list[list[int]] = []
        for text in texts:
            tokens.append(encode(" ".join(text.split()) + "\n"))
            if len(tokens) % TOGETHER == 0:
                yield len(tokens) / len(texts), tokens
        yield 1.0, tokens

    def ranking(self, index: list[list[int]], question: str) -> Iterator[tuple[float, Tensor]]:
        """Yield progress and, last, the nats per question token gained, (sentences,).

        Raises UserError for a question too long to leave room for a window.
        """
        reader = self._reader(index, question)
        length = len(reader.question)
        room = min(self.config.window, reader.room)
        if room < FEWEST:
            raise UserError(
                "question",
                _("a question of {count} tokens").format(count=length),
                expected=_("at most {count} tokens, beside which a window has room").format(
                    count=max(0, length + reader.room - FEWEST)
                ),
                fix='souron ask FILE "..." retriever=encoder',
            )
        # log-likelihood gain of the question after each window
        windows = cut(index, room)
        alone = float(reader.nats([[]])[0])
        work = sum(len(window.tokens) + length for window in windows)
        whole, tokens_read = torch.empty(0), 0
        score = torch.full((len(index),), -torch.inf)
        for group in batches(windows, self.config.together):
            nats = (reader.nats([window.tokens for window in group]) - alone) / length
            whole = torch.cat([whole, nats])
            tokens_read += sum(len(window.tokens) + length for window in group)
            yield 0.95 * tokens_read / work, score
        # a sentence takes the best of its windows
        for window, gain in zip(windows, whole, strict=True):
            part = slice(window.first, window.last + 1)
            score[part] = score[part].clamp(min=float(gain))
        # the sentences of the best windows are read once more, each alone
        rows = set()
        for best in whole.argsort(descending=True, stable=True)[: self.config.again].tolist():
            rows |= set(range(windows[best].first, windows[best].last + 1))
        long = torch.tensor([len(tokens) > room for tokens in index], dtype=torch.bool)
        score = torch.where(long, score, score / 2)  # long ones were alone in their windows
        short = sorted((row for row in rows if not long[row]), key=lambda row: len(index[row]))
        for batch in batches(short, 4 * self.config.together):
            nats = (reader.nats([index[row] for row in batch]) - alone) / length
            score[batch] += nats / 2
            yield 0.99, score
        yield 1.0, score

    def rank(self, index: list[list[int]], question: str) -> Tensor:
        score = torch.zeros(0)
        for _done, score in self.ranking(index, question):  # noqa: B007
            pass
        return score

    def _encode(self, text: str) -> list[int]:
        if not self.config.model:
            return list(text.casefold().encode("utf-8", "replace"))
        return loaded(self.config.model)[1].encode(text)

    def _reader(self, index: Sequence[list[int]], question: str) -> "Model | Counts":
        if not self.config.model:
            return Counts(index, self._encode(question))
        return Model(self.config.model, question)


@lru_cache(maxsize=1)
def loaded(name: str) -> Any:
    """Return a model's description, tokenizer and the decoder that reads fastest here, cached."""
    about, tokenizer, decoder = open_models.load(name)
    return about, tokenizer, int8.reading(decoder)


class Model:
    """The likelihood of a question after passages, under a language model."""

    def __init__(self, name: str, question: str) -> None:
        _about, tokenizer, self.decoder = loaded(name)
        self.start = tokenizer.start
        self.between = tokenizer.encode(ASKED)
        self.question = tokenizer.encode(f" {question}")
        around = 1 + len(self.between) + len(self.question)
        self.room = self.decoder.structure.context - around

    @torch.inference_mode()
    def nats(self, passages: Sequence[list[int]]) -> Tensor:
        """Return the log-likelihood (passages,) of the question after each passage.

        Padding follows the question, where causal attention hides it; the head is applied to the
        question only.
        """
        rows = [[self.start, *passage, *self.between] for passage in passages]
        length = len(self.question)
        tokens = torch.full((len(rows), max(map(len, rows)) + length), self.start)
        where = torch.empty(len(rows), length, dtype=torch.int64)
        question = torch.tensor(self.question)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = torch.tensor(row)
            tokens[number, len(row) : len(row) + length] = question
            where[number] = torch.arange(length) + len(row) - 1
        with torch.autocast("cpu", enabled=False):
            features = self.decoder.features(tokens)
            features = features.gather(1, where[..., None].expand(-1, -1, features.shape[-1]))
            log_probs = self.decoder.logits(features).float().log_softmax(-1)
        return log_probs.gather(2, question.expand(len(rows), -1)[..., None]).sum((1, 2))


class Counts:
    """The likelihood of a question under byte bigram counts of a passage and of the whole text."""

    room = 1 << 30

    def __init__(self, index: Sequence[list[int]], question: list[int]) -> None:
        self.question = question
        self.pairs: Counter[tuple[int, int]] = Counter()
        for tokens in index:
            self.pairs.update(pairwise(tokens))
        self.firsts = _firsts(self.pairs)

    def nats(self, passages: Sequence[list[int]]) -> Tensor:
        return torch.tensor([self._after(passage) for passage in passages])

    def _after(self, passage: list[int]) -> float:
        pairs = Counter(pairwise(passage))
        firsts = _firsts(pairs)
        chances = [
            (pairs[pair] + LEAST * (self.pairs[pair] + 1) / (self.firsts[pair[0]] + 256)) / (firsts[pair[0]] + LEAST)
            for pair in pairwise(self.question)
        ]
        return float(torch.tensor(chances or [1.0]).log().sum())


def _firsts(pairs: Counter[tuple[int, int]]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for (first, _second), count in pairs.items():
        counts[first] += count
    return counts


def cut(index: Sequence[list[int]], room: int) -> list[Window]:
    """Cut the text into windows of at most ``room`` tokens that together hold every token.

    Each begins with the first sentence that is incomplete in the one before; a sentence longer than
    a window spans several.
    """
    windows: list[Window] = []
    row = 0
    while row < len(index):
        tokens: list[int] = []
        last = row
        while last < len(index) and len(tokens) < room:
            tokens += index[last]
            last += 1
        if last - row == 1 and len(tokens) > room:
            windows += [Window(row, row, tokens[k : k + room]) for k in range(0, len(tokens), room)]
            row += 1
            continue
        windows.append(Window(row, last - 1, tokens[:room]))
        row = last if len(tokens) <= room else last - 1
    return windows


def batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
