"""Fuse batch normalisation into the preceding convolutions, for faster inference.

After training, batch normalisation is a fixed affine map per channel, which the convolution can
include:

    g (w * x + b - mean) / sqrt(var + eps) + beta  =  (w g / s) * x + (b - mean) g / s + beta
"""

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def fused(network: Network, ask: Callable[[Network], object]) -> Network:
    """Return a copy for inference with the same outputs.

    ``ask`` runs the network once, to find which normalisation follows which convolution; layers
    that are called more than once are left unchanged.
    """
    copy = deepcopy(network).eval()
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps tensors alive, so that ids stay unique
    calls: dict[nn.Module, int] = {}
    pairs: dict[nn.Module, nn.Conv2d] = {}

    def after(layer: nn.Module, _given: tuple, out: Tensor) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(layer, nn.Conv2d):
            outputs[id(out)] = layer, out

    def before(norm: nn.Module, inputs: tuple) -> None:
        if id(inputs[0]) in outputs:
            pairs[norm] = outputs[id(inputs[0])][0]

    hooks = []
    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            hooks.append(layer.register_forward_hook(after))
        if isinstance(layer, nn.BatchNorm2d):
            hooks.append(layer.register_forward_pre_hook(before))
    ask(copy)
    for hook in hooks:
        hook.remove()
    once = {norm: conv for norm, conv in pairs.items() if calls[norm] == calls[conv] == 1}
    for parent in list(copy.modules()):
        for name, norm in list(parent.named_children()):
            if norm in once and isinstance(norm, nn.BatchNorm2d):
                _take_in(once[norm], norm)
                setattr(parent, name, nn.Identity())
    return copy


def _take_in(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
