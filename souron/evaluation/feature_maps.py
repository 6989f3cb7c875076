"""Kernels and feature maps of a convolutional network, with one pixel computed by hand.

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition (1998).
https://doi.org/10.1109/5.726791

    map[k, y, x] = bias[k] + sum over c, i, j of kernel[k, c, i, j] * window[c, i, j]

``window`` is the receptive field of the kernel at that position, zero-padded at the border.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.utils.messages import UserError, _, near


@dataclass(frozen=True)
class LayerMaps:
    """The feature maps of one layer for one image."""

    name: str  # as in the network: "features.0"
    kind: str  # the layer's class: "Conv2d", "ReLU", "MaxPool2d"
    maps: Tensor  # (maps, h, w) float32
    parameters: int


@dataclass(frozen=True)
class OnePixel:
    """One pixel of a feature map, computed by hand from the layer's input."""

    window: Tensor  # (channels, kernel height, kernel width), zeros beyond the border
    kernel: Tensor  # of the same shape
    bias: float
    top: int  # of the window in the layer's input; below 0 where it begins in the border
    left: int
    layer: float  # the layer's own output there

    @property
    def product(self) -> Tensor:
        """Window times kernel, elementwise."""
        return self.window * self.kernel

    @property
    def value(self) -> float:
        """The sum of the products plus the bias."""
        return self.product.double().sum().item() + self.bias


def convolutions(system: nn.Module) -> dict[str, nn.Conv2d]:
    """Return the 2D convolutions by name, in order. Raises UserError where there are none."""
    layers = {name: part for name, part in system.named_modules() if isinstance(part, nn.Conv2d)}
    if not layers:
        raise UserError(
            "no convolution",
            _("{system} has no convolution").format(system=type(system).__name__.lower()),
            expected=_("a convolutional network, such as cnn or resnet"),
            fix="souron train cnn data=digits budget=5s",
        )
    return layers


def kernels(system: nn.Module, layer: str = "") -> Tensor:
    """Return the kernels of a layer, by default the first convolution, (maps, channels, h, w).

    Raises UserError for a layer that is no convolution.
    """
    return _convolution(system, layer)[1].weight.detach().float().cpu()


def feature_maps(system: Any, image: Tensor) -> list[LayerMaps]:
    """Compute the feature maps of every layer with spatial output, in order of computation.

    ``image`` is (1, C, H, W) as ``system.batch`` returns it. The system runs in evaluation mode and
    float32; its state is restored.
    """
    return [
        LayerMaps(name, type(part).__name__, output[0], sum(w.numel() for w in part.parameters()))
        for name, part, _given, output in _passed(system, image)
        if output.ndim == 4 and len(output) == 1
    ]


def one_pixel(system: Any, image: Tensor, row: int, column: int, number: int = 0, layer: str = "") -> OnePixel:
    """Compute pixel ``row, column`` of map ``number`` of a convolution by hand.

    ``image`` is (1, C, H, W) as ``system.batch`` returns it. Raises UserError for a layer that is
    no convolution, or a position outside its map.
    """
    name, part = _convolution(system, layer)
    calls = [(inputs, output) for layer_name, _part, inputs, output in _passed(system, image) if layer_name == name]
    inputs, output = calls[-1]
    maps, height, width = output.shape[1:]
    if not (0 <= number < maps and 0 <= row < height and 0 <= column < width):
        raise UserError(
            "place",
            _("feature map {number}, row {row}, column {column} of {layer}").format(
                number=number, row=row, column=column, layer=name
            ),
            expected=_("a position within {maps} feature maps of {height} x {width}").format(
                maps=maps, height=height, width=width
            ),
        )
    if part.padding_mode != "zeros":
        raise UserError(
            "border", _("{layer} does not fill the border with zeros").format(layer=name), expected="padding_mode=zeros"
        )
    kernel = part.weight[number].detach().float().cpu()
    (above, below), (before, behind) = _border(part)
    channels = kernel.shape[0]  # of this map's group
    first = number // (maps // part.groups) * channels
    padded = F.pad(inputs[0, first : first + channels], (before, behind, above, below))
    top, left_edge = row * part.stride[0], column * part.stride[1]
    down, right = part.dilation
    tall, wide = kernel.shape[1:]
    window = padded[:, top : top + down * tall : down, left_edge : left_edge + right * wide : right]
    return OnePixel(
        window=window[:, :tall, :wide],
        kernel=kernel,
        bias=0.0 if part.bias is None else part.bias[number].item(),
        top=top - above,
        left=left_edge - before,
        layer=output[0, number, row, column].item(),
    )


def _convolution(system: nn.Module, layer: str) -> tuple[str, nn.Conv2d]:
    layers = convolutions(system)
    if not layer:
        return next(iter(layers.items()))
    if layer not in layers:
        close = near(layer, list(layers))
        raise UserError(
            "layer",
            _("no convolution is named {name!r}").format(name=layer),
            expected=", ".join(list(layers)[:20]),
            fix=f"layer={close}" if close else "",
        )
    return layer, layers[layer]


def _border(part: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the padding: rows above and below, columns left and right."""
    if part.padding == "valid":
        return (0, 0), (0, 0)
    if part.padding == "same":
        whole = [d * (k - 1) for d, k in zip(part.dilation, part.kernel_size, strict=True)]
        above, before = (size // 2 for size in whole)
        return (above, whole[0] - above), (before, whole[1] - before)
    assert not isinstance(part.padding, str)
    above, before = part.padding
    return (above, above), (before, before)


def _passed(system: Any, image: Tensor) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Return name, module, input and output of every leaf module, in order of computation."""
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def note(name: str) -> Any:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and inputs and isinstance(inputs[0], Tensor):
                # copy: later layers may work in place
                calls.append((name, part, _kept(inputs[0]), _kept(output)))

        return hook

    parts = [(n, p) for n, p in system.named_modules() if not any(p.children()) and n]
    hooks = [part.register_forward_hook(note(name)) for name, part in parts]
    try:
        with _evaluating(system):
            system(image.to(system.device, torch.float32))
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _kept(values: Tensor) -> Tensor:
    return values.detach().float().cpu().clone()


@contextmanager
def _evaluating(system: Any) -> Iterator[None]:
    before = [(module, module.training) for module in system.modules()]
    system.eval()
    try:
        with torch.no_grad(), torch.autocast(system.device.type, enabled=False):
            yield
    finally:
        for module, training in before:
            module.training = training
