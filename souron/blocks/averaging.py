"""Exponential moving averages of weights, which generate better than the last step's weights.

They are held in one vector, or as a network.

Yazıcı, Foo, Winkler, Yap, Piliouras, Chandrasekhar: The Unusual Effectiveness of Averaging in GAN
Training (2018). https://arxiv.org/abs/1806.04498
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def named(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights and normalisation statistics of a network by name."""
    tensors = network.state_dict()
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


def in_a_row(network: nn.Module) -> Tensor:
    """Concatenate the tensors of ``named`` into one vector, (values,)."""
    return torch.cat([tensor.flatten() for tensor in named(network).values()])


def unrolled(row: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """Split a vector into tensors by name, for ``torch.func.functional_call``."""
    tensors = named(network)
    parts = row.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view_as(tensor) for (name, tensor), part in zip(tensors.items(), parts, strict=True)}


def follow(row: Tensor, network: nn.Module, most: float, step: int) -> None:
    """Update the vector in place with decay ``most``, smaller at first to forget the
    initial steps.
    """
    row.lerp_(in_a_row(network), 1 - min(most, step / (step + 10)))


def follower(network: Network) -> Network:
    """Return a frozen copy of a network."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def lead(average: nn.Module, network: nn.Module, most: float, step: int) -> None:
    """Update the averaged weights in place with decay ``most``, smaller at first."""
    decay = min(most, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
