"""Sentences and question as points of one space: the nearest sentence answers.

Yang, Cer, Ahmad and others: Multilingual Universal Sentence Encoder for Semantic Retrieval (2019).
https://arxiv.org/abs/1907.04307

    score = f(sentence) . f(question)        |f| = 1

f looks at the pieces of words of a sentence and at 2, 3 and 5 of them in a row, and has learnt from
pairs of question and answer and of translations, in 16 languages, to put together what belongs
together. So it finds what is said in other words or in another language.

Differs from the paper: the weights are the published convolutional ones, rounded to 8 bits, run by
a library in NumPy; a question of several sentences is asked sentence by sentence as well; lines of
a few words, which are headings mostly, are held back; what is learnt here is one threshold, from
which on a text answers at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.sentences import DIMS, SentenceEncoder
from souron.tasks.retrieve import Retriever, Spec, columns, parts

WHOLE = 32  # columns from which on a line counts fully
TOGETHER = 512  # sentences between two looks at how much is done
SCORED = 20_000  # sentences at once, as float32


@dataclass(frozen=True)
class Config:
    short: float = 0.75  # what the shortest lines, mostly headings, count of a whole sentence
    least: float = 0.32  # cosine from which on the answer is there; chosen on development questions


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
        """(sentences, 512) float16, of a short line shorter than 1."""
        vectors = torch.zeros(len(texts), DIMS, dtype=torch.float16)
        for start in range(0, len(texts), TOGETHER):
            some = texts[start : start + TOGETHER]
            whole = torch.tensor([min(1.0, columns(text) / WHOLE) for text in some])
            held = self.config.short + (1 - self.config.short) * whole
            found = torch.from_numpy(self.network.encode(some)) * held[:, None]
            vectors[start : start + TOGETHER] = found
            yield min(1.0, (start + TOGETHER) / len(texts)), vectors
        if not texts:
            yield 1.0, vectors

    def rank(self, index: Tensor, question: str) -> Tensor:
        """A question of several sentences is asked as a whole and sentence by sentence; of each
        sentence of the text the best score counts."""
        asked = torch.from_numpy(self.network.encode(parts(question)))
        with torch.autocast(index.device.type, enabled=False):
            scores = [(some.float() @ asked.T).amax(1) for some in index.split(SCORED)]
        return torch.cat(scores)
