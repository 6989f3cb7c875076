"""What a comparison asks of every trained system, task by task, and how the answers are marked."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from souron import appraising, discriminating, judging, resembling
from souron.appraising import AT_A_LOOK, LOOKING, Watcher
from souron.data.cases import Cases, Feed
from souron.data.splitting import Parts, Split
from souron.drawing import Sample
from souron.fitting import LOOKS, Fit, autocast
from souron.records import Gallery, Measure
from souron.resembling import Resemblance
from souron.speaking import _
from souron.tasks.classify import score

Better = Literal["higher", "lower"]
Tables = dict[str, np.ndarray]  # system -> (seeds, cases)


@dataclass
class Result:
    """One system, one seed: of one training, or of each fold's."""

    curve: list[dict[str, float]]
    answers: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0  # of training
    examples: int = 0
    resemblance: Resemblance | None = None  # of a generator's pictures


class Exam(ABC):
    """One task's."""

    better: ClassVar[Mapping[str, Better]]  # measure -> what is better; the first is the headline
    unit: ClassVar[str] = ""  # of the headline's differences: "points" where it is a share
    follows: ClassVar[str]  # the measure that looks at validation cases take while it trains

    def __init__(
        self,
        everything: Cases,
        split: Split,
        test: Cases,
        sample: int,
        whose: np.ndarray | None = None,
    ) -> None:
        """``test`` are the cases that each seed is tested on, ``split`` the plan's own, ``sample``
        how many pictures a generator is judged by. ``whose`` (seeds, cases) is the number of the
        training that is asked, where a seed has several, each for some of the cases."""
        self.everything, self.split, self.test, self.sample = everything, split, test, sample
        self.whose = whose

    @property
    def headline(self) -> str:
        return next(iter(self.better))

    def begin(self) -> Iterator[tuple[float, str]]:
        """Whatever is needed before the first training; how far it is, 0..1, and what is done."""
        return iter(())

    def watch(self, fit: Fit) -> None:
        """Say what more looks are to show while it trains."""
        fit.also = None

    def seconds(self, fit: Fit, training: float) -> float:
        """What ``watch`` and ``sit`` will take of a training of so many seconds, beside looks at
        validation and test cases."""
        return 0.0

    @abstractmethod
    def sit(self, fit: Fit, parts: Parts, seed: int) -> Iterator[dict[str, Tensor]]:
        """What a trained system answers, as it comes; the last is all of it."""

    @abstractmethod
    def enter(self, result: Result, said: Mapping[str, Tensor], rows: Any) -> None:
        """Note what was said of those rows of the test cases."""

    @abstractmethod
    def so_far(self, result: Result) -> float:
        """The headline, of what is known of a seed."""

    @abstractmethod
    def mark(self, results: Mapping[str, Sequence[Result]]) -> dict[str, Tables]:
        """Measure -> system -> scores (seeds, cases), whose mean is the measure."""

    def interval(self, measure: str, system: str, table: np.ndarray) -> Measure:
        return judging.interval(table, self.units, trainings=self.whose)

    @property
    def units(self) -> list[str] | None:
        """Each scored case's patient."""
        return self.test.units

    @property
    def cases(self) -> int:
        """How many cases are scored."""
        return len(self.test)

    @property
    def called(self) -> str:
        """The headline in the reader's language."""
        return _(self.headline)

    def of_seeds(
        self, measure: str, results: Sequence[Result], table: np.ndarray
    ) -> tuple[float, ...]:
        """The measure of each seed by itself."""
        return tuple(table.mean(1).tolist())

    def shown(self, results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
        """Fields of the ``ComparisonRecord`` that only this task has."""
        return {}


class Classification(Exam):
    """Every test case, and the probability of each label."""

    better = {"accuracy": "higher", "AUC": "higher"}
    unit = "points"
    follows = "accuracy"

    def sit(self, fit: Fit, parts: Parts, seed: int) -> Iterator[dict[str, Tensor]]:
        feed = Feed(parts.test, fit.system.prepare, device=fit.system.device)
        with autocast(feed.device)():
            probability = fit.system.probabilities(feed)
        yield {"probability": probability}

    def enter(self, result: Result, said: Mapping[str, Tensor], rows: Any) -> None:
        empty = torch.full((len(self.test), len(self.test.labels)), torch.nan)
        result.answers.setdefault("probability", empty)[rows] = said["probability"]

    def so_far(self, result: Result) -> float:
        tested = result.answers["probability"][:, 0].isfinite()
        return self._right(result)[tested].mean().item()

    def _right(self, result: Result) -> Tensor:
        """(cases,)"""
        return score(result.answers["probability"], self.test.label)["accuracy"]

    def mark(self, results: Mapping[str, Sequence[Result]]) -> dict[str, Tables]:
        accuracy = {
            system: torch.stack([self._right(result) for result in seeds]).numpy()
            for system, seeds in results.items()
        }
        areas = {
            system: discriminating.auc_scores(
                torch.stack([result.answers["probability"] for result in seeds]).double().numpy(),
                self.test.label.numpy(),
            )
            for system, seeds in results.items()
            if len(self.test.label.unique()) > 1
        }
        return {"accuracy": accuracy, "AUC": areas}

    def interval(self, measure: str, system: str, table: np.ndarray) -> Measure:
        make = judging.share if measure == "AUC" else judging.interval
        return make(table, self.units, trainings=self.whose)

    def shown(self, results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
        said = {
            system: torch.stack([result.answers["probability"].argmax(1) for result in seeds])
            for system, seeds in results.items()
        }
        return {"guesses": said}


class Generation(Exam):
    """As many drawn pictures as there are real ones beside them."""

    better = {**resembling.BETTER, "bits per dimension": "lower"}
    follows = "kernel distance"

    def begin(self) -> Iterator[tuple[float, str]]:
        for done, scale in appraising.scale(self.everything, self.split, self.sample):
            yield done, _("the network that looks at pictures")
            if scale is not None:
                self.scale = scale

    def watch(self, fit: Fit) -> None:
        fit.also = Watcher(self.scale, fit)

    def seconds(self, fit: Fit, training: float) -> float:
        [few] = Sample.growing(fit.system, 8, seed=0)
        looks = min(few.seconds * LOOKS * AT_A_LOOK, LOOKING * training)
        return looks + few.seconds * len(self.scale.test)

    def sit(self, fit: Fit, parts: Parts, seed: int) -> Iterator[dict[str, Tensor]]:
        for sample in Sample.growing(fit.system, len(self.scale.test), seed):
            said = {"drawn": sample.image, "seconds": torch.tensor([sample.seconds])}
            yield said
        yield said | appraising.likelihood(fit.system, self.scale)

    def enter(self, result: Result, said: Mapping[str, Tensor], rows: Any) -> None:
        result.answers = dict(said)
        result.resemblance = self.scale.hold(said["drawn"])

    def so_far(self, result: Result) -> float:
        assert result.resemblance is not None
        return result.resemblance.measures[self.headline].value

    def mark(self, results: Mapping[str, Sequence[Result]]) -> dict[str, Tables]:
        self.trainings = {
            system: [result.resemblance for result in seeds if result.resemblance is not None]
            for system, seeds in results.items()
        }
        known = next(iter(self.trainings.values()))[0].measures
        tables = {
            measure: {
                system: resembling.table(trainings, measure)
                for system, trainings in self.trainings.items()
            }
            for measure in known
        }
        tables["bits per dimension"] = {
            system: torch.stack([result.answers["bits per dimension"] for result in seeds]).numpy()
            for system, seeds in results.items()
            if "bits per dimension" in seeds[0].answers
        }
        return tables

    def interval(self, measure: str, system: str, table: np.ndarray) -> Measure:
        if measure == "bits per dimension":
            return judging.interval(table, self.units)
        return resembling.over_trainings(self.trainings[system], self.units)[measure]

    @property
    def units(self) -> list[str] | None:
        return self.scale.test.units

    @property
    def cases(self) -> int:
        return len(self.scale.test)

    @property
    def called(self) -> str:
        return next(iter(self.trainings.values()))[0].title(self.headline)

    def of_seeds(
        self, measure: str, results: Sequence[Result], table: np.ndarray
    ) -> tuple[float, ...]:
        # of one training the table's rows are parts of its pictures
        return tuple(table.mean(1).tolist()) if len(results) > 1 else (float(table.mean()),)

    def shown(self, results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
        gallery = Gallery(
            eye=self.scale.eye.name,
            sample=len(self.scale.test),
            floor=self.scale.floor.measures if self.scale.floor else {},
            real=self.scale.test.image[:],
            drawn={name: [r.answers["drawn"] for r in seeds] for name, seeds in results.items()},
            seconds={
                name: [r.answers["seconds"].item() for r in seeds]
                for name, seeds in results.items()
            },
            classes={name: found[0].classes for name, found in self.trainings.items()},
        )
        return {"gallery": gallery}


EXAMS: dict[str, type[Exam]] = {"classify": Classification, "generate": Generation}
