"""Record the outermost module calls of an answer: the parts of a network that an engine can replace."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

MOST = 12  # calls of a module that are kept


@dataclass
class Call:
    """One call of a module from outside of all other modules."""

    name: str  # of the module in the network, "" for the network itself
    args: tuple[Any, ...] = field(repr=False)  # tensors copied, as the caller may change them
    kwargs: dict[str, Any] = field(repr=False)


@dataclass
class Calls:
    """The outermost calls of a network while it was recorded, in order."""

    made: list[Call] = field(default_factory=list)
    seconds: float = 0.0  # of the recorded block

    @property
    def by_name(self) -> dict[str, list[Call]]:
        """Return the calls of each module."""
        grouped: dict[str, list[Call]] = {}
        for call in self.made:
            grouped.setdefault(call.name, []).append(call)
        return grouped


@contextmanager
def recording(network: nn.Module, prefix: str = "", without: bool = False) -> Iterator[Calls]:
    """Record the outermost calls of ``network`` and its layers in this block and thread.

    At most ``MOST`` of each module are kept.

    ``prefix`` is put before the names. ``without``: without the network itself, so that its own
    parts are the outermost ones.
    """
    calls, counts = Calls(), Counter[str]()
    depth, thread, hooks = 0, threading.get_ident(), []

    def before(name: str) -> Any:
        def enter(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal depth
            if threading.get_ident() == thread:
                depth += 1
                if depth == 1 and counts[name] < MOST:
                    counts[name] += 1
                    calls.made.append(Call(name, *copied((args, kwargs))))

        return enter

    def after(*_anything: Any) -> None:
        nonlocal depth
        if threading.get_ident() == thread:
            depth -= 1

    for name, module in network.named_modules():
        if without and module is network:
            continue
        full = f"{prefix}.{name}".strip(".")
        hooks.append(module.register_forward_pre_hook(before(full), with_kwargs=True))
        hooks.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))
    begun = time.perf_counter()
    try:
        yield calls
    finally:
        calls.seconds = time.perf_counter() - begun
        for hook in hooks:
            hook.remove()


def part_of(network: nn.Module, name: str) -> nn.Module:
    """Return the module of a name as ``named_modules`` counts them. Raises KeyError.

    A system may have a ``get_submodule`` of its own, for the names of published weights.
    """
    return dict(network.named_modules())[name]


def copied(value: Any) -> Any:
    """Return nested arguments with their tensors copied; those of half precision become float32."""

    def copy(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.clone()

    return pytree.tree_map_only(Tensor, copy, value)
