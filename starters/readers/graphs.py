"""Networks in the files of other programs: the weights of their convolutions, and nothing else.

``tflite``, ``tfjs`` and ``onnx`` each read one format into ``Graph``. No code of a file is run and
no operation of it is computed; the graph is read to tell which tensors are the weights of which
convolution. A file is refused (``Refused``) where it is cut, too large, lies about a shape, holds
an operation that is not listed, a branch, a loop, or a part that lies elsewhere.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES = 256 * 10**6  # of a file
MOST_OPERATIONS = 20_000
MOST_TENSORS = 40_000
MOST_VALUES = 64 << 20  # of one tensor
MOST_AXES = 8
MOST_NAME = 4096  # bytes


class Refused(ValueError):
    """A file that is damaged, or is not one that these readers know."""


@dataclass(frozen=True)
class Operation:
    kind: str  # as a reader calls it: "conv", "depthwise", "add", "dequantize", "other"
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class Graph:
    """The operations of a network, and its constant tensors by name."""

    operations: list[Operation]
    constants: "dict[str, Tensor]"
    inputs: tuple[str, ...] = ()
    kernels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind of operation ->
    # the order of a kernel's axes that PyTorch has: outputs, inputs, height, width

    def weights(self) -> "dict[str, Tensor]":
        """Return NAME.weight and NAME.bias of each convolution, in float32 and PyTorch's order.

        A constant that is added to the output of a convolution is its bias. Raises Refused.
        """
        held: dict[str, Tensor] = {}
        made: dict[str, str] = {}  # output -> the convolution that computes it
        for operation in self.ordered():
            constant = [self.constants.get(name) for name in operation.inputs]
            if operation.kind in self.kernels and len(constant) > 1 and constant[1] is not None:
                kernel, order = constant[1].float(), self.kernels[operation.kind]
                if kernel.ndim != len(order):
                    raise Refused(f"{operation.name} has a kernel of {kernel.ndim} axes")
                held[f"{operation.name}.weight"] = kernel.permute(order).contiguous()
                if len(constant) > 2 and constant[2] is not None:
                    self._bias(held, operation.name, constant[2])
                made[operation.outputs[0]] = operation.name
            elif operation.kind == "add" and len(constant) == 2:
                for name, other in zip(operation.inputs, constant[::-1], strict=True):
                    if name in made and other is not None:
                        self._bias(held, made[name], other)
        return held

    def _bias(self, held: "dict[str, Tensor]", name: str, bias: "Tensor") -> None:
        outputs = len(held[f"{name}.weight"])
        if bias.numel() != outputs:
            raise Refused(f"{name} has {outputs} outputs and a bias of {bias.numel()}")
        held[f"{name}.bias"] = bias.float().reshape(-1)

    def ordered(self) -> list[Operation]:
        """Return the operations, each after those whose outputs it needs.

        Raises Refused where an input is missing, made twice, or made of itself.

        Kahn: Topological Sorting of Large Networks (1962). https://doi.org/10.1145/368996.369025
        """
        known = {*self.constants, *self.inputs}
        missing: list[int] = []
        users: dict[str, list[int]] = {}
        for place, operation in enumerate(self.operations):
            missing.append(len({name for name in operation.inputs if name not in known}))
            for name in set(operation.inputs) - known:
                users.setdefault(name, []).append(place)
        ready = [place for place, count in enumerate(missing) if not count]
        order = []
        while ready:
            order.append(self.operations[ready.pop()])
            for name in order[-1].outputs:
                if name in known:
                    raise Refused(f"{name} is computed twice")
                known.add(name)
                for user in users.get(name, ()):
                    missing[user] -= 1
                    if not missing[user]:
                        ready.append(user)
        if len(order) < len(self.operations):
            raise Refused("its operations wait for each other, or for what is not there")
        return order


def shaped(values: Any, shape: Sequence[int], name: str = "") -> "Tensor":
    """Return a NumPy array as a tensor of a shape. Raises Refused where their sizes differ."""
    import torch

    if volume(shape) != values.size:
        raise Refused(f"{name} has {values.size} values for the shape {list(shape)}")
    return torch.from_numpy(values.reshape(tuple(shape)).copy())


def volume(shape: Sequence[int]) -> int:
    """Return the number of values of a shape. Raises Refused for an impossible one."""
    if len(shape) > MOST_AXES or any(length < 0 for length in shape):
        raise Refused(f"a tensor of the shape {list(shape)[:MOST_AXES]}")
    count = math.prod(shape)
    if count > MOST_VALUES:
        raise Refused(f"a tensor of {count:,} values")
    return count


def limited(items: Iterable[Any], most: int) -> list[Any]:
    """Return a list. Raises Refused where it would have more than ``most`` entries."""
    found = []
    for item in items:
        found.append(item)
        if len(found) > most:
            raise Refused(f"more than {most:,} entries in a list")
    return found


def too_large(most: int = MOST_BYTES) -> Refused:
    return Refused(f"larger than {most // 10**6} MB")


def damaged() -> Refused:
    return Refused("it is cut or damaged")


def unknown(kind: str) -> Refused:
    return Refused(f"the operation {kind[:80]} is not known")
