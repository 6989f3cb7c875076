"""MobileNetV2 with TensorFlow's padding: blocks that widen, filter each map, and narrow again.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(2018). https://arxiv.org/abs/1801.04381

    x + W_narrow relu6(D * relu6(W_wide x))     W: 1x1, mixes the maps;  D: 3x3, a map by itself

The last layer of a block has no activation: in few channels it would lose information.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.folded import Norm
from souron.blocks.mobilenet import eights

# expansion, channels, blocks, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM = 32  # channels of the first convolution
LAST = 1280  # of the last, at any width
QUARTER, EIGHTH, SIXTEENTH, HALVING = 1, 2, 3, 5  # stages whose maps are used elsewhere


class Convolution(nn.Module):
    """A convolution with TensorFlow's padding, normalisation and ReLU6.

    The odd pixel of the padding is at the end.
    """

    def __init__(
        self, inward: int, outward: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, stride, groups=groups, bias=False)
        self.bn = Norm(outward, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(padded(x, self.conv.kernel_size[0], self.conv.stride[0])))
        return x if self.linear else F.relu6(x)


def padded(x: Tensor, kernel: int, stride: int = 1) -> Tensor:
    """Pad maps (B, C, H, W) so that a convolution gives (H / stride, W / stride), rounded up."""
    padding = []
    for side in (x.shape[3], x.shape[2]):
        short = max(kernel - (side % stride or stride), 0)
        padding += [short // 2, short - short // 2]
    return F.pad(x, padding) if any(padding) else x


class Inverted(nn.Module):
    """An inverted residual block."""

    def __init__(self, inward: int, outward: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.wide = inward * expansion
        if expansion > 1:
            self.expand = Convolution(inward, self.wide)
        self.depthwise = Convolution(self.wide, self.wide, 3, stride, groups=self.wide)
        self.project = Convolution(self.wide, outward, linear=True)
        self.residual = stride == 1 and inward == outward

    def widened(self, x: Tensor) -> Tensor:
        return self.expand(x) if hasattr(self, "expand") else x

    def narrowed(self, wide: Tensor) -> Tensor:
        return self.project(self.depthwise(wide))

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrowed(self.widened(x))
        return x + y if self.residual else y


class Halving(nn.Sequential):
    """A stage that gives, beside its output, the widened map before the side is halved."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, *rest = self
        assert isinstance(first, Inverted)
        wide = first.widened(x)
        x = first.narrowed(wide)
        for block in rest:
            x = block(x)
        return x, wide


class Maps(NamedTuple):
    """Feature maps of an image of side H."""

    quarter: Tensor  # (B, C, H / 4, W / 4)
    eighth: Tensor
    sixteenth: Tensor
    widened: Tensor  # at 1/16, within the block that halves the side for the last time
    last: Tensor  # at 1/32


class MobileNetV2(nn.Module):
    """The network without its classifier: images (B, C, H, W) -> ``Maps``."""

    def __init__(self, channels: int, width: float = 1.0) -> None:
        super().__init__()
        inward = eights(STEM * width)
        self.first = Convolution(channels, inward, 3, 2)
        self.stages = nn.ModuleList()
        outputs: list[int] = []
        expansion_width = 0
        for expansion, maps, count, stride in STAGES:
            blocks = []
            for number in range(count):
                blocks.append(Inverted(inward, eights(maps * width), 1 if number else stride, expansion))
                inward = eights(maps * width)
            halving = len(outputs) == HALVING
            self.stages.append(Halving(*blocks) if halving else nn.Sequential(*blocks))
            expansion_width = blocks[0].wide if halving else expansion_width
            outputs.append(inward)
        self.last = Convolution(inward, LAST)
        widths = (outputs[stage] for stage in (QUARTER, EIGHTH, SIXTEENTH))
        self.maps = (*widths, expansion_width, LAST)

    def forward(self, image: Tensor) -> Maps:
        x, features = self.first(image), []
        for number, stage in enumerate(self.stages):
            if number == HALVING:
                x, expansion = stage(x)
                continue
            x = stage(x)
            if number in (QUARTER, EIGHTH, SIXTEENTH):
                features.append(x)
        quarter, eighth, sixteenth = features
        return Maps(quarter, eighth, sixteenth, expansion, self.last(x))
