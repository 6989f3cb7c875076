"""Group: points in, a group for each out."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader
from souron.system import System


@dataclass(frozen=True)
class Spec:
    """What a grouping must know of its data before it is built."""

    features: int


class Batch(NamedTuple):
    point: Tensor  # (B, features) in 0..1
    label: Tensor  # (B,)


class Clusterer(System):
    """``forward`` maps points (N, features) to groups (N,); the silhouette follows from that."""

    task = "cluster"
    measures = {"silhouette": "higher"}
    default_data = "digits"
    seen: Spec

    @staticmethod
    def see(cases: Dataset) -> Spec:
        return Spec(cases.image[0].numel())

    def prepare(self, image: Tensor, label: Tensor) -> Batch:
        return Batch(image.flatten(1).float() / 255, label)

    @torch.inference_mode()
    def evaluate(self, data: Loader) -> dict[str, Tensor]:
        """Silhouette of each point, -1..1, of at most 5 000 points (Rousseeuw 1987,
        https://doi.org/10.1016/0377-0427(87)90125-7)."""
        from sklearn.metrics import silhouette_samples

        points = data.all()[:5000]
        groups = self(points)
        if len(groups.unique()) < 2:
            return {"silhouette": torch.zeros(len(points))}
        return {"silhouette": torch.tensor(silhouette_samples(points.numpy(), groups.numpy()))}
