"""Cluster: points in, a cluster for each out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader, Rows
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task, Trainings
from souron.utils.messages import N_

MOST_POINTS = 5000  # whose silhouettes are computed


@dataclass(frozen=True)
class Spec:
    """What a clustering must know of its data before it is built."""

    features: int


class Batch(NamedTuple):
    point: Tensor  # (B, features) in 0..1
    label: Tensor  # (B,)


class Clusterer(System):
    """``forward`` maps points (N, features) to clusters (N,)."""

    task = "cluster"
    spec: Spec


class Clustering(Task):
    """The cluster of each test case."""

    title = N_("clustering")
    takes = Picture
    gives = Labels
    metrics = (Metric(N_("silhouette"), headline=True),)
    watches = "silhouette"

    def spec(self, train: Dataset) -> Spec:
        return Spec(train.input[0].numel())

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(28 * 28)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        return Batch(rows.input.flatten(1).float() / 255, rows.target)

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        """Silhouette of each point, -1..1, of at most 5 000 points (Rousseeuw 1987,
        https://doi.org/10.1016/0377-0427(87)90125-7)."""
        from sklearn.metrics import silhouette_samples

        points = data.all()[:MOST_POINTS]
        clusters = system(points)
        if len(clusters.unique()) < 2:
            return {"silhouette": torch.zeros(len(points))}
        return {"silhouette": torch.tensor(silhouette_samples(points.numpy(), clusters.numpy()))}

    def answer(
        self,
        system: System,
        test: Dataset,
        decision: Mapping[str, float],
        setup: Setup,
        seed: int = 0,
    ) -> Iterator[Step]:
        data = system.loader(test)
        with torch.inference_mode():
            answers = {"cluster": system(data.all()), **self.validate(system, data)}
        yield Step(1.0, result=answers)

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        silhouettes = [seed["silhouette"] for seed in seeds]
        return {"silhouette": torch.stack(silhouettes).numpy()}  # type: ignore[arg-type]

    def result(self, trainings: Trainings, setup: Setup) -> Any:
        return None
