"""Dimension reduction: points of many features in, a map of them in a few dimensions out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from souron.blocks.portable import NO_NETWORK
from souron.data.dataset import Dataset
from souron.evaluation.answers import stacked
from souron.evaluation.unsupervised import Spec, Unsupervised, learn_anew
from souron.kinds.picture import Picture
from souron.kinds.points import Points as Places
from souron.metrics import reduction
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Scores, Setup, Step, Task
from souron.utils.messages import N_, _

SEED = 0  # for shuffling the columns


class Reducer(System):
    """A dimension reduction: ``forward`` maps points (N, features) to coordinates (N, dims).

    A training point keeps the coordinates that it has on the map.
    """

    blocked = NO_NETWORK
    task = "reduce"
    full_batch = True
    spec: Spec

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""


class Reduction(Unsupervised, Task):
    """The coordinates of each case on the map.

    The map describes the cases from which it was computed and predicts nothing about others.
    """

    title = N_("dimension reduction")
    takes = Picture
    gives = Places
    metrics = (
        Metric(N_("trustworthiness"), headline=True, kind="share"),
        Metric(N_("continuity"), headline=True, kind="share"),
        Metric(N_("trustworthiness, columns shuffled"), kind="share"),
        Metric(N_("continuity, columns shuffled"), kind="share"),
    )
    formats = ("vectors", "yolo", "folder", "csv_table")

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        points = system.loader(setup.test).all()
        yield Step(1.0, result=_measured(points, system(points)))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return {
            metric.name: stacked(seeds, metric.name)
            for metric in self.metrics
            if all(metric.name in seed for seed in seeds)
        }

    def details_seconds(self, trainer: Any, setup: Setup, training: float, look: float) -> float:
        return training  # one refit on all cases

    def details(self, system: System, answers: Answers, setup: Setup, trainings: int = 1) -> Iterator[Step]:
        """Repeat with columns shuffled independently, which removes all structure."""
        text = _("the same with shuffled columns")
        points = system.loader(setup.test).all()
        generator = torch.Generator().manual_seed(SEED)
        shuffled = reduction.shuffled_columns(points, generator)
        for share, twin in learn_anew(system, shuffled, setup.steps):  # noqa: B007
            yield Step(0.9 * share, text)
        with torch.inference_mode():
            figures = _measured(shuffled, twin(shuffled))
        yield Step(1.0, text, {f"{name}, columns shuffled": values for name, values in figures.items()})

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Setup) -> Any:
        """Return system -> the map of its first seed."""
        return {system: seeds[0]["place"] for system, seeds in answers.items()}


def _measured(points: Tensor, places: Tensor) -> Answers:
    return {
        "place": places,
        "trustworthiness": reduction.trustworthiness(points, places),
        "continuity": reduction.continuity(points, places),
    }
