"""Inverted residuals of MobileNetV2 and V3: wide inside, narrow outside, one channel at a time.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(2018). https://arxiv.org/abs/1801.04381

Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam: Searching for
MobileNetV3 (2019). https://arxiv.org/abs/1905.02244

    y = project(depthwise(expand(x)))  [+ x]        1x1, 3x3 or 5x5 per channel, 1x1

The projection has no activation: in few channels a ReLU would lose information. V3 squeezes and
excites in most blocks and has hard swish, x relu6(x + 3) / 6, in the deeper half. Modules are named
as in torchvision.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

STEM, LAST = 32, 1280  # channels of V2's first and last convolution
V2 = (  # expansion, channels, blocks, stride of each stage
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
V3_STEM = 16
V3 = (  # kernel, inner channels, channels, squeeze and excitation, hard swish, stride of each block
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
V3_EPS, V3_MOMENTUM = 1e-3, 0.01  # of batch normalisation
TAIL = 13  # the layer that leads to 1/32 of the side


class Setting(NamedTuple):
    """The shape of one block."""

    kernel: int
    inner: int  # channels
    outward: int
    squeezed: bool
    activation: type[nn.Module]
    stride: int
    dilation: int = 1


class Convolution(nn.Sequential):
    """Convolution, batch normalisation, and an activation if there is one."""

    def __init__(
        self,
        inward: int,
        outward: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = None,
        dilation: int = 1,
    ) -> None:
        padding = kernel // 2 * dilation
        conv = nn.Conv2d(inward, outward, kernel, stride, padding, dilation, groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outward), *([activation()] if activation else []))
        nn.init.normal_(conv.weight, std=(2 * groups / (kernel**2 * outward)) ** 0.5)


class SqueezeExcitation(nn.Module):
    """Weigh each channel by a number in 0..1 that depends on the means of all channels.

    Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks (2017).
    https://arxiv.org/abs/1709.01507
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        few = eights(maps // 4)
        self.fc1, self.fc2 = nn.Conv2d(maps, few, 1), nn.Conv2d(few, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(weight)


class InvertedResidual(nn.Module):
    """(B, inward, H, W) -> (B, outward, H / stride, W / stride)"""

    def __init__(self, inward: int, setting: Setting) -> None:
        super().__init__()
        kernel, inner, outward, se_width, activation, stride, dilation = setting
        self.halves = stride > 1
        self.residual = stride == 1 and inward == outward
        layers: list[nn.Module] = []
        if inner != inward:
            layers.append(Convolution(inward, inner, activation=activation))
        step = stride if dilation == 1 else 1
        layers.append(Convolution(inner, inner, kernel, step, inner, activation, dilation))
        if se_width:
            layers.append(SqueezeExcitation(inner))
        layers.append(Convolution(inner, outward))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return x + y if self.residual else y


def v2(width: float = 1.0, depth: float = 1.0) -> list[Setting]:
    """Return the blocks of MobileNetV2, with ``width`` times the channels and ``depth`` times the
    blocks of a stage.
    """
    settings, inward = [], eights(STEM * width)
    for expansion, maps, blocks, stride in V2:
        outward = eights(maps * width)
        for block in range(max(1, round(blocks * depth))):
            step = 1 if block else stride
            settings.append(Setting(3, expansion * inward, outward, False, nn.ReLU6, step))
            inward = outward
    return settings


def v3(reduced: bool = False, dilated: bool = False) -> list[Setting]:
    """Return the blocks of MobileNetV3-Large.

    ``reduced`` halves the channels of its tail, as for detection; ``dilated`` keeps the tail at
    1/16 of the side, as for segmentation.
    """
    settings = []
    for number, (kernel, inner, outward, se_width, hard, stride) in enumerate(V3, 1):
        tail = number >= TAIL
        if tail and reduced:
            outward //= 2
            inner //= 2 if number > TAIL else 1  # the first one expands what comes before the tail
        activation = nn.Hardswish if hard else nn.ReLU
        dilation = 2 if tail and dilated else 1
        settings.append(Setting(kernel, inner, outward, se_width, activation, stride, dilation))
    return settings


def layers_of(channels: int, stem: int, settings: Sequence[Setting], last: int, stride: int = 2) -> Iterator[nn.Module]:
    """Yield the first convolution, with that ``stride``, the blocks, and the last convolution."""
    outer = nn.ReLU6 if settings[0].activation is nn.ReLU6 else nn.Hardswish
    yield Convolution(channels, stem, 3, stride, activation=outer)
    inward = stem
    for setting in settings:
        yield InvertedResidual(inward, setting)
        inward = setting.outward
    yield Convolution(inward, last, activation=outer)


def v3_layers(channels: int = 3, reduced: bool = False, dilated: bool = False) -> list[nn.Module]:
    """Return the layers of MobileNetV3-Large: 0 is the first convolution, 16 the last."""
    settings = v3(reduced, dilated)
    layers = list(layers_of(channels, V3_STEM, settings, 6 * settings[-1].outward))
    for layer in layers:
        slow_norms(layer)
    return layers


def slow_norms(network: nn.Module, momentum: float = V3_MOMENTUM) -> None:
    """Give batch normalisation the constants of MobileNetV3."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = V3_EPS, momentum


def padded(image: Tensor, multiple: int) -> Tensor:
    """Pad images with zeros at the right and at the bottom to a multiple of pixels."""
    height, width = image.shape[2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple))


def freeze_norms(network: nn.Module, eps: float) -> None:
    """Freeze scale and shift of batch normalisation; ``eps`` is added to its variances.

    Its statistics are frozen by ``norms_in_evaluation``. A batch of two large images would estimate
    them badly.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = eps
            layer.requires_grad_(False)


def norms_in_evaluation(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def eights(maps: float) -> int:
    """Round to the nearest multiple of 8, at least 8 and at least nine tenths of ``maps``."""
    multiple = max(8, int(maps + 4) // 8 * 8)
    return multiple if multiple >= 0.9 * maps else multiple + 8
