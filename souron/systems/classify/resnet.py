"""Skip connections let very deep stacks of convolutions learn.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015).
https://arxiv.org/abs/1512.03385

    y = relu(F(x) + x)      F: 3x3 - 3x3, or in the deeper ones 1x1 - 3x3 - 1x1

A block only learns the change of its input (the residual F). The identity is easy, F = 0, so that
more layers cannot make things worse, and the gradient passes along "+ x" unhindered.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here. The
deeper blocks halve the side in their 3x3 convolution, not in the first 1x1, as torchvision's
published weights do. Images under 64 pixels a side enter through one 3x3 convolution with stride 1,
without pooling.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...] = (2, 2, 2, 2)  # blocks of each stage
    width: int = 64  # channels of the first stage; doubled at each later one
    bottleneck: bool = False  # 1x1 - 3x3 - 1x1 blocks, with four times as many outer channels
    rate: float = 1e-3


def convolution(inward: int, outward: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)


def skip(inward: int, outward: int, stride: int) -> nn.Module:
    """Return the shortcut around F: the identity, or a projection if F changes the shape."""
    if inward == outward and stride == 1:
        return nn.Identity()
    return nn.Sequential(convolution(inward, outward, 1, stride), nn.BatchNorm2d(outward))


class Basic(nn.Module):
    """(B, inward, H, W) -> (B, width, H/stride, W/stride)"""

    widens = 1

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(inward, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = skip(inward, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    """(B, inward, H, W) -> (B, 4 width, H/stride, W/stride); the 3x3 has few channels."""

    widens = 4

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        outward = self.widens * width
        self.conv1, self.bn1 = convolution(inward, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = convolution(width, outward, 1), nn.BatchNorm2d(outward)
        self.downsample = skip(inward, outward, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x))


class ResNet(Classifier):
    year = 2015
    ja = "スキップ接続があれば、層を百以上重ねても学習できる"
    status = "faithful"
    channels_last = True
    head = "fc"
    SIZES = {
        "tiny": Config((1, 1, 1), 12, rate=5e-3),
        "small": Config((2, 2, 2), 16, rate=5e-3),
        "18": Config(),
        "34": Config((3, 4, 6, 3)),
        "50": Config((3, 4, 6, 3), bottleneck=True),
        "101": Config((3, 4, 23, 3), bottleneck=True),
        "152": Config((3, 8, 36, 3), bottleneck=True),
    }
    WEIGHTS = {
        "18": "torchvision:ResNet18_Weights.IMAGENET1K_V1",
        "34": "torchvision:ResNet34_Weights.IMAGENET1K_V1",
        "50": "torchvision:ResNet50_Weights.IMAGENET1K_V1",
        "101": "torchvision:ResNet101_Weights.IMAGENET1K_V1",
        "152": "torchvision:ResNet152_Weights.IMAGENET1K_V1",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.small_image = spec.side < 64
        kernel, stride = (3, 1) if self.small_image else (7, 2)
        block = Bottleneck if config.bottleneck else Basic

        channels = config.width
        self.conv1 = convolution(spec.channels, channels, kernel, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, depth in enumerate(config.depths):
            layer = nn.Sequential()
            for i in range(depth):
                layer.append(block(channels, config.width << stage, 2 if stage and i == 0 else 1))
                channels = block.widens * config.width << stage
            self.add_module(f"layer{stage + 1}", layer)
        self.fc = nn.Linear(channels, len(spec.labels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> list[nn.Sequential]:
        """Return the layers in stages of 1/2, 1/4, ..., 1/32 of the side, see ``hub.backbones``."""
        stages = [nn.Sequential(self.conv1, self.bn1, nn.ReLU())]
        stages += [nn.Sequential(self.get_submodule(f"layer{n + 1}")) for n in range(len(self.config.depths))]
        stages[1].insert(0, nn.MaxPool2d(3, 2, 1))
        return stages

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(image)))  # (B, width, H/2, W/2), or H, W if small
        if not self.small_image:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(len(self.config.depths)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))  # (B, labels)
