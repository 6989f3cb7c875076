"""Looks at the points from the side from which they differ most.

Pearson: On Lines and Planes of Closest Fit to Systems of Points in Space (1901).
https://doi.org/10.1080/14786440109462720

    X - mean = U S V^T        map = (X - mean) V_k        explained = S_k^2 / sum S^2

The rows of V^T are the components: orthogonal directions, the first with the largest variance of
the points along it. Of all choices of k directions, the first k components lose the least variance
(Eckart, Young 1936). A coordinate is a fixed linear combination of the features; so new points are
placed like old ones, and distances on the map can be interpreted.

Differs from the paper: the singular value decomposition (Hotelling 1933, Eckart and Young 1936). A
component's sign is arbitrary; it is chosen so that the largest weight is positive.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.tasks.reduce import Reducer, Spec
from souron.training.loop import Data, Progress, Run
from souron.utils.messages import UserError, _


@dataclass(frozen=True)
class Config:
    dims: int = 2


class PCA(Reducer):
    year = 1901
    ja = "点のばらつきが最も大きく見える向きへ射影する"
    SIZES = {"tiny": Config(), "small": Config()}

    mean: Tensor  # (features,)
    components: Tensor  # (dims, features), orthonormal rows
    explained: Tensor  # (dims,) each component's share of the variance

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.most_steps = config.dims
        self.register_buffer("mean", torch.zeros(spec.features))
        self.register_buffer("components", torch.eye(config.dims, spec.features))
        self.register_buffer("explained", torch.zeros(config.dims))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Compute the SVD at once; each step reports the variance left unexplained by a component.

        Raises UserError if the points span fewer dimensions than requested.
        """
        points = data.all()  # (N, D)
        dims = self.config.dims
        centered = points - points.mean(0)
        _u, scale, directions = torch.linalg.svd(centered, full_matrices=False)
        rank = int((scale > scale[0] * 1e-6).sum()) if scale[0] > 0 else 0
        if rank < dims:
            raise UserError(
                "dimensions",
                _("the points span {found} dimensions").format(found=rank),
                expected=_("at least {dims}").format(dims=dims),
                exit=3,
            )
        directions = directions[:dims]
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        self.mean.copy_(points.mean(0))
        self.components.copy_(directions * largest.sign())
        self.explained.copy_(scale[:dims].square() / scale.square().sum())
        unexplained = 1 - self.explained.cumsum(0)
        for step in range(run.start, min(run.steps, dims)):
            yield Progress(step, {"unexplained variance": unexplained[step]})

    def forward(self, points: Tensor) -> Tensor:
        return (points - self.mean) @ self.components.T  # (N, dims)
