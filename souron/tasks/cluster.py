"""Cluster: points in, a cluster for each out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, Rows
from souron.data.splits import Split
from souron.evaluation.whole import Points, as_points, evenly, learn_anew, moments
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.metrics import clustering
from souron.metrics.metric import Metric
from souron.metrics.reduction import shuffled_columns
from souron.stats.records import Measure
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task
from souron.utils.messages import N_, UserError, _

MOST = 5000  # points that are measured: each is compared with each
FEWEST = 20
SEED = 0  # of the halves and of the shuffled columns


@dataclass(frozen=True)
class Spec:
    """What a clustering must know of its data before it is built."""

    features: int
    cases: int = 0  # to learn from
    mean: tuple[float, ...] = ()  # of each column of a table; () for pictures
    std: tuple[float, ...] = ()


class Batch(NamedTuple):
    point: Tensor  # (B, features): pictures in 0..1, columns of a table standardised


class Clusterer(System):
    """``forward`` maps points (N, features) to clusters (N,) int64; below 0 is noise."""

    task = "cluster"
    full_batch = True
    spec: Spec

    def example(self) -> None:
        """It has no layers whose shapes a table could show."""


class Clustering(Task):
    """The cluster of each case. Nothing is predicted of others: clusters describe the cases that
    they were found in."""

    title = N_("clustering")
    takes = Picture
    gives = Labels
    metrics = (
        Metric(N_("silhouette"), headline=True),
        Metric(N_("silhouette, columns shuffled")),
        Metric(N_("agreement of two halves"), headline=True),
        Metric(N_("noise"), higher_is_better=False, unit="share"),
    )
    held_out = False

    def check(self, data: Dataset, options: Any) -> None:
        if len(data) < FEWEST:
            raise UserError(
                "few cases",
                _("{count} cases in {data}").format(count=len(data), data=data.name),
                expected=_("{count} or more").format(count=FEWEST),
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        return Spec(train.input[0].numel(), len(train), *moments(train))

    def example(self, system: type[System], size: str) -> Spec:
        return Spec(28 * 28, 100)

    def batch(self, rows: Rows, spec: Spec) -> Batch:
        return Batch(as_points(rows.input, spec.mean, spec.std))

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        yield Step(1.0, result=Setup(options, data.only(evenly(len(data), MOST))))

    @torch.inference_mode()
    def answer(
        self,
        system: System,
        test: Dataset,
        decision: Mapping[str, float],
        setup: Setup,
        seed: int = 0,
    ) -> Iterator[Step]:
        points = system.loader(setup.test).all()
        clusters = system(points)
        yield Step(1.0, result={"cluster": clusters, "silhouette": _silhouette(points, clusters)})

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        clusters = np.stack([seed["cluster"].numpy() for seed in seeds])  # type: ignore[union-attr]
        found = {"silhouette": _table(seeds, "silhouette"), "noise": (clusters < 0).astype(float)}
        name = "silhouette, columns shuffled"
        return found | ({name: _table(seeds, name)} if name in seeds[0] else {})

    def measures(
        self, seeds: Sequence[Answers], setup: Setup, training: Any = None
    ) -> dict[str, Measure]:
        found = super().measures(seeds, setup, training)
        if "agreement" in seeds[0]:
            value, count = float(seeds[0]["agreement"][0]), len(setup.test)
            found["agreement of two halves"] = Measure(value, value, value, count)
        return {metric.name: found[metric.name] for metric in self.metrics if metric.name in found}

    def details(
        self, system: System, answers: Answers, setup: Setup, trainings: int = 1
    ) -> Iterator[Step]:
        """Would two halves of the cases, and columns shuffled one by one, look the same?"""
        points = system.loader(setup.test).all()
        generator = torch.Generator().manual_seed(SEED)
        text = _("the same with shuffled columns")
        shuffled = shuffled_columns(points, generator)
        for done, twin in _learnt(system, shuffled, setup.steps):  # noqa: B007
            yield Step(done / 2, text)
        with torch.inference_mode():
            nothing = _silhouette(shuffled, twin(shuffled))

        def learn(half: Tensor) -> Callable[[Tensor], Tensor]:
            *_before, (_done, other) = _learnt(system, half, setup.steps)
            return other

        agreement = clustering.agreement_of_halves(learn, points, generator)
        yield Step(1.0, text, {
            "silhouette, columns shuffled": nothing,
            "agreement": torch.full((len(points),), agreement),
        })  # fmt: skip


def _learnt(system: System, points: Tensor, steps: int) -> Iterator[tuple[float, Any]]:
    return learn_anew(system, replace(system.spec, cases=len(points)), Points(points), steps)


def _silhouette(points: Tensor, clusters: Tensor) -> Tensor:
    """(cases,) pseudo-values, whose mean is the mean silhouette of what is no noise."""
    found = clustering.silhouette(points, clusters)
    kept = found.kept.float()
    if not kept.any():
        return torch.zeros(len(points))
    scores = torch.zeros(len(points))
    scores[found.kept] = found.scores.cpu()
    mean = scores.sum() / kept.sum()
    return mean + (scores - mean) * kept * len(points) / kept.sum()


def _table(seeds: Sequence[Answers], name: str) -> Any:
    return torch.stack([seed[name] for seed in seeds]).numpy()  # type: ignore[misc]
