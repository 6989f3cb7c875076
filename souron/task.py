"""What is asked of a system. A file ``tasks/<name>.py`` with a subclass of ``Task`` is a task.

It is found by its file's name, as systems are; nothing else is edited. The file holds the base
class of its systems as well. What ``souron list``, a table or a command line must know of a task
(``title``, ``metrics``, ``watches``, ``default_data``, ``formats``, ``Options``) is read from the
source without running it, so these are plain values.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from souron import registry
from souron.data import load
from souron.data.dataset import Dataset, Loader, Rows
from souron.data.splits import Parts, Split
from souron.evaluation.answers import Answers, Setup, Step, Trainings
from souron.kinds.kind import Kind
from souron.metrics.metric import Metric
from souron.stats import intervals
from souron.stats.records import Measure
from souron.system import System
from souron.training.trainer import Trainer, autocast
from souron.utils.messages import UserError, _

Augment = Callable[[Rows, Generator], Rows]
S = TypeVar("S", bound=System)
Scores = dict[str, Any]  # metric -> (seeds, cases) array, whose mean is the metric


@dataclass(frozen=True)
class NoOptions:
    """A task without options of its own."""


def untrained(system: S) -> S:
    """The same system before it has learnt anything: what its figures are compared with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(system)(system.config, system.spec).to(system.device).eval()


class Task(ABC):
    """One question that systems answer: what goes in and out, and what an answer is worth.

    Data to system: ``check``, ``strata``, ``spec``, ``batch``, ``augmentation``. Trained system to
    figures, on one path for ``train``, ``val``, ``compare``, cross-validation and resuming:
    ``setup``, ``watch``, ``decide``, ``answer``, ``scores``, ``measures``, ``details``, ``result``.
    """

    title: ClassVar[str]  # N_("object detection")
    takes: ClassVar[type[Kind] | None]  # None: nothing but noise
    gives: ClassVar[type[Kind]]
    metrics: ClassVar[tuple[Metric, ...]]  # the first decides the ranking, see ``ranks``
    watches: ClassVar[str] = ""  # the metric of validation looks: it picks the checkpoint of every
    # system alike; "" keeps the last weights
    default_data: ClassVar[str] = "digits"
    target: ClassVar[str] = ""  # what a case's target is, where data offer several: "boxes", ...
    formats: ClassVar[tuple[str, ...]] = load.FORMATS  # data/formats/<name>.py, the first that
    # knows the file reads it
    not_compared: ClassVar[tuple[str, ...]] = ()  # options that a comparison does not take
    Options: ClassVar[type] = NoOptions  # what only this task takes: ``Options`` of its file
    Spec: ClassVar[type]  # what ``spec`` returns, a flat frozen dataclass: ``Spec`` of its file
    held_out: ClassVar[bool] = True  # False: it describes the cases that it learns from
    fewest_classes: ClassVar[int] = 1
    needs_training_data: ClassVar[bool] = False  # ``setup`` learns something from it
    inherits: ClassVar[tuple[str, ...]] = ()  # fields of the ``Spec`` that go with weights: a run
    # that starts from another's takes them over
    begins_with: ClassVar[tuple[str, ...]] = ()  # other tasks, whose runs a run may start from
    published_from: ClassVar[str] = ""  # what published weights have learnt from
    published_files: ClassVar[bool] = False  # ``published`` takes a file or a folder, too
    talks: ClassVar[bool] = False  # its systems continue texts, so that one can talk with them
    augments: ClassVar[bool] = False  # training cases are changed unless ``augment=none``

    def __init_subclass__(cls) -> None:
        file = vars(sys.modules[cls.__module__])
        cls.Options, cls.Spec = file.get("Options", NoOptions), file["Spec"]

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def metric(self, name: str) -> Metric:
        return next(metric for metric in self.metrics if metric.name == name)

    # data -> system

    def check(self, data: Dataset, options: Any) -> None:  # noqa: B027
        """Raises UserError where the data or the options make no sense here."""

    def strata(self, data: Dataset) -> Tensor:
        """(N,) int64: what a split keeps balanced between its parts."""
        return torch.zeros(len(data), dtype=torch.long)

    @abstractmethod
    def spec(self, train: Dataset) -> Any:
        """What a system must know of its training cases before it is built, a ``Spec``."""

    @abstractmethod
    def example(self, system: type[System], size: str) -> Any:
        """The ``Spec`` that ``souron show`` builds a system of that size with."""

    def example_rows(self, spec: Any) -> Rows | None:
        """Some cases without numbers, on the meta device, with which the blueprint of several
        networks shows what each is given while they learn; None where one pass shows it all."""
        return None

    @abstractmethod
    def batch(self, rows: Rows, spec: Any) -> Any:
        """What ``System.loss`` takes, of some cases."""

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        """Changes to training cases, boxes, masks and points moved with the pictures. Raises
        UserError for unknown names."""
        if names:
            raise UserError(
                "augment",
                _("{task} changes no training cases").format(task=registry.task_name(self.name)),
                expected="augment=none",
            )
        return None

    def renumbered(self, target: Any, number: Tensor) -> Any:
        """The target where class ``i`` has become class ``number[i]``."""
        return number[target]

    def head(self, system: System) -> tuple[str, ...]:
        """The layers that are new in transfer learning; () where there is none to keep the rest
        of: then ``pretrained`` takes all weights, and ``freeze`` is refused."""
        return ()

    def published(
        self, name: str, source: bool | str, config: Any = None, spec: Any = None
    ) -> System:
        """The system of that name with its published weights, or those of a file or a folder,
        ``source``. ``spec``: it is to learn from such cases, with a new last layer. Raises
        UserError."""
        raise UserError("task", _("{name} has no published weights").format(name=name))

    def comes_published(self, name: str) -> bool:
        """Whether a system of that name is one of a published size, never seen without weights."""
        return False

    # trained system -> figures

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        """What answers are computed and scored with, such as the network of a Fréchet distance:
        a ``Setup`` with the last step."""
        yield Step(1.0, result=Setup(options, data.only(split.test)))

    def against(self, cases: Dataset, setup: Any) -> Any:
        """The same setup for all of other cases."""
        return replace(setup, test=cases)

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        """Metrics case by case, (cases,), of what training looks at."""
        return {}

    def watch(self, trainer: Trainer, setup: Any, last: bool = False) -> dict[str, float]:
        """The figures of one look while it learns; ``last``: the one at the end."""
        if not trainer.val or not len(trainer.val):
            return {}
        return trainer.means(trainer.val)

    def decide(self, system: System, val: Dataset, setup: Any) -> dict[str, float]:
        """What is chosen on validation cases, such as a threshold. It is kept with the run."""
        return {}

    @abstractmethod
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Any, seed: int
    ) -> Iterator[Step]:
        """``Answers`` about the test cases with the last step."""

    @abstractmethod
    def scores(self, seeds: Sequence[Answers], setup: Any) -> Scores:
        """Metric -> (seeds, cases) scores whose mean is the metric: right or wrong, log loss, the
        jackknife's pseudo-values of an average precision or a Fréchet distance."""

    def measures(
        self, seeds: Sequence[Answers], setup: Any, training: Any = None
    ) -> dict[str, Measure]:
        """Each metric with its 95 % interval, which counts seeds, cases and patients.
        ``training`` (seeds, cases) numbers the training of each answer where a seed has several."""
        return {
            name: intervals.interval(table, setup.test.units, trainings=training)
            for name, table in self.scores(seeds, setup).items()
        }

    def details(
        self, system: System, answers: Answers, setup: Any, trainings: int = 1
    ) -> Iterator[Step]:
        """Further ``Answers``, for the report alone, with the last step; ``trainings`` of one
        procedure share the time for it."""
        yield Step(1.0, result={})

    def result(self, trainings: Trainings, setup: Any) -> Any:
        """What the report's section shows of a run. It may have ``as_json()``."""
        return None

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Any) -> Any:
        """What the report's section shows of a comparison: system -> the answers of each seed."""
        return None

    # around it

    def ranks(self, setup: Any) -> str:
        """The metric that decides a comparison: the first, unless these cases do not have it."""
        return self.metrics[0].name

    def called(self, metric: str, setup: Any) -> str:
        """A metric's name in the reader's language, with what it depends on."""
        return self.metric(metric).title

    def rehearse(self, system: System, setup: Any) -> None:  # noqa: B027
        """Once what needs most memory of ``answer`` and ``details``, for the forecast."""

    def seconds(self, trainer: Trainer, setup: Any, training: float) -> float:
        """What ``watch`` and ``answer`` will take of a training of so many seconds, beside one
        pass over the validation and test cases."""
        return 0.0

    def details_seconds(self, trainer: Trainer, setup: Any, training: float, look: float) -> float:
        """What ``details`` will take of one training of so many seconds; a pass over a case takes
        ``look`` seconds."""
        return 0.0

    def film(self, path: Path) -> Any:
        """A ``sampling.Film``, where pictures are drawn while it learns."""
        return None

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        """The rows of ``predictions.csv``, the header first; none by default."""
        return iter(())

    def next_command(self, run: str) -> str:
        """What people do next with a trained run, a folder as a command line names it."""
        return f"souron val {run}"

    def advice(self, options: Mapping[str, Any], cases: int) -> str:
        """Advise on a training with so many ``cases``, in the reader's language; "" where there is
        nothing better. ``options`` are those of the run."""
        return ""


class Jackknifed(ABC):
    """For a task whose metrics are no means over cases: their scores are the jackknife's pseudo-
    values, of shares mostly. Its systems stand beside themselves before they learnt anything."""

    @abstractmethod
    def judge(self, answers: Answers, setup: Any) -> dict[str, Any]:
        """Metric -> pseudo-values (cases,) of the answers of one seed."""

    def scores(self, seeds: Sequence[Answers], setup: Any) -> Scores:
        each = [self.judge(answers, setup) for answers in seeds]
        return {name: np.stack([scores[name] for scores in each]) for name in each[0]}

    def measures(
        self, seeds: Sequence[Answers], setup: Any, training: Any = None
    ) -> dict[str, Measure]:
        return {
            name: intervals.share_interval(table, setup.test.units, trainings=training)
            for name, table in self.scores(seeds, setup).items()
        }

    def ask_untrained(self, system: System, setup: Any) -> Answers:
        """What the report shows of the same network untrained."""
        return {}

    def details(
        self, system: System, answers: Answers, setup: Any, trainings: int = 1
    ) -> Iterator[Step]:
        """What the same system says before it has learnt anything."""
        found = self.ask_untrained(untrained(system), replace(setup, fast=True))
        yield Step(1.0, _("the same network untrained"), found)

    def details_seconds(self, trainer: Any, setup: Any, training: float, look: float) -> float:
        return look * len(setup.test)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} FILE"


def numbers(system: System, setup: Any) -> AbstractContextManager[Any]:
    """The machine's fast numbers where answers need not be exact to the last digit."""
    return autocast(system.device)() if setup.fast else nullcontext()


__all__ = [
    "Answers",
    "Augment",
    "Jackknifed",
    "Parts",
    "Scores",
    "Setup",
    "Step",
    "Task",
    "Trainings",
    "numbers",
    "untrained",
]
