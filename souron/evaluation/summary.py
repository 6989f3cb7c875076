"""What a system is made of: layers, shapes, parameters, operations, all without running it.

Systems are built on PyTorch's meta device, where tensors have shapes but no numbers, so that the
largest costs no memory and hardly any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from souron import registry

IMAGENET = (3, 224, 1000)  # channels, pixels a side, labels: what published sizes were made for
SMALL = (1, 28, 10)
GENERATED = (1, 32, 10)  # channels, pixels a side, labels; see Generator.SHOWN


@dataclass(frozen=True)
class Layer:
    """One row of a structure table."""

    name: str  # as in the weights file: "layer1.0.conv1"
    type: str  # "Conv2d", "Conv2d, groups=2"
    shape: tuple[int, ...] | None  # of what comes out for one case; None where it is not called
    parameters: int  # no parameter is counted in two rows


def reference(entry: registry.Entry, size: str) -> Any:
    """The ``Spec`` that the system of that size is shown with."""
    system = registry.load_system(registry.full_name(entry, size))[0]
    return registry.load_task(entry.task).example(system, size)


def blueprint(system: type, config: Any, seen: Any) -> Any:
    """The system on the meta device, ready to predict: shapes without numbers."""
    with torch.device("meta"):
        return system(config, seen).eval()


def describe(seen: Any) -> tuple[int, ...]:
    """The shape of one case: (channels, height, width), (channels, slices, rows, columns), or
    (features,); () of a text, which has none."""
    if not hasattr(seen, "features") and not hasattr(seen, "channels"):
        return ()
    if hasattr(seen, "features"):
        return (seen.features,)
    if hasattr(seen, "size"):
        return (seen.channels, *seen.size)
    return (seen.channels, seen.side, seen.side)


@torch.no_grad()
def try_once(model: Any, seen: Any) -> None:
    """Let a blueprint answer for one case, or draw one."""
    if hasattr(model, "example"):
        model.example()
    else:
        model(torch.empty(1, *describe(seen), device="meta"))


def structure(model: nn.Module, seen: Any, depth: int | None = None) -> list[Layer]:
    """The layers of a blueprint with what each gives out for one case.

    ``depth`` 1 shows the outermost parts, 2 their parts, and so on; None every single layer.
    The parameters of all rows add up to those of the model; those of a moving average, which draws,
    count where they are learnt.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Any:
        def note(module: nn.Module, given: Any, out: Any) -> None:
            while isinstance(out, (tuple, list)):
                out = out[0]
            if isinstance(out, Tensor):
                shapes[name] = tuple(out.shape[1:])

        return note

    hooks = [part.register_forward_hook(watch(name)) for name, part in model.named_modules()]
    try_once(model, seen)
    for hook in hooks:
        hook.remove()
    counted = {id(weight) for weight in _copies(model)}
    return [
        Layer(name, _type(part), shapes.get(name), _count(weights, counted))
        for name, part, weights in _parts(model, depth)
    ]


def _type(part: nn.Module) -> str:
    """With the groups of a convolution, whose maps each see their own group only."""
    groups = getattr(part, "groups", 1)
    return type(part).__name__ + (f", groups={groups}" if groups != 1 else "")


def _parts(
    model: nn.Module, depth: int | None
) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """The modules that get a row, each with the parameters that belong to it."""
    for name, part in model.named_modules():
        level = name.count(".") + 1 if name else 0
        if depth is not None and level > depth:
            continue
        is_leaf = level == depth or next(part.children(), None) is None
        weights = list(part.parameters(recurse=is_leaf))
        if weights or is_leaf:
            yield name, part, weights


def _count(weights: list[nn.Parameter], counted: set[int]) -> int:
    """How many numbers; shared ones count where they come first."""
    fresh = [weight for weight in weights if id(weight) not in counted]
    counted.update(map(id, fresh))
    return sum(weight.numel() for weight in fresh)


def deepest(model: nn.Module) -> int:
    """How many levels of parts within parts there are."""
    return max((name.count(".") + 1 for name, _part in model.named_modules() if name), default=0)


def fitting(model: nn.Module, rows: int) -> int:
    """The deepest ``depth`` of a structure table that has at most so many rows."""
    depths = range(deepest(model), 1, -1)
    return next((depth for depth in depths if len(list(_parts(model, depth))) <= rows), 1)


def parameters(model: nn.Module) -> int:
    """How many numbers the system learns, frozen ones included; what follows them, a part called
    ``average``, is not counted again."""
    copies = sum(weight.numel() for weight in _copies(model))
    return sum(weight.numel() for weight in model.parameters()) - copies


def _copies(model: nn.Module) -> list[nn.Parameter]:
    """The weights of a moving average: they follow those that learn."""
    average = getattr(model, "average", None)
    return list(average.parameters()) if isinstance(average, nn.Module) else []


def flops(model: Any, seen: Any) -> int:
    """Operations of one forward pass of one case: twice the multiply-adds of its convolutions and
    matrix products. For a generator, of one picture drawn. The model itself is not run."""
    from torch.utils.flop_counter import FlopCounterMode

    drawn = model.device.type == "meta"
    shape_only = model if drawn else blueprint(type(model), model.config, seen)
    with FlopCounterMode(display=False) as counter:
        try_once(shape_only, seen)
    return counter.get_total_flops()


def drawn(entry: registry.Entry, size: str) -> tuple[Any, Any]:
    """The blueprint of a system at a size, and the ``Spec`` that it is shown with."""
    kind, config = registry.load_system(registry.full_name(entry, size))
    spec = reference(entry, size)
    return blueprint(kind, config, spec), spec
