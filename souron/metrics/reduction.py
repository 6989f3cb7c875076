"""Trustworthiness and continuity of a two-dimensional embedding (map) of points.

Venna, Kaski: Neighborhood Preservation in Nonlinear Projection Methods: An Experimental Study
(2001). https://doi.org/10.1007/3-540-44668-0_68

Both metrics are scores of each case, so that they can be resampled; the metric is their mean.
"""

import torch
from torch import Tensor

CELLS = 4_000_000  # distances held at once


def trustworthiness(points: Tensor, places: Tensor, k: int = 5) -> Tensor:
    """Return how far neighbours on the map are neighbours in the data, (cases,); 1 where all are.

        1 - 2 / (k (2N - 3k - 1)) sum_j (rank of j among i's neighbours in the data - k)

    over those of the k nearest j of i on the map that are not among the k nearest in the data. The
    mean equals ``sklearn.manifold.trustworthiness``. It is near 0.5 for random positions.

    Args:
        points: (cases, features), the data.
        places: (cases, dims), the positions on the map.
        k: neighbours; less than half of the cases.

    Raises:
        ValueError: k is too large for so few cases.

    Source: Venna, Kaski 2001, https://doi.org/10.1007/3-540-44668-0_68

    >>> import torch
    >>> points = torch.arange(10.0)[:, None]
    >>> trustworthiness(points, 2 * points, k=2).mean()
    tensor(1.)
    """
    count = len(points)
    if not 0 < k < count / 2:
        raise ValueError(f"k={k} neighbours of {count} cases; expected 1 .. {(count - 1) // 2}")
    scores = []
    for rows in torch.arange(count, device=points.device).split(max(1, CELLS // count)):
        order = distances(points, rows).argsort(dim=1, stable=True)  # itself last
        rank = torch.empty_like(order)
        rank.scatter_(1, order, torch.arange(1, count + 1, device=points.device).expand_as(order))
        # a stable sort, as above: the same order where distances are equal
        map_neighbours = distances(places, rows).argsort(dim=1, stable=True)[:, :k]
        scores.append((rank.gather(1, map_neighbours) - k).clamp(min=0).sum(1))
    return 1 - torch.cat(scores) * (2.0 / (k * (2 * count - 3 * k - 1)))


def continuity(points: Tensor, places: Tensor, k: int = 5) -> Tensor:
    """Return how far neighbours in the data are neighbours on the map, (cases,); 1 where all are.

    Trustworthiness with the two spaces exchanged: it falls where the map tears neighbours apart.
    Arguments, errors and source are those of ``trustworthiness``.

    >>> import torch
    >>> points = torch.arange(10.0)[:, None]
    >>> continuity(points, points.flip(1), k=2).mean()
    tensor(1.)
    """
    return trustworthiness(places, points, k)


def shuffled_columns(points: Tensor, generator: torch.Generator) -> Tensor:
    """Return points (cases, features) without structure: every column is permuted by itself.

    Each feature keeps its values and is independent of the others. t-SNE and UMAP show islands for
    such points as well; a map shows structure where it differs from this one's.

    Source: the null hypothesis of parallel analysis by permutation; Buja, Eyuboglu: Remarks on
    Parallel Analysis (1992), https://doi.org/10.1207/s15327906mbr2704_2

    >>> import torch
    >>> points = torch.arange(6.0).view(3, 2)
    >>> shuffled = shuffled_columns(points, torch.Generator().manual_seed(0))
    >>> shuffled.sort(0).values.equal(points)
    True
    """
    order = torch.rand(points.shape, generator=generator).argsort(0).to(points.device)
    return points.gather(0, order)


def distances(points: Tensor, rows: Tensor) -> Tensor:
    """Return distances from the ``rows`` (R,) of the points (N, D) to all of them, (R, N).

    The distance of a point to itself is infinite.

    >>> import torch
    >>> distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([0])).tolist()
    [[inf, 5.0]]
    """
    exact = "donot_use_mm_for_euclid_dist"  # the product's rounding would change ranks
    distance = torch.cdist(points[rows].double(), points.double(), compute_mode=exact)
    distance[torch.arange(len(rows)), rows] = torch.inf
    return distance
