"""Takes the sentences that most others resemble, and none that says what was said before.

Erkan, Radev: LexRank: Graph-based Lexical Centrality as Salience in Text Summarization (2004).
https://doi.org/10.1613/jair.1523

    p = (1 - d) / N + d P^T p        P_ij ~ cos(e(s_i), e(s_j)) where it is above the threshold
    next sentence = argmax p_i - penalty * max over those chosen of cos(e(s_i), e(s_j))

A sentence that many others resemble says what the text is about; who walks from sentence to
sentence along likeness is there most often (as in PageRank). Alone it would choose the same thought
three times: what resembles a chosen one loses (Carbonell and Goldstein 1998,
https://doi.org/10.1145/290941.291025).

Differs from the paper: likeness is that of meaning, by a fixed sentence encoder (Yang and others
2020), in place of shared words; p is divided by its largest; how many sentences is learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.sentences import SentenceEncoder
from souron.tasks.summarise import Summariser

ROUNDS = 100
NEAR = 1e-7  # when the walk has come to rest


@dataclass(frozen=True)
class Config:
    damping: float = 0.85
    threshold: float = 0.0
    penalty: float = 0.3


class Central(Summariser):
    year = 2004
    ja = "ほかの多くの文に意味が近い文を、内容が重ならないように選ぶ"
    status = "pretrained"
    SIZES = {"tiny": Config(), "small": Config()}

    def chosen(self, texts: Sequence[str], most: int) -> list[tuple[int, float]]:
        vectors = torch.from_numpy(encoder.encode(texts))
        like = vectors @ vectors.T  # (N, N)
        score = centrality(like, self.config.damping, self.config.threshold)
        score = score / score.max()
        said = torch.zeros(len(texts))  # how like each is to those that are chosen
        free = torch.ones(len(texts), dtype=torch.bool)
        found: list[tuple[int, float]] = []
        for _place in range(min(most, len(texts))):
            worth = (score - self.config.penalty * said).masked_fill(~free, -torch.inf)
            best = int(worth.argmax())
            found.append((best, float(score[best])))
            free[best] = False
            said = torch.maximum(said, like[best])
        return found


def centrality(like: Tensor, damping: float, threshold: float) -> Tensor:
    """(N, N) cosines -> (N,) how often a walk is at each sentence; sums to 1."""
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
