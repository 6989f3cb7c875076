"""Perceptual distance between images, in the features of a trained network (LPIPS).

Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric (2018). https://arxiv.org/abs/1801.03924

    d(x, y) = mean over stages and positions of  |f(x) - f(y)|^2

``f`` is the feature vector at a position, scaled to unit length.

Differs from the paper: the ImageNet network included in souron, EfficientNet-Lite0, replaces
AlexNet or VGG; all features of a stage have equal weight, since no human judgements were available
to learn weights from. Compare these distances only with each other.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.hub.backbones import Backbone

NAME = "efficientnet_lite"
STAGES = 5  # to 1/2, 1/4, ..., 1/32 of the side
SMALLEST = 32  # pixels a side; smaller images are enlarged
AT_ONCE = 16  # images in a batch
POOLED = 128  # pixels a side


@lru_cache(maxsize=2)
def network(device: torch.device) -> Backbone:
    """Return the frozen network with its published weights.

    Losses can be backpropagated through it, even if it was first created in inference mode.
    """
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        backbone = Backbone(NAME, 3, STAGES)
        backbone.load_published()
        return backbone.requires_grad_(False).eval().to(device)


def features(image: Tensor) -> list[Tensor]:
    """Compute the feature maps of each stage, finest first, for images (B, 1 or 3, H, W)
    in 0..1.
    """
    short = min(image.shape[2:])
    if short < SMALLEST:
        image = F.interpolate(image, scale_factor=float(-(-SMALLEST // short)), mode="nearest")
    image = image.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    return network(image.device)(image)


@torch.no_grad()
def pooled(image: Tensor) -> Tensor:
    """Average the feature maps of the last two stages over positions, (B, D).

    Images (B, C, H, W) in 0..255 are resized to ``POOLED`` pixels a side.
    """
    averages = []
    for part in image.split(AT_ONCE):
        part = part[:, :3].float() / 255 if part.shape[1] >= 3 else part[:, :1].float() / 255
        part = F.interpolate(part, (POOLED, POOLED), mode="bilinear")
        averages.append(torch.cat([maps.float().mean((2, 3)) for maps in features(part)[-2:]], 1))
    return torch.cat(averages)


@torch.no_grad()
def distance(prediction: Tensor, truth: Tensor) -> Tensor:
    """Compute distances (B,) between images (B, C, H, W) in 0..1; 0 for equal images."""
    total = []
    for part, other in zip(prediction.split(AT_ONCE), truth.split(AT_ONCE), strict=True):
        stages = zip(features(part), features(other), strict=True)
        distances = [(_unit(a) - _unit(b)).square().sum(1).mean((1, 2)) for a, b in stages]
        total.append(torch.stack(distances).mean(0))
    return torch.cat(total) if total else torch.zeros(0)


def _unit(maps: Tensor) -> Tensor:
    maps = maps.float()
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-6)
