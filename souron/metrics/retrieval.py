"""Retrieval metrics: rank of the right passage, hits, reciprocal rank.

Voorhees: The TREC-8 Question Answering Track Report (1999), for the mean reciprocal rank.
https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

HITS = (1, 3, 8)


def rank(score: ArrayLike, right: ArrayLike) -> int:
    """Return the rank, counted from 1, of the best right item among scores (N,).

    ``right`` (N,) marks the right ones. Ties rank last; 0 where no item is right.

    >>> rank([0.2, 0.9, 0.5], [False, False, True])
    2
    """
    scores, rights = np.asarray(score, np.float64), np.asarray(right, bool)
    if not rights.any():
        return 0
    return 1 + int((scores[~rights] >= scores[rights].max()).sum())


def hits(rank: ArrayLike, most: int) -> NDArray[np.float64]:
    """Return 1 where a rank (...) is at most ``most``, else 0.

    >>> hits([1, 4, 0], 3).tolist()  # rank 0: not found
    [1.0, 0.0, 0.0]
    """
    ranks = np.asarray(rank)
    return ((ranks > 0) & (ranks <= most)).astype(np.float64)


def reciprocal(rank: ArrayLike) -> NDArray[np.float64]:
    """Return 1 / rank, and 0 for rank 0, what was not found.

    >>> reciprocal([1, 4, 0]).tolist()
    [1.0, 0.25, 0.0]
    """
    ranks = np.asarray(rank, np.float64)
    return np.divide(1.0, ranks, out=np.zeros_like(ranks), where=ranks > 0)


def of_some(score: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """Return pseudo-values (seeds, cases) whose mean is the mean over the cases that count.

    ``counts`` (cases,) is 1 or 0.

    >>> of_some([[1.0, 0.0, 9.0]], [1, 1, 0]).mean(1).tolist()
    [0.5]
    """
    scores, weights = np.asarray(score, np.float64), np.asarray(counts, np.float64)
    if not weights.any():
        return np.zeros_like(scores)
    mean = (scores * weights).sum(-1, keepdims=True) / weights.sum()
    return mean + (scores - mean) * weights * weights.size / weights.sum()


def best_threshold(score: ArrayLike, there: ArrayLike) -> list[tuple[float, float]]:
    """List candidate thresholds of scores (N,), each with its share of errors.

    A case counts as ``there`` (N,) from the threshold on. The first threshold is below all scores.

    >>> best_threshold([0.25, 0.75], [False, True])[1]
    (0.5, 0.0)
    """
    scores, truth = np.asarray(score, np.float64), np.asarray(there, bool)
    levels = np.unique(scores)
    between = (levels[1:] + levels[:-1]) / 2
    candidates = [float(levels[0]) - 1e-3, *between.tolist(), float(levels[-1]) + 1e-3]
    return [(level, float(((scores >= level) != truth).mean())) for level in candidates]
