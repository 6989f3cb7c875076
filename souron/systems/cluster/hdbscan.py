"""Clusters are dense places of any shape and density; what lies between them is noise.

Campello, Moulavi, Sander: Density-Based Clustering Based on Hierarchical Density Estimates (2013).
https://doi.org/10.1007/978-3-642-37456-2_14

    core(x) = distance of the `samples`-th nearest point, itself counted
    reach(x, y) = max(core(x), core(y), |x - y|)              mutual reachability
    lambda = 1 / reach                                        a density
    stability(C) = sum over x in C of (lambda at which x leaves C - lambda at which C begins)

Mutual reachability pushes sparse points apart. The longest edges of its minimum spanning tree are
cut first: clusters split as the required density grows. A part with fewer than `least` points is
not a cluster, its points become noise (the condensed tree). Of nested clusters the most persistent
are selected: a cluster stays whole unless its parts are together more stable (excess of mass). The
number of clusters need not be given.

Differs from the paper: a single cluster of all points is excluded. A new point gets the label of
the training point with the least reachability, or is noise where that exceeds the largest at which
the cluster holds together.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.neighbours import nearest
from souron.tasks.cluster import Clusterer, Spec
from souron.training.loop import Data, Progress, Run

Edge = tuple[int, int, float]  # two points and their mutual reachability


@dataclass(frozen=True)
class Config:
    least: int = 5  # points of a cluster
    samples: int = 5  # neighbours, itself included, that define the core distance


class HDBSCAN(Clusterer):
    year = 2013
    ja = "密度の高い所をクラスターとし、あいだに散らばる点はノイズとする"
    SIZES = {"tiny": Config(), "small": Config()}

    points: Tensor  # (cases, features)
    core: Tensor  # (cases,) core distances
    labels: Tensor  # (cases,)
    reach: Tensor  # (cases,) the largest reachability at which each point's cluster holds together

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = spec.cases - 1
        self.register_buffer("points", torch.zeros(spec.cases, spec.features))
        self.register_buffer("core", torch.zeros(spec.cases))
        self.register_buffer("labels", torch.full((spec.cases,), -1))
        self.register_buffer("reach", torch.zeros(spec.cases))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Grow the spanning tree by a point per step. If stopped early, all points are noise."""
        points = data.all()  # (N, D)
        self.points.copy_(points)
        self.core.copy_(nearest(points, points, self.config.samples)[0][:, -1])
        edges: list[Edge] = []
        for step, edge in zip(range(run.steps), spanning(points, self.core), strict=False):
            edges.append(edge)
            if len(edges) == len(points) - 1:
                labels, reach = select(condense(linkage(edges), self.config.least), len(points))
                self.labels.copy_(labels)
                self.reach.copy_(reach)
            if step >= run.start:  # a resumed run repeats the same steps
                remaining = torch.tensor(1 - len(edges) / len(points))
                yield Progress(step, {"points left": remaining})

    def forward(self, points: Tensor) -> Tensor:
        if torch.equal(points, self.points):
            return self.labels.clone()
        distance, index = nearest(points, self.points, 2 * self.config.samples)
        core = distance[:, min(self.config.samples, distance.shape[1]) - 1]
        mutual = distance.maximum(self.core[index]).maximum(core[:, None])
        mutual[:, 0] = torch.where(distance[:, 0] == 0, -torch.inf, mutual[:, 0])  # a known point
        reach, column = mutual.min(1)
        neighbour = index.gather(1, column[:, None])[:, 0]
        return self.labels[neighbour].masked_fill(reach > self.reach[neighbour], -1)


def spanning(points: Tensor, core: Tensor) -> Iterator[Edge]:
    """Yield the N - 1 edges of the minimum spanning tree (Prim).

    ``points`` is (N, D), ``core`` the core distances (N,).
    """
    nearest_reach = torch.full((len(points),), torch.inf, device=points.device)
    source = torch.zeros(len(points), dtype=torch.long, device=points.device)
    inside = torch.zeros(len(points), device=points.device)  # infinity for points in the tree
    current = 0
    for _edge in range(len(points) - 1):
        inside[current] = torch.inf
        distance = (points - points[current]).square_().sum(1).sqrt_()
        reach = distance.maximum(core).clamp_(min=float(core[current]))
        nearer = reach < nearest_reach
        nearest_reach = torch.where(nearer, reach, nearest_reach)
        source.masked_fill_(nearer, current)
        current = int((nearest_reach + inside).argmin())
        yield int(source[current]), current, float(nearest_reach[current])


def linkage(edges: list[Edge]) -> list[tuple[int, int, float, int]]:
    """Return the single-linkage tree: (cluster, cluster, reach, points), shortest edges first.

    Points are 0..N-1, and row r makes cluster N + r.
    """
    count = len(edges) + 1
    parent, size = list(range(2 * count)), [1] * count + [0] * count

    def cluster(point: int) -> int:
        while parent[point] != point:
            parent[point] = parent[parent[point]]  # path halving
            point = parent[point]
        return point

    rows = []
    for node, (a, b, reach) in enumerate(sorted(edges, key=lambda edge: edge[2]), count):
        a, b = cluster(a), cluster(b)
        parent[a] = parent[b] = node
        size[node] = size[a] + size[b]
        rows.append((a, b, reach, size[node]))
    return rows


def condense(rows: list[tuple[int, int, float, int]], least: int) -> list[tuple[int, int, float, int]]:
    """Return the condensed tree: (cluster, member that leaves it, lambda, points that leave).

    A member is a point, below N, or a cluster: N is the root, its parts have larger numbers.
    """
    count = len(rows) + 1
    size = [1] * count + [row[3] for row in rows]
    tree, clusters = [], count + 1

    def points_of(node: int) -> Iterator[int]:
        open_nodes = [node]
        while open_nodes:
            node = open_nodes.pop()
            if node < count:
                yield node
            else:
                open_nodes += rows[node - count][:2]

    open_clusters = [(2 * count - 2, count)]  # node of the linkage tree, number of its cluster
    while open_clusters:
        node, own = open_clusters.pop()
        *parts, reach, _points = rows[node - count]
        density = 1 / reach if reach > 0 else float("inf")
        splits = all(size[part] >= least for part in parts)
        # a part with too few points leaves its cluster point by point
        for part in parts:
            if size[part] < least:
                tree += [(own, point, density, 1) for point in points_of(part)]
                continue
            number = own
            if splits:
                number, clusters = clusters, clusters + 1
                tree.append((own, number, density, size[part]))
            if part >= count:
                open_clusters.append((part, number))
            else:  # a cluster of one point, for `least` 1
                tree.append((number, part, density, 1))
    return tree


def select(tree: list[tuple[int, int, float, int]], count: int) -> tuple[Tensor, Tensor]:
    """Select the most stable clusters of the condensed tree.

    Returns labels (count,), -1 for noise, and the largest reachability (count,) at which each
    point's cluster holds together, 0 for noise.
    """
    begins = {count: 0.0} | {part: density for _, part, density, _ in tree if part >= count}
    stability: dict[int, float] = defaultdict(float)
    parts, parent = defaultdict(list), {}
    for own, part, density, points in tree:
        if density > begins[own]:  # duplicate points leave at infinite density
            stability[own] += (min(density, 1e30) - min(begins[own], 1e30)) * points
        parent[part] = own
        if part >= count:
            parts[own].append(part)

    # excess of mass: a cluster, or its parts where they are more stable together
    selection = set()
    for own in sorted(begins, reverse=True):  # parts before the clusters that contain them
        of_parts = sum(stability[part] for part in parts[own])
        if own == count or (parts[own] and of_parts > stability[own]):
            stability[own] = of_parts
        else:
            selection.add(own)
    numbers: dict[int, int] = {}
    for own in sorted(begins):  # the outermost selected cluster counts
        above = parent.get(own)
        if above in numbers:
            numbers[own] = numbers[above]
        elif own in selection:
            numbers[own] = len(set(numbers.values()))

    # each point has the label of its outermost selected cluster
    outermost: dict[int, int] = {}
    for own, number in numbers.items():
        outermost.setdefault(number, own)
    labels, reach = torch.full((count,), -1), torch.zeros(count)
    for point in range(count):
        number = numbers.get(parent[point], -1)
        labels[point] = number
        if number >= 0:
            reach[point] = 1 / begins[outermost[number]]
    return labels, reach
