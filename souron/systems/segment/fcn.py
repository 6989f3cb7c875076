"""A classifier slid over the picture: it answers with a map, sharpened by earlier maps.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation (2014).
https://arxiv.org/abs/1411.4038

    classifier -> scores at 1/32 of the side -> twice as large, + scores of the maps at 1/16
               -> twice as large, + scores of the maps at 1/8 -> as large as the image

A fully connected layer on a 7x7 feature map is a 7x7 convolution: on a larger image it gives a map
of scores. They are coarse, one per 32 pixels; earlier feature maps are finer and less semantic, and
the sum of their scores combines both (FCN-8s; FCN-32s is without them). Upsampling is a transposed
convolution initialised as linear interpolation; the last one is linear. The classifier is VGG-16,
or a published one (`backbone`).

Sizes `resnet50` and `resnet101` are torchvision's networks, whose published weights load: ``souron
predict fcn_resnet50 photo.jpg``. Instead of adding finer scores, the last two stages are dilated,
so that the maps stay at 1/8 of the side; while it learns, a second head reads the last stage but
one.

Differs from the paper: convolutions are batch-normalised and padded; all levels are trained at
once, not FCN-32s first; AdamW and one cycle of the rate; Dice beside the cross-entropy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks import torchvision_names
from souron.hub.backbones import Backbone
from souron.tasks.segment import Batch, Segmenter, Spec

AUXILIARY = 0.5  # weight of the second head's loss
NAMES = (  # torchvision's names -> those here
    (r"classifier\.([01])\.", r"fc6.\1."),
    (r"classifier\.4\.", "score."),
    (r"aux_classifier\.([01])\.", r"beside.0.\1."),
    (r"aux_classifier\.4\.", "beside.2."),
)
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of VGG-16


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times 64 to 512 channels
    head: int = 4096  # channels of the layers that were fully connected
    reach: int = 7  # kernel size of the first of them
    finest: int = 8  # pixels per cell of the finest scores: 8, 16 or 32; 0: the backbone is dilated
    dropout: float = 0.5
    rate: float = 1e-3
    backbone: str = ""  # a classifier whose published layers replace VGG


def convolution(inward: int, outward: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inward, outward, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU(inplace=True))


def beside(inward: int, labels: int, dropout: float) -> nn.Sequential:
    """A head on finer maps, for training alone."""
    maps = inward // 4
    return nn.Sequential(convolution(inward, maps, 3), nn.Dropout(dropout), nn.Conv2d(maps, labels, 1))


class VGG(nn.Module):
    """Images (B, C, H, W) -> feature maps at 1/8, 1/16 and 1/32 of the side."""

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        self.stages, inward = nn.ModuleList(), channels
        for maps, count in STAGES:
            outward = max(8, round(maps * width))
            convs = [convolution(outward if i else inward, outward, 3) for i in range(count)]
            self.stages.append(nn.Sequential(*convs, nn.MaxPool2d(2, ceil_mode=True)))
            inward = outward
        self.maps = [max(8, round(maps * width)) for maps, _count in STAGES[2:]]

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [image]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[-3:]


class Double(nn.ConvTranspose2d):
    """Upsample scores (B, labels, h, w) by 2; initialised as bilinear interpolation per label."""

    def __init__(self, labels: int) -> None:
        super().__init__(labels, labels, 4, 2, 3, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(labels), range(labels)] = tent(4)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(F.pad(x, (1, 1, 1, 1), mode="replicate"))


def tent(side: int) -> Tensor:
    """Return the weights (side, side) of bilinear interpolation by 2."""
    line = 1 - ((torch.arange(side) - (side - 1) / 2) / (side / 2)).abs()
    return line[:, None] * line


class FCN(Segmenter):
    year = 2014
    ja = "全結合層を畳み込みにした分類器を画像全体に滑らせ、粗い答えに細かい段の答えを足す"
    channels_last = True
    last_layers = ("score", "beside.2")
    SIZES = {
        "tiny": Config(0.125, 32, 3, dropout=0.0, rate=1e-2),
        "small": Config(0.25, 256, 3, dropout=0.1, rate=2e-3),
        "8s": Config(),
        "16s": Config(finest=16),
        "32s": Config(finest=32),
        "lite": Config(0.25, 256, 3, dropout=0.1, rate=2e-3, backbone="efficientnet_lite"),
        "resnet50": Config(1.0, 512, 3, 0, 0.1, 2e-4, "resnet50"),
        "resnet101": Config(1.0, 512, 3, 0, 0.1, 2e-4, "resnet101"),
    }
    WEIGHTS = {
        "resnet50": "torchvision:FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
        "resnet101": "torchvision:FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.classifier: nn.Module
        if config.backbone:
            dilations = 0 if config.finest else 2
            self.classifier = backbone = Backbone(config.backbone, spec.channels, 3, dilations)
            maps = backbone.maps
        else:
            self.classifier = vgg = VGG(spec.channels, config.width)
            maps = vgg.maps
        labels = len(spec.labels)
        self.fc6 = convolution(maps[2], config.head, config.reach)
        if config.finest:
            self.fc7 = convolution(config.head, config.head, 1)
        self.score = nn.Conv2d(config.head, labels, 1)
        if not config.finest:
            self.beside = beside(maps[1], labels, config.dropout)
            return
        finer = [(8, maps[0]), (16, maps[1])]
        self.finer = nn.ModuleList(nn.Conv2d(count, labels, 1) for stride, count in finer if stride >= config.finest)
        self.twice = nn.ModuleList(Double(labels) for _level in self.finer)
        for score in self.finer:  # finer levels start at 0
            nn.init.zeros_(score.get_parameter("weight"))
            nn.init.zeros_(score.get_parameter("bias"))

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return torchvision_names.segmenter(self, weights, "classifier", NAMES)

    def dilated(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (B, labels, H / 8, W / 8) of both heads on a dilated backbone."""
        _finest, finer, x = self.classifier(image)
        deep = F.dropout(self.fc6(x), self.config.dropout, self.training)
        return self.score(deep), self.beside(finer)

    def loss(self, batch: Batch) -> Tensor:
        if self.config.finest:
            return super().loss(batch)
        return self.loss_of_heads(batch, *self.dilated(batch.image), AUXILIARY)

    def forward(self, image: Tensor) -> Tensor:
        if not self.config.finest:
            return F.interpolate(self.dilated(image)[0], image.shape[2:], mode="bilinear")
        *fine, x = self.classifier(image)
        x = F.dropout(self.fc6(x), self.config.dropout, self.training)
        x = F.dropout(self.fc7(x), self.config.dropout, self.training)
        x = self.score(x)  # (B, labels, H / 32, W / 32)
        levels: Sequence[Tensor] = fine[len(fine) - len(self.finer) :]
        for maps, score, double in zip(reversed(levels), reversed(self.finer), reversed(self.twice), strict=True):
            x = double(x)[:, :, : maps.shape[2], : maps.shape[3]] + score(maps)
        return F.interpolate(x, image.shape[2:], mode="bilinear")  # (B, labels, H, W)
