"""How often questions about pictures are answered as they should be.

A case is a picture with several questions, so that an interval counts pictures: questions about one
picture are not independent. Beside it the same questions with other pictures, as what the questions
alone give away: Goyal, Khot, Summers-Stay, Batra, Parikh: Making the V in VQA Matter (2017).
https://arxiv.org/abs/1612.00837
"""

import torch
from torch import Tensor
from torch.nn import functional as F

ACCURACY = "accuracy"
OTHERS = "accuracy with other pictures"
GAIN = "gain from the picture"
LOG_LOSS = "log loss"
LEAST = 1e-6  # the probability of an answer that is not known


def right(logits: Tensor, answer: Tensor) -> Tensor:
    """(n,) 1 where the most probable of ``logits`` (n, answers) is the true one, -1 where that is
    none of them.

    >>> right(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, -1]))
    tensor([1., 0.])
    """
    return (logits.argmax(1) == answer).float()


def log_loss(logits: Tensor, answer: Tensor) -> Tensor:
    """(n,) in nats; an answer that is not known has the probability ``LEAST``."""
    known = answer >= 0
    log = F.log_softmax(logits.float(), 1)
    own = log.gather(1, answer.clamp(min=0)[:, None])[:, 0]
    unknown = torch.full_like(own, LEAST).log()
    return -torch.where(known, own, unknown).clamp(min=float(unknown[0]) if len(own) else 0)


def means(values: Tensor, row: Tensor, cases: int) -> Tensor:
    """(cases,) the mean of ``values`` (n,) of each case; ``row`` (n,) says whose they are. Not a
    number where a case has none."""
    total = torch.zeros(cases).index_add(0, row, values.float().cpu())
    count = torch.zeros(cases).index_add(0, row, torch.ones(len(row)))
    return total / torch.where(count > 0, count, torch.nan)
