"""A moving average of what a generator has learnt, which draws better than the last step does: all
in one row, or a network of its own.

Yazıcı, Foo, Winkler, Yap, Piliouras, Chandrasekhar: The Unusual Effectiveness of Averaging in GAN
Training (2018). https://arxiv.org/abs/1806.04498
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def named(network: nn.Module) -> dict[str, Tensor]:
    """Its weights and the statistics of its normalisation."""
    tensors = network.state_dict()
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


def in_a_row(network: nn.Module) -> Tensor:
    """All of them, (values,)."""
    return torch.cat([tensor.flatten() for tensor in named(network).values()])


def unrolled(row: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """A row's values by their names, for ``torch.func.functional_call``."""
    tensors = named(network)
    parts = row.split([tensor.numel() for tensor in tensors.values()])
    return {
        name: part.view_as(tensor)
        for (name, tensor), part in zip(tensors.items(), parts, strict=True)
    }


def follow(row: Tensor, network: nn.Module, most: float, step: int) -> None:
    """The row keeps ``most`` of itself; at first less, so that the first steps are forgotten."""
    row.lerp_(in_a_row(network), 1 - min(most, step / (step + 10)))


def follower(network: Network) -> Network:
    """A copy that does not learn by itself."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def lead(average: nn.Module, network: nn.Module, most: float, step: int) -> None:
    """The follower's weights keep ``most`` of themselves; at first less."""
    kept = min(most, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - kept)
