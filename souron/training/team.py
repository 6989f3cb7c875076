"""One training on several processes, which share each batch and average their gradients.

Goyal and others: Accurate, Large Minibatch SGD (2017). https://arxiv.org/abs/1706.02677

    gradient = sum over processes of the gradient of (cases of its part / cases of the batch) x its loss

Every process has the same weights and takes the same steps. The first one, the leader, decides: it
reads the clock, validates, writes files and reports. The others are helpers: before each step they
hear how much of the budget is used, or that it is over. The batch is the same as that of one
process, so that the result is, to rounding, if a loss is a mean over cases.

Batch normalisation is the trap: means of parts of a batch are not those of the batch. Here they are
taken over all processes (``WholeBatchNorm``), as one process takes them.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn import functional as across
from torch.nn.modules.batchnorm import _BatchNorm

from souron.training.ranks import meeting, rank, size
from souron.utils.messages import UserError, _

PATIENCE = timedelta(hours=12)  # helpers wait while the leader validates; they are ended sooner


class Over(Exception):
    """The leader has ended the training."""


class Team:
    """The processes of this training."""

    def __init__(self, system: Any, batch: int) -> None:
        """Join the others and take over the leader's weights. Raises UserError."""
        if type(system).fit.__module__ != "souron.system":  # its own way to learn
            raise UserError(
                "processes",
                _("{name} is not trained by gradient descent").format(name=type(system).__name__),
                expected="processes=1",
            )
        if batch < size():
            raise UserError(
                "processes",
                _("a batch of {batch} is too small for {count} processes").format(batch=batch, count=size()),
                fix=f"batch={size()}",
            )
        self.system = system
        self.rank, self.size = rank(), size()
        own = range(batch)[self.rank * batch // self.size : (self.rank + 1) * batch // self.size]
        self.weight = len(own) * self.size / batch
        if not dist.is_initialized():
            if system.device.type == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            backend = "nccl" if system.device.type == "cuda" else "gloo"
            store = dist.FileStore(meeting(), self.size)
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
            atexit.register(dist.destroy_process_group)  # gloo's threads abort a process that ends without it
        for tensor in system.state_dict().values():
            dist.broadcast(tensor, 0)
        if self.rank:
            torch.manual_seed(torch.initial_seed() + self.rank)  # noise of its own
        normalise_together(system)

    def part(self, rows: Tensor) -> Tensor:
        """Return this process's part of the numbers of a batch's cases."""
        count = len(rows)
        return rows[self.rank * count // self.size : (self.rank + 1) * count // self.size]

    def tell(self, used: float) -> float:
        """Say, as the leader, how much of the budget is used: the next step begins."""
        dist.broadcast(self._tensor(used), 0)
        return used

    def hear(self) -> float:
        """Wait, as a helper, for the next step. Raises Over."""
        message = self._tensor(0.0)
        dist.broadcast(message, 0)
        used = float(message)
        if used < 0:
            raise Over
        return used

    def end(self) -> None:
        """End the training, as the leader."""
        dist.broadcast(self._tensor(-1.0), 0)
        for part in self.system.modules():
            if type(part) is WholeBatchNorm:
                part.alone()

    def weighed(self, loss: Tensor) -> Tensor:
        """Weigh the loss of this part of a batch, so that the mean over processes is the loss of the batch.

        Not the gradient: batch normalisation leads each loss to the cases of the other processes, too.
        """
        return loss * self.weight

    def average(self, weights: Sequence[Tensor]) -> None:
        """Replace gradients by the mean over processes; one that no process has stays None."""
        used = torch.tensor([float(weight.grad is not None) for weight in weights], device=self.system.device)
        flat = [
            (torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten().float() for weight in weights
        ]
        together = torch.cat([used, *flat])
        dist.all_reduce(together)
        used, *flat = together.split([len(weights), *(weight.numel() for weight in weights)])
        for weight, present, gradient in zip(weights, used.tolist(), flat, strict=True):
            if present:
                weight.grad = (gradient / self.size).view_as(weight).to(weight.dtype)

    def _tensor(self, value: float) -> Tensor:
        return torch.tensor([value], dtype=torch.float64, device=self.system.device)


def helped(fit: Any) -> None:
    """Work on a trainer as a helper, until the leader ends the training."""
    team = fit.join()

    def hear(_step: int) -> float:
        fit._used = team.hear()
        return float(fit._used)

    try:
        for _progress in fit.system.fit(fit.data, replace(fit._run(), used=hear)):
            pass
        while True:
            team.hear()
    except Over:
        pass


class WholeBatchNorm(_BatchNorm):
    """Batch normalisation whose mean and variance in training are those of all processes' cases."""

    before: type[_BatchNorm]  # its class outside of the team

    def alone(self) -> None:
        """Become an ordinary module again."""
        self.__class__ = self.before  # type: ignore[assignment]

    def _check_input_dim(self, input: Tensor) -> None:
        self.before._check_input_dim(self, input)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        places = [0, *range(2, input.ndim)]
        count = torch.full((1,), input.numel() / input.shape[1], device=input.device)
        values = input.float()
        # sums over all processes, through which the gradient flows, too
        total = across.all_reduce(torch.cat([values.sum(places), (values * values).sum(places), count]))
        mean, square = (total[:-1] / total[-1]).chunk(2)
        variance = (square - mean * mean).clamp(min=0)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                whole = float(total[-1])
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * whole / max(1.0, whole - 1), share)
        shape = [1, -1, *[1] * (input.ndim - 2)]
        output = (values - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)


def normalise_together(system: nn.Module) -> None:
    """Let every batch normalisation see the cases of all processes."""
    for part in system.modules():
        if isinstance(part, _BatchNorm) and type(part) is not WholeBatchNorm:
            part.before = type(part)  # type: ignore[assignment]
            part.__class__ = WholeBatchNorm
