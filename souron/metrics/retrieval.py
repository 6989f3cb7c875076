"""How far up a list the right passage stands.

Voorhees: The TREC-8 Question Answering Track Report (1999), for the mean reciprocal rank.
https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

HITS = (1, 3, 8)


def rank(score: ArrayLike, right: ArrayLike) -> int:
    """From 1: the place of the best of the ``right`` ones (N,) among scores (N,), behind all others
    that score as well; 0 where none is right."""
    scores, rights = np.asarray(score, np.float64), np.asarray(right, bool)
    if not rights.any():
        return 0
    return 1 + int((scores[~rights] >= scores[rights].max()).sum())


def hits(rank: ArrayLike, most: int) -> NDArray[np.float64]:
    """1 where a rank (...) is at most that, else 0."""
    ranks = np.asarray(rank)
    return ((ranks > 0) & (ranks <= most)).astype(np.float64)


def reciprocal(rank: ArrayLike) -> NDArray[np.float64]:
    """1 / rank, 0 of what was not found."""
    ranks = np.asarray(rank, np.float64)
    return np.divide(1.0, ranks, out=np.zeros_like(ranks), where=ranks > 0)


def of_some(score: ArrayLike, counts: ArrayLike) -> NDArray[np.float64]:
    """(seeds, cases) pseudo-values whose mean is the mean of the cases that count (cases,)."""
    scores, counted = np.asarray(score, np.float64), np.asarray(counts, np.float64)
    if not counted.any():
        return np.zeros_like(scores)
    mean = (scores * counted).sum(-1, keepdims=True) / counted.sum()
    return mean + (scores - mean) * counted * counted.size / counted.sum()


def best_threshold(score: ArrayLike, there: ArrayLike) -> list[tuple[float, float]]:
    """Thresholds of scores (N,) that are tried, with the share told wrongly at each: a case counts
    as ``there`` (N,) from its threshold on. The first is below all scores."""
    scores, truth = np.asarray(score, np.float64), np.asarray(there, bool)
    levels = np.unique(scores)
    between = (levels[1:] + levels[:-1]) / 2
    tried = [float(levels[0]) - 1e-3, *between.tolist(), float(levels[-1]) + 1e-3]
    return [(level, float(((scores >= level) != truth).mean())) for level in tried]
