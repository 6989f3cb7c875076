"""Each point joins its nearest centre, each centre moves to the mean of its points.

Lloyd: Least Squares Quantization in PCM (1957, 1982). https://doi.org/10.1109/TIT.1982.1056489

    minimise  sum_i min_k |x_i - c_k|^2

The initial centres are chosen by k-means++ (Arthur, Vassilvitskii 2007,
https://dl.acm.org/doi/10.5555/1283383.1283494): each with a probability proportional to the squared
distance from the nearest earlier centre. It ends when no point changes its cluster.

Differs from the paper: more than one dimension; a centre left without points moves to the point
that is farthest from its own centre.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.tasks.cluster import Clusterer, Spec
from souron.training.loop import Data, Progress, Run
from souron.utils.messages import UserError, _


@dataclass(frozen=True)
class Config:
    groups: int = 10


class KMeans(Clusterer):
    year = 1957
    ja = "最も近い中心に点を集め、中心を点の平均に移すことを繰り返す"
    full_batch = True
    SIZES = {"tiny": Config(3), "small": Config()}

    centres: Tensor  # (groups, features)

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.register_buffer("centres", torch.zeros(config.groups, spec.features))

    def sketch(self) -> list[tuple[str, str, tuple[int, ...]]]:
        centres = tuple(self.centres.shape)
        return [("centres", "kept", centres), ("distances", "other", centres[:1]), ("nearest centre", "other", (1,))]

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Run Lloyd's iterations. Raises UserError for fewer distinct points than clusters."""
        points = data.all()  # (N, D)
        if run.start == 0:
            self.centres.copy_(far_apart(points, self.config.groups))
        before = torch.full((len(points),), -1, device=points.device)
        for step in range(run.start, run.steps):
            # assign each point to its nearest centre, then move the centres to the means
            nearest = self(points)
            if torch.equal(nearest, before):
                return
            distance = (points - self.centres[nearest]).square().sum(1)  # (N,)
            self.move(points, nearest, distance)
            before = nearest
            yield Progress(step, {"inertia": distance.mean()})

    def move(self, points: Tensor, nearest: Tensor, distance: Tensor) -> None:
        """Move each centre to the mean of its points; empty clusters take the farthest points.

        ``nearest`` and ``distance`` (N,) are each point's cluster and squared distance.
        """
        members = nearest.clone()
        empty = (members.bincount(minlength=self.config.groups) == 0).nonzero().flatten()
        members[distance.topk(len(empty)).indices] = empty
        for group in members.unique():
            self.centres[group] = points[members == group].mean(0)

    def forward(self, points: Tensor) -> Tensor:
        return torch.cdist(points, self.centres).argmin(1)  # (N,)


def far_apart(points: Tensor, groups: int) -> Tensor:
    """Sample initial centres (groups, D) from the points (N, D) by k-means++. Raises UserError."""
    centers = [int(torch.randint(len(points), ()))]
    distance = torch.full((len(points),), torch.inf, device=points.device)
    while len(centers) < groups:
        distance = distance.minimum((points - points[centers[-1]]).square().sum(1))
        if not distance.any():
            raise UserError(
                "groups",
                _("{found} different points for {groups} groups").format(found=len(centers), groups=groups),
                expected=_("at least one point for each group"),
                fix=f"groups={len(centers)}",
                exit=3,
            )
        centers.append(int(distance.multinomial(1)))
    return points[centers]
