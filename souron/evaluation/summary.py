"""Structure of a system without running it: layers, shapes, parameters, operations.

Systems are built on PyTorch's meta device, where tensors have shapes but no data, so even the
largest takes no memory and hardly any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from souron import registry

IMAGENET = (3, 224, 1000)  # channels, pixels a side, labels of the published sizes
SMALL = (1, 28, 10)
GENERATED = (1, 32, 10)  # channels, pixels a side, labels; see Generator.SHOWN


@dataclass(frozen=True)
class Layer:
    """One row of a structure table."""

    name: str  # as in the weights file: "layer1.0.conv1"
    type: str  # "Conv2d", "Conv2d, groups=2"
    shape: tuple[int, ...] | None  # of the output for one case; None where the layer is not called
    parameters: int  # no parameter is counted in two rows


def reference(entry: registry.Entry, size: str) -> Any:
    """Return the ``Spec`` with which the system of that size is shown."""
    system = registry.load_system(registry.full_name(entry, size))[0]
    return registry.load_task(entry.task).example(system, size)


def blueprint(system: type, config: Any, spec: Any) -> Any:
    """Build the system on the meta device in evaluation mode: shapes without data."""
    with torch.device("meta"):
        return system(config, spec).eval()


def describe(spec: Any) -> tuple[int, ...]:
    """Return the shape of one case.

    (channels, height, width), (channels, slices, rows, columns) or (features,); () for a text.
    """
    if not hasattr(spec, "features") and not hasattr(spec, "channels"):
        return ()
    if hasattr(spec, "features"):
        return (spec.features,)
    if hasattr(spec, "size"):
        return (spec.channels, *spec.size)
    return (spec.channels, spec.side, spec.side)


@torch.no_grad()
def try_once(model: Any, spec: Any) -> None:
    """Run a blueprint on one case, or generate one."""
    if hasattr(model, "example"):
        model.example()
    else:
        model(torch.empty(1, *describe(spec), device="meta"))


def structure(model: nn.Module, spec: Any, depth: int | None = None) -> list[Layer]:
    """List the layers of a blueprint with their output shapes for one case.

    ``depth`` 1 shows the top-level modules, 2 their children, and so on; None every single layer.
    The parameters of all rows add up to those of the model; those of a moving average, which
    generates, are counted only where they are trained.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Any:
        def note(module: nn.Module, inputs: Any, out: Any) -> None:
            while isinstance(out, (tuple, list)):
                out = out[0]
            if isinstance(out, Tensor):
                shapes[name] = tuple(out.shape[1:])

        return note

    hooks = [part.register_forward_hook(watch(name)) for name, part in model.named_modules()]
    try_once(model, spec)
    for hook in hooks:
        hook.remove()
    ids = {id(weight) for weight in _copies(model)}
    return [
        Layer(name, _type(part), shapes.get(name), _count(weights, ids)) for name, part, weights in _parts(model, depth)
    ]


def _type(part: nn.Module) -> str:
    """Return the class name of a layer, with the number of groups of a grouped convolution."""
    groups = getattr(part, "groups", 1)
    return type(part).__name__ + (f", groups={groups}" if groups != 1 else "")


def _parts(model: nn.Module, depth: int | None) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """Yield the modules that get a row, with the parameters counted there."""
    for name, part in model.named_modules():
        level = name.count(".") + 1 if name else 0
        if depth is not None and level > depth:
            continue
        is_leaf = level == depth or next(part.children(), None) is None
        weights = list(part.parameters(recurse=is_leaf))
        if weights or is_leaf:
            yield name, part, weights


def _count(weights: list[nn.Parameter], ids: set[int]) -> int:
    """Count the parameters; shared ones count at their first occurrence."""
    fresh = [weight for weight in weights if id(weight) not in ids]
    ids.update(map(id, fresh))
    return sum(weight.numel() for weight in fresh)


def deepest(model: nn.Module) -> int:
    """Return the depth of nesting of the modules."""
    return max((name.count(".") + 1 for name, _part in model.named_modules() if name), default=0)


def fitting(model: nn.Module, rows: int) -> int:
    """Return the largest ``depth`` whose structure table has at most ``rows`` rows."""
    depths = range(deepest(model), 1, -1)
    return next((depth for depth in depths if len(list(_parts(model, depth))) <= rows), 1)


def parameters(model: nn.Module) -> int:
    """Count the parameters, frozen ones included.

    Those of a moving average, a module called ``average``, are not counted again.
    """
    copies = sum(weight.numel() for weight in _copies(model))
    return sum(weight.numel() for weight in model.parameters()) - copies


def _copies(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of a moving average, which follow the trained ones."""
    average = getattr(model, "average", None)
    return list(average.parameters()) if isinstance(average, nn.Module) else []


def flops(model: Any, spec: Any) -> int:
    """Count the operations of a forward pass of one case: twice the multiply-adds.

    Convolutions and matrix products are counted. For a generator, one generated image. The model
    itself is not run.
    """
    from torch.utils.flop_counter import FlopCounterMode

    is_meta = model.device.type == "meta"
    shape_only = model if is_meta else blueprint(type(model), model.config, spec)
    with FlopCounterMode(display=False) as counter:
        try_once(shape_only, spec)
    return counter.get_total_flops()


def drawn(entry: registry.Entry, size: str) -> tuple[Any, Any]:
    """Return the blueprint of a system at a size, and the ``Spec`` it is shown with."""
    system_class, config = registry.load_system(registry.full_name(entry, size))
    spec = reference(entry, size)
    return blueprint(system_class, config, spec), spec
