"""Accuracy of answers to questions about images (visual question answering).

A case is an image with several questions, so that an interval counts images: questions about one
image are not independent. As a baseline, the same questions are asked with other images, which
shows what the questions alone give away: Goyal, Khot, Summers-Stay, Batra, Parikh: Making the V in
VQA Matter (2017). https://arxiv.org/abs/1612.00837
"""

import torch
from torch import Tensor
from torch.nn import functional as F

ACCURACY = "accuracy"
OTHERS = "accuracy with other pictures"
GAIN = "gain from the picture"
LOG_LOSS = "log loss"
LEAST = 1e-6  # probability of an answer that is not known


def right(logits: Tensor, answer: Tensor) -> Tensor:
    """Return 1 where the most probable answer is the true one, else 0, shape (n,).

    ``logits`` (n, answers); an ``answer`` (n,) of -1 is none of them and never right.

    >>> import torch
    >>> right(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, -1]))
    tensor([1., 0.])
    """
    return (logits.argmax(1) == answer).float()


def log_loss(logits: Tensor, answer: Tensor) -> Tensor:
    """Return the log loss of each question in nats, shape (n,).

    ``logits`` (n, answers). An ``answer`` of -1 is not known to the system: its probability counts
    as ``LEAST``, which is also the lowest probability of any answer.

    >>> import torch
    >>> log_loss(torch.zeros(1, 4), torch.tensor([2]))  # four equally probable answers: ln 4
    tensor([1.3863])
    """
    in_vocabulary = answer >= 0
    log = F.log_softmax(logits.float(), 1)
    own = log.gather(1, answer.clamp(min=0)[:, None])[:, 0]
    unknown = torch.full_like(own, LEAST).log()
    return -torch.where(in_vocabulary, own, unknown).clamp(min=float(unknown[0]) if len(own) else 0)


def means(values: Tensor, row: Tensor, cases: int) -> Tensor:
    """Average ``values`` (n,) over the questions of each case, shape (cases,).

    ``row`` (n,) is the case of each value. A case without a value is nan.

    >>> import torch
    >>> means(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]), cases=3)
    tensor([0.5000, 1.0000,    nan])
    """
    total = torch.zeros(cases).index_add(0, row, values.float().cpu())
    count = torch.zeros(cases).index_add(0, row, torch.ones(len(row)))
    return total / torch.where(count > 0, count, torch.nan)
