"""Joins each point to its neighbours and draws that graph: edges pull, random pairs push.

McInnes, Healy, Melville: UMAP: Uniform Manifold Approximation and Projection for Dimension
Reduction (2018). https://arxiv.org/abs/1802.03426

    w_i->j = exp(-max(0, d_ij - rho_i) / sigma_i)       the k nearest; rho_i: to the very nearest
    sum_j w_i->j = log2 k                               gives sigma_i, each point's own unit
    w_ij = w_i->j + w_j->i - w_i->j w_j->i              fuzzy union: one of both is enough
    q_ij = 1 / (1 + a |y_i - y_j|^2b)                   a, b: q falls from 1 where min_dist ends
    minimise  - sum w_ij log q_ij - sum (1 - w_ij) log(1 - q_ij)

The second sum runs over all pairs. Negative sampling replaces it: whenever an edge pulls, its point
is pushed away from 5 random points. So the time grows with the edges, not with the pairs. Read the
map for neighbourhoods only; a cluster's size and distances between clusters say little, and points
without any structure show islands, too (compare `shuffled_columns`).

Differs from the paper: starts from PCA, not from the Laplacian's eigenvectors, and preserves as
much of the global structure (Kobak, Linderman 2021, https://doi.org/10.1038/s41587-020-00809-z).
Edges move in small batches in place of one by one. Neighbours are found exactly. A new point is
placed at the mean of its training neighbours' coordinates, weighted by w_i->j.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.neighbours import nearest, neighbours
from souron.tasks.reduce import Reducer, Spec
from souron.training.loop import Data, Progress, Run

NEAR = 1e-3  # added to the squared distance of a push, which diverges at 0
FURTHEST = 4.0  # most that one edge moves a coordinate


@dataclass(frozen=True)
class Config:
    neighbours: int = 15
    min_dist: float = 0.1
    steps: int = 300
    negatives: int = 5
    dims: int = 2


class UMAP(Reducer):
    year = 2018
    ja = "近傍点を結んだグラフを作り、辺は引き、無作為に選んだ点は押して平面に描く"
    SIZES = {"tiny": Config(10, steps=60), "small": Config()}

    points: Tensor  # (cases, features)
    places: Tensor  # (cases, dims)

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = config.steps
        self.register_buffer("points", torch.zeros(spec.cases, spec.features))
        self.register_buffer("places", torch.zeros(spec.cases, config.dims))
        with torch.device("cpu"):  # on the CPU, even if the system itself is on the meta device
            self.curve = curve(config.min_dist)

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Pull each edge per step with a probability proportional to its weight, at most 1."""
        points = data.all()  # (N, D)
        if run.start == 0:
            self.points.copy_(points)
            self.places.copy_(principal(points, self.config.dims))
        edges, weight = graph(points, self.config.neighbours)
        chance = weight / weight.max()
        steps = min(run.steps, self.config.steps)
        for step in range(run.start, steps):
            # sample edges by their weight, in random order
            samples = edges[:, torch.rand_like(chance) < chance]
            samples = samples[:, torch.randperm(samples.shape[1], device=points.device)]
            losses = [
                self.move(batch, 1 - step / steps)
                # a point has about one edge per batch, so that pulls do not add up
                for batch in samples.split(max(1, len(points) // 2), dim=1)
            ]
            yield Progress(step, {"cross entropy": torch.stack(losses).mean()})

    def move(self, edges: Tensor, rate: float) -> Tensor:
        """Pull the ends of edges (2, E) together, and push their first ends from random points.

        Returns the mean cross-entropy of these edges and pairs.
        """
        # attraction along the edges
        a, b = self.curve
        first, second = edges
        apart = self.places[first] - self.places[second]  # (E, dims)
        square = apart.square().sum(1, keepdim=True).clamp(min=1e-12)
        power = a * square**b
        pull = (-2 * b * power / square / (1 + power) * apart).clamp(-FURTHEST, FURTHEST)
        loss = power.log1p().mean()

        # repulsion from negative samples
        source = first.repeat(self.config.negatives)
        other = torch.randint(len(self.places), source.shape, device=source.device)
        apart = self.places[source] - self.places[other]  # 0 for points paired with themselves
        square = apart.square().sum(1, keepdim=True)
        power = a * square**b
        push = 2 * b / (NEAR + square) / (1 + power) * apart
        push = push.clamp(-FURTHEST, FURTHEST)
        loss = loss - self.config.negatives * (power / (1 + power)).clamp(min=1e-4).log().mean()

        # gradient step
        ends = torch.cat([first, second, source])
        moves = torch.cat([pull, -pull, push]) * rate
        for dim in range(moves.shape[1]):
            self.places[:, dim].index_add_(0, ends, moves[:, dim].contiguous())
        return loss

    def forward(self, points: Tensor) -> Tensor:
        if torch.equal(points, self.points):
            return self.places.clone()
        distance, index = nearest(points, self.points, self.config.neighbours)
        weight = memberships(distance)
        weight = weight / weight.sum(1, keepdim=True)
        places = (weight[..., None] * self.places[index]).sum(1)  # (N, dims)
        return torch.where(distance[:, :1] == 0, self.places[index[:, 0]], places)


def principal(points: Tensor, dims: int) -> Tensor:
    """Return the first principal components (N, dims), scaled to -10..10."""
    centered = points - points.mean(0)
    u, scale, v = torch.linalg.svd(centered, full_matrices=False)
    sign = v.gather(1, v.abs().argmax(1, keepdim=True)).sign().T  # (1, components)
    places = (u * scale * sign)[:, :dims]
    places = torch.nn.functional.pad(places, (0, dims - places.shape[1]))
    return places / places.abs().max().clamp(min=1e-12) * 10


def memberships(distance: Tensor) -> Tensor:
    """Return w_i->j (N, k) for sorted distances (N, k) to the nearest; rows sum to log2 k.

    The scale sigma_i of each row is found by bisection of all rows together. With many equally
    near neighbours a row's sum may stay above log2 k.
    """
    beyond = distance - distance[:, :1]  # the nearest has weight 1
    unit = beyond.mean(1, keepdim=True).clamp(min=1e-12)
    low, high = torch.full_like(unit, -20.0), torch.full_like(unit, 20.0)  # log2 of sigma / unit
    target = math.log2(max(2, distance.shape[1]))
    for _try in range(40):
        middle = (low + high) / 2
        small = (-beyond / (unit * middle.exp2())).exp().sum(1, keepdim=True) < target
        low, high = torch.where(small, middle, low), torch.where(small, high, middle)
    return (-beyond / (unit * ((low + high) / 2).exp2())).exp()


def graph(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the edges (2, E) of points (N, D), in both directions, and weights (E,) in 0..1."""
    distance, index = neighbours(points, k)
    weight = memberships(distance)
    count = len(points)
    rows = torch.arange(count, device=points.device)[:, None].expand_as(index)
    one_way = torch.stack([rows.flatten(), index.flatten()])  # i -> j
    both = torch.cat([one_way, one_way.flip(0)], 1)
    pairs, edge_index = (both[0] * count + both[1]).unique(return_inverse=True)
    sides = torch.zeros(2, len(pairs), device=points.device)
    sides[0, edge_index[: index.numel()]] = weight.flatten()
    sides[1, edge_index[index.numel() :]] = weight.flatten()
    union = sides[0] + sides[1] - sides[0] * sides[1]
    return torch.stack([pairs // count, pairs % count]), union


def curve(min_dist: float) -> tuple[float, float]:
    """Fit a, b so that 1 / (1 + a d^2b) approximates: 1 up to min_dist, then exp(min_dist - d).

    Least squares over d in 0..3 by the Levenberg-Marquardt method.
    """
    d = torch.linspace(0, 3, 300, dtype=torch.float64)[1:]
    target = (min_dist - d).exp().clamp(max=1)
    log_ab = torch.zeros(2, dtype=torch.float64)  # log a, log b

    def fall(at: Tensor) -> Tensor:
        return 1 / (1 + at[0].exp() * d ** (2 * at[1].exp()))

    damping = 1e-2
    for _try in range(100):
        q = fall(log_ab)
        by_log_a = -q * (1 - q)
        slope = torch.stack([by_log_a, by_log_a * 2 * log_ab[1].exp() * d.log()], 1)  # (299, 2)
        square = slope.T @ slope
        down = slope.T @ (q - target)
        trial = log_ab - torch.linalg.solve(square + damping * square.diag().diag(), down)
        better = (fall(trial) - target).square().sum() < (q - target).square().sum()
        log_ab, damping = (trial, damping / 3) if better else (log_ab, damping * 3)
        damping = min(damping, 1e6)
    return float(log_ab[0].exp()), float(log_ab[1].exp())
