"""Looks at each place through gratings of four widths, on a map that was never made small.

Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation
(2017). https://arxiv.org/abs/1706.05587

    image -> backbone whose last stages are dilated -> maps at 1/8 of the side
    1x1 | 3x3 at rates 12, 24, 36 | mean of the whole map -> 1x1 -> 3x3 -> logits, 8 x as large

A classifier halves its maps five times, and a mask needs places. So its last two halvings are left
out, and the convolutions after them are dilated, which gives them the receptive field that they
learnt with. Five branches then see each place at different scales (atrous spatial pyramid pooling);
the mean of the whole map is one of them. There is no decoder: `deeplab` is its successor, V3+.

Sizes `resnet50`, `resnet101` and `mobilenet_v3_large` are torchvision's networks, whose published
weights load: ``souron predict deeplabv3_resnet50 photo.jpg``. The last is dilated in one stage, so
that its maps are at 1/16 of the side. The others have a backbone of CSP blocks, not dilated.

Differs from the paper: one grid of rates, where the paper also cascades blocks; a second head,
which reads finer maps, is trained beside the first, as in torchvision; AdamW and one cycle of the
rate; Dice beside the cross-entropy; in the small sizes smaller rates, and maps at 1/16.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks import torchvision_names
from souron.blocks.csp import own_backbone
from souron.hub.backbones import Backbone, MobileNetBackbone
from souron.tasks.segment import Batch, Segmenter, Spec

AUXILIARY = 0.5  # weight of the second head's loss
FINER, LAST = 4, 16  # layers of MobileNetV3 at 1/8 and at 1/16 of the side
NAMES = (  # torchvision's names -> those here
    (r"classifier\.0\.convs\.4\.([12])\.", r"views.mean.\1."),
    (r"classifier\.0\.convs\.(\d)\.([01])\.", r"views.views.\1.\2."),
    (r"classifier\.0\.project\.([01])\.", r"views.mix.\1."),
    (r"classifier\.1\.", "mix.0."),
    (r"classifier\.2\.", "mix.1."),
    (r"classifier\.4\.", "last."),
    (r"aux_classifier\.([01])\.", r"beside.0.\1."),
    (r"aux_classifier\.4\.", "beside.2."),
)


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels of the backbone
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of each branch
    rates: tuple[int, ...] = (2, 4, 6)  # dilation rates of the branches
    dropout: float = 0.0  # after the branches
    rate: float = 2e-3
    backbone: str = ""  # a published classifier, whose last stages are dilated


def convolution(inward: int, outward: int, kernel: int = 1, rate: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    padding = rate * (kernel // 2)
    conv = nn.Conv2d(inward, outward, kernel, 1, padding, rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward), nn.ReLU(inplace=True))


class Views(nn.Module):
    """Atrous spatial pyramid pooling: (B, inward, h, w) -> (B, maps, h, w)."""

    def __init__(self, inward: int, maps: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.views = nn.ModuleList([convolution(inward, maps), *(convolution(inward, maps, 3, r) for r in rates)])
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), *convolution(inward, maps))
        self.mix = convolution((2 + len(rates)) * maps, maps)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(x).expand(-1, -1, *x.shape[2:])
        x = self.mix(torch.cat([*(view(x) for view in self.views), mean], 1))
        return F.dropout(x, self.dropout, self.training)


class DeepLabV3(Segmenter):
    year = 2017
    ja = "特徴マップを小さくせずに畳み込みの間隔を広げ、四つの幅の格子越しに同じ場所を見る"
    channels_last = True
    last_layers = ("last", "beside.2")
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, (1, 2), rate=1e-2),
        "small": Config(),
        "resnet50": Config(1.0, 1.0, 256, (12, 24, 36), 0.5, 2e-4, "resnet50"),
        "resnet101": Config(1.0, 1.0, 256, (12, 24, 36), 0.5, 2e-4, "resnet101"),
        "mobilenet_v3_large": Config(1.0, 1.0, 256, (12, 24, 36), 0.5, 2e-4, "mobilenet_v3_large"),
    }
    WEIGHTS = {
        "resnet50": "torchvision:DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
        "resnet101": "torchvision:DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1",
        "mobilenet_v3_large": ("torchvision:DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        labels = len(spec.labels)
        self.backbone, (finer, coarse) = backbone_of(config, spec.channels)
        self.views = Views(coarse, config.maps, config.rates, config.dropout)
        self.mix = convolution(config.maps, config.maps, 3)
        self.last = nn.Conv2d(config.maps, labels, 1)
        self.beside = nn.Sequential(
            convolution(finer, finer // 4, 3), nn.Dropout(0.1), nn.Conv2d(finer // 4, labels, 1)
        )

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return torchvision_names.segmenter(self, weights, "backbone", NAMES)

    def scores(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the scores (B, labels, h, w) of the last map."""
        return self.last(self.mix(self.views(maps[-1])))

    def loss(self, batch: Batch) -> Tensor:
        maps = self.backbone(batch.image)[-2:]
        return self.loss_of_heads(batch, self.scores(maps), self.beside(maps[0]), AUXILIARY)

    def forward(self, image: Tensor) -> Tensor:
        scores = self.scores(self.backbone(image))
        return F.interpolate(scores, image.shape[2:], mode="bilinear")  # (B, labels, H, W)


def backbone_of(config: Config, channels: int) -> tuple[nn.Module, list[int]]:
    """Return the backbone, and the channels of its last two maps."""
    if config.backbone == MobileNetBackbone.name:
        light = MobileNetBackbone((FINER, LAST), dilated=True)
        return light, light.maps
    if config.backbone:
        backbone = Backbone(config.backbone, channels, 2, 2)
        return backbone, backbone.maps
    own = own_backbone(config.width, config.depth, channels, 2)
    return own, own.maps
