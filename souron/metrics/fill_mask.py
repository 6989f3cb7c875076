"""Metrics of masked language models."""

import torch
from torch import Tensor

from souron.metrics.complete import NAT

FIRST, FIVE, BITS = "accuracy", "accuracy in five guesses", "bits per masked token"


def scores(logits: Tensor, true: Tensor, case: Tensor, cases: int) -> dict[str, Tensor]:
    """Sum each metric over the masked tokens of each case, shape (cases,).

    ``logits`` (M, vocabulary) of masked tokens ``true`` (M,), each of the case ``case`` (M,).
    ``"count"`` is the number of tokens in each sum.

    >>> import torch
    >>> sums = scores(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), torch.tensor([0]), cases=1)
    >>> sums["bits per masked token"], sums["count"]
    (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    own = logits.gather(1, true[:, None])
    better = (logits > own).sum(1)  # tokens with a higher logit
    nats = logits.float().logsumexp(1) - own[:, 0].float()
    metrics = {FIRST: better < 1, FIVE: better < 5, BITS: nats * NAT, "count": torch.ones_like(nats)}
    return {
        name: torch.zeros(cases, dtype=torch.float64).index_add_(0, case, values.double())
        for name, values in metrics.items()
    }
