"""Clustering metrics: silhouette, adjusted Rand index, stability between halves of the points."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CELLS = 4_000_000  # distances held at once

Labelling = Callable[[Tensor], Tensor]  # points (N, D) -> labels (N,), -1 for noise


class Silhouette(NamedTuple):
    """Silhouette scores, and the cases that have one."""

    scores: Tensor  # (kept cases,) in -1..1
    kept: Tensor  # (cases,) True where a case belongs to a cluster
    noise: int  # cases that belong to no cluster


def silhouette(points: Tensor, labels: Tensor) -> Silhouette:
    """Compute the silhouette of each point.

        (b - a) / max(a, b)

    a: mean distance to the others of its cluster, b: the least mean distance to another cluster. 1:
    far nearer to its own cluster than to any other, -1: not. A cluster of one point scores 0, and
    so do all points where there are fewer than two clusters. Noise is left out and counted: a
    clustering that calls every doubtful point noise scores well, so read both figures. Equals
    ``sklearn.metrics.silhouette_samples``.

    Args:
        points: (cases, features).
        labels: (cases,) any integers; below 0 is noise.

    Source: Rousseeuw: Silhouettes: A Graphical Aid to the Interpretation and Validation of Cluster
    Analysis (1987), https://doi.org/10.1016/0377-0427(87)90125-7

    >>> import torch
    >>> points = torch.tensor([[0.0], [1.0], [10.0], [11.0], [99.0]])
    >>> found = silhouette(points, torch.tensor([0, 0, 1, 1, -1]))
    >>> found.noise, [round(score, 3) for score in found.scores.tolist()]
    (1, [0.905, 0.895, 0.895, 0.905])
    """
    clustered_points = labels >= 0
    noise = int((~clustered_points).sum())
    points, (names, own) = points[clustered_points].double(), labels[clustered_points].unique(return_inverse=True)
    if len(names) < 2:
        return Silhouette(torch.zeros(len(points), device=points.device), clustered_points, noise)
    member = torch.nn.functional.one_hot(own).double()  # (N, clusters)
    size = member.sum(0)
    scores = []
    part = max(1, CELLS // len(points))
    exact = "donot_use_mm_for_euclid_dist"
    for rows, mine in zip(points.split(part), own.split(part), strict=True):
        total = torch.cdist(rows, points, compute_mode=exact) @ member  # (R, clusters)
        within = total.gather(1, mine[:, None])[:, 0] / (size[mine] - 1).clamp(min=1)
        between = (total / size).scatter(1, mine[:, None], torch.inf).amin(1)
        score = (between - within) / within.maximum(between).clamp(min=1e-300)
        scores.append(torch.where(size[mine] > 1, score, 0.0))
    return Silhouette(torch.cat(scores).float(), clustered_points, noise)


def adjusted_rand(first: Tensor, second: Tensor) -> float:
    """Compute the adjusted Rand index: how far two clusterings put the same pairs together.

        (pairs - expected) / ((pairs_1 + pairs_2) / 2 - expected)

    pairs: together in both; pairs_1, pairs_2: together in one; expected: pairs_1 pairs_2 / all. 1
    means all pairs, 0 as many as by chance. Noise counts as a cluster of its own. Equals
    ``sklearn.metrics.adjusted_rand_score``.

    Args:
        first, second: (cases,) any integers; their names do not matter.

    Source: Hubert, Arabie: Comparing Partitions (1985), https://doi.org/10.1007/BF01908075

    >>> import torch
    >>> adjusted_rand(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 3, 3]))
    1.0
    """
    names, first = first.unique(return_inverse=True)
    others, second = second.unique(return_inverse=True)
    cells = (first * len(others) + second).bincount(minlength=len(names) * len(others))
    table = cells.view(len(names), len(others)).double()

    def pairs(count: Tensor) -> float:
        return float((count * (count - 1) / 2).sum())

    both, row_pairs, column_pairs = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = row_pairs * column_pairs / max(pairs(table.sum()), 1.0)
    most = (row_pairs + column_pairs) / 2
    return 1.0 if both == most else (both - expected) / (most - expected)


def agreement_of_halves(learn: Callable[[Tensor], Labelling], points: Tensor, generator: torch.Generator) -> float:
    """Measure the stability of a clustering by the adjusted Rand index between two halves.

    The points are split at random into two halves, each is clustered without the other, and both
    clusterings then label all points. Structure in the data is found twice; structure that the
    method imposed, as k-means does on points of one cloud, is not.

    Args:
        learn: clusters points (N, D) and returns a function that labels any others.
        points: (cases, features).
        generator: decides the half of each point.

    Source: Lange, Roth, Braun, Buhmann: Stability-Based Validation of Clustering Solutions (2004),
    https://doi.org/10.1162/089976604773717621

    >>> import torch
    >>> points = torch.cat([torch.zeros(20, 1), torch.ones(20, 1)])
    >>> def learn(half):
    ...     middle = half.mean()
    ...     return lambda any: (any[:, 0] > middle).long()
    >>> agreement_of_halves(learn, points, torch.Generator().manual_seed(0))
    1.0
    """
    order = torch.randperm(len(points), generator=generator).to(points.device)
    halves = order.tensor_split(2)
    first, second = (learn(points[half.sort().values])(points) for half in halves)
    return adjusted_rand(first, second)
