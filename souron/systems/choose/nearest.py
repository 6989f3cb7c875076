"""Takes the option whose meaning lies nearest to the question's.

Yang, Cer, Ahmad and others: Multilingual Universal Sentence Encoder for Semantic Retrieval (2020).
https://doi.org/10.18653/v1/2020.acl-demos.12

    p = softmax(scale * <e(question), e(option)>)

A fixed network maps sentences of 16 languages to unit vectors, similar meanings close together, so
that a Japanese term lies near its English one. It was never trained to answer questions: its
strength is knowing words. Options alone tell it nothing, so that without the question it is at
chance.

Differs from the paper: options in place of answers from a corpus; questions and options are encoded
alike; only the scale is fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.sentences import SentenceEncoder
from souron.tasks.choose import Chooser, Item


@dataclass(frozen=True)
class Config:
    pass


class Nearest(Chooser):
    year = 2020
    ja = "文の意味をベクトルにし、問題文に最も近い選択肢を選ぶ"
    status = "pretrained"
    needs_fit = False
    START = 15.0
    SIZES = {"tiny": Config(), "small": Config()}

    def scores(self, questions: Sequence[Item]) -> Tensor:
        texts = [text for question in questions for text in (question.text, *question.options)]
        vectors = torch.from_numpy(encoder.encode(texts))
        wide = max(len(question.options) for question in questions)
        scores = torch.full((len(questions), 1, wide), -torch.inf)
        first = 0
        for row, question in enumerate(questions):
            query, count = vectors[first], len(question.options)
            scores[row, 0, :count] = vectors[first + 1 : first + 1 + count] @ query
            first += 1 + count
        return scores


encoder = SentenceEncoder()
