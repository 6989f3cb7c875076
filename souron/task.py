"""The contract of a task. A file ``tasks/<name>.py`` with a subclass of ``Task`` defines a task.

Tasks are found by file name, as systems are, so nothing else needs editing. The file also holds the
base class of the task's systems. The attributes that ``souron list``, tables and command lines need
(``title``, ``metrics``, ``watches``, ``default_data``, ``formats``, ``Options``) are read from the
source without importing it, so they must be literal values.
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
from souron.data import load, transforms
from souron.data.dataset import Dataset, Loader, Rows
from souron.data.splits import Parts, Split
from souron.evaluation.answers import Answers, Setup, Step, Trainings
from souron.hub import published, published_systems
from souron.hub.published import About
from souron.hub.weights import PUBLISHED_SIDE
from souron.kinds.kind import Kind
from souron.metrics.metric import Metric
from souron.stats.records import Measure
from souron.system import System
from souron.training.trainer import Trainer, autocast
from souron.utils.messages import UserError, _

Augment = Callable[[Rows, Generator], Rows]
S = TypeVar("S", bound=System)
Scores = dict[str, Any]  # metric -> (seeds, cases) array, whose mean is the metric


@dataclass(frozen=True)
class NoOptions:
    """The options of a task that has none of its own."""


def one_by_one(names: Sequence[str], change: Callable[[Rows, str, Generator], Rows]) -> Augment | None:
    """Return the augmentation that changes cases by each name in turn; None without names.

    Raises UserError for unknown names.
    """
    if transforms.augmentation(names) is None:
        return None

    def augment(rows: Rows, generator: Generator) -> Rows:
        for name in names:
            rows = change(rows, name, generator)
        return rows

    return augment


def as_it_is(rows: Rows, generator: Generator) -> Rows:
    """Return the cases unchanged, as an augmentation."""
    return rows


def untrained(system: S) -> S:
    """Return a freshly initialised copy of a system, as the baseline of its figures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(system)(system.config, system.spec).to(system.device).eval()


class Task(ABC):
    """One question that systems answer: its input, its output and its metrics.

    From data to system: ``check``, ``strata``, ``spec``, ``batch``, ``augmentation``. From a
    trained system to figures, in this order for ``train``, ``val``, ``compare``, cross-validation
    and resuming: ``setup``, ``watch``, ``decide``, ``answer``, ``scores``, ``measures``,
    ``details``, ``result``.
    """

    title: ClassVar[str]  # N_("object detection")
    takes: ClassVar[type[Kind] | None]  # None: random noise is the only input
    gives: ClassVar[type[Kind]]
    metrics: ClassVar[tuple[Metric, ...]]  # the first decides the ranking, see ``ranks``
    watches: ClassVar[str] = ""  # the validation metric that selects the checkpoint of every
    # system; "" keeps the last weights
    default_data: ClassVar[str] = "digits"
    target: ClassVar[str] = ""  # the target to use where data have several: "boxes", ...
    formats: ClassVar[tuple[str, ...]] = load.FORMATS  # data/formats/<name>.py; the first
    # that recognises a file reads it
    not_compared: ClassVar[tuple[str, ...]] = ()  # options that a comparison does not accept
    Options: ClassVar[type] = NoOptions  # options of this task alone: ``Options`` of its file
    Spec: ClassVar[type]  # what ``spec`` returns, a flat frozen dataclass: ``Spec`` of its file
    held_out: ClassVar[bool] = True  # False: it describes its own training cases
    fewest_classes: ClassVar[int] = 1
    needs_training_data: ClassVar[bool] = False  # ``setup`` is fitted to training data
    inherits: ClassVar[tuple[str, ...]] = ()  # fields of the ``Spec`` that belong to the weights: a
    # run that starts from another run inherits them
    begins_with: ClassVar[tuple[str, ...]] = ()  # other tasks from whose runs training may start
    published_from: ClassVar[str] = ""  # training data of the published weights
    published_files: ClassVar[bool] = False  # ``published`` also accepts a file or a folder
    talks: ClassVar[bool] = False  # its systems continue texts and can therefore chat
    first_system: ClassVar[str] = ""  # advised for a first training on own data; "" for the first
    # ready-trained one of the task
    fits: ClassVar[str] = ""  # the target that calls for this task, where ``target`` is ""
    transfers: ClassVar[bool] = False  # that training should start from published weights, with all
    # layers but the last frozen
    augments: ClassVar[bool] = False  # training cases are augmented unless ``augment=none``

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
        """Check that the data and the options suit the task. Raises UserError."""

    def strata(self, data: Dataset) -> Tensor:
        """Stratum of each case, (N,) int64: a split keeps their proportions equal in its parts."""
        return torch.zeros(len(data), dtype=torch.long)

    @abstractmethod
    def spec(self, train: Dataset) -> Any:
        """Return the ``Spec``: the properties of the training data needed to build a system."""

    @abstractmethod
    def example(self, system: type[System], size: str) -> Any:
        """Return the ``Spec`` with which ``souron show`` builds a system of that size."""

    def example_rows(self, spec: Any) -> Rows | None:
        """Return example cases on the meta device, to trace the inputs of several networks in
        training.

        None where a single forward pass shows every layer.
        """
        return None

    @abstractmethod
    def batch(self, rows: Rows, spec: Any) -> Any:
        """Collate cases into the argument of ``System.loss``."""

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        """Return the augmentation of these names, which moves boxes, masks and points with the
        image.

        None without names. Raises UserError for unknown names.
        """
        if names:
            raise UserError(
                "augment",
                _("{task} changes no training cases").format(task=registry.task_name(self.name)),
                expected="augment=none",
            )
        return None

    def renumbered(self, target: Any, number: Tensor) -> Any:
        """Return the target with class ``i`` renamed to ``number[i]``."""
        return number[target]

    def head(self, system: System) -> tuple[str, ...]:
        """Return the names of the layers that transfer learning replaces.

        () where the network has no separate head: ``pretrained`` then loads all weights, and
        ``freeze`` is refused.
        """
        return ()

    def published(self, name: str, source: bool | str, config: Any = None, spec: Any = None) -> System:
        """Load a system by name with its published weights, or with those of a file or folder
        ``source``.

        With ``spec``, it gets a new last layer for training on such data. Raises UserError.
        """
        return published_systems.system(name, source, config, self.published_spec, spec)

    def published_spec(self, about: About) -> Any:
        """Return the ``Spec`` that published weights were trained with, where their system does not
        know it itself.
        """
        raise NotImplementedError(f"{type(self).__name__} needs published_spec()")

    def published_side(self, name: str) -> int:
        """Return the side in pixels of images for the published weights of a system; 0 for any."""
        made_for = registry.load_system(name)[0].published_spec(registry.find(name)[1])
        row = made_for or published.of_system(name)
        return getattr(row, "side", 0) if row else PUBLISHED_SIDE

    def published_data(self, name: str) -> str:
        """Return what the published weights of a system were trained on."""
        if not registry.is_system(name):
            return self.published_from
        entry, size = registry.find(name)
        row = published.of_system(name)
        listed = row.data if row and row.url else self.published_from
        return entry.published_from.get(size, listed)

    def published_channels(self, name: str) -> int:
        """Return the number of channels of images for the published weights of a system."""
        row = published.of_system(name)
        return row.channels if row else 3

    def comes_published(self, name: str) -> bool:
        """Return whether a system of that name is always loaded with published weights."""
        return False

    # trained system -> figures

    def setup(self, data: Dataset, split: Split, options: Any) -> Iterator[Step]:
        """Yield steps that prepare scoring, e.g. load the network of a Fréchet distance.

        The last step carries a ``Setup``.
        """
        yield Step(1.0, result=Setup(options, data.only(split.test)))

    def against(self, cases: Dataset, setup: Any) -> Any:
        """Return the setup with ``cases`` as its test cases."""
        return replace(setup, test=cases)

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        """Compute per-case validation metrics, each (cases,)."""
        return {}

    def watch(self, trainer: Trainer, setup: Any, last: bool = False) -> dict[str, float]:
        """Compute the figures of one validation during training; ``last`` marks the final one."""
        if not trainer.val or not len(trainer.val):
            return {}
        return trainer.means(trainer.val)

    def decide(self, system: System, val: Dataset, setup: Any) -> dict[str, float]:
        """Choose parameters on validation cases, e.g. a threshold. They are stored with the run."""
        return {}

    @abstractmethod
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Any, seed: int
    ) -> Iterator[Step]:
        """Yield steps of predicting the test cases. The last step carries ``Answers``."""

    @abstractmethod
    def scores(self, seeds: Sequence[Answers], setup: Any) -> Scores:
        """Return metric -> (seeds, cases) scores whose mean is the metric.

        Scores are e.g. 0/1 for wrong/right, the log loss, or the jackknife pseudo-values of an
        average precision or a Fréchet distance.
        """

    def measures(self, seeds: Sequence[Answers], setup: Any, training: Any = None) -> dict[str, Measure]:
        """Return each metric with its 95 % interval over seeds, cases and patients (``Metric.measure``).

        ``training`` (seeds, cases) numbers the training behind each answer where a seed has
        several.
        """
        return {
            name: self.metric(name).measure(table, setup.test.units, training)
            for name, table in self.scores(seeds, setup).items()
        }

    def details(self, system: System, answers: Answers, setup: Any, trainings: int = 1) -> Iterator[Step]:
        """Yield steps of computing further ``Answers`` that only the report uses.

        The last step carries them. ``trainings`` of one procedure share the time for it.
        """
        yield Step(1.0, result={})

    def result(self, trainings: Trainings, setup: Any) -> Any:
        """Return the object that the report's section shows of a run. It may have ``as_json()``."""
        return None

    def compared(self, answers: Mapping[str, Sequence[Answers]], setup: Any) -> Any:
        """Return the object that the report's section shows of a comparison.

        ``answers`` maps a system to its answers of each seed.
        """
        return None

    # names, time estimates, output

    def ranks(self, setup: Any) -> str:
        """Return the name of the metric that ranks systems: the first one available for these
        cases.
        """
        return self.metrics[0].name

    def called(self, metric: str, setup: Any) -> str:
        """Return a metric's title in the reader's language, with the parameters it depends on."""
        return self.metric(metric).title

    def rehearse(self, system: System, setup: Any) -> None:  # noqa: B027
        """Run the most memory-hungry part of ``answer`` and ``details`` once, for the forecast."""

    def seconds(self, trainer: Trainer, setup: Any, training: float) -> float:
        """Estimate the time in seconds of ``watch`` and ``answer`` for a training of ``training``
        seconds.

        One pass over the validation and test cases is not included.
        """
        return 0.0

    def details_seconds(self, trainer: Trainer, setup: Any, training: float, look: float) -> float:
        """Estimate the time in seconds of ``details`` for one training of ``training`` seconds.

        A forward pass of one case takes ``look`` seconds.
        """
        return 0.0

    def film(self, path: Path) -> Any:
        """Return a ``sampling.Film`` where images are generated during training, else None."""
        return None

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        """Yield the rows of ``predictions.csv``, header first; none by default."""
        return iter(())

    def next_command(self, run: str) -> str:
        """Return the command to suggest after training; ``run`` is the folder, quoted
        for a shell.
        """
        return f"souron val {run}"

    def advice(self, options: Mapping[str, Any], cases: int) -> str:
        """Return advice on a training with ``cases`` cases, in the reader's language; "" for none.

        ``options`` are those of the run.
        """
        return ""


class Jackknifed(ABC):
    """A mixin for tasks whose metrics are not means over cases.

    Scores are jackknife pseudo-values, mostly of proportions. The report compares each system with
    the same network untrained.
    """

    @abstractmethod
    def judge(self, answers: Answers, setup: Any) -> dict[str, Any]:
        """Return metric -> pseudo-values (cases,) of the answers of one seed."""

    def scores(self, seeds: Sequence[Answers], setup: Any) -> Scores:
        each = [self.judge(answers, setup) for answers in seeds]
        return {name: np.stack([scores[name] for scores in each]) for name in each[0]}

    def ask_untrained(self, system: System, setup: Any) -> Answers:
        """Return the answers of the untrained network that the report shows."""
        return {}

    def details(self, system: System, answers: Answers, setup: Any, trainings: int = 1) -> Iterator[Step]:
        """Yield the answers of the same network before training."""
        found = self.ask_untrained(untrained(system), replace(setup, fast=True))
        yield Step(1.0, _("the same network untrained"), found)

    def details_seconds(self, trainer: Any, setup: Any, training: float, look: float) -> float:
        return look * len(setup.test)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} FILE"


def numbers(system: System, setup: Any) -> AbstractContextManager[Any]:
    """Return a context of lower precision where answers need not be exact to the last digit."""
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
    "as_it_is",
    "numbers",
    "one_by_one",
    "untrained",
]
