"""Each point joins its nearest centre, each centre moves to the mean of its points.

Lloyd: Least Squares Quantization in PCM (1957, 1982). https://doi.org/10.1109/TIT.1982.1056489

    minimise  sum_i min_k |x_i - c_k|^2
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from souron.tasks.group import Grouper, Seen
from souron.training import Progress


@dataclass(frozen=True)
class Config:
    groups: int = 10


class KMeans(Grouper):
    year = 1957
    ja = "最も近い中心に点を集め、中心を点の平均に移すことを繰り返す"
    SIZES = {"tiny": Config(3), "small": Config()}

    def __init__(self, config: Config, seen: Seen):
        super().__init__(config, seen)
        self.register_buffer("centres", torch.zeros(config.groups, seen.features))

    def fit(self, data, run):
        points = data.all()  # (N, D)
        self.centres.copy_(points[torch.randperm(len(points))[: self.config.groups]])
        for step in range(run.steps):
            nearest = self(points)
            for k in nearest.unique():
                self.centres[k] = points[nearest == k].mean(0)
            yield Progress(
                step, {"inertia": (points - self.centres[nearest]).square().sum(1).mean()}
            )

    def forward(self, points: Tensor) -> Tensor:
        return torch.cdist(points, self.centres).argmin(1)  # (N,)
