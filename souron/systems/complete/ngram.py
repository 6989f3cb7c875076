"""Counts of which token followed the last two: no network, and the yardstick for those.

Shannon: A Mathematical Theory of Communication (1948).
https://doi.org/10.1002/j.1538-7305.1948.tb01338.x

    p(c | a b) = max(n(abc) - d, 0) / n(ab.)  +  d k(ab.) / n(ab.) p(c | b)
    n(abc) how often c followed a b,    k(ab.) how many different tokens followed a b

For unseen pairs of tokens the last one alone counts, and without it the frequency of each token.
Reducing counts by d reserves probability for unseen sequences (Ney, Essen, Kneser 1994,
https://doi.org/10.1006/csla.1994.1001).

Differs from the paper: tokens in place of characters, absolute discounting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.complete import LanguageModel, Spec
from souron.training.loop import Data, Progress, Run


@dataclass(frozen=True)
class Config:
    order: int = 3  # length of the n-grams
    discount: float = 0.75
    context: int = 256  # tokens per window


class Ngram(LanguageModel):
    blocked = NO_NETWORK
    year = 1948
    ja = "直前の二つのトークンの後に何が来たかを数えるだけの、比較の基準となる方法"
    full_batch = True
    SIZES = {"tiny": Config(order=2), "small": Config(), "large": Config(order=4)}
    sized_by_data = ("keys2", "counts2", "keys3", "counts3", "keys4", "counts4")

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("counts1", torch.zeros(spec.vocabulary))
        for order in range(2, 5):
            self.register_buffer(f"keys{order}", torch.zeros(0, dtype=torch.long))
            self.register_buffer(f"counts{order}", torch.zeros(0))

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Count all n-grams in the training texts."""
        texts = [case.ids for case in data.cases.input]  # type: ignore[attr-defined]
        batch = next(data.once(4))  # type: ignore[attr-defined]
        self.counts1 = torch.cat(texts).bincount(minlength=self.spec.vocabulary).float()
        for order in range(2, self.config.order + 1):
            yield Progress(order - 2, {"model": self.loss(batch)})
            keys = torch.cat([self._keys(text, order) for text in texts])
            ngrams, counts = keys.unique(return_counts=True)
            setattr(self, f"keys{order}", ngrams)
            setattr(self, f"counts{order}", counts.float())
        yield Progress(self.config.order - 1, {"model": self.loss(batch)})

    def _keys(self, text: Tensor, order: int) -> Tensor:
        """Encode each n-gram of (n,) tokens as one number: (n - order + 1,)."""
        count = len(text) - order + 1
        key = torch.zeros(max(0, count), dtype=torch.long, device=text.device)
        for position in range(order):
            key = key * self.spec.vocabulary + text[position : position + max(0, count)]
        return key

    def read_many(self, tokens: Tensor, cache: Any) -> Tensor:
        """Append tokens to the cache; only the last ``order`` tokens matter."""
        cache.ids = torch.cat([cache.ids[:, : cache.length], tokens], 1)
        cache.length = cache.ids.shape[1]
        return self(cache.ids[:, -self.config.order :].to(self.device))[:, -1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Return log probabilities (B, T, vocabulary)."""
        size = self.spec.vocabulary
        flat = tokens.flatten()
        share = (self.counts1 + 1) / (self.counts1.sum() + size)
        chance = share.expand(len(flat), -1)
        before = flat.clone()  # the preceding tokens as one number
        position = torch.arange(tokens.shape[1], device=tokens.device).repeat(len(tokens))
        for order in range(2, self.config.order + 1):
            chance = self._refined(chance, before, position >= order - 2, order)
            previous = tokens.roll(order - 1, 1).flatten()
            before = before + previous * size ** (order - 1)
        return chance.log().view(*tokens.shape, size)

    def _refined(self, chance: Tensor, before: Tensor, complete: Tensor, order: int) -> Tensor:
        """Interpolate probabilities (n, vocabulary) with the counts after the preceding tokens."""
        keys, counts = getattr(self, f"keys{order}"), getattr(self, f"counts{order}")
        size, discount = self.spec.vocabulary, self.config.discount
        first = torch.searchsorted(keys, before * size)
        end = torch.searchsorted(keys, (before + 1) * size)
        followers = torch.where(complete, end - first, 0)
        row = torch.repeat_interleave(followers)
        entry = first[row] + torch.arange(len(row), device=row.device) - (followers.cumsum(0) - followers)[row]
        count = counts[entry]
        total = torch.zeros(len(before), device=count.device).index_add_(0, row, count)
        mask = followers > 0
        rest = torch.where(mask, discount * followers / total.clamp(min=1), 1.0)
        mixture = chance * rest[:, None]
        own = (count - discount) / total[row]
        mixture.view(-1).index_add_(0, row * size + keys[entry] % size, own)
        return mixture
