"""Gives the translation of the known text that looks most like the one asked for.

Nagao: A Framework of a Mechanical Translation between Japanese and English by Analogy Principle
(1984). https://dl.acm.org/doi/10.5555/2927.2938

    translation(x) = t_i,   i = argmax <v(x), v(s_i)>,   v = (1 + ln n) ln((1 + N) / (1 + N_g)) + 1
    n how often a run of letters g comes in a text, N_g of N texts have it; v has length 1

Offices translate so: what was translated before is looked up. It writes no broken sentence, and
never one that nobody wrote; of what was not there before it gives something that looks like it.

Differs from the paper: the whole translation is taken as it is, no part of it is exchanged, and
likeness is that of runs of two to four letters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from souron.tasks.translate import Spec, Translator, texts_of
from souron.training.loop import Progress, Run

TOGETHER = 256  # texts that are compared with all known ones at once


@dataclass(frozen=True)
class Config:
    shortest: int = 2  # letters in a row
    longest: int = 4
    numbers: int = 262_144  # that runs of letters have, by a hash function


class TranslationMemory(Translator):
    year = 1984
    ja = "知っている文のうち最も似た文の訳を、そのまま返す。翻訳のものさし"
    full_batch = True
    SIZES = {"tiny": Config(), "small": Config()}
    sized_by_data = ("first", "first_ends", "second", "second_ends")

    first: Tensor  # (bytes,) uint8: all texts of the first language, one after the other
    first_ends: Tensor  # (N,) int64: where each ends
    second: Tensor
    second_ends: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = 2
        for name in ("first", "second"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.uint8))
            self.register_buffer(f"{name}_ends", torch.zeros(0, dtype=torch.long))

    def example(self) -> None:
        """It has no layers whose shapes a table could show."""

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        """Half of the pairs, then all; the loss is how far training texts are from known ones."""
        pairs = list(zip(data.cases.input, texts_of(data.cases), strict=True))
        for step, known in enumerate((pairs[: -(-len(pairs) // 2)], pairs)):
            self.keep(known)
            asked = [source for source, _target in pairs[-TOGETHER:]]
            if step >= run.start:
                yield Progress(step, {"distance": 1 - self.nearest(asked, False)[1].mean()})

    def keep(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Know these pairs and no others."""
        for name, texts in zip(("first", "second"), zip(*pairs, strict=True), strict=True):
            raws = [text.encode("utf-8", "replace") for text in texts]
            joined = torch.from_numpy(np.frombuffer(b"".join(raws), np.uint8).copy())
            setattr(self, name, joined.to(self.first.device))
            setattr(self, f"{name}_ends", torch.tensor([len(raw) for raw in raws]).cumsum(0))
        self._forget()

    def _forget(self) -> None:
        for name in ("_forth", "_back"):
            self.__dict__.pop(name, None)

    def load_state_dict(self, *given: Any, **how: Any) -> Any:
        self._forget()
        return super().load_state_dict(*given, **how)

    def known(self, side: str) -> list[str]:
        """The texts of one language."""
        raw, ends = bytes(getattr(self, side).cpu().numpy()), getattr(self, f"{side}_ends").tolist()
        starts = [0, *ends][: len(ends)]
        return [raw[a:b].decode("utf-8", "replace") for a, b in zip(starts, ends, strict=True)]

    @cached_property
    def _forth(self) -> "Index":
        return Index(self.known("first"), self.known("second"), self.config)

    @cached_property
    def _back(self) -> "Index":
        return Index(self.known("second"), self.known("first"), self.config)

    def nearest(self, texts: Sequence[str], back: bool) -> tuple[list[str], Tensor]:
        """The translation of the nearest known text, and how like it is, 0..1."""
        index = self._back if back else self._forth
        told, like = [], [torch.zeros(0)]
        for start in range(0, len(texts), TOGETHER):
            some, best = index.nearest(texts[start : start + TOGETHER])
            told += some
            like.append(best)
        return told, torch.cat(like)

    def translate(self, texts: Sequence[str], back: bool = False, beams: int = 1) -> list[str]:
        return self.nearest(texts, back)[0]


class Index:
    """Texts by the runs of letters in them, each with its translation."""

    def __init__(self, texts: Sequence[str], translations: Sequence[str], config: Config) -> None:
        self.config, self.translations = config, translations
        counts = self._counts(texts)
        there = np.bincount(counts.indices, minlength=config.numbers)
        self.rarity = np.log((1 + len(texts)) / (1 + there)) + 1
        self.vectors = self._weighed(counts).T.tocsr()

    def nearest(self, texts: Sequence[str]) -> tuple[list[str], Tensor]:
        if not self.translations:
            return [""] * len(texts), torch.zeros(len(texts))
        like = (self._weighed(self._counts(texts)) @ self.vectors).toarray()  # (B, N)
        best = like.argmax(1)
        return (
            [self.translations[place] for place in best.tolist()],
            torch.from_numpy(like[np.arange(len(best)), best]).float(),
        )

    def _counts(self, texts: Sequence[str]) -> Any:
        """(N, numbers): how often each run of letters comes."""
        rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for row, text in enumerate(texts):
            raw = f" {' '.join(text.lower().split())} ".encode("utf-32-le", "replace")
            letters = np.frombuffer(raw, np.uint32).astype(np.uint64)
            number = np.zeros(len(letters), np.uint64)
            for n in range(1, min(self.config.longest, len(letters)) + 1):
                count = len(letters) - n + 1
                number = number[:count] * np.uint64(1_000_003) + letters[n - 1 :] + np.uint64(1)
                if n >= self.config.shortest:
                    mixed = (number * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
                    columns.append((mixed % np.uint64(self.config.numbers)).astype(np.int64))
                    rows.append(np.full(count, row))
        row, column = np.concatenate(rows), np.concatenate(columns)
        shape = (len(texts), self.config.numbers)
        found = sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)
        found.sum_duplicates()
        return found

    def _weighed(self, counts: Any) -> Any:
        found = counts.copy()
        found.data = ((1 + np.log(found.data)) * self.rarity[found.indices]).astype(np.float32)
        length = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
        return sparse.diags(1 / np.maximum(length, 1e-9).astype(np.float32)) @ found
