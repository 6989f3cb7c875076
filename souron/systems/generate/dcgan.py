"""Two convolutional networks compete: one draws from noise, the other tells drawn from real.

Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional GANs (2015).
https://arxiv.org/abs/1511.06434

    min_G max_D  E[log D(x)] + E[log(1 - D(G(z)))]      G is trained on -log D(G(z))

Differs from the paper: a 3x3 convolution meets the picture; any side of 4, 8, 16, ... pixels.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.generate import Generator, Seen


@dataclass(frozen=True)
class Config:
    width: int = 64
    noise: int = 100
    rate: float = 2e-4
    momentum: float = 0.5


class DCGAN(Generator):
    year = 2015
    ja = "ノイズから画を描く網と、本物かどうかを見抜く網を競わせる"
    channels_last = True
    SIZES = {"tiny": Config(8, 16, 2e-3), "small": Config(32), "paper": Config(128)}

    def __init__(self, config: Config, seen: Seen):
        super().__init__(config, seen)
        widths = [config.width * 2**i for i in range(int(log2(seen.side // 4)) + 1)]

        self.generator = nn.Sequential(
            nn.ConvTranspose2d(config.noise, widths[-1], 4)
        )  # 1 -> 4 pixels a side
        for wide, narrow in pairwise(reversed(widths)):
            self.generator.extend(
                [nn.BatchNorm2d(wide), nn.ReLU(), nn.ConvTranspose2d(wide, narrow, 4, 2, 1)]
            )
        self.generator.extend(
            [nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.Conv2d(widths[0], seen.channels, 3, 1, 1)]
        )

        self.critic = nn.Sequential(nn.Conv2d(seen.channels, widths[0], 3, 1, 1), nn.LeakyReLU(0.2))
        for narrow, wide in pairwise(widths):
            self.critic.extend(
                [nn.Conv2d(narrow, wide, 4, 2, 1), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
            )
        self.critic.append(nn.Conv2d(widths[-1], 1, 4))  # 4 pixels a side -> one opinion

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        betas = (self.config.momentum, 0.999)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), self.config.rate, betas),
            "generator": torch.optim.Adam(self.generator.parameters(), self.config.rate, betas),
        }

    def updates(self, batch, step: int):
        real = batch.image  # (B, C, H, W) in -1..1
        drawn = self.draw(len(real)).detach()
        yield (
            "critic",
            F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(drawn)).mean(),
        )
        yield "generator", F.softplus(-self.critic(self.draw(len(real)))).mean()

    def draw(self, count: int) -> Tensor:
        noise = torch.randn(count, self.config.noise, 1, 1, device=self.device)
        return self.generator(noise).tanh()  # (count, C, H, W)
