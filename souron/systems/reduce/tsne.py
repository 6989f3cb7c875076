"""Neighbours stay neighbours: a point attracts its own and pushes all others away.

van der Maaten, Hinton: Visualizing Data using t-SNE (2008).
https://www.jmlr.org/papers/v9/vandermaaten08a.html

    p_j|i  in proportion to  exp(-|x_i - x_j|^2 b_i)      b_i: so that the row's perplexity is given
    p_ij = (p_j|i + p_i|j) / 2N            q_ij = (1 + |y_i - y_j|^2)^-1 / Z
    minimise KL(P || Q):   dKL/dy_i = 4 sum_j (p_ij - q_ij) (y_i - y_j) (1 + |y_i - y_j|^2)^-1

Perplexity is the effective number of neighbours. Student's t has a long tail, so that moderately
distant points may lie far apart and clusters separate. During the first third of the steps all p_ij
are `exaggeration` times larger: clusters form before they separate. Read the map for neighbourhoods
only. The size of a cluster and its distance from another say little; and points without any
structure show islands, too (compare `shuffled_columns`).

Differs from the paper: starts from PCA instead of noise, which preserves more of the global
structure (Kobak, Berens 2019, https://doi.org/10.1038/s41467-019-13056-x); the rate is N / 4 by the
exaggeration (Belkina and others 2019, https://doi.org/10.1038/s41467-019-13055-y), which is 12, not
4. Perplexity is at most a third of the other points. The paper maps training points alone: a new
point is placed at the mean of its training neighbours' coordinates, weighted by p_j|i.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.neighbours import nearest
from souron.tasks.reduce import Reducer, Spec
from souron.training.loop import Data, Progress, Run
from souron.utils.messages import UserError, _

MOST = 10_000  # points: P holds every pair, 400 MB, and each step visits every pair
CELLS = 400_000  # pairs at once, to fit the CPU's cache


@dataclass(frozen=True)
class Config:
    perplexity: float = 30.0
    steps: int = 750
    exaggeration: float = 12.0
    dims: int = 2


class TSNE(Reducer):
    year = 2008
    ja = "高次元で近い点どうしを引き寄せ、ほかの点を遠ざけて、近傍関係を平面に写す"
    SIZES = {"tiny": Config(10.0, 100), "small": Config()}

    points: Tensor  # (cases, features)
    places: Tensor  # (cases, dims)
    velocity: Tensor  # (cases, dims), needed with the gains to resume
    gains: Tensor  # (cases, dims), each coordinate's factor of the learning rate

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = config.steps
        self.register_buffer("points", torch.zeros(spec.cases, spec.features))
        self.register_buffer("places", torch.zeros(spec.cases, config.dims))
        self.register_buffer("velocity", torch.zeros(spec.cases, config.dims))
        self.register_buffer("gains", torch.ones(spec.cases, config.dims))

    @property
    def perplexity(self) -> float:
        return min(self.config.perplexity, max(1.0, (self.spec.cases - 1) / 3))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Minimise the KL divergence. Raises UserError for more than ``MOST`` points."""
        points = data.all()  # (N, D)
        count, exaggeration = len(points), self.config.exaggeration
        if count > MOST:
            raise UserError(
                "too many points",
                _("{found} points").format(found=count),
                expected=_("at most {most}, for every pair is visited").format(most=MOST),
                fix="system=umap",
                exit=4,
            )
        if run.start == 0:
            self.points.copy_(points)
            self.places.copy_(principal(points, self.config.dims))
        steps = min(run.steps, self.config.steps)
        joint = joint_affinities(points, self.perplexity)
        for step in range(run.start, steps):
            # early exaggeration, with less momentum
            early = 3 * step < steps
            times = exaggeration if early else 1.0
            uphill = gradient(self.places, joint, times)
            self.move(uphill, count / times / 4, 0.5 if early else 0.8)
            if step == run.start or step % 10 == 9:  # evaluating it costs half a step
                loss = divergence(self.places, joint)
            yield Progress(step, {"KL divergence": loss})

    def move(self, uphill: Tensor, rate: float, momentum: float) -> None:
        """Update with adaptive gains, larger for coordinates that keep their direction."""
        turns = uphill.sign() == self.velocity.sign()
        self.gains.copy_(torch.where(turns, self.gains * 0.8, self.gains + 0.2).clamp(min=0.01))
        self.velocity.mul_(momentum).sub_(rate * self.gains * uphill)
        self.places.add_(self.velocity)
        self.places.sub_(self.places.mean(0))

    def forward(self, points: Tensor) -> Tensor:
        if torch.equal(points, self.points):
            return self.places.clone()
        distance, index = nearest(points, self.points, math.ceil(3 * self.perplexity))
        weight = affinities(distance.square(), min(self.perplexity, distance.shape[1]))
        places = (weight[..., None] * self.places[index]).sum(1)  # (N, dims)
        in_training = distance[:, :1] == 0
        return torch.where(in_training, self.places[index[:, 0]], places)


def principal(points: Tensor, dims: int) -> Tensor:
    """Return the first principal components (N, dims), scaled to a standard deviation of 1e-4."""
    centered = points - points.mean(0)
    u, scale, v = torch.linalg.svd(centered, full_matrices=False)
    sign = v.gather(1, v.abs().argmax(1, keepdim=True)).sign().T  # (1, components)
    places = (u * scale * sign)[:, :dims]
    places = torch.nn.functional.pad(places, (0, dims - places.shape[1]))
    return places / places[:, 0].std().clamp(min=1e-12) * 1e-4


def affinities(squares: Tensor, perplexity: float) -> Tensor:
    """Return p_j|i (n, m) with the given perplexity for squared distances (n, m).

    The rows sum to 1. The precision b_i of each row is found by bisection of all rows together.
    """
    squares = squares - squares.amin(1, keepdim=True)  # prevents underflow; p is unchanged
    near = squares.masked_fill(squares.isinf(), 0).mean(1, keepdim=True).clamp(min=1e-30)
    squares = squares / near
    low = torch.full_like(near, -12.0)  # log2 of b_i, for a mean squared distance of 1
    high = torch.full_like(near, 30.0)
    for _try in range(40):
        middle = (low + high) / 2
        p = (-squares * middle.exp2()).exp()
        total = p.sum(1, keepdim=True)
        # the entropy -sum p log p, with log p = -squares b - log total
        energy = p.mul_(squares.clamp(max=1e30)).sum(1, keepdim=True) * middle.exp2() / total
        flat = energy + total.log() > math.log(perplexity)
        low, high = torch.where(flat, middle, low), torch.where(flat, high, middle)
    return (-squares * ((low + high) / 2).exp2()).softmax(1)


def joint_affinities(points: Tensor, perplexity: float) -> Tensor:
    """Return P (N, N) for points (N, D): symmetric, with zero diagonal and sum 1."""
    exact = "donot_use_mm_for_euclid_dist"  # the matrix product would round small distances away
    rows = torch.arange(len(points), device=points.device)
    joint = torch.empty(len(points), len(points), device=points.device)
    for part in rows.split(max(1, CELLS // len(points))):
        squares = torch.cdist(points[part], points, compute_mode=exact).square_()
        squares[torch.arange(len(part)), part] = torch.inf
        joint[part] = affinities(squares, perplexity)
    return (joint + joint.T) / (2 * len(points))


def kernel(places: Tensor, rows: slice) -> Tensor:
    """Return Student's t kernel (1 + |y_i - y_j|^2)^-1 of some rows with all, (rows, N)."""
    ones, square = torch.ones_like(places[:, :1]), places.square().sum(1, keepdim=True)
    factor = torch.cat([-2 * places, square + 1, ones], 1)[rows]  # one product gives the whole sum
    return (factor @ torch.cat([places, ones, square], 1).T).clamp_(min=1).reciprocal_()


def parts(count: int) -> list[slice]:
    size = max(1, CELLS // count)
    return [slice(start, start + size) for start in range(0, count, size)]


def gradient(places: Tensor, joint: Tensor, exaggeration: float = 1.0) -> Tensor:
    """Return the gradient of KL(exaggeration P || Q), (N, dims)."""
    # coordinates, and ones to sum the weights; row-major for speed
    homogeneous = torch.cat([places, torch.ones_like(places[:, :1])], 1).T.contiguous()
    pull, push = torch.empty_like(homogeneous.T), torch.empty_like(homogeneous.T)
    total = torch.zeros_like(places[0, 0]) - len(places)  # Z, without the diagonal's ones
    for rows in parts(len(places)):
        t = kernel(places, rows)  # (rows, N)
        total += t.sum()
        pull[rows] = (joint[rows] * t) @ homogeneous.T
        push[rows] = t.square_() @ homogeneous.T
    force = exaggeration * pull - push / total  # (N, dims + 1)
    return 4 * (force[:, -1:] * places - force[:, :-1])


def divergence(places: Tensor, joint: Tensor) -> Tensor:
    """Return KL(P || Q) in nats."""
    total, cross = torch.zeros_like(places[0, 0]) - len(places), torch.zeros_like(places[0, 0])
    for rows in parts(len(places)):
        t = kernel(places, rows)
        total = total + t.sum()
        p = joint[rows]
        cross = cross + (torch.special.xlogy(p, p) - p * t.log()).sum()
    return cross + total.log()
