"""Every token looks at all others and says whether a span begins there or goes on.

Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers (2018).
https://arxiv.org/abs/1810.04805

    p(tag of a unit) = softmax(W encoder(tokens) at the unit's first token)
    the likeliest tags in which no span goes on that did not begin (Viterbi)

A unit is a word of an alphabet, or one character of Japanese, which has no spaces between words.
With ``pretrained=RUN`` it starts from the weights of a ``bert_mask`` run, trained on texts without
tags; else from random weights. In training, spans are exchanged with others of their label (Dai,
Adel 2020, https://doi.org/10.18653/v1/2020.coling-main.343).

Differs from the paper: matrices are trained by Muon (Jordan and others 2024), the rest by AdamW,
with one cycle of the rate; exchanged spans; invalid sequences of tags are ruled out.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from souron.blocks.encoder import PAD, Encoder, begin
from souron.blocks.muon import MuonAdamW
from souron.blocks.portable import Answer, Free, Input, Portable
from souron.tasks.tag import Sentence, Spec, Tagger, spans_of, tags_of, units

MATRICES = 10.0  # Muon's learning rate, relative to ``rate``
ENDS = re.compile(r"[。．！？\n]|[.!?]\s")  # ends of sentences
AT_ONCE = 16  # parts per training step


@dataclass(frozen=True)
class Config:
    layers: int = 3
    width: int = 128
    heads: int = 4
    context: int = 128  # tokens; longer texts are split, at the end of a sentence where possible
    drop: float = 0.2
    rate: float = 1e-3
    swap: float = 0.5  # probability that spans of a training sentence are exchanged


class Batch(NamedTuple):
    """Parts of some sentences, padded with ``PAD``."""

    tokens: Tensor  # (R, T) int64
    tags: Tensor  # (R, T) int64, -1 except at the first token of each unit


class BERTTag(Tagger):
    year = 2018
    ja = "前後すべてのトークンを見て、各文字や単語に名前の始まりと続きの印をつける Transformer"
    clip = 1.0
    NEW = ("fc",)
    SIZES = {
        "tiny": Config(layers=2, width=64, heads=2, context=64, rate=2e-3),
        "small": Config(),
        "base": Config(12, 768, 12, 512, 0.1, 5e-5),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder = Encoder(spec.vocabulary, config.context, config.layers, config.width, config.heads, config.drop)
        self.drop = nn.Dropout(config.drop)
        self.fc = nn.Linear(config.width, 1 + 2 * len(spec.labels))
        begin(self.fc)
        self.pieces: dict[str, list[int]] = {}

    def portable(self) -> Portable:
        context = self.config.context
        tags = ["-", *(f"{way} {label}" for label in self.spec.labels for way in ("B", "I"))]
        return Portable(
            Answer(self, lambda tokens: (self(tokens).float().softmax(2),)),
            (Input("tokens", (min(8, context),), torch.int64, {0: Free(2, context)}, self.spec.vocabulary),),
            ("probability",),
            "tokens",
            "each_token",
            tuple(tags),
            {"probability": 2},
            {"context": context},
            of_rows=self.rows,
            beside={"tokenizer.json": self.tokenizer.backend.to_str(pretty=False)},
        )

    def rows(self, texts: Any) -> tuple[Tensor]:
        """Return the first part of each sentence as tokens, (B, T)."""
        sentences = [self.parts("".join(words), units("".join(words)))[:1] for words in texts]
        return (padded([[token for unit in part for token in unit] for parts in sentences for _start, part in parts]),)

    def example(self) -> None:
        self(torch.zeros(1, self.config.context, dtype=torch.long, device=self.device))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc(self.drop(self.encoder(tokens)))  # (B, T, tags)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        matrices = self.encoder.matrices()
        matrix_ids = {id(weight) for weight in matrices}
        others = [weight for weight in self.parameters() if id(weight) not in matrix_ids]
        rate = self.config.rate
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.05)}

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, of similar length, one optimiser step each."""
        length = (batch.tokens >= 0).sum(1)
        for rows in length.argsort(stable=True).split(AT_ONCE):
            longest = int(length[rows].max())
            part = Batch(*(column[rows, :longest] for column in batch))
            if (part.tags >= 0).any():
                yield "model", self.loss(part)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of units' tags in nats."""
        logits = self(batch.tokens).float().transpose(1, 2)
        return F.cross_entropy(logits, batch.tags, ignore_index=PAD)

    def batch(self, rows: Any) -> Batch:
        tokens, tags = [], []
        for text, spans in rows.input:
            places = units(text)
            own = tags_of(places, spans)
            for start, part in self.parts(text, places):
                tokens.append([token for unit in part for token in unit])
                tags.append(
                    [
                        int(own[start + i]) if first else PAD
                        for i, unit in enumerate(part)
                        for first in (True, *[False] * (len(unit) - 1))
                    ]
                )
        return Batch(padded(tokens).to(self.device), padded(tags).to(self.device))

    def parts(self, text: str, places: Sequence[tuple[int, int]]) -> list[tuple[int, list[Any]]]:
        """Split a text into parts that fit the context: first unit, tokens of each unit."""
        parts: list[tuple[int, list[Any]]] = [(0, [])]
        length, context = 0, self.config.context
        for number, (start, end) in enumerate(places):
            unit = self.tokens(text[start - (text[start - 1 : start] == " ") : end])[:context]
            sentence_end = length > context // 2 and ENDS.search(text, places[number - 1][1] - 1, start)
            if length + len(unit) > context or sentence_end:
                parts.append((number, []))
                length = 0
            parts[-1][1].append(unit)
            length += len(unit)
        return [part for part in parts if part[1]]

    def tokens(self, piece: str) -> list[int]:
        if piece not in self.pieces:
            self.pieces[piece] = self.tokenizer.encode(piece) or [self.tokenizer.start]
        return self.pieces[piece]

    def found(self, texts: Sequence[str]) -> list[list[list[float]]]:
        every = [units(text) for text in texts]
        parts = [self.parts(text, places) for text, places in zip(texts, every, strict=True)]
        rows = [[t for unit in part for t in unit] for of_text in parts for _start, part in of_text]
        if not rows:
            return [[] for _text in texts]
        logits = self(padded(rows).to(self.device)).float().log_softmax(2).cpu()
        row = 0
        predicted: list[list[list[float]]] = []
        for places, of_text in zip(every, parts, strict=True):
            chances = []
            for _start, part in of_text:
                sizes = torch.tensor([len(unit) for unit in part])
                chances.append(logits[row, sizes.cumsum(0) - sizes])
                row += 1
            if not chances:
                predicted.append([])
                continue
            chance = torch.cat(chances)  # (units, tags)
            tags = likeliest(chance)
            shares = chance[torch.arange(len(tags)), tags].exp()
            predicted.append(spans_of(places, tags.tolist(), shares.tolist()))
        return predicted

    def changes(self, sentences: Sequence[Sentence]) -> Any:
        """Return an augmentation that exchanges spans with others of the same label."""
        pool: dict[int, list[str]] = defaultdict(list)
        for text, spans in sentences:
            for label, start, end in spans.tolist():
                pool[label].append(text[start:end])

        def change(rows: Any, generator: Generator) -> Any:
            chance = torch.rand(len(rows.input), generator=generator)
            return rows._replace(
                input=type(rows.input)(
                    [
                        swapped(sentence, pool, generator) if share < self.config.swap else sentence
                        for sentence, share in zip(rows.input, chance.tolist(), strict=True)
                    ]
                )
            )

        return change


def swapped(sentence: Sentence, pool: dict[int, list[str]], generator: Generator) -> Sentence:
    """Exchange about half of the spans of a sentence."""
    text, spans, end, original = "", [], 0, sentence.text
    for label, start, last in sentence.spans.tolist():
        span_text = original[start:last]
        if torch.rand((), generator=generator) < 0.5:
            span_text = pool[label][int(torch.randint(len(pool[label]), (), generator=generator))]
        text += original[end:start]
        spans.append([label, len(text), len(text) + len(span_text)])
        text, end = text + span_text, last
    return Sentence(text + original[end:], torch.tensor(spans, dtype=torch.long).reshape(-1, 3))


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Stack rows to (R, T) int64, padded with ``PAD``."""
    table = torch.full((len(rows), max(map(len, rows), default=1)), PAD)
    for row, values in enumerate(rows):
        table[row, : len(values)] = torch.tensor(values, dtype=torch.long)
    return table


def likeliest(chance: Tensor) -> Tensor:
    """Return the most probable valid tags (units,) for log probabilities (units, tags).

    A continuing tag must follow its own label. Viterbi: Error Bounds for Convolutional Codes
    (1967), https://doi.org/10.1109/TIT.1967.1054010.
    """
    count = chance.shape[1]
    after = torch.zeros(count, count)  # log transition, [before, tag]
    for tag in range(2, count, 2):
        after[:, tag] = -torch.inf
        after[[tag - 1, tag], tag] = 0
    # forward pass: the best path to each tag, and the tag before it
    best = chance[0].clone()
    best[2::2] = -torch.inf
    back = []
    for log_prob in chance[1:]:
        total, before = (best[:, None] + after).max(0)
        back.append(before)
        best = total + log_prob
    # backtracking from the best last tag
    tags = [int(best.argmax())]
    for before in reversed(back):
        tags.append(int(before[tags[-1]]))
    return torch.tensor(tags[::-1])
