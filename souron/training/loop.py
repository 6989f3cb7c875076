"""The only training loop. A system says what to minimise, whoever iterates says when to stop."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Progress:
    """One step done."""

    step: int  # from 0
    losses: dict[str, Tensor]  # detached; whoever prints them pays for the wait
    optimizers: dict[str, Optimizer] = field(default_factory=dict)  # what resuming needs


class Data(Protocol):
    """What a system learns from."""

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        """Batches of ``size`` cases without end; ``start`` is the first step's number."""
        ...

    def all(self) -> Tensor:
        """Every case at once, for systems without a gradient."""
        ...


@dataclass
class Run:
    """How to train: what the loop and a system without a gradient need to know."""

    steps: int
    batch: int = 128
    start: int = 0
    resumed: dict[str, dict] | None = None  # optimizer name -> its state
    autocast: Callable[[], AbstractContextManager] = nullcontext
    schedule: Callable[[Optimizer, int], None] = lambda optimizer, step: None
    used: Callable[[int], float] | None = None  # step -> how much of the budget is used, 0..1


def descend(system, data: Data, run: Run) -> Iterator[Progress]:
    """Gradient descent for any system. Stop iterating to stop training."""
    optimizers = system.optimizers()
    for name, state in (run.resumed or {}).items():
        load_optimizer_state(optimizers[name], state)
    weights = {name: trainable(optimizer) for name, optimizer in optimizers.items()}
    # where several networks share a graph, the others stay as they are; naming one alone costs time
    moved = weights if len(weights) > 1 else dict.fromkeys(weights)
    batches = data.endless(run.batch, run.start)
    system.train()
    try:
        for step, batch in zip(range(run.start, run.steps), batches, strict=False):
            # past nn.Module's own way of setting, which takes microseconds
            vars(system)["used"] = run.used(step) if run.used else step / run.steps
            losses = {}
            for name, loss in outside(run.autocast, system.updates(batch, step)):
                for weight in weights[name]:  # zero_grad does as much, in tens of microseconds
                    weight.grad = None
                loss.backward(inputs=moved[name])
                if system.clip is not None:
                    nn.utils.clip_grad_norm_(weights[name], system.clip)
                run.schedule(optimizers[name], step)
                optimizers[name].step()
                losses[name] = loss.detach()
            system.after_update(step)
            yield Progress(step, losses, optimizers)
    finally:
        system.eval()


def outside(
    autocast: Callable[[], AbstractContextManager], updates: Iterable[tuple[str, Tensor]]
) -> Iterator[tuple[str, Tensor]]:
    """Compute each loss under autocast and hand it over outside, where backward belongs."""
    updates = iter(updates)
    while True:
        with autocast():
            update = next(updates, None)
        if update is None:
            return
        yield update


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load ``state``, each moment in its weight's memory layout.

    A file keeps no layout, and fused steps, which walk through memory, are silently wrong where the
    two differ.
    """
    optimizer.load_state_dict(state)
    for weight, kept in optimizer.state.items():
        for name, moment in kept.items():
            if torch.is_tensor(moment) and moment.shape == weight.shape:
                kept[name] = torch.empty_like(weight, dtype=moment.dtype).copy_(moment)


def trainable(optimizer: Optimizer) -> list[Tensor]:
    return [
        weight
        for group in optimizer.param_groups
        for weight in group["params"]
        if weight.requires_grad
    ]
