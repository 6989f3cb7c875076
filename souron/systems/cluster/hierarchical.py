"""Joins the two nearest clusters, again and again: a tree that can be cut at any height.

Ward: Hierarchical Grouping to Optimize an Objective Function (1963).
https://doi.org/10.1080/01621459.1963.10500845

    d(A, B) = sqrt(2 |A| |B| / (|A| + |B|)) |mean_A - mean_B|    ward: what joining adds to the
                                                                squares within clusters is d^2 / 2
    d(A, B) = mean, largest or smallest d(a, b)                 average, complete, single

When A and B are joined, the distance to every other C follows from d(A, C), d(B, C) and d(A, B)
(Lance, Williams 1967, https://doi.org/10.1093/comjnl/9.4.373). From any cluster, go to its
nearest, from there to that one's nearest, until two are each other's nearest: these are joined.
This nearest-neighbour chain finds the same tree as searching all pairs every time, in N^2 steps
(Murtagh 1983, https://doi.org/10.1093/comjnl/26.4.354).

The tree is kept, so that one training answers for any number of clusters: `cut(groups)`.
Differs from the paper: other linkages than Ward's, too. A new point gets the label of the training
point nearest to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.neighbours import nearest
from souron.tasks.cluster import Clusterer, Spec
from souron.training.loop import Data, Progress, Run
from souron.utils.messages import UserError, _

MOST = 10_000  # points; all pairwise distances take 800 MB
LINKAGES = ("ward", "average", "complete", "single")


@dataclass(frozen=True)
class Config:
    groups: int = 10
    linkage: str = "ward"


class Hierarchical(Clusterer):
    year = 1963
    ja = "最も近い二つのクラスターの併合を繰り返し、好きな高さで切れる樹形図を作る"
    SIZES = {"tiny": Config(3), "small": Config()}

    points: Tensor  # (cases, features)
    tree: Tensor  # (cases - 1, 4) float64 in scipy's format: both clusters, distance, points

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = spec.cases - 1
        assert config.linkage in LINKAGES, config.linkage
        self.register_buffer("points", torch.zeros(spec.cases, spec.features))
        self.register_buffer("tree", torch.zeros(max(spec.cases - 1, 0), 4, dtype=torch.float64))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Merge two clusters per step. If stopped early, the merges so far are used.

        Raises UserError for more than ``MOST`` points.
        """
        points = data.all()  # (N, D)
        count = len(points)
        if count > MOST:
            raise UserError(
                "too many points",
                _("{found} points").format(found=count),
                expected=_("at most {most}, for every pair is visited").format(most=MOST),
                fix="system=hdbscan",
                exit=4,
            )
        self.points.copy_(points)
        merges: list[tuple[int, int, float]] = []  # a point of each cluster, distance
        for step, pair in zip(range(run.steps), chain(points, self.config.linkage), strict=False):
            merges.append(pair)
            if step >= run.start:  # a resumed run repeats the earlier merges
                remaining = torch.tensor(1 - len(merges) / count)
                # sorting at every step would take N^2 log N
                if len(merges) == min(count - 1, run.steps) or (step + 1) % (count // 10 + 1) == 0:
                    self.tree.copy_(sorted_tree(merges, count))
                yield Progress(step, {"clusters left": remaining})

    def cut(self, groups: int) -> Tensor:
        """Return labels (cases,) for that many clusters, numbered by their first points.

        There are more clusters if the tree is unfinished.
        """
        merges = self.tree[self.tree[:, 3] > 0]
        count = len(self.points)
        parent = list(range(count + len(merges)))
        for row, (a, b) in enumerate(merges[: max(0, count - groups), :2].long().tolist()):
            parent[a] = parent[b] = count + row
        for node in reversed(range(len(parent))):  # parents have larger numbers
            parent[node] = parent[parent[node]]
        numbers: dict[int, int] = {}
        labels = [numbers.setdefault(root, len(numbers)) for root in parent[:count]]
        return torch.tensor(labels, device=self.device)

    def forward(self, points: Tensor) -> Tensor:
        labels = self.cut(self.config.groups)
        if torch.equal(points, self.points):
            return labels
        return labels[nearest(points, self.points, 1)[1][:, 0]]  # (N,)


def chain(points: Tensor, linkage: str) -> Iterator[tuple[int, int, float]]:
    """Yield the N - 1 merges of points (N, D), each cluster named by one of its points.

    They come in the order of the nearest-neighbour chain, not of distance.
    """
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(points.double(), points.double(), compute_mode=exact)  # (N, N)
    distance.fill_diagonal_(torch.inf)
    size = torch.ones(len(points), dtype=torch.float64, device=points.device)
    alive = torch.ones(len(points), dtype=torch.bool, device=points.device)
    path: list[int] = []
    for _joining in range(len(points) - 1):
        if not path:
            path.append(int(alive.int().argmax()))
        # follow nearest neighbours until two are each other's
        while True:
            row = distance[path[-1]]
            near = int(row.argmin())
            # ties go to the previous one in the path, or the chain could cycle
            if len(path) > 1 and row[path[-2]] <= row[near]:
                break
            path.append(near)
        absorbed, survivor = path.pop(), path.pop()
        apart = distance[absorbed, survivor]
        yield absorbed, survivor, float(apart)

        # distances of the merged cluster
        updated = lance_williams(distance[absorbed], distance[survivor], apart, size, absorbed, survivor, linkage)
        alive[absorbed] = False
        updated[~alive] = torch.inf
        updated[survivor] = torch.inf
        distance[survivor], distance[:, survivor] = updated, updated
        distance[absorbed], distance[:, absorbed] = torch.inf, torch.inf
        size[survivor] += size[absorbed]


def lance_williams(first: Tensor, second: Tensor, apart: Tensor, size: Tensor, a: int, b: int, linkage: str) -> Tensor:
    """Update the distances (N,) to clusters a and b to those to their union."""
    if linkage == "single":
        return first.minimum(second)
    if linkage == "complete":
        return first.maximum(second)
    if linkage == "average":
        return (size[a] * first + size[b] * second) / (size[a] + size[b])
    square = (size[a] + size) * first**2 + (size[b] + size) * second**2 - size * apart**2
    return (square / (size[a] + size[b] + size)).clamp(min=0).sqrt()


def sorted_tree(merges: list[tuple[int, int, float]], count: int) -> Tensor:
    """Return the merges by distance, (count - 1, 4): both clusters, distance, points.

    The points are 0..count-1, and row r makes cluster count + r. Rows without a merge are 0.
    """
    parent, size = list(range(2 * count)), [1] * count + [0] * count

    def cluster(point: int) -> int:
        while parent[point] != point:
            parent[point] = parent[parent[point]]  # path halving
            point = parent[point]
        return point

    rows = []
    for node, (a, b, distance) in enumerate(sorted(merges, key=lambda pair: pair[2]), count):
        low, high = sorted((cluster(a), cluster(b)))
        parent[low] = parent[high] = node
        size[node] = size[low] + size[high]
        rows.append((low, high, distance, size[node]))
    tree = torch.zeros(count - 1, 4, dtype=torch.float64)
    tree[: len(rows)] = torch.tensor(rows, dtype=torch.float64).view(-1, 4)
    return tree
