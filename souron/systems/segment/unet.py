"""Down to small maps and up again, each level beside what it was on the way down.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation (2015).
https://arxiv.org/abs/1505.04597

    down: two 3x3 convolutions, the largest of 2x2, twice the maps          x4
    up:   a 2x2 convolution that doubles the side, beside it what the level was on the way down,
          two 3x3 convolutions, half the maps                               x4
    a 1x1 convolution: the logits of every pixel

Coarse feature maps know what is there, fine ones where its edge is; an encoder and decoder without
shortcuts would have lost the edge. The encoder may be a published classifier's (`backbone`): the
decoder reads its feature maps at 1/2 to 1/32 of the side. `finest=4` leaves out the largest maps,
which cost most: the logits are then upsampled linearly.

Differs from the paper: convolutions are padded, so that the output is as large as the image, and
batch-normalised; AdamW and one cycle of the rate; Dice beside the cross-entropy; no elastic
deformations. Reduced: the loss does not weigh the gaps between touching cells, since pixel classes
do not separate one cell from the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.hub.backbones import Backbone
from souron.tasks.segment import Segmenter, Spec

STAGES = 5  # of a published classifier, to 1/32 of the side


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels of the finest level, doubled at each coarser one
    levels: int = 5
    finest: int = 1  # pixels per cell of the finest level, a power of 2
    rate: float = 1e-3
    backbone: str = ""  # a classifier whose published layers are the encoder


class Twice(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""

    def __init__(self, inward: int, outward: int) -> None:
        layers: list[nn.Module] = []
        for maps in (inward, outward):
            layers += [nn.Conv2d(maps, outward, 3, padding=1, bias=False), nn.BatchNorm2d(outward)]
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Down(nn.Module):
    """The encoder: images -> feature maps of each level, the finest first."""

    def __init__(self, channels: int, maps: Sequence[int], finest: int) -> None:
        super().__init__()
        self.maps, self.finest = list(maps), finest
        inward = channels * finest**2
        self.levels = nn.ModuleList()
        for count in maps:
            self.levels.append(Twice(inward, count))
            inward = count

    def forward(self, image: Tensor) -> list[Tensor]:
        x, features = blocks(image, self.finest), []
        for depth, level in enumerate(self.levels):
            x = level(F.max_pool2d(x, 2, ceil_mode=True) if depth else x)
            features.append(x)
        return features


class Up(nn.Module):
    def __init__(self, coarse: int, fine: int, outward: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(coarse, outward, 2, 2)
        self.convs = Twice(outward + fine, outward)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = self.enlarge(coarse)[:, :, : fine.shape[2], : fine.shape[3]]  # crop: an odd side was rounded up
        return self.convs(torch.cat([fine, up], 1))


class UNet(Segmenter):
    year = 2015
    ja = "特徴マップを縮めてから戻し、戻る途中の各段で、縮める前の同じ段をもう一度見る"
    status = "reduced"
    channels_last = True
    SIZES = {
        "tiny": Config(8, 4, rate=1e-2),
        "small": Config(32, 4, 4, rate=2e-3),
        "paper": Config(),
        "lite": Config(32, 4, 4, 2e-3, backbone="efficientnet_lite"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.down: nn.Module
        if config.backbone:
            levels = STAGES + 2 - max(2, config.finest).bit_length()
            self.down = backbone = Backbone(config.backbone, spec.channels, levels)
            maps = backbone.maps
        else:
            maps = [config.width * 2**level for level in range(config.levels)]
            self.down = Down(spec.channels, maps, config.finest)
        ups = [config.width * 2**level for level in range(len(maps) - 1)]
        self.up = nn.ModuleList(
            Up(coarse, fine, outward)
            for coarse, fine, outward in zip([*ups[1:], maps[-1]], maps[:-1], ups, strict=True)
        )
        self.last = nn.Conv2d(ups[0], len(spec.labels), 1)

    def forward(self, image: Tensor) -> Tensor:
        *fine, x = self.down(image)
        for up, beside in zip(reversed(self.up), reversed(fine), strict=True):
            x = up(x, beside)
        return as_large(self.last(x), image)  # (B, labels, H, W)


def blocks(image: Tensor, side: int) -> Tensor:
    """Fold blocks of pixels into channels: (B, C, H, W) -> (B, C side^2, H / side, W / side)."""
    if side == 1:
        return image
    short = [-length % side for length in image.shape[2:]]
    return F.pixel_unshuffle(F.pad(image, (0, short[1], 0, short[0])), side)


def as_large(logits: Tensor, image: Tensor) -> Tensor:
    """Resize logits bilinearly to the image's side."""
    size = image.shape[2:]
    return logits if logits.shape[2:] == size else F.interpolate(logits, size, mode="bilinear")
