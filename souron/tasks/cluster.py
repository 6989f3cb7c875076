"""Clustering: points in, a cluster for each point out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.data.dataset import Dataset
from souron.evaluation.answers import stacked
from souron.evaluation.unsupervised import Spec, Unsupervised, learn_anew
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.metrics import clustering
from souron.metrics.metric import Metric
from souron.metrics.reduction import shuffled_columns
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task
from souron.utils.messages import N_, _

SEED = 0  # for splitting into halves and for shuffling columns


class Clusterer(System):
    """A clustering: ``forward`` maps points (N, features) to clusters (N,), noise below 0."""

    blocked = NO_NETWORK
    task = "cluster"
    full_batch = True
    spec: Spec

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""


class Clustering(Unsupervised, Task):
    """The cluster of each case.

    Clusters describe the cases in which they were found and predict nothing about others.
    """

    title = N_("clustering")
    takes = Picture
    gives = Labels
    metrics = (
        Metric(N_("silhouette"), headline=True, kind="signed"),
        Metric(N_("silhouette, columns shuffled"), kind="signed"),
        Metric(N_("agreement of two halves"), headline=True, kind="signed"),
        Metric(N_("noise"), higher_is_better=False, unit="share"),
    )
    formats = ("vectors", "yolo", "folder", "csv_table")

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        points = system.loader(setup.test).all()
        clusters = system(points)
        yield Step(1.0, result={"cluster": clusters, "silhouette": _silhouette(points, clusters)})

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        noise = (stacked(seeds, "cluster") < 0) * 1.0
        tables = {"silhouette": stacked(seeds, "silhouette"), "noise": noise}
        name = "silhouette, columns shuffled"
        return tables | ({name: stacked(seeds, name)} if name in seeds[0] else {})

    def measures(self, seeds: Sequence[Answers], setup: Setup, training: Any = None) -> dict[str, Measure]:
        results = super().measures(seeds, setup, training)
        if "agreement" in seeds[0]:
            value, count = float(seeds[0]["agreement"][0]), len(setup.test)
            results["agreement of two halves"] = Measure(value, math.nan, math.nan, count)
        return {metric.name: results[metric.name] for metric in self.metrics if metric.name in results}

    def details_seconds(self, trainer: Any, setup: Setup, training: float, look: float) -> float:
        return 1.5 * training  # one refit on all cases and two on halves

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        """Compare with a clustering of shuffled columns, and with clusterings of two halves."""
        points = system.loader(setup.test).all()
        generator = torch.Generator().manual_seed(SEED)
        text = _("the same with shuffled columns")
        shuffled = shuffled_columns(points, generator)
        for share, twin in learn_anew(system, shuffled, setup.steps):  # noqa: B007
            yield Step(share / 2, text)
        with torch.inference_mode():
            nothing = _silhouette(shuffled, twin(shuffled))

        def learn(half: Tensor) -> Callable[[Tensor], Tensor]:
            *_before, (_done, other) = learn_anew(system, half, setup.steps)
            return other

        agreement = clustering.agreement_of_halves(learn, points, generator)
        yield Step(
            1.0, text, {"silhouette, columns shuffled": nothing, "agreement": torch.full((len(points),), agreement)}
        )


def _silhouette(points: Tensor, clusters: Tensor) -> Tensor:
    """Return pseudo-values (cases,) of the mean silhouette of points that are not noise."""
    result = clustering.silhouette(points, clusters)
    counts = result.kept.float()
    if not counts.any():
        return torch.zeros(len(points))
    scores = torch.zeros(len(points))
    scores[result.kept] = result.scores.cpu()
    mean = scores.sum() / counts.sum()
    return mean + (scores - mean) * counts * len(points) / counts.sum()
