"""Each layer reads the maps of all layers before it, so nothing has to be learnt twice.

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks (2016).
https://arxiv.org/abs/1608.06993

    x_l = H_l([x_0, x_1, ..., x_(l-1)])     H: (norm - ReLU - 1x1) - (norm - ReLU - 3x3)

Where a residual network adds features, this one concatenates them. A layer adds only a few channels
(the growth rate, k = 32); its 1x1 convolution first reduces all earlier features to 4 k channels.
Between the dense blocks a transition halves the channels and the side. The size `xray` has the
published weights of torchxrayvision, which name 18 findings on chest X-rays.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here.
Images under 64 pixels a side enter through one 3x3 convolution, as in the paper's CIFAR networks,
but with four blocks. Feature maps under 4 pixels a side are not pooled.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...] = (6, 12, 24, 16)  # layers of each dense block
    growth: int = 32  # feature maps that a layer adds
    width: int = 64  # feature maps of the first convolution
    rate: float = 1e-3


class Layer(nn.Module):
    """H: all feature maps so far (B, inward, H, W) -> new feature maps (B, growth, H, W)."""

    def __init__(self, inward: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inward)
        self.conv1 = nn.Conv2d(inward, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.norm1(x)))
        return self.conv2(F.relu(self.norm2(x)))


class Block(nn.Module):
    """(B, inward, H, W) -> (B, inward + depth growth, H, W); the input comes first, unchanged."""

    def __init__(self, inward: int, depth: int, growth: int) -> None:
        super().__init__()
        for i in range(depth):
            self.add_module(f"denselayer{i + 1}", Layer(inward + i * growth, growth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], 1)
        return x


class Transition(nn.Module):
    """Transition layer: half of the channels, half of the side."""

    def __init__(self, inward: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inward)
        self.conv = nn.Conv2d(inward, inward // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.relu(self.norm(x)))
        return F.avg_pool2d(x, 2) if x.shape[-1] >= 4 else x


class DenseNet(Classifier):
    year = 2016
    ja = "どの層も、それより前のすべての層の特徴マップを読む"
    status = "faithful"
    channels_last = True
    head = "classifier"
    SIZES = {
        "tiny": Config((2, 2, 2, 2), 6, 12, rate=1e-2),
        "small": Config((1, 2, 3, 4), 12, 16, rate=5e-3),
        "121": Config(),
        "169": Config((6, 12, 32, 32)),
        "201": Config((6, 12, 48, 32)),
        "161": Config((6, 12, 36, 24), 48, 96),
        "xray": Config(),
    }
    WEIGHTS = {
        "121": "torchvision:DenseNet121_Weights.IMAGENET1K_V1",
        "169": "torchvision:DenseNet169_Weights.IMAGENET1K_V1",
        "201": "torchvision:DenseNet201_Weights.IMAGENET1K_V1",
        "161": "torchvision:DenseNet161_Weights.IMAGENET1K_V1",
        "xray": "torchxrayvision:densenet121-res224-all",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        channels = config.width
        self.features = nn.Sequential()
        if spec.side < 64:
            first = nn.Conv2d(spec.channels, channels, 3, padding=1, bias=False)
        else:
            first = nn.Conv2d(spec.channels, channels, 7, 2, 3, bias=False)
        self.features.add_module("conv0", first)
        self.features.add_module("norm0", nn.BatchNorm2d(channels))
        self.features.add_module("relu0", nn.ReLU())
        if spec.side >= 64:
            self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        for i, depth in enumerate(config.depths, 1):
            if i > 1:
                self.features.add_module(f"transition{i - 1}", Transition(channels))
                channels //= 2
            self.features.add_module(f"denseblock{i}", Block(channels, depth, config.growth))
            channels += depth * config.growth
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, len(spec.labels))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.features(image))  # (B, maps, H, W)
        return self.classifier(x.mean((2, 3)))  # (B, labels)
