"""Activations of a network's layers for one input, as small images.

Zeiler, Fergus: Visualizing and Understanding Convolutional Networks (2014).
https://arxiv.org/abs/1311.2901

A layer with feature maps is shown by the strongest of them side by side, one with tokens by a row of
features for each token, one with a vector by its values. Brightness is the absolute value; the
brightest hundredth is white, since the largest values of language models exceed all others.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAPS, ACROSS = 8, 4  # feature maps that are shown, and how many stand side by side
SIDE = 48  # pixels of a feature map at most
BRIGHT = 0.99  # quantile from which a value is white
TALL, WIDE = 48, 96  # tokens and features that are shown at most


@dataclass(frozen=True, eq=False)
class Activity:
    """The activations of one layer for one input."""

    layer: str  # as in the network: "features.0"
    shape: tuple[int, ...]  # of the output for the input
    strength: float  # mean absolute activation relative to the largest, 0..1
    image: Tensor  # (H, W) uint8


@contextmanager
def recorded(network: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of these layers in a ``with`` block, for the first case of a batch.

    They are there when the block has ended.

    Names that the network does not have are ignored. A layer that is called several times is recorded
    at its first call; where a copy of it answers, such as a moving average, the copy is recorded.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with recorded(network, ["0", "1"]) as outputs:
    ...     _ = network(torch.ones(1, 2))
    >>> {name: tuple(output.shape) for name, output in outputs.items()}
    {'0': (3,), '1': (3,)}
    """
    outputs: dict[str, Tensor] = {}
    calls: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(_part: nn.Module, _given: Any, output: Any) -> None:
            tensor = _first_tensor(output)
            if name not in calls and tensor is not None and tensor.ndim > 1 and tensor.numel():
                calls[name] = tensor[0].detach().float().cpu().clone()  # later layers may work in place

        return hook

    names = dict.fromkeys(layers)
    within = {_within(name) for name in names} - {""}
    parts = {name: part for name, part in network.named_modules() if name in names or _within(name) in within}
    hooks = [part.register_forward_hook(note(name)) for name, part in parts.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
        for call, output in calls.items():
            copies = [name for name in names if name not in calls and _within(name) == _within(call)]
            for name in [call] if call in names else copies:
                outputs.setdefault(name, output)


def _within(name: str) -> str:
    """Return a layer's name within its network: ``conv1`` of ``average.conv1``."""
    return name.partition(".")[2]


def _first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor of a module's output, which may be a tuple or a dict of several."""
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return next((tensor for tensor in map(_first_tensor, parts) if tensor is not None), None)


def activities(outputs: dict[str, Tensor]) -> list[Activity]:
    """Return the activity of each recorded layer, in the order of computation.

    >>> [made] = activities({"conv": torch.ones(3, 8, 8)})
    >>> made.strength, tuple(made.image.shape)
    (1.0, (8, 24))
    """
    return [
        Activity(name, tuple(output.shape), _strength(output), _drawn(output.abs().nan_to_num(0, 0, 0)))
        for name, output in outputs.items()
    ]


def _strength(output: Tensor) -> float:
    size = output.abs().nan_to_num(0, 0, 0)
    largest = size.max().item()
    return size.mean().item() / largest if largest > 0 else 0.0


def _drawn(size: Tensor) -> Tensor:
    """Draw absolute activations: (C, D, H, W) or (C, H, W) maps, (T, C) tokens or (C,) a vector."""
    while size.ndim > 3:  # the middle slice of a volume
        size = size[:, size.shape[1] // 2]
    if size.ndim == 3:
        size = _tiled(size)
    elif size.ndim == 1:
        size = size[None]
    if size.shape[0] > TALL * 2 or size.shape[1] > SIDE * ACROSS:
        small = (min(size.shape[0], TALL * 2), min(size.shape[1], SIDE * ACROSS))
        size = F.adaptive_max_pool2d(size[None], small)[0]
    top = size.flatten().quantile(BRIGHT)
    top = top if top > 0 else size.max().clamp(min=1e-12)
    return (255 * (size / top).clamp(max=1)).round().to(torch.uint8)


def _tiled(maps: Tensor) -> Tensor:
    """Tile the maps with the largest mean side by side, each reduced to ``SIDE`` pixels at most."""
    best = maps.flatten(1).mean(1).argsort(descending=True)[:MAPS].sort().values
    tiles, (high, wide) = maps[best], maps.shape[1:]
    shrink = max(1.0, max(high, wide) / SIDE)
    if shrink > 1:
        tiles = F.adaptive_max_pool2d(tiles, (max(1, round(high / shrink)), max(1, round(wide / shrink))))
    across = min(ACROSS, len(tiles))
    missing = math.ceil(len(tiles) / across) * across - len(tiles)
    tiles = F.pad(tiles, (0, 0, 0, 0, 0, missing))
    return torch.cat([torch.cat(list(row), 1) for row in tiles.split(across)], 0)
