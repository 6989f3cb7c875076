"""Layers of YOLOv8 with cross-stage partial connections: half of the channels bypass the blocks.

Wang, Liao, Yeh, Wu, Chen, Hsieh: CSPNet: A New Backbone that can Enhance Learning Capability of CNN
(2019). https://arxiv.org/abs/1911.11929
"""

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolution(nn.Module):
    """A convolution with batch normalisation and SiLU."""

    def __init__(self, inward: int, outward: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outward, eps=1e-3, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, maps: int, residual: bool) -> None:
        super().__init__()
        self.first, self.second = Convolution(maps, maps, 3), Convolution(maps, maps, 3)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.residual else y


class C2f(nn.Module):
    """A cross-stage partial block: half of the channels bypass a chain of bottlenecks.

    The outputs of all bottlenecks are concatenated and mixed at the end.
    """

    def __init__(self, inward: int, outward: int, blocks: int, residual: bool = False) -> None:
        super().__init__()
        half = outward // 2
        self.first = Convolution(inward, 2 * half)
        self.blocks = nn.ModuleList(Bottleneck(half, residual) for _block in range(blocks))
        self.last = Convolution((2 + blocks) * half, outward)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Spatial pyramid pooling: maxima over 5, 9 and 13 positions, concatenated with the input."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first, self.last = Convolution(maps, maps // 2), Convolution(2 * maps, maps)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.first(x)]
        for _wider in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.last(torch.cat(parts, 1))


class CSPBackbone(nn.Module):
    """Images (B, C, H, W) -> feature maps at 1/8, 1/16 and 1/32 of the side.

    With two ``levels`` it ends at 1/16.
    """

    def __init__(self, channels: int, maps: Sequence[int], short: int, long: int, levels: int = 3) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = maps
        self.stem = nn.Sequential(Convolution(channels, c1, 3, 2), Convolution(c1, c2, 3, 2), C2f(c2, c2, short, True))
        self.stage3 = nn.Sequential(Convolution(c2, c3, 3, 2), C2f(c3, c3, long, True))
        self.stage4 = nn.Sequential(Convolution(c3, c4, 3, 2), C2f(c4, c4, long, True))
        if levels > 2:
            self.stage5 = nn.Sequential(Convolution(c4, c5, 3, 2), C2f(c5, c5, short, True))
        self.maps = [c3, c4, c5][:levels]

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.stage3(self.stem(image))]
        features.append(self.stage4(features[-1]))
        if len(self.maps) > 2:
            features.append(self.stage5(features[-1]))
        return features


def own_backbone(width: float, depth: float, channels: int, levels: int = 3) -> CSPBackbone:
    """Build a backbone with ``width`` times 64 to 1024 channels and ``depth`` times 3 to 6
    blocks.
    """
    sizes = [8 * ceil(maps * width / 8) for maps in (64, 128, 256, 512, 1024)]
    short, long = (max(1, round(blocks * depth)) for blocks in (3, 6))
    return CSPBackbone(channels, sizes, short, long, levels)
