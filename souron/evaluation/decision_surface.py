"""Follow how a network learns a decision boundary in the plane, step by step.

    points (x, y) -> the system's own training loop, observed at some steps -> at each: loss,
    class probabilities over the plane, activations of each hidden unit there, all weights

The network is an ordinary system (``mlp``, 1986): to it, a point is an image of one pixel with two
channels. Digits are projected to the plane by their first two principal components.

Smilkov, Carter, Sculley, Viegas, Wattenberg: Direct-Manipulation Visualization of Deep Networks
(2017). https://arxiv.org/abs/1708.03788
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron import registry
from souron.data.dataset import Dataset
from souron.training.loop import Run
from souron.utils.messages import UserError, _

MOST_STEPS = 20_000
MOST_POINTS = 20_000
BENDS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)  # their output is a unit's activation


@dataclass(frozen=True)
class Plane:
    """A square grid over the points, with a margin."""

    low: tuple[float, float]  # x and y of its lower left corner
    high: tuple[float, float]
    grid: Tensor  # (side * side, 2), row by row from below

    @property
    def side(self) -> int:
        return math.isqrt(len(self.grid))


@dataclass(frozen=True)
class Moment:
    """The state of a network at one training step."""

    step: int
    loss: float  # cross-entropy over all points
    accuracy: float  # over all points
    surface: Tensor  # (classes, side, side): probabilities over the plane, rows from below;
    # (classes, 0, 0) for images, which lie in no plane
    units: Tensor  # (units, side, side): activations of the first hidden layer there
    weights: dict[str, Tensor]  # every weight and bias by name

    @property
    def decision(self) -> Tensor:
        """The most probable class, (side, side) int64."""
        return self.surface.argmax(0)


def shapes() -> tuple[str, ...]:
    """Return the names that ``points`` accepts."""
    return ("lines", "moons", "circles", "spirals", "xor", "digits")


def points(name: str, count: int = 300, seed: int = 0) -> Dataset:
    """Return labelled points in a plane, (count, 2, 1, 1) float32.

    ``digits`` are real ones, projected to their first two principal components. Raises UserError.
    """
    if name not in shapes() or not 10 <= count <= MOST_POINTS:
        raise UserError(
            "points",
            _("{count} points of {name!r}").format(count=count, name=name),
            expected=_("10 to {most} points of {names}").format(most=MOST_POINTS, names=", ".join(shapes())),
        )
    coordinates, label, classes = _digits(count, seed) if name == "digits" else _drawn(name, count, seed)
    return dataset(name, torch.from_numpy(coordinates).float(), torch.from_numpy(label).long(), classes)


def dataset(name: str, coordinates: Tensor, label: Tensor, classes: Sequence[str]) -> Dataset:
    """Wrap points (N, 2) and their classes (N,) as a data set for a classifier."""
    return Dataset(
        name=name,
        input=coordinates.view(-1, 2, 1, 1),
        target=label,
        classes=tuple(classes),
        file=[f"{i:05d}" for i in range(len(label))],
        augment=(),
    )


def _drawn(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from sklearn import datasets

    chance = np.random.default_rng(seed)
    label = np.arange(count) % 2
    if name == "moons":
        coordinates, label = datasets.make_moons(count, noise=0.15, random_state=seed)
    elif name == "circles":
        coordinates, label = datasets.make_circles(count, noise=0.1, factor=0.5, random_state=seed)
    elif name == "spirals":
        turn = np.sqrt(chance.uniform(0.02, 1, count))
        angle = 3 * math.pi * turn + math.pi * label
        coordinates = np.stack([turn * np.cos(angle), turn * np.sin(angle)], 1)
        coordinates = coordinates + chance.normal(0, 0.03, (count, 2))
    elif name == "xor":
        coordinates = chance.uniform(-1, 1, (count, 2))
        label = (coordinates[:, 0] * coordinates[:, 1] > 0).astype(int)
    else:
        coordinates = chance.normal(0, 0.45, (count, 2)) + np.where(label[:, None] == 1, 0.7, -0.7)
    return coordinates, label, ("a", "b")


def _digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    pixels, label = load_digits(return_X_y=True)
    coordinates = PCA(2, random_state=0).fit_transform(pixels) / 16
    rows = np.random.default_rng(seed).permutation(len(coordinates))[:count]
    return coordinates[rows], label[rows], tuple("0123456789")


def plane(data: Dataset, side: int = 60) -> Plane:
    """Return the square around the points, a tenth wider on each side."""
    coordinates = data.input.flatten(1)  # (N, 2)
    low, high = coordinates.amin(0), coordinates.amax(0)
    middle, half = (low + high) / 2, 0.6 * (high - low).max().clamp(min=1e-3)
    steps = torch.linspace(-1, 1, side) * half
    x, y = torch.meshgrid(steps + middle[0], steps + middle[1], indexing="xy")
    corners = [tuple((middle + sign * half).tolist()) for sign in (-1, 1)]
    return Plane(corners[0], corners[1], torch.stack([x.flatten(), y.flatten()], 1))


def network(data: Dataset, system: str = "mlp", seed: int = 0, **config: Any) -> Any:
    """Build an untrained system for these cases; ``config`` overrides e.g. ``widths=(8,)``,
    ``rate=1e-2``.

    The same seed gives the same weights.
    """
    system_class, usual = registry.load_system(system)
    torch.manual_seed(seed)
    return system_class(replace(usual, **config), system_class.spec_for(data)).eval()


def moments(steps: int, count: int = 8) -> list[int]:
    """Return steps 0, ..., ``steps`` to observe, denser at the beginning, where most changes."""
    ends = np.linspace(0, 1, count) ** 2 * steps
    return sorted({round(end) for end in ends})


def learn(
    system: Any,
    data: Dataset,
    steps: int = 400,
    batch: int = 32,
    at: Sequence[int] | None = None,
    seed: int = 0,
    where: Plane | None = None,
) -> Iterator[Moment]:
    """Train the system with the usual loop and yield a ``Moment`` at each step in ``at``.

    ``at`` defaults to ``moments(steps)``. ``data`` are points, or any images that the system takes.
    Stop iterating to stop training. Raises UserError for too many steps.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise UserError("steps", f"steps={steps}", expected=_("1 to {most} steps").format(most=MOST_STEPS))
    steps_shown = set(moments(steps) if at is None else at)
    if where is None and data.input.shape[1:] == (2, 1, 1):
        where = plane(data)
    if 0 in steps_shown:
        yield look(system, data, where, 0)
    loader = system.loader(data, seed=seed)
    for progress in system.fit(loader, Run(steps=steps, batch=min(batch, len(data)))):
        step = progress.step + 1
        if step in steps_shown:
            yield look(system, data, where, step)
            system.train()


def look(system: Any, data: Dataset, where: Plane | None = None, step: int = 0) -> Moment:
    """Return the current ``Moment``: over the cases and, for points, over the plane."""
    logits = _asked(system, data)[0]
    answers, units, side = logits[:0], logits[:0, :0], 0
    if where is not None:
        nothing = torch.zeros(len(where.grid), dtype=torch.long)
        answers, units = _asked(system, dataset("", where.grid, nothing, ()))
        side = where.side
    return Moment(
        step=step,
        loss=F.cross_entropy(logits, data.target).item(),
        accuracy=(logits.argmax(1) == data.target).float().mean().item(),
        surface=answers.softmax(1).T.reshape(logits.shape[1], side, side),
        units=units.T.reshape(units.shape[1], side, side),
        weights={n: weight.detach().clone() for n, weight in system.named_parameters()},
    )


@torch.no_grad()
def _asked(system: Any, data: Dataset) -> tuple[Tensor, Tensor]:
    """Compute logits (N, classes) and activations of the first hidden layer (N, units)."""
    activations: list[Tensor] = []
    bend = next((part for part in system.modules() if isinstance(part, BENDS)), None)
    hook = bend and bend.register_forward_hook(lambda _part, _given, output: activations.append(output.flatten(1)))
    system.eval()
    try:
        logits = [system(batch.image) for batch in system.loader(data).once(1024)]
    finally:
        if hook:
            hook.remove()
    units = torch.cat(activations) if activations else torch.zeros(len(data), 0)
    return torch.cat(logits).float(), units.float()
