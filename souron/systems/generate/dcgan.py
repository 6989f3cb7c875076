"""Two convolutional networks compete: one draws from noise, one tells drawn from real.

Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional GANs (2015).
https://arxiv.org/abs/1511.06434

    min_G max_D  E[log D(x)] + E[log(1 - D(G(z)))]      G is trained on -log D(G(z))
    G: noise -> 4x4 -> 8x8 -> ... -> image, each step a convolution that doubles the side
    D: the same way back, each step a convolution that halves the side

Size `paper` is the published one at 64 pixels a side, with its 5x5 kernels. The smaller sizes have
4x4 ones, as many later programs: a stride of two divides them evenly.

Differs from the paper: one cycle of the rate; any side of 8 pixels or more, by fewer or more steps
that start from 4 to 7 pixels (28 = 7 * 2 * 2), cropped at the end where no doubling meets the side;
the smaller sizes generate with a moving average of the generator's weights (Yazici et al.: The
Unusual Effectiveness of Averaging in GAN Training, 2018, https://arxiv.org/abs/1806.04498); `small`
trains on a batch in parts, with more steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from souron.blocks.averaging import follow, in_a_row, unrolled
from souron.tasks.generate import Batch, Generator, Noise, Spec


@dataclass(frozen=True)
class Config:
    width: int = 128  # channels next to the image; doubled at every step away from it
    noise: int = 100
    rate: float = 2e-4
    momentum: float = 0.5
    parts: int = 1  # parts of a batch, one update each
    average: float = 0.0  # decay of the moving average of weights; 0: no average
    kernel: int = 5  # pixels a side


class DCGAN(Generator):
    year = 2015
    ja = "ノイズから画を描く網と、本物かどうかを見抜く網を競わせる"
    channels_last = True
    averaged: Tensor  # the generator's weights and statistics, flattened
    SIZES = {
        "tiny": Config(8, 16, 2e-3, average=0.9, kernel=4),
        "small": Config(32, rate=5e-4, parts=4, average=0.99, kernel=4),
        "paper": Config(),
    }
    SHOWN = {"paper": (3, 64, 1)}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        steps = int(log2(spec.side / 4))
        widths = [config.width * 2**i for i in range(steps)]  # from the image inwards
        first = ceil(spec.side / 2**steps)  # pixels a side that doubling starts from
        kernel, odd = config.kernel, config.kernel % 2
        last = first if odd else spec.side >> steps  # pixels a side that halving ends with

        def double(wide: int, narrow: int) -> nn.Module:
            padding = (kernel - 1) // 2
            return nn.ConvTranspose2d(wide, narrow, kernel, 2, padding, odd, bias=False)

        def halve(narrow: int, wide: int) -> nn.Module:
            return nn.Conv2d(narrow, wide, kernel, 2, (kernel - 1) // 2, bias=False)

        self.generator = nn.Sequential(
            nn.ConvTranspose2d(config.noise, widths[-1], first, bias=False), nn.BatchNorm2d(widths[-1]), nn.ReLU()
        )
        for wide, narrow in pairwise(reversed(widths)):
            self.generator.extend([double(wide, narrow), nn.BatchNorm2d(narrow), nn.ReLU()])
        self.generator.append(double(widths[0], spec.channels))

        self.critic = nn.Sequential(halve(spec.channels, widths[0]), nn.LeakyReLU(0.2))
        for narrow, wide in pairwise(widths):
            self.critic.extend([halve(narrow, wide), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)])
        self.critic.append(nn.Conv2d(widths[-1], 1, last, bias=False))

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.02)
        self.register_buffer("averaged", in_a_row(self.generator) if config.average else None)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        betas = (self.config.momentum, 0.999)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), self.config.rate, betas),
            "generator": torch.optim.Adam(self.generator.parameters(), self.config.rate, betas),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        for real in batch.image.chunk(self.config.parts):  # (B / parts, C, H, W) in -1..1
            fake = self.image(self.noise(len(real))).detach()
            # softplus(-a) = -log D and softplus(a) = -log(1 - D), where D = sigmoid(a)
            yield ("critic", F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake)).mean())
            fake = self.image(self.noise(len(real)))
            yield "generator", F.softplus(-self.critic(fake)).mean()

    def noise(self, count: int) -> Tensor:
        return 2 * torch.rand(count, self.config.noise, device=self.device) - 1

    def image(self, noise: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Generate (B, C, H, W) in -1..1 from noise (B, noise), optionally by other ``weights``."""
        image = functional_call(self.generator, weights or {}, noise[..., None, None])
        return image.tanh()[..., : self.spec.side, : self.spec.side]

    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        yield self.image(2 * noise.uniform(self.config.noise) - 1, self.averages())

    def averages(self) -> dict[str, Tensor]:
        """Return the moving average of the generator's weights; empty without an average."""
        return unrolled(self.averaged, self.generator) if self.config.average else {}

    def after_update(self, step: int) -> None:
        if self.config.average:
            follow(self.averaged, self.generator, self.config.average, step)
