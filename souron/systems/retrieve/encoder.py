"""Sentences and question as points of one space: the nearest sentence answers.

Yang, Cer, Ahmad and others: Multilingual Universal Sentence Encoder for Semantic Retrieval (2019).
https://arxiv.org/abs/1907.04307

    score = f(sentence) . f(question)        |f| = 1

f embeds the subwords of a sentence and runs of 2, 3 and 5 of them; it was trained on pairs of
question and answer and of translations, in 16 languages, to embed matching texts close together. So
it finds paraphrases and other languages.

Differs from the paper: the weights are the published convolutional ones, rounded to 8 bits, run by
a library in NumPy; a question of several sentences is also queried sentence by sentence; lines of a
few words, mostly headings, are down-weighted; only one threshold is fitted here, above which a text
answers at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.sentences import DIMS, SentenceEncoder
from souron.tasks.retrieve import Retriever, Spec, columns, parts

WHOLE = 32  # columns from which a line has full weight
TOGETHER = 512  # sentences between two progress reports
SCORED = 20_000  # sentences scored at once in float32


@dataclass(frozen=True)
class Config:
    short: float = 0.75  # weight of the shortest lines, mostly headings
    least: float = 0.32  # threshold of answerability, chosen on development questions


class Encoder(Retriever):
    year = 2019
    ja = "文と質問を同じ空間の点に変え、質問に最も近い文を答えとする"
    status = "pretrained"
    slow_index = True
    SIZES = {"tiny": Config(), "small": Config()}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.network = SentenceEncoder()

    def index(self, texts: Sequence[str]) -> Iterator[tuple[float, Tensor]]:
        """Embed sentences as (sentences, 512) float16; the vectors of short lines are shortened."""
        vectors = torch.zeros(len(texts), DIMS, dtype=torch.float16)
        for start in range(0, len(texts), TOGETHER):
            part = texts[start : start + TOGETHER]
            whole = torch.tensor([min(1.0, columns(text) / WHOLE) for text in part])
            length = self.config.short + (1 - self.config.short) * whole
            embeddings = torch.from_numpy(self.network.encode(part)) * length[:, None]
            vectors[start : start + TOGETHER] = embeddings
            yield min(1.0, (start + TOGETHER) / len(texts)), vectors
        if not texts:
            yield 1.0, vectors

    def rank(self, index: Tensor, question: str) -> Tensor:
        """Score sentences against the question and each of its sentences; the best score counts."""
        queries = torch.from_numpy(self.network.encode(parts(question)))
        with torch.autocast(index.device.type, enabled=False):
            scores = [(part.float() @ queries.T).amax(1) for part in index.split(SCORED)]
        return torch.cat(scores)
