"""Predictions of trained systems for the test cases, collected over seeds and folds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron.data.dataset import Dataset
from souron.utils import files
from souron.utils.messages import UserError


class Sparse(NamedTuple):
    """Values for a subset of the cases."""

    rows: Tensor  # (n,) int64, which cases
    values: Tensor  # (n, ...)


Answers = dict[str, Tensor | Sparse]
"""Predictions of one trained system for the test cases, by name; the first axis is the case."""


@dataclass
class Setup:
    """The inputs of predicting and scoring. Tasks that need more have a subclass."""

    options: Any  # the task's own
    test: Dataset  # the cases to predict and score
    steps: int = 0  # of the training evaluated
    fast: bool = False  # in the precision of training instead of float32


@dataclass(frozen=True)
class Step:
    """The progress of a longer computation."""

    done: float  # 0..1
    text: str = ""  # what is being done, in the reader's language
    result: Any = None  # with the last one


def dense(answers: Answers, name: str) -> Tensor:
    """Return the values of every case, (cases, ...)."""
    values = answers[name]
    assert isinstance(values, Tensor), f"{name} is of some cases only"
    return values


def stacked(seeds: Sequence[Answers], name: str) -> NDArray[np.float64]:
    """Stack the values of all seeds, (seeds, cases, ...)."""
    return torch.stack([dense(answers, name) for answers in seeds]).double().numpy()


def flatten(answers: Answers) -> dict[str, Tensor]:
    """Convert answers to plain tensors for a file: ``Sparse`` -> ``name/rows``, ``name/values``."""
    flat: dict[str, Tensor] = {}
    for name, values in answers.items():
        if isinstance(values, Sparse):
            flat |= {f"{name}/rows": values.rows, f"{name}/values": values.values}
        else:
            flat[name] = values
    return flat


def unflatten(flat: Mapping[str, Tensor]) -> Answers:
    """Invert ``flatten``."""
    sparse = {name.removesuffix("/rows") for name in flat if name.endswith("/rows")}
    dense = {name: values for name, values in flat.items() if "/" not in name}
    return dense | {name: Sparse(flat[f"{name}/rows"], flat[f"{name}/values"]) for name in sparse}


def scatter(whole: Answers, part: Answers, rows: Tensor, cases: int) -> None:
    """Write the answers about the cases ``rows`` (n,) into those about all ``cases``."""
    for name, values in part.items():
        if isinstance(values, Sparse):
            there = Sparse(rows[values.rows], values.values)
            before = whole.get(name)
            if isinstance(before, Sparse):
                there = Sparse(*(torch.cat(pair) for pair in zip(before, there, strict=True)))
            whole[name] = there
            continue
        if name not in whole:
            empty = torch.nan if values.dtype.is_floating_point else 0
            whole[name] = torch.full((cases, *values.shape[1:]), empty, dtype=values.dtype)
        dense(whole, name)[rows] = values


@dataclass
class Trainings:
    """The answers of all trainings of one procedure: a single one, or each fold of each repeat.

    Every case is answered by a training that did not use it.
    """

    test: Dataset
    answers: list[Answers]  # one per repeat
    training: Tensor  # (repeats, cases) int64, index of the training that answered
    decision: dict[str, float]  # of the final network, see ``Task.decide``
    fewer: dict[float, Answers] = field(default_factory=dict)  # share of the training cases ->
    # answers, of the first repeat
    learnt_from: dict[float, int] = field(default_factory=dict)  # share -> training cases of a fold

    @classmethod
    def empty(cls, test: Dataset, decision: dict[str, float], repeats: int = 1) -> "Trainings":
        training = torch.zeros((repeats, len(test)), dtype=torch.long)
        return cls(test, [{} for _repeat in range(repeats)], training, decision)

    @classmethod
    def of_one(cls, test: Dataset, answers: Answers, decision: dict[str, float]) -> "Trainings":
        """Return the answers of a single training about all test cases."""
        trainings = cls.empty(test, decision)
        trainings.add(answers, torch.arange(len(test)))
        return trainings

    def add(self, answers: Answers, rows: Tensor, repeat: int = 0, share: float = 1.0, train: int = 0) -> None:
        """Add the answers of one training about the cases ``rows``.

        It used a ``share`` of the training cases, ``train`` in number.
        """
        self.learnt_from.setdefault(share, train)
        if share < 1:
            scatter(self.fewer.setdefault(share, {}), answers, rows, len(self.test))
            return
        scatter(self.answers[repeat], answers, rows, len(self.test))
        self.training[repeat, rows] = self.training.max() + 1

    @property
    def training_of(self) -> Any:
        """Index of the training behind each answer, (repeats, cases); None for a single
        training.
        """
        return self.training.numpy() if int(self.training.max()) > 1 else None

    def training_of_rows(self, rows: Sequence[int]) -> Any:
        """Index of the training behind each answer for some cases, (repeats, n)."""
        every = self.training_of
        return None if every is None else every[:, list(rows)]

    def write(self, path: Path) -> None:
        tensors = {"training": self.training}
        for repeat, answers in enumerate(self.answers):
            tensors |= {f"{repeat}:{name}": values for name, values in flatten(answers).items()}
        for share, answers in self.fewer.items():
            tensors |= {f"fewer {share}:{name}": values for name, values in flatten(answers).items()}
        files.write_tensors(path, tensors, {"decision": self.decision, "learnt_from": list(self.learnt_from.items())})

    @classmethod
    def read(cls, path: Path, test: Dataset) -> "Trainings":
        """Read from a file; ``test`` must be in the order in which it was written.

        Raises UserError.
        """
        tensors, about = files.read_tensors(path)
        if "kept" in about:
            tensors, about = _converted(tensors, about)
        trainings = cls.empty(test, about["decision"], len(tensors["training"]))
        trainings.training = tensors["training"]
        trainings.learnt_from = dict(about["learnt_from"])
        for key, group in _grouped(tensors):
            if key.startswith("fewer "):
                trainings.fewer[float(key.removeprefix("fewer "))] = unflatten(group)
            else:
                trainings.answers[int(key)] = unflatten(group)
        return trainings


def decision(path: Path) -> dict[str, float]:
    """Return what was chosen on validation cases, from a run's answers; {} where there are none."""
    try:
        choices = files.read_tensors(path)[1].get("decision", {})
        return {str(name): float(value) for name, value in choices.items()}
    except (UserError, AttributeError, TypeError, ValueError):  # not tested yet, or an edited file
        return {}


def _grouped(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    places = dict.fromkeys(name.partition(":")[0] for name in tensors if ":" in name)
    for key in places:
        prefix = f"{key}:"
        yield (key, {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)})


def _converted(tensors: dict[str, Tensor], about: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Convert a classifier's file of souron 0.1.0, which holds (repeats, cases) tensors.

    Its ``right`` is (steps, cases).
    """
    tensors_by_name = {"training": tensors["training"]}
    for repeat in range(len(tensors["training"])):
        for name in ("probability", "threshold", "temperature"):
            tensors_by_name[f"{repeat}:{name}"] = tensors[name][repeat]
    if tensors["right"].numel():
        rows = tensors["right"][0].isfinite().nonzero().flatten()
        tensors_by_name |= {"0:right/rows": rows, "0:right/values": tensors["right"][:, rows].T.contiguous()}
    for name, values in tensors.items():
        if name.startswith("fewer "):
            tensors_by_name[f"{name}:probability"] = values
    return tensors_by_name, {"decision": about["kept"], "learnt_from": about["learnt_from"]}
