"""Only small 3x3 convolutions, but many of them: depth beats large kernels.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (2014).
https://arxiv.org/abs/1409.1556

    stage:  (3x3 convolution - ReLU) repeated - 2x2 pooling       maps double, the side halves
    VGG16:  2, 2, 3, 3, 3 convolutions in five stages, then 3 fully connected layers

Two successive 3x3 convolutions have a receptive field of 5x5 pixels and three of 7x7, with fewer
weights than one large kernel (27 C^2 against 49 C^2) and a ReLU between them.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here.
Weights are initialised as in He et al. (2015), where the paper trained a shallower network first to
initialise the deeper one. Images under 64 pixels a side: the fully connected layers see a 3x3 grid
of features instead of 7x7. Feature maps under 4 pixels a side are not pooled.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)  # convolutions of each stage
    width: int = 64  # channels of the first stage; they double up to eight times that
    hidden: int = 4096
    dropout: float = 0.5
    rate: float = 1e-4


class Pool(nn.Module):
    """2x2 max pooling."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) if x.shape[-1] >= 4 else x


class VGG(Classifier):
    year = 2014
    ja = "小さな 3x3 の畳み込みだけを深く重ねる方が、大きなカーネルより良い"
    status = "faithful"
    channels_last = True
    head = "classifier.6"
    SIZES = {
        "tiny": Config((1, 1, 2), 12, 64, 0.0, 5e-3),
        "small": Config((2, 2, 3, 3), 16, 256, 0.2, 2e-3),
        "16": Config(),
        "19": Config((2, 2, 4, 4, 4)),
    }
    WEIGHTS = {"16": "torchvision:VGG16_Weights.IMAGENET1K_V1", "19": "torchvision:VGG19_Weights.IMAGENET1K_V1"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.grid = 3 if spec.side < 64 else 7

        self.features = nn.Sequential()
        channels = spec.channels
        for stage, depth in enumerate(config.depths):
            width = min(config.width << stage, 8 * config.width)
            for _ in range(depth):
                self.features.append(nn.Conv2d(channels, width, 3, padding=1))
                self.features.append(nn.ReLU())
                channels = width
            self.features.append(Pool())
        self.classifier = nn.Sequential(
            nn.Linear(channels * self.grid**2, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, len(spec.labels)),
        )
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        x = self.features(image)
        x = F.adaptive_avg_pool2d(x, self.grid)  # (B, maps, grid, grid)
        return self.classifier(x.flatten(1))  # (B, labels)
