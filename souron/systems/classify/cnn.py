"""Small filters slide over the picture; pooling forgets where, so a shift matters little.

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition (1998).
https://doi.org/10.1109/5.726791

    image -> [convolution -> activation -> pool] x n -> dense layers -> one score per label
    LeNet-5:  32x32 -> 6 maps 28x28 -> 14x14 -> 16 maps 10x10 -> 5x5 -> 120 -> 84 -> 10

The size `paper` is LeNet-5 as it is usually built today, 61 706 weights for ten labels.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here.
Images of 28 pixels a side get a border of two, others are resized to 32. `tiny` and `small` keep
the structure with later components: ReLU, batch normalisation, max pooling, padded 3x3 filters,
more channels; they take images of any side. Reduced: the paper's network has 60 000 weights. Here
every channel of the second convolution sees all six channels below (+900), pooling has no weights
of its own (-44), the last layer is linear, not a distance to prototype characters (+850); tanh is
not scaled.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    maps: tuple[int, ...] = (6, 16)
    kernel: int = 5
    hidden: tuple[int, ...] = (120, 84)
    modern: bool = False
    rate: float = 2e-3


class CNN(Classifier):
    year = 1998
    ja = "小さなフィルターを画像の上で滑らせ、位置のずれに強い特徴を作る"
    status = "reduced"
    channels_last = True
    head = "fc"
    SIZES = {
        "tiny": Config((8, 16), 3, (32,), modern=True, rate=1e-2),
        "small": Config((32, 64), 3, (128,), modern=True),
        "paper": Config(),
    }

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.features, channels = nn.Sequential(), spec.channels
        for maps in config.maps:
            self.features.extend(self.stage(channels, maps))
            channels = maps
        # adaptive pooling to 5x5; a no-op for LeNet-5 with 28 or 32 pixels a side
        self.grid = nn.AdaptiveAvgPool2d(5)
        self.full, width = nn.Sequential(), channels * 5 * 5
        for hidden in config.hidden:
            bend = nn.ReLU() if config.modern else nn.Tanh()
            self.full.extend([nn.Linear(width, hidden), bend])
            width = hidden
        self.fc = nn.Linear(width, len(spec.labels))

    def stage(self, inward: int, maps: int) -> list[nn.Module]:
        kernel = self.config.kernel
        if self.config.modern:
            convolution = nn.Conv2d(inward, maps, kernel, padding=kernel // 2, bias=False)
            return [convolution, nn.BatchNorm2d(maps), nn.ReLU(), nn.MaxPool2d(2)]
        return [nn.Conv2d(inward, maps, kernel), nn.Tanh(), nn.AvgPool2d(2)]

    def forward(self, image: Tensor) -> Tensor:
        if not self.config.modern:
            image = self.to_32(image)
        maps = self.grid(self.features(image))  # (B, maps, 5, 5)
        return self.fc(self.full(maps.flatten(1)))  # (B, labels)

    def to_32(self, image: Tensor) -> Tensor:
        if image.shape[-1] == 28:
            return F.pad(image, (2, 2, 2, 2))
        return F.interpolate(image, (32, 32), mode="bilinear", antialias=True)
