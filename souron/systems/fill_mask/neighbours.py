"""Counts of which tokens stood side by side: a mask is guessed from its two neighbours.

Shannon: A Mathematical Theory of Communication (1948).
https://doi.org/10.1002/j.1538-7305.1948.tb01338.x

    p(x | a _ b) ~ p(x | a) p(b | x),    p(x | a) = max(n(ax) - d, 0) / n(a) + d k(a) / n(a) p(x)
    n(ax) how often x followed a,    k(a) how many different tokens followed a

In a Markov chain a token depends only on its neighbours, given all others. A neighbour that is
masked itself is ignored.

Differs from the paper: tokens in place of characters, absolute discounting.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.fill_mask import MaskFiller, Spec
from souron.training.loop import Data, Progress, Run


@dataclass(frozen=True)
class Config:
    sides: int = 2  # 2: both neighbours, 1: the left one, 0: none (most frequent token)
    discount: float = 0.75
    context: int = 128  # tokens per window


class Neighbours(MaskFiller):
    blocked = NO_NETWORK
    year = 1948
    ja = "隣り合うトークンを数え、左右の隣から隠されたトークンを当てる、比較の基準となる方法"
    full_batch = True
    SIZES = {"tiny": Config(), "small": Config(), "left": Config(1), "commonest": Config(0)}
    sized_by_data = ("pairs", "counts")

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("single", torch.zeros(spec.vocabulary))
        self.register_buffer("pairs", torch.zeros(0, dtype=torch.long))
        self.register_buffer("counts", torch.zeros(0))
        self.table: Tensor | None = None

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Count all pairs of adjacent tokens in the training texts."""
        texts = [case.true for case in data.cases.input]  # type: ignore[attr-defined]
        batch, size = next(data.once(4)), self.spec.vocabulary  # type: ignore[attr-defined]
        self.table = None
        yield Progress(0, {"model": self.loss(batch)})
        self.single = torch.cat(texts).bincount(minlength=size).float()
        keys = torch.cat([text[:-1] * size + text[1:] for text in texts])
        self.pairs, counts = keys.unique(return_counts=True)
        self.counts, self.table = counts.float(), None
        yield Progress(1, {"model": self.loss(batch)})

    def chances(self) -> tuple[Tensor, Tensor]:
        """Return log probabilities of tokens (vocabulary,) and of transitions, a square matrix."""
        size, discount = self.spec.vocabulary, self.config.discount
        single = (self.single + 1) / (self.single.sum() + size)
        if self.table is None or self.table.device != single.device:
            before = self.pairs // size
            follow = torch.zeros_like(single).index_add_(0, before, self.counts)
            kinds = before.bincount(minlength=size)
            rest = torch.where(follow > 0, discount * kinds / follow.clamp(min=1), 1.0)
            table = rest[:, None] * single
            table.view(-1)[self.pairs] += (self.counts - discount) / follow[before]
            self.table = table.log_()
        return single.log(), self.table

    @torch.no_grad()
    def guesses(self, given: Tensor, masked: Tensor) -> Tensor:
        single, table = self.chances()
        visible = (given >= 0) & (given != self.mask)
        tokens = torch.where(visible, given, -1)
        edge = tokens.new_full((len(tokens), 1), -1)
        before = torch.cat([edge, tokens[:, :-1]], 1)[masked]  # (M,), -1 where unknown
        after = torch.cat([tokens[:, 1:], edge], 1)[masked]
        logits = single.expand(len(before), -1).clone()
        if self.config.sides > 0:
            logits[before >= 0] = table[before[before >= 0]]
        if self.config.sides > 1:
            logits[after >= 0] += table[:, after[after >= 0]].T
        logits[:, self.mask] = -torch.inf
        return logits.log_softmax(1)
