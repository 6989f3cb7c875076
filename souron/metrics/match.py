"""Image-text retrieval metrics: recall at K.

As in Karpathy and Fei-Fei: Deep Visual-Semantic Alignments for Generating Image Descriptions
(2015). https://arxiv.org/abs/1412.2306
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from souron.utils.messages import N_

RECALL = {1: N_("recall@1"), 5: N_("recall@5")}
OF_IMAGES = N_("recall@1 of pictures")
SWAPS = N_("swaps told apart")
ZERO_SHOT = N_("zero-shot accuracy")


def ranks(similarity: Tensor, same: Tensor) -> Tensor:
    """Return the rank of column i in row i of ``similarity`` (N, N), shape (N,), counted from 1.

    Ties rank last. Columns that ``same`` (N, N) marks as equal to column i do not compete with it.

    >>> import torch
    >>> ranks(torch.tensor([[0.9, 0.1], [0.8, 0.3]]), torch.eye(2, dtype=torch.bool))
    tensor([1, 2])
    """
    own = similarity.diagonal()[:, None]
    ahead = (similarity >= own) & ~same
    ahead.fill_diagonal_(False)
    return 1 + ahead.sum(1)


def where(score: ArrayLike) -> NDArray[np.float64]:
    """Return pseudo-values (seeds, cases) whose mean is the mean of all scores that exist.

    ``score`` (seeds, cases, ...) is nan where a case has none.

    >>> where([[1.0, 0.0, float("nan")]]).mean(1).tolist()
    [0.5]
    """
    scores = np.asarray(score, np.float64)
    scores = scores.reshape(*scores.shape[:2], -1)
    there = np.isfinite(scores)
    count = there.sum((1, 2))[:, None]
    if not count.all():
        return np.full(scores.shape[:2], np.nan)
    mean = np.where(there, scores, 0).sum((1, 2))[:, None] / count
    apart = np.where(there, scores - mean[..., None], 0).sum(2)
    return mean + apart * scores.shape[1] / count


def found(rank: Tensor, most: int) -> Tensor:
    """Return 1 where a rank is at most ``most``, else 0; nan where there is none (rank 0).

    >>> import torch
    >>> found(torch.tensor([1, 7, 0]), 5)
    tensor([1., 0., nan])
    """
    hit = (rank <= most).float()
    return torch.where(rank > 0, hit, torch.full_like(hit, torch.nan))
