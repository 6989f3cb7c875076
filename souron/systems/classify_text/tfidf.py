"""Counts words, the rarer the heavier, and draws a straight line: the yardstick for texts.

Sparck Jones: A Statistical Interpretation of Term Specificity and Its Application in Retrieval
(1972). https://doi.org/10.1108/eb026526

    x_w = (1 + ln n_w) ln((1 + N) / (1 + N_w))        p = softmax(W x / |x| + b)
    n_w how often the word comes in the text, N texts, N_w of them with that word

Words are counted without their neighbours, and no text is truncated. The classifier is logistic
regression (Cox 1958), with the solution of scikit-learn's. A hash function numbers the words, so
that no vocabulary is stored: with 32 768 numbers collisions are few. Of Japanese, characters and
their pairs are counted.

Differs from the paper: logarithmic weights as in scikit-learn, a classifier in place of a search.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.portable import NO_NETWORK
from souron.tasks.classify_text import Spec, TextClassifier
from souron.training.loop import Progress, Run

WORD = re.compile(r"[぀-ヿ㐀-鿿々]+|[^\W_぀-ヿ㐀-鿿々]+")
JAPANESE = re.compile(r"[぀-ヿ㐀-鿿々]")
STEPS = 12  # of ten iterations each


@dataclass(frozen=True)
class Config:
    numbers: int = 32_768
    softness: float = 10.0  # C of the regression: larger values regularise less


class TFIDF(TextClassifier):
    blocked = NO_NETWORK
    year = 1972
    ja = "珍しい単語ほど重く数え、直線で分ける。文章の分類のものさし"
    full_batch = True
    SIZES = {"tiny": Config(512), "small": Config()}

    rarity: Tensor  # (numbers,)
    weight: Tensor  # (labels, numbers)
    bias: Tensor  # (labels,)

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = STEPS
        self.register_buffer("rarity", torch.ones(config.numbers))
        self.register_buffer("weight", torch.zeros(len(spec.labels), config.numbers))
        self.register_buffer("bias", torch.zeros(len(spec.labels)))

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def encoded(self, texts: Sequence[str]) -> list[Any]:
        """Encode each text as two rows: the numbers of its words, and 1 + ln of their counts."""
        rows = []
        for text in texts:
            counts = Counter(crc32(word.encode()) % self.config.numbers for word in words(text))
            pairs = torch.tensor(list(counts.items()) or [(0, 0)], dtype=torch.float64).T
            rows.append(torch.stack([pairs[0], pairs[1].clamp(min=1).log() + (pairs[1] > 0)]))
        return rows

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        """Fit L2-regularised logistic regression, a convex problem, by L-BFGS."""
        texts, label = list(data.cases.input), data.cases.target
        # inverse document frequencies
        holds = torch.zeros(self.config.numbers, dtype=torch.float64)
        for text in texts:
            holds[text[0][text[1] > 0].long()] += 1
        self.rarity.copy_(((1 + len(texts)) / (1 + holds)).log() + 1)
        pairs = [self._weighed(text) for text in texts]
        # tf-idf vectors as a sparse matrix (texts, numbers)
        row = torch.repeat_interleave(torch.tensor([len(number) for number, _value in pairs]))
        index = torch.stack([row, torch.cat([number for number, _value in pairs])])
        value = torch.cat([value for _number, value in pairs])
        size = (len(texts), self.config.numbers)
        x = torch.sparse_coo_tensor(index, value, size, check_invariants=True).coalesce()
        line = self.weight.clone().requires_grad_()
        bias = self.bias.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([line, bias], max_iter=10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            logits = torch.sparse.mm(x, line.T) + bias
            return F.cross_entropy(logits, label) + line.square().sum() / (2 * self.config.softness * len(label))

        def closure() -> Tensor:
            optimizer.zero_grad()
            objective = loss()
            objective.backward()
            return objective

        for step in range(run.start, min(run.steps, STEPS)):
            with torch.enable_grad():
                objective = optimizer.step(closure)
            self.weight.copy_(line.detach())
            self.bias.copy_(bias.detach())
            yield Progress(step, {"log loss": torch.as_tensor(objective).detach()})

    def _weighed(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers of a text's words and their TF-IDF weights, normalised to length 1."""
        number = text[0].long()
        value = text[1].float() * self.rarity[number]
        return number, value / value.norm().clamp(min=1e-9)

    def forward(self, texts: Any) -> Tensor:
        """Map texts from ``encoded`` to logits (B, labels)."""
        logits = []
        for text in texts:
            number, value = self._weighed(text)
            logits.append(self.weight[:, number] @ value)
        return torch.stack(logits) + self.bias


def words(text: str) -> Iterator[str]:
    """Yield the lower-cased words; of Japanese each character and each pair."""
    for run in WORD.findall(text.lower()):
        if not JAPANESE.match(run):
            yield run
            continue
        yield from run
        yield from map("".join, pairwise(run))
