"""Look at several scales at once: kernels of three sizes side by side in each module.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with
Convolutions (2014). https://arxiv.org/abs/1409.4842

    Inception:     +- 1x1 -----------+
                   +- 1x1 - 3x3 -----+
               x --+                 +-- y = the maps of all four, one behind the other
                   +- 1x1 - 5x5 -----+
                   +- pooling - 1x1 -+

The 1x1 convolutions reduce the channels before the costly ones, which makes 22 layers affordable.
Two auxiliary classifiers half-way shorten the gradient's path to early layers:

    loss = main + 0.3 (auxiliary 1 + auxiliary 2)       in training only

The stages are separated by 3x3 max pooling with stride 2. The size ``torchvision`` is the variant
whose published weights torchvision has: 3x3 kernels in place of the 5x5 ones
(https://github.com/pytorch/vision/issues/906), a last pooling of 2x2, dropout of 0.2.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here. The
auxiliary heads' 5x5 average pooling with stride 3 is an adaptive one to 4x4, which is nearly the
same at 224 pixels and works for any side. Images under 64 pixels a side enter through a 3x3
convolution with stride 1 and without the first pooling. Feature maps under 4 pixels a side are not
pooled. Reduced: batch normalisation (Ioffe, Szegedy 2015) after each convolution replaces local
response normalisation, as in torchvision.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Batch, Classifier, Spec


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels of the first convolution, a multiple of 4; all others in proportion
    kernel: int = 5  # of the third branch
    pool: int = 3  # of the last pooling between the stages
    dropout: float = 0.4
    auxiliary_dropout: float = 0.7
    rate: float = 1e-3


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outward, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Inception module: four parallel branches, (B, inward, H, W) -> (B, outward, H, W)."""

    def __init__(
        self,
        kernel: int,
        inward: int,
        point: int,
        before_3x3: int,
        middle: int,
        before_5x5: int,
        large: int,
        pooled: int,
    ) -> None:
        super().__init__()
        self.branch1 = Convolution(inward, point, 1)
        self.branch2 = nn.Sequential(Convolution(inward, before_3x3, 1), Convolution(before_3x3, middle, 3))
        self.branch3 = nn.Sequential(Convolution(inward, before_5x5, 1), Convolution(before_5x5, large, kernel))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Convolution(inward, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """Auxiliary classifier, (B, inward, H, W) -> (B, labels)."""

    def __init__(self, inward: int, maps: int, hidden: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.conv = Convolution(inward, maps, 1)
        self.fc1 = nn.Linear(maps * 4 * 4, hidden)
        self.fc2 = nn.Linear(hidden, labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, 4))
        return self.fc2(self.dropout(F.relu(self.fc1(x.flatten(1)))))


def pool(x: Tensor, kernel: int = 3) -> Tensor:
    return F.max_pool2d(x, kernel, 2, ceil_mode=True) if x.shape[-1] >= 4 else x


class GoogLeNet(Classifier):
    year = 2014
    ja = "大きさの違うカーネルを並べ、いくつもの尺度で同時に見る"
    status = "reduced"
    channels_last = True
    head = "fc"
    side_heads = ("aux1.fc2", "aux2.fc2")
    SIZES = {
        "tiny": Config(4, dropout=0.0, auxiliary_dropout=0.0, rate=1e-2),
        "small": Config(8, dropout=0.2, rate=5e-3),
        "paper": Config(),
        "torchvision": Config(kernel=3, pool=2, dropout=0.2),
    }
    WEIGHTS = {"torchvision": "torchvision:GoogLeNet_Weights.IMAGENET1K_V1"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.small_image = spec.side < 64
        kernel, stride = (3, 1) if self.small_image else (7, 2)
        labels = len(spec.labels)

        def scaled(maps: int) -> int:
            return maps * config.width // 64

        def inception(inward: int, *maps: int) -> Inception:
            return Inception(config.kernel, scaled(inward), *map(scaled, maps))

        def auxiliary(inward: int) -> Auxiliary:
            dropout = config.auxiliary_dropout
            return Auxiliary(scaled(inward), scaled(128), scaled(1024), labels, dropout)

        self.conv1 = Convolution(spec.channels, scaled(64), kernel, stride)
        self.conv2 = Convolution(scaled(64), scaled(64), 1)
        self.conv3 = Convolution(scaled(64), scaled(192), 3)
        # table 1 of the paper: input channels; 1x1; before 3x3, 3x3; before 5x5, 5x5; after pooling
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = auxiliary(512)
        self.aux2 = auxiliary(528)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(scaled(1024), labels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the inputs of the two auxiliary heads and the main head, (B, maps, H, W) each."""
        x = self.conv1(image)
        if not self.small_image:
            x = pool(x)
        x = pool(self.conv3(self.conv2(x)))
        x = pool(self.inception3b(self.inception3a(x)))
        early = self.inception4a(x)
        middle = self.inception4d(self.inception4c(self.inception4b(early)))
        x = pool(self.inception4e(middle), self.config.pool)
        return early, middle, self.inception5b(self.inception5a(x))

    def answer(self, late: Tensor) -> Tensor:
        return self.fc(self.dropout(late.mean((2, 3))))

    def forward(self, image: Tensor) -> Tensor:
        *_, late = self.maps(image)
        return self.answer(late)  # (B, labels)

    def loss(self, batch: Batch) -> Tensor:
        early, middle, late = self.maps(batch.image)
        loss = F.cross_entropy(self.answer(late), batch.label)
        if self.training:
            for answer in (self.aux1(early), self.aux2(middle)):
                loss = loss + 0.3 * F.cross_entropy(answer, batch.label)
        return loss
