"""Judge which of two answers is better by a language model's next-token probability.

    question, answer A, answer B  ->  P("A") / (P("A") + P("B"))

Both orders are asked, since models have a position bias: Wang and others: Large Language Models are
not Fair Evaluators (2023), https://arxiv.org/abs/2305.17926. No text is generated.
"""

from dataclasses import dataclass
from typing import Any

import torch

from souron.kinds.chat import Turn

ASKED = (
    "Question: {question}\n\nAnswer A: {one}\n\nAnswer B: {other}\n\nWhich answer is better? Reply with A or B only."
)


@dataclass
class Comparer:
    """A language model as the judge of pairs of answers."""

    model: Any  # a ``LanguageModel``

    def __post_init__(self) -> None:
        encode = self.model.tokenizer.encode
        self.letters = [sorted({encode(f"{space}{letter}")[0] for space in ("", " ")}) for letter in "AB"]

    @torch.inference_mode()
    def prefers_first(self, question: str, first: str, other: str) -> float | None:
        """Return P("A") relative to "A" and "B"; None where the prompt exceeds the context."""
        tokenizer = self.model.tokenizer
        text = ASKED.format(question=question, one=first, other=other)
        if tokenizer.template:
            tokens = tokenizer.conversation([Turn("user", text)], answer=True)[0]
        else:
            tokens = [tokenizer.start, *tokenizer.encode(f"{text}\n")]
        if len(tokens) > self.model.context:
            return None
        logits = self.model.read(torch.tensor(tokens), self.model.kv_cache())
        chances = logits.float().cpu().softmax(0)
        a, b = (float(chances[torch.tensor(ids)].sum()) for ids in self.letters)
        return a / (a + b) if a + b > 0 else 0.5


def compared(judge: Comparer, question: str, one: str, other: str) -> tuple[float, float] | None:
    """Return the probability of the answer shown first, in the orders (one, other) and (other,
    one).
    """
    first = judge.prefers_first(question, one, other)
    second = judge.prefers_first(question, other, one)
    return None if first is None or second is None else (first, second)
