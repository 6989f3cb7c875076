"""The critic scores pictures instead of judging them, with a slope that is held at one.

Gulrajani et al.: Improved Training of Wasserstein GANs (2017).
https://arxiv.org/abs/1704.00028

    critic:     E[D(G(z))] - E[D(x)] + 10 E[(|grad D(m)| - 1)^2],   m on the way from x to G(z)
    generator:  -E[D(G(z))]
    G: noise -> 4x4 -> blocks that double the side -> image
    D: image -> blocks that halve the side -> two blocks -> mean over positions -> score

For a slope of at most one, the best critic's scores differ by the distance that images must be
moved to turn the generated distribution into the real one; it falls smoothly as the generator
improves. The critic has five updates per generator update. A batch is split, so that it sees other
real images each time (a batch of 320 gives it the paper's 64), and the generator then generates
twice as many as one part holds. No batch normalisation in the critic, since the slope is per image.
Real images are dequantised with noise within their 256 grey levels, lest the critic recognise them
by the levels.

Size `paper` is the published residual network for CIFAR-10 without labels.

Differs from the paper: one cycle of the rate; any side of 8 pixels or more, by fewer or more blocks
that start from 4 to 7 pixels, cropped at the end where no doubling meets the side. Size `small` has
narrow blocks next to the image and smaller parts of a batch with two critic updates, so that the
generator is updated often; it generates with a moving average of the generator's weights (Yazici et
al.: The Unusual Effectiveness of Averaging in GAN Training, 2018,
https://arxiv.org/abs/1806.04498).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2

import torch
from torch import Tensor, nn
from torch.func import functional_call

from souron.blocks.averaging import follow, in_a_row, unrolled
from souron.tasks.generate import Batch, Generator, Noise, Spec

PENALTY = 10.0


@dataclass(frozen=True)
class Config:
    width: int = 128  # channels of the blocks next to the image
    growth: int = 1  # factor of the width at each halving of the side
    noise: int = 128
    turns: int = 5  # critic updates per generator update
    parts: int = 5  # parts of a batch, each for one critic update
    rate: float = 2e-4
    average: float = 0.0  # decay of the moving average of weights; 0: no average


class Block(nn.Module):
    """A residual block: the sum of ``residual`` and ``shortcut``."""

    def __init__(self, shortcut: nn.Module, *residual: nn.Module) -> None:
        super().__init__()
        self.shortcut, self.residual = shortcut, nn.Sequential(*residual)

    def forward(self, image: Tensor) -> Tensor:
        return self.shortcut(image) + self.residual(image)


class WGANGP(Generator):
    year = 2017
    ja = "本物らしさを点数で測る網の傾きを1に保ち、描く網を安定に学ばせる"
    channels_last = True
    averaged: Tensor  # the generator's weights and statistics, flattened
    SIZES = {
        "tiny": Config(8, 1, 16, 2, 2, rate=2e-3, average=0.9),
        "small": Config(16, 2, 64, 2, 8, rate=1e-3, average=0.99),
        "paper": Config(),
    }
    SHOWN = {"paper": (3, 32, 1)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        doublings = int(log2(spec.side / 4))
        halvings = max(1, int(log2(spec.side / 7)))
        first = ceil(spec.side / 2**doublings)  # side from which doubling starts, in pixels
        widths = [config.width * config.growth**i for i in range(max(doublings, halvings))]
        near, far, deep = widths[0], widths[doublings - 1], widths[halvings - 1]
        inwards = [near, *widths[:doublings]]  # the last doubling keeps its width
        self.generator = nn.Sequential(
            nn.Linear(config.noise, far * first**2),
            nn.Unflatten(1, (far, first, first)),
            *(doubling(before, out) for before, out in pairwise(reversed(inwards))),
            nn.BatchNorm2d(near),
            nn.ReLU(),
            nn.Conv2d(near, spec.channels, 3, padding=1),
            nn.Tanh(),
        )
        self.critic = nn.Sequential(
            halving(spec.channels, near, picture=True),
            *(halving(before, out) for before, out in pairwise(widths[:halvings])),
            *(Block(nn.Identity(), nn.ReLU(), *two(deep, deep, deep)) for _ in range(2)),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(deep, 1),
        )
        for module in self.modules():
            if isinstance(module, Block):
                for layer in module.residual:
                    if isinstance(layer, nn.Conv2d):
                        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.register_buffer("averaged", in_a_row(self.generator) if config.average else None)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        betas = (0.0, 0.9)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), self.config.rate, betas),
            "generator": torch.optim.Adam(self.generator.parameters(), self.config.rate, betas),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        parts = batch.image.chunk(self.config.parts)
        for turn, part in enumerate(parts, 1):  # (B / parts, C, H, W) in -1..1
            real = dequantised(part)
            with torch.no_grad():
                fake = self.image(self.noise(len(real)))
            # critic: Wasserstein distance with gradient penalty
            score, fake_score = self.critic(torch.cat([real, fake])).float().chunk(2)
            penalty = slope_penalty(self.critic, real, fake)
            yield "critic", fake_score.mean() - score.mean() + PENALTY * penalty
            # generator: every few critic steps
            if turn % self.config.turns == 0 or turn == len(parts):
                fake = self.image(self.noise(2 * len(real)))
                yield "generator", -self.critic(fake).float().mean()

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.config.noise, device=self.device)

    def image(self, noise: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Generate (B, C, H, W) in -1..1 from noise (B, noise), optionally by other ``weights``."""
        image = functional_call(self.generator, weights or {}, noise)
        return image[..., : self.spec.side, : self.spec.side]

    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        yield self.image(noise.normal(self.config.noise), self.averages())

    def averages(self) -> dict[str, Tensor]:
        """Return the moving average of the generator's weights; empty without an average."""
        return unrolled(self.averaged, self.generator) if self.config.average else {}

    def after_update(self, step: int) -> None:
        if self.config.average:
            follow(self.averaged, self.generator, self.config.average, step)


def dequantised(image: Tensor) -> Tensor:
    """Dequantise grey values to -1..1, with uniform noise within each bin of width 1/128."""
    grey = (127.5 * image + 127.5).round()
    return (grey + torch.rand_like(grey)) / 128 - 1


def two(before: int, between: int, out: int) -> tuple[nn.Module, ...]:
    return (nn.Conv2d(before, between, 3, padding=1), nn.ReLU(), nn.Conv2d(between, out, 3, padding=1))


def doubling(before: int, out: int) -> Block:
    return Block(
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, out, 1)),
        nn.BatchNorm2d(before),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(before, out, 3, padding=1),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        nn.Conv2d(out, out, 3, padding=1),
    )


def halving(before: int, out: int, *, picture: bool = False) -> Block:
    """Return a block that halves the side; an image enters it without an activation.

    Pooling before the shortcut's 1x1 convolution costs a quarter of pooling after it, with the same
    result.
    """
    return Block(
        nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(before, out, 1)),
        nn.Identity() if picture else nn.ReLU(),
        *two(before, out if picture else before, out),
        nn.AvgPool2d(2),
    )


def slope_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of (|grad D| - 1)^2 at random points between ``real`` and ``fake``.

    Both are (B, C, H, W).
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    # a second derivative, for which bfloat16 is too coarse
    with torch.autocast(real.device.type, enabled=False):
        between = torch.lerp(real, fake.float(), share).requires_grad_()
        [slope] = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
