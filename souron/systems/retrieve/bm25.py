"""The sentence that shares most of the question's rare words answers it.

Robertson, Zaragoza: The Probabilistic Relevance Framework: BM25 and Beyond (2009).
https://doi.org/10.1561/1500000019

    score = sum_t idf(t) f (k1 + 1) / (f + k1 (1 - b + b length / mean length))

f counts the word t in a sentence. Words are runs of letters and digits; in Japanese, which has no
spaces, all pairs of adjacent characters. Paraphrases and other languages are not matched.

Differs from the paper: sentences in place of documents; the sum is divided by its possible maximum,
so that one threshold decides whether a text answers at all: the one that best separates the
training questions.
"""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.retrieve import Retriever, Spec

ASIAN = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
WORD = re.compile(rf"[{ASIAN}]+|[^\W{ASIAN}]+")


@dataclass(frozen=True)
class Config:
    k1: float = 1.2  # saturation of term frequency
    b: float = 0.75  # length normalisation, 0..1
    least: float = 0.23  # threshold of answerability, chosen on development questions


class Index(NamedTuple):
    postings: dict[str, tuple[list[int], list[int]]]  # word -> sentences, and its count in each
    length: Tensor  # (sentences,) words


class BM25(Retriever):
    blocked = NO_NETWORK
    year = 2009
    ja = "質問にある珍しい語を最も多く含む文を答えとする"
    SIZES = {"tiny": Config(), "small": Config()}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)

    def index(self, texts: Sequence[str]) -> Iterator[tuple[float, Index]]:
        postings: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        lengths = []
        for number, text in enumerate(texts):
            counts = Counter(words(text))
            lengths.append(sum(counts.values()))
            for word, count in counts.items():
                postings[word][0].append(number)
                postings[word][1].append(count)
        yield 1.0, Index(dict(postings), torch.tensor(lengths, dtype=torch.float32))

    def rank(self, index: Index, question: str) -> Tensor:
        k1, b, length = self.config.k1, self.config.b, index.length
        score, most = torch.zeros(len(length)), 0.0
        slow = k1 * (1 - b + b * length / length.mean().clamp(min=1))
        for word in dict.fromkeys(words(question)):
            places, counts = index.postings.get(word, ([], []))
            idf = math.log(1 + (len(length) - len(places) + 0.5) / (len(places) + 0.5))
            most += idf * (k1 + 1)
            if places:
                rows, often = torch.tensor(places), torch.tensor(counts, dtype=torch.float32)
                score[rows] += idf * (k1 + 1) * often / (often + slow[rows])
        return score / most if most else score


def words(text: str) -> Iterator[str]:
    """Yield lower-cased words; of Japanese, character pairs or a single character."""
    for run in WORD.findall(text.lower()):
        if not re.match(rf"[{ASIAN}]", run) or len(run) == 1:
            yield run
        else:
            yield from map("".join, itertools.pairwise(run))
