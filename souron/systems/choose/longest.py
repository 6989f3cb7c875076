"""Takes the longest option: what whoever sets questions gives away.

Millman, Bishop and Ebel: An Analysis of Test-Wiseness (1965).
https://doi.org/10.1177/001316446502500304

    p = softmax(scale * letters / mean letters of the question's options)

The right option is often the one that was worded with most care, and so the longest. A system that
does no better than this has not understood the questions; one that does better may still use it.

Differs from the paper: only this one of its many cues; a probability, whose scale is fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.tasks.choose import Chooser, Item


@dataclass(frozen=True)
class Config:
    pass


class Longest(Chooser):
    blocked = NO_NETWORK
    year = 1965
    ja = "いちばん長い選択肢を選ぶ。出題者の癖だけでどこまで当たるかのものさし"
    needs_fit = False
    SIZES = {"tiny": Config(), "small": Config()}

    def scores(self, questions: Sequence[Item]) -> Tensor:
        wide = max(len(question.options) for question in questions)
        scores = torch.full((len(questions), 1, wide), -torch.inf)
        for row, question in enumerate(questions):
            letters = torch.tensor([float(len(option)) for option in question.options])
            scores[row, 0, : len(letters)] = letters / letters.mean().clamp(min=1.0)
        return scores
