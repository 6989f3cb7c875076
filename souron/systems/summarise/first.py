"""Takes the first sentences: what a text says at its beginning is often what it is about.

Brandow, Mitze, Rau: Automatic Condensation of Electronic Publications by Sentence Selection (1995).
https://doi.org/10.1016/0306-4573(95)00052-I

    summary = s_1, s_2, ..., s_k

It is a strong baseline for news. Nothing is understood; it fails where a text comes to its point
late.

Differs from the paper: k is what suits the training texts best, in place of a given length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from souron.blocks.portable import NO_NETWORK
from souron.tasks.summarise import Summariser


@dataclass(frozen=True)
class Config:
    pass


class First(Summariser):
    blocked = NO_NETWORK
    year = 1995
    ja = "最初の数文をそのまま抜き出す。要約のものさし"
    SIZES = {"tiny": Config(), "small": Config()}

    def chosen(self, texts: Sequence[str], most: int) -> list[tuple[int, float]]:
        return [(number, 1 / (1 + number)) for number in range(min(most, len(texts)))]
