"""Each letter is a token: nothing is learnt but which letters are frequent.

Kim, Jernite, Sontag, Rush: Character-Aware Neural Language Models (2016).
https://arxiv.org/abs/1508.06615

    letters by how often they occur;  as many as there is room for;  the others as their bytes

It is the baseline of the other tokenizers, against which their savings count. Differs from the
paper: there a network composes words from characters; here they are the tokens.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.tasks.tokenize import BYTES, Cutter, Spec, single_bytes, word_counts
from souron.training.loop import Data, Progress, Run

STEPS = 20
NONE = -1


@dataclass(frozen=True)
class Config:
    size: int = 4096  # tokens


class Letters(Cutter):
    year = 2016
    ja = "一文字を一つのトークンとし、よく現れる文字だけを覚える"
    SIZES = {"tiny": Config(320), "small": Config()}

    letters: Tensor  # (size - 256,) int32: code points, the most frequent first

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        room = max(0, config.size - BYTES)
        self.register_buffer("letters", torch.full((room,), NONE, dtype=torch.int32))
        self.most_steps = STEPS

    def forget(self) -> None:
        super().forget()
        self.tokens: dict[str, list[int]] = {}

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Collect the most frequent characters; ties by the smaller code point.

        One-byte characters already have a token.
        """
        counts: Counter[str] = Counter()
        for word, often in word_counts(data).items():
            for letter in word:
                counts[letter] += often
        bytes = tokens = sum(len(letter.encode()) * often for letter, often in counts.items())
        long = [letter for letter in counts if ord(letter) >= 0x80]
        long.sort(key=lambda letter: (-counts[letter], letter))
        long = long[: len(self.letters)]
        a_step = -(-len(long) // STEPS)
        for step in range(STEPS if long else 1):
            window = slice(step * a_step, (step + 1) * a_step)
            for index, letter in enumerate(long[window], window.start):
                self.letters[index] = ord(letter)
                tokens -= (len(letter.encode()) - 1) * counts[letter]
            self.forget()
            if run.start <= step < run.steps:
                yield Progress(step, {"tokens a byte": torch.tensor(tokens / max(1, bytes))})

    def vocabulary(self) -> list[bytes]:
        letters = [chr(code) for code in self.letters.tolist() if code != NONE]
        self.tokens = {letter: [BYTES + index] for index, letter in enumerate(letters)}
        return [bytes([byte]) for byte in single_bytes()] + [letter.encode() for letter in letters]

    def encode_word(self, word: str) -> list[int]:
        tokens = self.tokens if self.raws else {}
        return [token for letter in word for token in tokens.get(letter) or map(single_bytes().index, letter.encode())]
