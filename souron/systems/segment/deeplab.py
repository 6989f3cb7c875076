"""Sees each place from near and far by spacing the points of its convolutions apart.

Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic
Image Segmentation (2018). https://arxiv.org/abs/1802.02611

    image -> encoder -> maps at 1/16 of the side -> 1x1 | 3x3 at rates 6, 12, 18 | mean -> 1x1
    4 x as large, beside it the encoder's maps at 1/4 -> two 3x3 -> logits, 4 x as large

A convolution of rate r has nine taps that are r cells apart: it has the receptive field of a large
kernel at the cost of a small one. Five such branches of one feature map are concatenated (atrous
spatial pyramid pooling), so that small and large objects are recognised alike; the mean of the
whole map is one of them. The decoder takes the edges from finer maps. This is DeepLabv3+; its
encoder is Xception with strides in place of max pooling (`xception`), a small one of that kind, or
a published classifier (`backbone`), whose last stage is dilated instead of downsampling.

Differs from the paper: the global mean is not batch-normalised, so that a batch may be one image;
AdamW and one cycle of the rate; Dice beside the cross-entropy; in smaller sizes, smaller rates.
Reduced: a residual branch of the encoder ends with a ReLU where the paper's starts with one, so
that a block can add to its shortcut, but not subtract.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.hub.backbones import Backbone
from souron.tasks.segment import Segmenter, Spec

LOW = 48  # channels that the decoder takes from the finer map


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times 32 to 2048 channels of the encoder
    middle: int = 16  # blocks of its middle flow
    maps: int = 256  # channels of each branch, and of the decoder
    rates: tuple[int, ...] = (6, 12, 18)  # dilation rates of the branches
    dropout: float = 0.1  # before the logits
    rate: float = 7e-4
    backbone: str = ""  # a classifier whose published layers are the encoder


def convolution(
    inward: int, outward: int, kernel: int = 1, stride: int = 1, rate: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(inward, outward, kernel, stride, rate * (kernel // 2), rate, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU(inplace=True))


def separable(inward: int, outward: int, stride: int = 1, rate: int = 1) -> nn.Sequential:
    """Depthwise separable convolution: 3x3 per channel, then 1x1."""
    return nn.Sequential(convolution(inward, inward, 3, stride, rate, inward), convolution(inward, outward))


class Block(nn.Module):
    """Residual block of three separable convolutions."""

    def __init__(self, maps: Sequence[int], stride: int = 1, rate: int = 1) -> None:
        super().__init__()
        inward, outward = maps[0], maps[3]
        self.first = separable(inward, maps[1], rate=rate)
        self.second = separable(maps[1], maps[2], rate=rate)
        self.third = separable(maps[2], outward, stride, rate)
        self.past: nn.Module = nn.Identity()
        if stride > 1 or inward != outward:
            conv = nn.Conv2d(inward, outward, 1, stride, bias=False)
            self.past = nn.Sequential(conv, nn.BatchNorm2d(outward))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and the features before the last convolution."""
        before = self.second(self.first(x))
        return self.third(before) + self.past(x), before


class Xception(nn.Module):
    """Images (B, C, H, W) -> feature maps at 1/4 and 1/16 of the side."""

    def __init__(self, channels: int, width: float, middle: int) -> None:
        super().__init__()
        c32, c64, c128, c256, c728, c1024, c1536, c2048 = (
            8 * max(1, round(maps * width / 8)) for maps in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.stem = nn.Sequential(convolution(channels, c32, 3, 2), convolution(c32, c64, 3))
        self.entry = nn.ModuleList(
            [Block((c64, c128, c128, c128), 2), Block((c128, c256, c256, c256), 2), Block((c256, c728, c728, c728), 2)]
        )
        self.middle = nn.ModuleList(Block([c728] * 4) for _block in range(middle))
        self.exit = Block((c728, c728, c1024, c1024))
        self.last = nn.Sequential(
            separable(c1024, c1536, rate=2), separable(c1536, c1536, rate=2), separable(c1536, c2048, rate=2)
        )
        self.maps = [c256, c2048]

    def forward(self, image: Tensor) -> list[Tensor]:
        x, features = self.stem(image), []
        for block in self.entry:
            x, before = block(x)
            features.append(before)
        for block in [*self.middle, self.exit]:
            x, _before = block(x)
        return [features[1], self.last(x)]


class Views(nn.Module):
    """Atrous spatial pyramid pooling: (B, inward, h, w) -> (B, maps, h, w)."""

    def __init__(self, inward: int, maps: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.views = nn.ModuleList([convolution(inward, maps), *(convolution(inward, maps, 3, rate=r) for r in rates)])
        self.mean = nn.Conv2d(inward, maps, 1)
        self.mix = convolution((2 + len(rates)) * maps, maps)

    def forward(self, x: Tensor) -> Tensor:
        mean = F.relu(self.mean(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])
        return self.mix(torch.cat([*(view(x) for view in self.views), mean], 1))


class DeepLab(Segmenter):
    year = 2018
    ja = "畳み込みの点どうしの間隔を広げ、同じ場所を近くからも遠くからも見る"
    status = "reduced"
    channels_last = True
    SIZES = {
        "tiny": Config(0.125, 1, 32, (1, 2), 0.0, rate=1e-2),
        "small": Config(0.25, 2, 96, (2, 4, 6), 0.0, rate=2e-3),
        "xception": Config(),
        "lite": Config(0.25, 2, 96, (2, 4, 6), 0.0, 2e-3, backbone="efficientnet_lite"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder: nn.Module
        if config.backbone:
            self.encoder = backbone = Backbone(config.backbone, spec.channels, 4, 1)
            fine, coarse = backbone.maps[0], backbone.maps[-1]
        else:
            self.encoder = own = Xception(spec.channels, config.width, config.middle)
            fine, coarse = own.maps
        self.views = Views(coarse, config.maps, config.rates)
        self.low = convolution(fine, LOW)
        self.decoder = nn.Sequential(separable(config.maps + LOW, config.maps), separable(config.maps, config.maps))
        self.last = nn.Conv2d(config.maps, len(spec.labels), 1)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.encoder(image)
        fine = self.low(maps[0])
        coarse = F.interpolate(self.views(maps[-1]), fine.shape[2:], mode="bilinear")
        x = self.decoder(torch.cat([coarse, fine], 1))
        logits = self.last(F.dropout(x, self.config.dropout, self.training))
        return F.interpolate(logits, image.shape[2:], mode="bilinear")  # (B, labels, H, W)
