"""Cases on which an engine is checked: of the run's data, ready examples, or noise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron.data.dataset import Dataset
from souron.evaluation.familiarity import sampled
from souron.hub import zoo
from souron.inference.graph import Signature
from souron.kinds import signature as kinds_signature
from souron.runs import folder as run_folder
from souron.utils.messages import UserError, _

MOST = 64  # cases of a check
CHUNK = 8  # of them at a time
NOISY = 8  # calls with noise, where there are no cases

Run = Callable[[Any], object]  # runs some cases through a system


@dataclass(frozen=True)
class Parts:
    """The training and validation cases of a run."""

    train: Dataset
    val: Dataset  # may be empty
    positive: int | None = None  # the class to detect, of a run that names one

    @property
    def source(self) -> str:
        """Return which of them the answers of an engine are compared on."""
        return "validation" if len(self.val) else "training"


def parts_of(system: Any, folder: Path | None) -> Parts | None:
    """Return the cases of a run; None where its data is not here or has changed."""
    from souron.runs import evaluate, prepare

    if folder is None:
        return None
    try:
        args = run_folder.read_args(folder)
        task = prepare.task_of(args)
        data = evaluate.cases_of(args, str(args["data"]), system.spec, task)
        split = prepare.read_split(folder, data, task)
        positive = str(args.get("positive") or "")
        named = data.classes.index(positive) if positive in data.classes else None
        return Parts(data.only(split.train), data.only(split.val), named)
    except (UserError, OSError, KeyError, AttributeError, TypeError):
        return None


def of_run(parts: Parts, chunk: int = CHUNK, most: int = MOST) -> Iterator[tuple[int, Run]]:
    """Yield the number of some validation cases, or training cases where there are none, and what runs them."""
    some = sampled(parts.val if len(parts.val) else parts.train, most)
    for rows in torch.arange(len(some)).split(chunk):
        cases = some.only(rows)
        yield len(rows), lambda system, cases=cases: system.validate(system.loader(cases))  # type: ignore[misc]


def examples(system: Any, folder: Path | None) -> Iterator[tuple[int, Run]]:
    """Yield the ready examples of a system one by one, and what answers them."""
    asked = kinds_signature.signature(type(system))
    if folder is None or asked is None:
        return
    options = kinds_signature.read_options(asked.options, zoo.asked(folder), "souron predict --help")
    for file in zoo.examples(folder):
        for given in asked.given.each(file, **system.reading()):
            yield 1, lambda system, given=given: system.predict(given, **options)  # type: ignore[misc]


Moments = list[list[float]]  # of each tensor: mean and standard deviation, or the least and largest whole number


def moments(tensors: list[Tensor]) -> Moments:
    """Return what noise that resembles these tensors is made from."""
    return [
        [float(one.mean()), float(one.std(correction=0))]
        if one.is_floating_point()
        else [float(one.min()), float(one.max())]
        for one in tensors
    ]


def noise(signature: Signature, like: Moments, seed: int, batch: int | None = None) -> list[Tensor]:
    """Return random tensors for a signature: normal values, or whole numbers between the ends.

    They are drawn anew from a seed, so that no case of a person has to be stored.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape, dtype, counts, (one, other) in zip(
        signature.shapes, signature.dtypes, signature.batched, like, strict=True
    ):
        size = (batch, *shape[1:]) if counts and batch else shape
        if dtype.is_floating_point:
            made.append(torch.randn(size, generator=generator) * other + one)
        else:
            made.append(torch.randint(int(one), int(other) + 1, size, generator=generator).to(dtype))
    return made


def source_names() -> dict[str, str]:
    """Return the words for where the cases of a check came from."""
    return {
        "validation": _("{count} validation cases"),
        "training": _("{count} training cases"),
        "examples": _("{count} ready examples"),
        "noise": _("{count} inputs of noise, as there are no cases here"),
    }
