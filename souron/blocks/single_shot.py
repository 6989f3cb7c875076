"""The backbone of SSD on MobileNetV2, as Google published it.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks
(2018), section 6.2. https://arxiv.org/abs/1801.04381
"""

from itertools import pairwise

from torch import Tensor, nn

from souron.blocks.folded_mobilenet import Convolution, MobileNetV2

EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))  # narrow, wide: four maps more
SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)  # of default boxes, as shares of the side
ASPECTS = (1.0, 2.0, 0.5, 3.0, 0.3333)
LOWEST = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))  # scale and aspect on the finest map
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


def shapes() -> list[list[tuple[float, float]]]:
    """Return the width and height of a cell's default boxes on each map, as shares of the side."""
    levels = [list(LOWEST)]
    for scale, following in pairwise(SCALES[1:]):
        square = ((scale * following) ** 0.5, 1.0)
        levels.append([*((scale, aspect) for aspect in ASPECTS), square])
    return [[(s * aspect**0.5, s / aspect**0.5) for s, aspect in level] for level in levels]
