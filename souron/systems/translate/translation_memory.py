"""Gives the translation of the known text that looks most like the one asked for.

Nagao: A Framework of a Mechanical Translation between Japanese and English by Analogy Principle
(1984). https://dl.acm.org/doi/10.5555/2927.2938

    translation(x) = t_i,   i = argmax <v(x), v(s_i)>,   v = (1 + ln n) ln((1 + N) / (1 + N_g)) + 1
    n how often a run of letters g comes in a text, N_g of N texts have it; v has length 1

Translation offices work in this way: earlier translations are looked up. It never writes a broken
or unseen sentence; for a new text it returns the translation of a similar one.

Differs from the paper: the whole translation is used unchanged, no part of it is exchanged, and
similarity is that of character n-grams (2 to 4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from souron.blocks.letter_runs import Index
from souron.blocks.portable import NO_NETWORK
from souron.tasks.translate import Spec, Translated, Translator, texts_of
from souron.training.loop import Progress, Run

TOGETHER = 256  # texts compared with all known ones at once


@dataclass(frozen=True)
class Config:
    shortest: int = 2  # characters per n-gram
    longest: int = 4
    numbers: int = 262_144  # hash buckets of the n-grams


class TranslationMemory(Translator):
    blocked = NO_NETWORK
    year = 1984
    ja = "知っている文のうち最も似た文の訳を、そのまま返す。翻訳のものさし"
    full_batch = True
    SIZES = {"tiny": Config(), "small": Config()}
    sized_by_data = ("first", "first_ends", "second", "second_ends")

    first: Tensor  # (bytes,) uint8: all texts of the first language, concatenated
    first_ends: Tensor  # (N,) int64: the end of each
    second: Tensor
    second_ends: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = 2
        for name in ("first", "second"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.uint8))
            self.register_buffer(f"{name}_ends", torch.zeros(0, dtype=torch.long))

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Any, run: Run) -> Iterator[Progress]:
        """Store half of the pairs, then all; the loss is the distance to the stored texts."""
        pairs = list(zip(data.cases.input, texts_of(data.cases), strict=True))
        for step, memory in enumerate((pairs[: -(-len(pairs) // 2)], pairs)):
            self.keep(memory)
            queries = [source for source, _target in pairs[-TOGETHER:]]
            if step >= run.start:
                yield Progress(step, {"distance": 1 - self.nearest(queries, False)[1].mean()})

    def keep(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Store these pairs only."""
        for name, texts in zip(("first", "second"), zip(*pairs, strict=True), strict=True):
            raws = [text.encode("utf-8", "replace") for text in texts]
            text_bytes = torch.tensor(list(b"".join(raws)), dtype=torch.uint8)
            setattr(self, name, text_bytes.to(self.first.device))
            setattr(self, f"{name}_ends", torch.tensor([len(raw) for raw in raws]).cumsum(0))
        self._forget()

    def _forget(self) -> None:
        for name in ("_forth", "_back"):
            self.__dict__.pop(name, None)

    def load_state_dict(self, *args: Any, **how: Any) -> Any:
        self._forget()
        return super().load_state_dict(*args, **how)

    def known(self, side: str) -> list[str]:
        """Return the stored texts of one language."""
        raw, ends = bytes(getattr(self, side).tolist()), getattr(self, f"{side}_ends").tolist()
        starts = [0, *ends][: len(ends)]
        return [raw[a:b].decode("utf-8", "replace") for a, b in zip(starts, ends, strict=True)]

    @cached_property
    def _forth(self) -> Index:
        return self._index("first", "second")

    @cached_property
    def _back(self) -> Index:
        return self._index("second", "first")

    def _index(self, source: str, target: str) -> Index:
        c = self.config
        return Index(self.known(source), self.known(target), c.shortest, c.longest, c.numbers)

    def nearest(self, texts: Sequence[str], back: bool) -> tuple[list[str], Tensor]:
        """Return the translations of the nearest stored texts, and their similarities in 0..1."""
        index = self._back if back else self._forth
        target, like = [], [torch.zeros(0)]
        for start in range(0, len(texts), TOGETHER):
            matches, best = index.nearest(texts[start : start + TOGETHER])
            target += matches
            like.append(best)
        return target, torch.cat(like)

    def translations(self, texts: Sequence[str], back: bool = False, beams: int = 1) -> list[Translated]:
        targets, like = self.nearest(texts, back)
        return [Translated(*pair) for pair in zip(targets, like.tolist(), strict=True)]
