"""Replace a module's ``forward`` by one that asks an engine where the engine was checked for the call."""

import threading
from collections.abc import Callable, Sequence
from itertools import chain
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from souron.inference.graph import Features, Graph, Signature
from souron.utils.messages import _

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Guard:
    """The state of a module at the time of the check: its hooks, mode and weights."""

    def __init__(self, module: nn.Module) -> None:
        self.modules = [*module.modules()]
        self.hooks = [getattr(each, name) for each in self.modules for name in HOOKS]
        self.tensors = [*module.parameters(), *module.buffers()]
        self.known_hooks = [*chain.from_iterable(self.hooks)]
        self.known_weights, self.known_modes = self._weights(), self._modes()

    def unchanged(self) -> bool:
        """Return whether the module would still compute what was checked, in some microseconds."""
        return (
            not self.modules[0].training
            and self._modes() == self.known_modes
            and [*chain.from_iterable(self.hooks)] == self.known_hooks
            and self._weights() == self.known_weights
        )

    def _modes(self) -> list[bool]:
        return [each.training for each in self.modules]  # containers that torch.fx made are always in training

    def _weights(self) -> list[tuple[int, int]]:
        """Return where each tensor lies, and how often it was changed in place."""
        return [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in self.tensors]


class Counter(threading.local):
    """Calls since the latest reset, of this thread."""

    def __init__(self) -> None:
        self.fast = self.eager = 0

    def add(self, fast: bool) -> None:
        self.fast += fast
        self.eager += not fast


class Dispatch:
    """A callable in place of ``module.forward``."""

    def __init__(
        self,
        module: nn.Module,
        graphs: Sequence[Graph],
        heard: Callable[[Features], None],
        count: Counter,
        refuse: Callable[[str], None],
    ) -> None:
        self.module, self.graphs = module, graphs
        self.heard, self.count, self.refuse = heard, count, refuse
        self.eager = module.forward
        self.guard = Guard(module)

    def attach(self) -> None:
        """Put it in place of the module's own ``forward``."""
        self.module.forward = self

    def detach(self) -> None:
        """Put the module's own ``forward`` back."""
        if self.module.__dict__.get("forward") is self:
            del self.module.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fitting = self._fitting(args, kwargs)
        if fitting is None:
            self.count.add(False)
            return self.eager(*args, **kwargs)
        graph, tensors = fitting
        outputs = graph(tensors)
        if not all(map(is_finite, outputs)):
            return self._doubted(args, kwargs)
        result, features = graph.layout.rebuilt(outputs)
        self.heard(features)
        self.count.add(True)
        return result

    def _doubted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer with the network itself; an engine that alone answers NaN is not asked again."""
        self.count.add(False)
        result = self.eager(*args, **kwargs)
        if all(is_finite(leaf) for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)):
            self.refuse(_("it answers with values that are no numbers"))
        return result

    def _fitting(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Graph, list[Any]] | None:
        """Return the graph that was checked for this call, and the call's tensors."""
        if torch.is_grad_enabled() or torch.jit.is_tracing() or not self.guard.unchanged():
            return None
        read = Signature.of(args, kwargs)
        if read is None:
            return None
        graph = next((one for one in self.graphs if one.signature.fits(read[0])), None)
        return None if graph is None else (graph, read[1])

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return the own ``forward`` of the copied module: a copy is not checked."""
        copy = memo.get(id(self.module))
        return self.eager if copy is None else MethodType(type(copy).forward, copy)


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor of floats holds no NaN and no infinity; True for other types.

    The least and the largest value are NaN where any value is, and take a tenth of the time of a look at each.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(end.isfinite()) for end in torch.aminmax(tensor))
