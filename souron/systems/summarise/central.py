"""Takes the sentences that most others resemble, and none that says what was said before.

Erkan, Radev: LexRank: Graph-based Lexical Centrality as Salience in Text Summarization (2004).
https://doi.org/10.1613/jair.1523

    p = (1 - d) / N + d P^T p        P_ij ~ cos(e(s_i), e(s_j)) where it is above the threshold
    next sentence = argmax p_i - penalty * max over those chosen of cos(e(s_i), e(s_j))

A sentence that many others resemble represents the text; a random walk along similarities visits it
most often (as in PageRank). By itself this would select the same thought three times: similarity to
selected sentences is penalised (Carbonell and Goldstein 1998,
https://doi.org/10.1145/290941.291025).

Differs from the paper: similarity is that of meaning, by a fixed sentence encoder (Yang and others
2020), in place of shared words; p is divided by its maximum; the number of sentences is fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.blocks.sentences import SentenceEncoder
from souron.tasks.summarise import Summariser

ROUNDS = 100
NEAR = 1e-7  # tolerance of convergence


@dataclass(frozen=True)
class Config:
    damping: float = 0.85
    threshold: float = 0.0
    penalty: float = 0.3


class Central(Summariser):
    blocked = NO_NETWORK
    year = 2004
    ja = "ほかの多くの文に意味が近い文を、内容が重ならないように選ぶ"
    status = "pretrained"
    SIZES = {"tiny": Config(), "small": Config()}

    def chosen(self, texts: Sequence[str], most: int) -> list[tuple[int, float]]:
        vectors = torch.from_numpy(encoder.encode(texts))
        like = vectors @ vectors.T  # (N, N)
        score = centrality(like, self.config.damping, self.config.threshold)
        score = score / score.max()
        nearest = torch.zeros(len(texts))  # greatest similarity to the selected sentences
        free = torch.ones(len(texts), dtype=torch.bool)
        summary: list[tuple[int, float]] = []
        for _place in range(min(most, len(texts))):
            worth = (score - self.config.penalty * nearest).masked_fill(~free, -torch.inf)
            best = int(worth.argmax())
            summary.append((best, float(score[best])))
            free[best] = False
            nearest = torch.maximum(nearest, like[best])
        return summary


def centrality(like: Tensor, damping: float, threshold: float) -> Tensor:
    """Return the stationary distribution (N,) of a walk along cosines (N, N)."""
    weight = torch.where(like >= threshold, like, torch.zeros_like(like))
    weight.fill_diagonal_(1.0)
    step = weight / weight.sum(1, keepdim=True)
    p = torch.full((len(like),), 1 / len(like))
    for _round in range(ROUNDS):
        before, p = p, (1 - damping) / len(like) + damping * (step.T @ p)
        if float((p - before).abs().sum()) < NEAR:
            break
    return p


encoder = SentenceEncoder()
