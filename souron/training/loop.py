"""The training loop. A system defines the losses; the caller decides when to stop."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Progress:
    """The result of one training step."""

    step: int  # from 0
    losses: dict[str, Tensor]  # detached; reading them waits for the device
    optimizers: dict[str, Optimizer] = field(default_factory=dict)  # for resuming


class Data(Protocol):
    """The interface of training data."""

    def endless(self, size: int, start: int = 0) -> Iterator[Any]:
        """Yield batches of ``size`` cases without end; ``start`` is the number of the
        first step.
        """
        ...

    def all(self) -> Tensor:
        """Return all cases at once, for systems without gradients."""
        ...


class Team(Protocol):
    """The interface of other processes that share each batch."""

    def weighed(self, loss: Tensor) -> Tensor:
        """Weigh the loss of this process's part of a batch."""
        ...

    def average(self, weights: Sequence[Tensor]) -> None:
        """Replace the gradients by their mean over the processes."""
        ...


@dataclass
class Run:
    """Settings of a training run."""

    steps: int
    batch: int = 128
    start: int = 0
    resumed: dict[str, dict] | None = None  # optimizer name -> its state
    autocast: Callable[[], AbstractContextManager] = nullcontext
    schedule: Callable[[Optimizer, int], None] = lambda optimizer, step: None
    used: Callable[[int], float] | None = None  # step -> fraction of the budget used, 0..1
    team: Team | None = None  # other processes, each with its part of the batch


def descend(system, data: Data, run: Run) -> Iterator[Progress]:
    """Train a system by gradient descent. Stop iterating to stop training."""
    optimizers = system.optimizers()
    for name, state in (run.resumed or {}).items():
        load_optimizer_state(optimizers[name], state)
    weights = {name: trainable(optimizer) for name, optimizer in optimizers.items()}
    # where several networks share a graph, compute gradients for one only; it costs time otherwise
    parameters = weights if len(weights) > 1 else dict.fromkeys(weights)
    batches = data.endless(run.batch, run.start)
    system.train()
    try:
        for step, batch in zip(range(run.start, run.steps), batches, strict=False):
            # bypass nn.Module.__setattr__, which takes microseconds
            vars(system)["used"] = run.used(step) if run.used else step / run.steps
            losses = {}
            for name, loss in outside(run.autocast, system.updates(batch, step)):
                for weight in weights[name]:  # as zero_grad, but tens of microseconds faster
                    weight.grad = None
                # backward; gradients are averaged over the processes
                (loss if run.team is None else run.team.weighed(loss)).backward(inputs=parameters[name])
                if run.team is not None:
                    run.team.average(weights[name])
                if system.clip is not None:
                    nn.utils.clip_grad_norm_(weights[name], system.clip)
                # learning rate, then the step
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
    """Yield losses computed under autocast outside of its context, where backward belongs."""
    updates = iter(updates)
    while True:
        with autocast():
            update = next(updates, None)
        if update is None:
            return
        yield update


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load ``state`` with each moment in the memory layout of its weight.

    Files do not store the layout, and fused optimizers give wrong results without an error where
    layouts differ.
    """
    optimizer.load_state_dict(state)
    for weight, moments in optimizer.state.items():
        for name, moment in moments.items():
            if torch.is_tensor(moment) and moment.shape == weight.shape:
                moments[name] = torch.empty_like(weight, dtype=moment.dtype).copy_(moment)


def trainable(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
