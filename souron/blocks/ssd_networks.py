"""The published backbones of SSD and its predictions, with torchvision's layers and names.

Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg: SSD: Single Shot MultiBox Detector (2015).
https://arxiv.org/abs/1512.02325

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(2018), section 6.2: SSDLite. https://arxiv.org/abs/1801.04381
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.mobilenet import TAIL, Convolution, slow_norms, v3_layers

LITE_MAPS = (512, 256, 256, 128)  # channels of the maps beyond the backbone
LITE_MOMENTUM = 0.03  # of batch normalisation
DEVIATION = 0.03  # of the first weights


class VGG(nn.Module):
    """VGG-16, its last layers dilated, and four blocks more.

    Images (B, 3, 300, 300) in 0..1 -> feature maps of side 38, 19, 10, 5, 3, 1.
    """

    maps = (512, 1024, 512, 256, 256, 256)
    strides = (8, 16, 32, 64, 100, 300)
    aspects = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        first = [*stage(3, 64, 2), *stage(64, 128, 2), *stage(128, 256, 3), *stage(256, 512, 3)]
        first[16] = nn.MaxPool2d(2, 2, ceil_mode=True)  # 75 cells become 38
        self.features = nn.Sequential(*first[:-1])
        holes = nn.Conv2d(512, 1024, 3, padding=6, dilation=6)
        dense = [nn.MaxPool2d(3, 1, 1), holes, nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()]
        last = nn.Sequential(nn.MaxPool2d(2, 2), *stage(512, 512, 3)[:-1], nn.Sequential(*dense))
        self.extra = nn.ModuleList(
            [last, halved(1024, 256, 512), halved(512, 128, 256), cut(256, 128, 256), cut(256, 128, 256)]
        )
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        mean = torch.tensor([0.48235, 0.45882, 0.40784])[:, None, None]
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.features((image - self.mean) * 255)
        features = [self.scale_weight[:, None, None] * F.normalize(x)]
        for block in self.extra:
            x = block(x)
            features.append(x)
        return features


class MobileNet(nn.Module):
    """MobileNetV3-Large with half the channels in its tail, and four light blocks more.

    Images (B, 3, 320, 320) in 0..1 -> feature maps of side 20, 10, 5, 3, 2, 1. The first is taken
    within a block: after its 1x1 convolution, before the depthwise one that halves the side.
    """

    maps = (672, 480, *LITE_MAPS)
    strides = ()  # the side of the image, divided by that of the map
    aspects = ((2, 3),) * len(maps)

    def __init__(self) -> None:
        super().__init__()
        layers = v3_layers(reduced=True)
        block = layers[TAIL].get_submodule("block")
        assert isinstance(block, nn.Sequential)
        self.features = nn.Sequential(
            nn.Sequential(*layers[:TAIL], block[0]), nn.Sequential(block[1:], *layers[TAIL + 1 :])
        )
        inward, self.extra = self.maps[1], nn.ModuleList()
        for outward in LITE_MAPS:
            self.extra.append(light(inward, outward))
            inward = outward
        slow_norms(self, LITE_MOMENTUM)
        begin(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, features = 2 * image - 1, []
        for block in (*self.features, *self.extra):
            x = block(x)
            features.append(x)
        return features


def stage(inward: int, outward: int, convolutions: int) -> list[nn.Module]:
    """Convolutions of VGG with the pooling after them."""
    layers: list[nn.Module] = []
    for _layer in range(convolutions):
        layers += [nn.Conv2d(inward, outward, 3, padding=1), nn.ReLU()]
        inward = outward
    return [*layers, nn.MaxPool2d(2, 2)]


def halved(inward: int, maps: int, outward: int) -> nn.Sequential:
    """Feature maps of half the side."""
    last = nn.Conv2d(maps, outward, 3, 2, 1)
    return nn.Sequential(nn.Conv2d(inward, maps, 1), nn.ReLU(), last, nn.ReLU())


def cut(inward: int, maps: int, outward: int) -> nn.Sequential:
    """Feature maps without their border."""
    last = nn.Conv2d(maps, outward, 3)
    return nn.Sequential(nn.Conv2d(inward, maps, 1), nn.ReLU(), last, nn.ReLU())


def light(inward: int, outward: int) -> nn.Sequential:
    """Feature maps of half the side, with a depthwise convolution."""
    maps = outward // 2
    return nn.Sequential(
        Convolution(inward, maps, activation=nn.ReLU6),
        Convolution(maps, maps, 3, 2, maps, nn.ReLU6),
        Convolution(maps, outward, activation=nn.ReLU6),
    )


def prediction(inward: int, outward: int, lite: bool, kernel: int = 3) -> nn.Module:
    """A convolution; with ``lite`` a depthwise 3x3 one, and a 1x1 convolution."""
    if not lite:
        return nn.Conv2d(inward, outward, kernel, padding=kernel // 2)
    depthwise = Convolution(inward, inward, 3, 1, inward, nn.ReLU6)
    layers = nn.Sequential(depthwise, nn.Conv2d(inward, outward, 1))
    slow_norms(layers, LITE_MOMENTUM)
    begin(layers)
    return layers


def begin(network: nn.Module) -> None:
    """Initialise the weights of SSDLite."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=DEVIATION)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Branch(nn.Module):
    """Predictions (B, A, values) for each default box, from all feature maps."""

    def __init__(
        self, maps: Sequence[int], boxes: Sequence[int], values: int, lite: bool = False, kernel: int = 3
    ) -> None:
        super().__init__()
        self.values = values
        self.module_list = nn.ModuleList(
            prediction(inward, count * values, lite, kernel) for inward, count in zip(maps, boxes, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        outputs = [layer(x).permute(0, 2, 3, 1) for layer, x in zip(self.module_list, maps, strict=True)]
        return torch.cat([output.reshape(output.shape[0], -1, self.values) for output in outputs], 1).float()
