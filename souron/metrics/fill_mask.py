"""Figures of masked tokens."""

import torch
from torch import Tensor

from souron.metrics.complete import NAT

FIRST, FIVE, BITS = "accuracy", "accuracy in five guesses", "bits per masked token"


def scores(logits: Tensor, true: Tensor, case: Tensor, cases: int) -> dict[str, Tensor]:
    """Logits (M, vocabulary) of masked tokens ``true`` (M,), each of a case (M,) -> sums (cases,)
    of each metric, and ``"count"``, how many tokens they are of."""
    own = logits.gather(1, true[:, None])
    better = (logits > own).sum(1)  # tokens that were likelier
    nats = logits.float().logsumexp(1) - own[:, 0].float()
    each = {FIRST: better < 1, FIVE: better < 5, BITS: nats * NAT, "count": torch.ones_like(nats)}
    return {
        name: torch.zeros(cases, dtype=torch.float64).index_add_(0, case, values.double())
        for name, values in each.items()
    }
