"""Exact nearest neighbours, computed in chunks of rows."""

import torch
from torch import Tensor

CELLS = 4_000_000  # distances in memory at once
SPARE = 8  # candidates beyond ``k``, see ``nearest``


def nearest(points: Tensor, reference: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the ``k`` nearest of the ``reference`` points (M, D) for each of the ``points`` (N, D).

    Returns distances (N, k), smallest first, and rows of ``reference`` (N, k). A point among the known
    ones is its own neighbour at distance 0.
    """
    k = min(k, len(reference))
    centre = reference.mean(0)  # centred: less cancellation in |a|^2 + |b|^2 - 2ab
    around = reference - centre
    squares = around.square().sum(1)
    parts = []
    for rows in points.split(max(1, CELLS // len(reference))):
        rough = torch.addmm(squares, rows - centre, around.T, alpha=-2)  # without the row's |a|^2
        rank = rough.topk(min(k + SPARE, len(reference)), largest=False).indices
        # recompute the candidates' distances exactly from differences
        exact = torch.stack([(rows - reference[column]).norm(dim=1) for column in rank.T], 1)
        distance, order = exact.sort(dim=1, stable=True)
        parts.append((distance[:, :k], rank.gather(1, order)[:, :k]))
    distances, indices = zip(*parts, strict=True)
    return torch.cat(distances), torch.cat(indices)


def neighbours(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the ``k`` nearest other points of each point (N, D): distances and rows, (N, k) each."""
    distance, index = nearest(points, points, k + 1)
    own = index == torch.arange(len(points), device=points.device)[:, None]
    own[:, -1] |= ~own.any(1)  # with many duplicates, a point may be missing from its own list
    shape = (len(points), distance.shape[1] - 1)
    return distance[~own].view(shape), index[~own].view(shape)
