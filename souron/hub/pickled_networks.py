"""Read the tensors of a network that was saved whole, classes and all, without its code.

``torch.save(network)`` writes the names of classes and functions, which Python would import and
call on reading. Here every such name stands for an empty shell that does nothing, whatever it is
called with; only the functions that put tensors together are real.

https://docs.python.org/3/library/pickle.html#restricting-globals
"""

import pickle
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

REAL: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
DEEPEST = 20  # layers within layers


class Shell:
    """A stand-in for any class or function: it keeps the state that it is given, and no more."""

    dump_patches = False  # torch asks for it

    def __new__(cls, *given: Any, **named: Any) -> "Shell":
        return super().__new__(cls)

    def __init__(self, *given: Any, **named: Any) -> None:
        self.held: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.held = state if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        """Drop an entry of what was a dictionary."""

    def append(self, value: Any) -> None:
        """Drop an entry of what was a list."""

    def extend(self, values: Any) -> None:
        """Drop the entries of what was a list."""


class Unpickler(pickle.Unpickler):
    """Unpickles data only: no name of the file is imported."""

    def find_class(self, module: str, name: str) -> Any:
        real = REAL.get((module, name), Shell)
        if isinstance(real, type):
            return real
        return lambda *given: real(*given)  # not the function itself: the file may set attributes of what it gets


def _load(stream: Any, **how: Any) -> Any:
    return Unpickler(stream, **how).load()


def read(file: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by name, as its ``state_dict`` would.

    Raises ValueError where the file holds no network; a damaged file can raise anything.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch compares the source of classes that are saved
        found = torch.load(
            file,
            map_location="cpu",
            pickle_module=SimpleNamespace(__name__=__name__, Unpickler=Unpickler, load=_load),
            weights_only=False,
        )
    made = dict(_weights(found, "", DEEPEST))
    if not made:
        raise ValueError("no network")
    return made


def _weights(part: Any, prefix: str, deeper: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a layer and of the layers in it."""
    held = getattr(part, "held", None)
    if not isinstance(held, dict) or not deeper:
        return
    for group in ("_parameters", "_buffers"):
        for name, value in _entries(held.get(group)):
            if torch.is_tensor(value):
                yield f"{prefix}{name}", value.detach()
    for name, layer in _entries(held.get("_modules")):
        yield from _weights(layer, f"{prefix}{name}.", deeper - 1)


def _entries(held: Any) -> Any:
    return held.items() if isinstance(held, dict) else ()
