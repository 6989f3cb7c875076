"""Two networks of plain layers compete: one draws from noise, one tells drawn from real.

Goodfellow et al.: Generative Adversarial Networks (2014).
https://arxiv.org/abs/1406.2661

    min_G max_D  E[log D(x)] + E[log(1 - D(G(z)))]      G is trained on -log D(G(z))
    G: noise -> relu -> relu -> image                 D: image -> maxout -> maxout -> real?

A maxout unit is the largest of several weighted sums. The critic D has dropout, of a fifth of the
pixels and half of the hidden units, so that it does not win too soon.

Size `paper` has the widths and the dropout that the paper's code trains on MNIST.

Differs from the paper: Adam with one cycle of the rate, in place of gradient descent with momentum;
pixels lie in -1..1, so that the generator ends in tanh, a rescaled sigmoid; size `small` generates
with a moving average of the generator's weights (Yazici et al.: The Unusual Effectiveness of
Averaging in GAN Training, 2018, https://arxiv.org/abs/1806.04498) and has no momentum.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from souron.blocks.averaging import follow, in_a_row, unrolled
from souron.tasks.generate import Batch, Generator, Noise, Spec


@dataclass(frozen=True)
class Config:
    width: int = 1200  # of the generator's hidden layers
    units: int = 240  # of the critic's hidden layers
    pieces: int = 5  # linear units per maxout unit
    noise: int = 100
    rate: float = 2e-4
    momentum: float = 0.5
    average: float = 0.0  # decay of the moving average of weights; 0: no average


class Maxout(nn.Module):
    """Maxout layer, the largest of ``pieces`` linear units.

    Goodfellow et al.: Maxout Networks (2013). https://arxiv.org/abs/1302.4389
    """

    def __init__(self, before: int, units: int, pieces: int) -> None:
        super().__init__()
        self.sums = nn.Linear(before, units * pieces)
        self.pieces = pieces

    def forward(self, value: Tensor) -> Tensor:
        return self.sums(value).unflatten(1, (-1, self.pieces)).amax(2)  # (B, units)


class GAN(Generator):
    year = 2014
    ja = "全結合の網だけで、ノイズから画を描く側と本物かどうかを見抜く側を競わせる"
    averaged: Tensor  # the generator's weights, flattened
    SIZES = {
        "tiny": Config(32, 16, 2, 16, 2e-3, average=0.9),
        "small": Config(512, 120, 5, 32, 2e-3, 0.0, 0.998),
        "paper": Config(),
    }
    SHOWN = {"paper": (1, 28, 10)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        values = spec.channels * spec.side**2
        self.generator = nn.Sequential(
            nn.Linear(config.noise, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, values),
            nn.Tanh(),
        )
        self.critic = nn.Sequential(
            nn.Dropout(0.2),
            Maxout(values, config.units, config.pieces),
            nn.Dropout(0.5),
            Maxout(config.units, config.units, config.pieces),
            nn.Dropout(0.5),
            nn.Linear(config.units, 1),
        )
        self.register_buffer("averaged", in_a_row(self.generator) if config.average else None)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        betas = (self.config.momentum, 0.999)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), self.config.rate, betas),
            "generator": torch.optim.Adam(self.generator.parameters(), self.config.rate, betas),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        real = batch.image.flatten(1)  # (B, C * H * W) in -1..1
        fake = self.generator(self.noise(len(real))).detach()
        # softplus(-a) = -log D and softplus(a) = -log(1 - D), where D = sigmoid(a)
        yield ("critic", F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake)).mean())
        yield "generator", F.softplus(-self.critic(self.generator(self.noise(len(real))))).mean()

    def noise(self, count: int) -> Tensor:
        return 2 * torch.rand(count, self.config.noise, device=self.device) - 1

    def after_update(self, step: int) -> None:
        if self.config.average:
            follow(self.averaged, self.generator, self.config.average, step)

    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        weights = unrolled(self.averaged, self.generator) if self.config.average else {}
        image = functional_call(self.generator, weights, 2 * noise.uniform(self.config.noise) - 1)
        yield image.view(-1, self.spec.channels, self.spec.side, self.spec.side)
