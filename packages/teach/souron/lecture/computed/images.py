"""Image classification: parameters and shapes of layers, gradients."""

from collections.abc import Sequence
from typing import Any


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool) -> Any:
    from torch import nn

    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias, device="meta")


def _parameters(module: Any) -> int:
    return sum(one.numel() for one in module.parameters())


def convolution_parameters(kernel: int, inputs: int, outputs: int, layers: int = 1, bias: bool = True) -> int:
    """Count the parameters of ``layers`` equal convolutions in a row.

    >>> convolution_parameters(3, 1, 32)
    320
    """
    return layers * _parameters(_convolution(inputs, outputs, kernel, 1, 0, bias))


def bottleneck_weights(inputs: int, narrow: int, outputs: int, kernel: int) -> int:
    """Count the weights of a 1 x 1 convolution and of one with a larger kernel after it.

    >>> bottleneck_weights(192, 16, 32, 5)
    15872
    """
    first = convolution_parameters(1, inputs, narrow, bias=False)
    return first + convolution_parameters(kernel, narrow, outputs, bias=False)


def convolution_side(side: int, kernel: int, stride: int, padding: int = 0) -> int:
    """Return the side of the feature map of a square image.

    >>> convolution_side(224, 11, 4, 2)
    55
    """
    import torch

    made = _convolution(1, 1, kernel, stride, padding, False)(torch.empty(1, 1, side, side, device="meta"))
    return int(made.shape[-1])


def patches(side: int, patch: int) -> int:
    """Count the patches of a square image.

    >>> patches(224, 16)
    196
    """
    return convolution_side(side, patch, patch) ** 2


def dense_parameters(widths: Sequence[int]) -> int:
    """Count the weights and biases of fully connected layers.

    >>> dense_parameters([784, 100, 10])
    79510
    """
    from itertools import pairwise

    from torch import nn

    return sum(_parameters(nn.Linear(before, after, device="meta")) for before, after in pairwise(widths))


def dense_block_maps(maps: int, growth: int, layers: int) -> int:
    """Count the feature maps after a dense block, whose layers each concatenate ``growth`` new ones.

    >>> dense_block_maps(64, 32, 6)
    256
    """
    import torch

    x = torch.empty(1, maps, 1, 1, device="meta")
    for _layer in range(layers):
        x = torch.cat([x, _convolution(x.shape[1], growth, 1, 1, 0, False)(x)], 1)
    return x.shape[1]


def slope_with_skip(slope: float) -> float:
    """Differentiate x + F(x) by x, where F has that slope.

    >>> round(slope_with_skip(0.1), 4)
    1.1
    """
    import torch

    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(x + slope * x, [x])
    return float(gradient)
