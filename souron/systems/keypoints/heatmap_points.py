"""A map for each landmark says where it is: the peak to the pixel, what is around it finer.

Nibali, He, Morgan, Prendergast: Numerical Coordinate Regression with Convolutional Neural Networks
(2018). https://arxiv.org/abs/1801.07372

    image -> down to a few cells and up again (U-Net) -> a map a for each landmark
    p = softmax(a) over all pixels,    loss = -sum q log p,    q = normal(true position, 1 pixel)
    position = sum p x / sum p,    score = sum p    over the 7 x 7 pixels around the peak of p

Each heat map is a distribution, so that positions compete for the landmark; with a squared error on
maps of blobs, which are nearly everywhere 0, predicting nothing is nearly right. The network is a
U-Net (Ronneberger, Fischer, Brox 2015, https://arxiv.org/abs/1505.04597) with the coordinates of
each cell: two further channels hold x and y in -1..1 (CoordConv; Liu et al. 2018,
https://arxiv.org/abs/1807.03247), since the left gonion looks much like other corners. Blocks of 2
x 2 pixels are folded into channels, and the output is unfolded in the same way (Shi et al. 2016,
https://arxiv.org/abs/1609.05158), at a quarter of the cost.

Differs from the paper: a U-Net in place of a stacked hourglass; the cross-entropy with the normal
distribution in place of the Jensen-Shannon divergence; the mean around the peak alone; AdamW and
one cycle of the rate. Reduced: the loss lacks the distance of the mean to the true position.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.keypoints import Batch, Landmarker, Spec

BLOCK = 2  # side of the pixel blocks folded into channels
AT_ONCE = 8  # images per training step


@dataclass(frozen=True)
class Config:
    width: int = 16  # channels at half the side
    levels: int = 6  # each at half the side of the one above
    grows: float = 1.4  # factor of the channels per level
    spread: float = 1.0  # standard deviation of the target distribution in pixels
    reach: int = 3  # pixels around the peak that are averaged
    rate: float = 4e-3


class Level(nn.Sequential):
    """Two convolutions, each with batch normalisation and ReLU."""

    def __init__(self, inward: int, maps: int) -> None:
        super().__init__(
            nn.Conv2d(inward, maps, 3, padding=1, bias=False),
            nn.BatchNorm2d(maps),
            nn.ReLU(True),
            nn.Conv2d(maps, maps, 3, padding=1, bias=False),
            nn.BatchNorm2d(maps),
            nn.ReLU(True),
        )


class UNet(nn.Module):
    """(B, C, H, W) -> (B, landmarks, H, W), for sides divisible by 2^(levels - 1)."""

    def __init__(self, config: Config, channels: int, landmarks: int) -> None:
        super().__init__()
        maps = [round(config.width * config.grows**level) for level in range(config.levels)]
        inward = [channels * BLOCK**2 + 2, *maps[:-1]]
        self.down = nn.ModuleList(Level(*pair) for pair in zip(inward, maps, strict=True))
        self.up = nn.ModuleList(Level(below + here, here) for here, below in pairwise(maps))
        self.last = nn.Conv2d(maps[0], landmarks * BLOCK**2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.pixel_unshuffle(image, BLOCK)
        x = torch.cat([x, places(x)], 1)
        skips: list[Tensor] = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for level, before in zip(self.up[::-1], skips[-2::-1], strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0), before], 1))
        return F.pixel_shuffle(self.last(x), BLOCK)


def places(x: Tensor) -> Tensor:
    """Return the coordinates x and y in -1..1, (B, 2, H, W), of the cells of (B, maps, H, W)."""
    batch, _maps, high, wide = x.shape
    across, down = (torch.linspace(-1, 1, count, dtype=x.dtype, device=x.device) for count in (wide, high))
    grid = torch.stack([across.expand(high, wide), down[:, None].expand(high, wide)])
    return grid.expand(batch, -1, -1, -1)


class HeatmapPoints(Landmarker):
    year = 2018
    ja = "計測点ごとの地図で場所を答える。頂点が画素を、その周りの値が画素より細かい位置を示す"
    status = "reduced"
    channels_last = True
    clip = 5.0
    SIZES = {
        "tiny": Config(width=12, levels=4, rate=1e-2),
        "small": Config(),
        "large": Config(width=64, grows=1.6, rate=2e-3),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.network = UNet(config, spec.channels, len(spec.labels))

    def logits(self, image: Tensor) -> Tensor:
        """Return logits (B, K, H, W); sides are padded by repeating the border."""
        high, wide = image.shape[2:]
        step = BLOCK * 2 ** (self.config.levels - 1)
        image = F.pad(image, (0, -wide % step, 0, -high % step), mode="replicate")
        return self.network(image)[..., :high, :wide].float()

    def maps(self, image: Tensor) -> Tensor:
        logits = self.logits(image)
        return logits.flatten(2).softmax(2).view_as(logits)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return around_the_peak(self.maps(image), self.config.reach)  # (B, K, 2), (B, K)

    def loss(self, batch: Batch) -> Tensor:
        assert batch.target is not None
        return cross_entropy(self.logits(batch.image), batch.target, self.config.spread)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        assert batch.target is not None
        parts = zip(batch.image.split(AT_ONCE), batch.target.split(AT_ONCE), strict=True)
        for image, target in parts:
            yield "model", self.loss(Batch(image, target))


def cross_entropy(logits: Tensor, point: Tensor, spread: float) -> Tensor:
    """Return the mean cross-entropy of annotated landmarks, -sum q log softmax(logits).

    ``logits`` is (B, K, H, W), ``point`` (B, K, 2); q is a normal distribution around the point.
    """
    there = point.isfinite().all(2)  # (B, K)
    x, y = point.nan_to_num(0.0).unbind(2)
    across, down = (_normal(at, count, spread) for at, count in ((x, logits.shape[3]), (y, logits.shape[2])))
    expected = torch.einsum("bkhw,bkh,bkw->bk", logits, down, across)
    loss = logits.flatten(2).logsumexp(2) - expected
    return (loss * there).sum() / there.sum().clamp(min=1)


def _normal(at: Tensor, count: int, spread: float) -> Tensor:
    """Discretise normal distributions around (B, K) on a line of pixels: (B, K, count)."""
    middle = torch.arange(count, device=at.device) + 0.5
    return (-0.5 * ((middle - at[..., None]) / spread).square()).softmax(2)


def around_the_peak(chance: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return the mean position around each peak, (B, K, 2), and the probability there, (B, K).

    ``chance`` (B, K, H, W) are heat maps.
    """
    peak = chance.flatten(2).argmax(2)  # (B, K)
    middles, near = [], []
    for at, count in ((peak % chance.shape[3], chance.shape[3]), (peak // chance.shape[3], chance.shape[2])):
        pixel = torch.arange(count, device=chance.device)
        near.append(((pixel - at[..., None]).abs() <= reach).to(chance.dtype))
        middles.append(pixel + 0.5)
    rows = torch.einsum("bkhw,bkw->bkh", chance, near[0]) * near[1]
    columns = torch.einsum("bkhw,bkh->bkw", chance, near[1]) * near[0]
    mass = rows.sum(2)
    position = torch.stack([columns @ middles[0], rows @ middles[1]], 2)
    return position / mass[..., None].clamp(min=1e-12), mass
