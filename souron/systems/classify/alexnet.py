"""Large convolutions, ReLU and dropout: the network that began the age of deep learning.

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks
(2012). https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

    image - 5 convolutions, 3 poolings - 3 fully connected layers - logits

The network was too large for one graphics card of 2012 and ran on two. Each card held half of the
feature maps; only the third convolution and the fully connected layers read both halves:

    device 1   conv1 - conv2 -+- conv3 - conv4 - conv5 -+
                              |                         +- fc6 - fc7 - fc8
    device 2   conv1 - conv2 -+- conv3 - conv4 - conv5 -+

A convolution whose feature maps stay on their own device has ``groups=2``: conv2, conv4 and conv5.
In training, half of the outputs of fc6 and of fc7 are dropped. With ``groups=1``, as in the size
``merged``, it is the later network with one tower, as torchvision has it: no normalisation, and
dropout one layer earlier, before fc6 and fc7 (Krizhevsky: One Weird Trick for Parallelizing
Convolutional Neural Networks, 2014, https://arxiv.org/abs/1404.5997).

Differs from the paper: weights are initialised as in He et al. (2015), because a standard deviation
of 0.01 stalls narrow layers; biases as in the paper. It learns with AdamW and one cycle of the
rate, as all classifiers here. Images under 64 pixels a side enter through a 5x5 convolution with
stride 1, and the fully connected layers see a 3x3 grid of features instead of 6x6. Feature maps
under 4 pixels a side are not pooled.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)  # feature maps of each convolution
    hidden: int = 4096
    groups: int = 2  # towers of convolutions, one per device; 1: the later network
    dropout: float = 0.5
    rate: float = 3e-4


class Pool(nn.Module):
    """3x3 max pooling with stride 2, so that neighbouring windows overlap."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2) if x.shape[-1] >= 4 else x


class Normalise(nn.Module):
    """Local response normalisation: a feature map is damped where its neighbours respond strongly.

    b_i = a_i / (2 + 0.0001 sum_j a_j^2)^0.75      j: i - 2 ... i + 2, on the same device
    """

    neighbours: Tensor

    def __init__(self, maps: int, groups: int) -> None:
        super().__init__()
        channel = torch.arange(maps)
        device = channel // (maps // groups)
        near = (channel[:, None] - channel).abs() <= 2
        near &= device[:, None] == device
        # the sum over neighbours is a 1x1 convolution with unit weights
        self.register_buffer("neighbours", near.float()[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * (2 + 1e-4 * F.conv2d(x * x, self.neighbours)) ** -0.75


class AlexNet(Classifier):
    year = 2012
    ja = "大きな畳み込み層と ReLU とドロップアウトで、深層学習の時代を開いた"
    status = "faithful"
    channels_last = True
    head = "classifier.6"
    SIZES = {
        "tiny": Config((16, 24, 32, 32, 24), 64, dropout=0.0, rate=5e-3),
        "small": Config((32, 64, 96, 96, 64), 256, dropout=0.2, rate=2e-3),
        "paper": Config(),
        "merged": Config((64, 192, 384, 256, 256), groups=1),
    }
    WEIGHTS = {"merged": "torchvision:AlexNet_Weights.IMAGENET1K_V1"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        small_image = spec.side < 64
        kernel, stride = (5, 1) if small_image else (11, 4)
        self.grid = 3 if small_image else 6
        width1, width2, width3, width4, width5 = config.widths
        groups, one_device = config.groups, config.groups == 1

        def normalise(maps: int) -> list[nn.Module]:
            return [] if one_device else [Normalise(maps, groups)]

        conv1 = nn.Conv2d(spec.channels, width1, kernel, stride, padding=2)
        conv2 = nn.Conv2d(width1, width2, 5, padding=2, groups=groups)
        conv3 = nn.Conv2d(width2, width3, 3, padding=1)  # the only convolution over both devices
        conv4 = nn.Conv2d(width3, width4, 3, padding=1, groups=groups)
        conv5 = nn.Conv2d(width4, width5, 3, padding=1, groups=groups)
        fc6 = nn.Linear(width5 * self.grid**2, config.hidden)
        fc7 = nn.Linear(config.hidden, config.hidden)
        fc8 = nn.Linear(config.hidden, len(spec.labels))
        self.features = nn.Sequential(
            *(conv1, nn.ReLU(), *normalise(width1), Pool()),
            *(conv2, nn.ReLU(), *normalise(width2), Pool()),
            *(conv3, nn.ReLU()),
            *(conv4, nn.ReLU()),
            *(conv5, nn.ReLU(), Pool()),
        )
        drop6, drop7 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        self.classifier = (
            nn.Sequential(drop6, fc6, nn.ReLU(), drop7, fc7, nn.ReLU(), fc8)
            if one_device
            else nn.Sequential(fc6, nn.ReLU(), drop6, fc7, nn.ReLU(), drop7, fc8)
        )
        for layer in (conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            # a bias of 1 keeps the ReLUs active at the start
            nn.init.constant_(layer.bias, 0 if layer in (conv1, conv3, fc8) else 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.features(image)
        x = F.adaptive_avg_pool2d(x, self.grid)  # (B, maps, grid, grid)
        return self.classifier(x.flatten(1))  # (B, labels)
