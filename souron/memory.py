"""The memory of this process: what it holds at most, what a training step will need."""

import copy
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.optim import Optimizer


def forget_peak() -> None:
    """Let ``peak`` speak of what comes from here on (Linux; elsewhere of the whole process)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes of resident memory that this process held at most."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def held(system: Any, optimizers: Iterable[Optimizer]) -> int:
    """Bytes that stay between two steps: weights twice (the best ones too), gradients, moments."""
    weights = list(system.state_dict().values())
    gradients = [weight.grad for weight in system.parameters() if weight.grad is not None]
    moments = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    ]
    return sum(tensor.nbytes for tensor in [*weights, *weights, *gradients, *moments])


def of_a_step(system: Any, batch: Any, cases: int) -> int:
    """Bytes that one training step on ``cases`` cases adds to the weights themselves.

    ``batch`` is a small batch; what its forward pass keeps for the way back is counted and scaled
    up, and each weight that learns adds its gradient and two moments.
    """
    tried = copy.deepcopy(system).train()
    weights = {weight.data_ptr() for weight in tried.parameters()}
    held: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            held[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    most = 0
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        for _name, loss in tried.updates(batch, 0):
            most = max(most, sum(held.values()))
            del loss
            held.clear()
    learning = sum(4 * weight.numel() for weight in tried.parameters() if weight.requires_grad)
    return 3 * learning + most * cases // len(batch[0])
