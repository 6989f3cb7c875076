"""Nearest-text search with TF-IDF vectors of character n-grams.

Salton, Buckley: Term-weighting Approaches in Automatic Text Retrieval (1988).
https://doi.org/10.1016/0306-4573(88)90021-0
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor


class Index:
    """Texts as TF-IDF vectors of character n-grams, each with its translation."""

    def __init__(
        self, texts: Sequence[str], translations: Sequence[str], shortest: int, longest: int, numbers: int
    ) -> None:
        self.shortest, self.longest, self.numbers = shortest, longest, numbers
        self.translations = translations
        counts = self._counts(texts)
        there = np.bincount(counts.indices, minlength=numbers)
        self.rarity = np.log((1 + len(texts)) / (1 + there)) + 1
        self.vectors = self._weighed(counts).T.tocsr()

    def nearest(self, texts: Sequence[str]) -> tuple[list[str], Tensor]:
        """Return the translation of the nearest text for each text, and the similarity, 0..1."""
        if not self.translations:
            return [""] * len(texts), torch.zeros(len(texts))
        like = (self._weighed(self._counts(texts)) @ self.vectors).toarray()  # (B, N)
        best = like.argmax(1)
        return (
            [self.translations[number] for number in best.tolist()],
            torch.from_numpy(like[np.arange(len(best)), best]).float(),
        )

    def _counts(self, texts: Sequence[str]) -> Any:
        """Count the hashed character n-grams, (N, numbers)."""
        rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for row, text in enumerate(texts):
            raw = f" {' '.join(text.lower().split())} ".encode("utf-32-le", "replace")
            letters = np.frombuffer(raw, np.uint32).astype(np.uint64)
            number = np.zeros(len(letters), np.uint64)
            for n in range(1, min(self.longest, len(letters)) + 1):
                count = len(letters) - n + 1
                number = number[:count] * np.uint64(1_000_003) + letters[n - 1 :] + np.uint64(1)
                if n >= self.shortest:
                    hashes = (number * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
                    columns.append((hashes % np.uint64(self.numbers)).astype(np.int64))
                    rows.append(np.full(count, row))
        index = np.concatenate(rows), np.concatenate(columns)
        shape = (len(texts), self.numbers)
        matrix = scipy.sparse.csr_matrix((np.ones(len(index[0]), np.float32), index), shape=shape)
        matrix.sum_duplicates()
        return matrix

    def _weighed(self, counts: Any) -> Any:
        weights = counts.copy()
        weights.data = ((1 + np.log(weights.data)) * self.rarity[weights.indices]).astype(np.float32)
        length = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel())
        return scipy.sparse.diags(1 / np.maximum(length, 1e-9).astype(np.float32)) @ weights
