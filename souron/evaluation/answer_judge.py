"""A language model that says which of two answers is better, by the chance of its next token.

    question, answer A, answer B  ->  P("A") / (P("A") + P("B"))

It is asked in both orders, since models prefer a place: Wang and others: Large Language Models are
not Fair Evaluators (2023), https://arxiv.org/abs/2305.17926. It writes nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch

from souron.kinds.chat import Turn

ASKED = (
    "Question: {question}\n\nAnswer A: {one}\n\nAnswer B: {other}\n\n"
    "Which answer is better? Reply with A or B only."
)


@dataclass
class Comparer:
    """The judge."""

    model: Any  # a ``LanguageModel``

    def __post_init__(self) -> None:
        encode = self.model.tokenizer.encode
        self.letters = [sorted({encode(f"{space}{letter}")[0] for space in ("", " ")})
                        for letter in "AB"]  # fmt: skip

    @torch.inference_mode()
    def prefers_first(self, question: str, one: str, other: str) -> float | None:
        """The chance that it says A, among A and B; None where it all does not fit."""
        tokenizer = self.model.tokenizer
        text = ASKED.format(question=question, one=one, other=other)
        if tokenizer.template:
            tokens = tokenizer.conversation([Turn("user", text)], answer=True)[0]
        else:
            tokens = [tokenizer.start, *tokenizer.encode(f"{text}\n")]
        if len(tokens) > self.model.context:
            return None
        logits = self.model.read(torch.tensor(tokens), self.model.memory())
        chances = logits.float().cpu().softmax(0)
        a, b = (float(chances[torch.tensor(ids)].sum()) for ids in self.letters)
        return a / (a + b) if a + b > 0 else 0.5


def compared(judge: Comparer, question: str, one: str, other: str) -> tuple[float, float] | None:
    """In the order (one, other) and (other, one), the chance of the answer that is read first."""
    first = judge.prefers_first(question, one, other)
    second = judge.prefers_first(question, other, one)
    return None if first is None or second is None else (first, second)
