"""The backbone of SSD on MobileNetV2, as Google published it.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(2018), section 6.2. https://arxiv.org/abs/1801.04381
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from souron.blocks.folded import named
from souron.blocks.folded_mobilenet import Convolution, MobileNetV2

EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))  # narrow, wide: four maps more
SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)  # of default boxes, as shares of the side
ASPECTS = (1.0, 2.0, 0.5, 3.0, 0.3333)
LOWEST = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))  # scale and aspect on the finest map
FILE = "FeatureExtractor/MobilenetV2"
NORM = "BatchNorm/FusedBatchNormV3"
# Kuznetsova et al.: The Open Images Dataset V4 (2018). https://arxiv.org/abs/1811.00982
OPEN_IMAGES = (  # the 23 labels of the detector in MediaPipe
    "Bicycle", "Boot", "Laptop", "Person", "Chair", "Cattle", "Desk", "Cat", "Computer mouse",
    "Computer monitor", "Box", "Mug", "Coffee cup", "Stationary bicycle", "Table", "Bottle",
    "High heels", "Vehicle", "Footwear", "Dog", "Book", "Camera", "Car",
)  # fmt: skip


class Features(nn.Module):
    """MobileNetV2 and four maps more: (B, C, 300, 300) -> maps of side 19, 10, 5, 3, 2, 1."""

    strides: tuple[int, ...] = ()  # the side of the image, divided by that of the map

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network, self.shapes = MobileNetV2(channels), shapes()
        self.maps = list(self.network.maps[3:])
        self.extra = nn.ModuleList()
        for narrow, wide in EXTRA:
            inward = self.maps[-1]
            layers = Convolution(inward, narrow), Convolution(narrow, wide, 3, 2)
            self.extra.append(nn.Sequential(*layers))
            self.maps.append(wide)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = self.network(2 * image - 1)
        features = [maps.widened, maps.last]
        for block in self.extra:
            features.append(block(features[-1]))
        return features

    def layers(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each convolution here, and in the published file."""
        for layer, block, part in self.network.layers():
            inside = f"expanded_conv_{block}" if block else "expanded_conv"
            name = {"": "Conv/Relu6" if block < 0 else "Conv_1/Relu6", "project": f"{inside}/project/{NORM}"}.get(
                part, f"{inside}/{part}/Relu6"
            )
            yield f"network.{layer}", f"{FILE}/{name}"
        for number, (narrow, wide) in enumerate(EXTRA):
            yield f"extra.{number}.0", f"{FILE}/layer_19_1_Conv2d_{number + 2}_1x1_{narrow}/Relu6"
            yield f"extra.{number}.1", f"{FILE}/layer_19_2_Conv2d_{number + 2}_3x3_s2_{wide}/Relu6"


def shapes() -> list[list[tuple[float, float]]]:
    """Return the width and height of a cell's default boxes on each map, as shares of the side."""
    levels = [list(LOWEST)]
    for scale, following in pairwise(SCALES[1:]):
        square = ((scale * following) ** 0.5, 1.0)
        levels.append([*((scale, aspect) for aspect in ASPECTS), square])
    return [[(s * aspect**0.5, s / aspect**0.5) for s, aspect in level] for level in levels]


def renamed(features: Features, head: nn.ModuleDict, tensors: Mapping[str, Tensor]) -> dict:
    """Return the weights of the published file under the names of ``ssd``.

    The file has the offsets of a box as y, x, height, width; here x is first.
    """
    own = named(features, features.layers(), tensors)
    state = {f"backbone.{key}": value for key, value in own.items()}
    for branch, part in (("classification_head", "ClassPredictor"), ("regression_head", "BoxEncodingPredictor")):
        layers = [
            (f"module_list.{level}", f"BoxPredictor_{level}/{part}/BiasAdd") for level in range(len(features.maps))
        ]
        for key, value in named(head[branch], layers, tensors).items():
            if branch == "regression_head":
                value = value[torch.arange(len(value)).view(-1, 4)[:, [1, 0, 3, 2]].flatten()]
            state[f"head.{branch}.{key}"] = value
    return state
