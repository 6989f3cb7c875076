"""Noise becomes a style, and the style sets mean and spread of every layer's features.

Karras, Laine, Aila: A Style-Based Generator Architecture for Generative Adversarial Networks
(2018). https://arxiv.org/abs/1812.04948

    w = mapping(z)                          eight layers; styles are less entangled than noise
    (scale, shift) = A w                    one pair for each feature of a layer
    AdaIN(x, w) = (1 + scale) (x - mean(x)) / spread(x) + shift     of each feature and image
    constant -> noise -> AdaIN -> convolution -> noise -> AdaIN -> ... -> colours
    D: log D(real) + log(1 - D(drawn)) - gamma / 2 E[|dD/dx|^2] at real x (R1)     G: log D(drawn)

The image starts from a learnt constant: its content is determined by styles alone, one per layer.
AdaIN replaces each feature's mean and spread, so that a style lasts until the next layer. Noise,
added at every layer, gives the details that styles leave open. Nine of ten training images mix two
styles, so that each layer's is independent. Truncation moves styles towards their mean, at a loss
of variety. The critic also sees how much four images differ.

Size `paper` has the published networks for 1024 pixels. `stylegan2` is the later version.

Differs from the paper: doubling starts from 4 to 8 pixels (28 = 7 * 2 * 2), and where it does not
meet the side, images are padded by repeating their edges for training and cropped when generated.
The decay of the averaged weights is 0.99 per step, for short trainings; the constant is initialised
randomly, not with ones, whose spread of 0 AdaIN would divide by; `tiny` and `small` weigh R1 less;
R1 is computed in every 16th update, 16 times as strong (lazily, as in `stylegan2`); one cycle of
the rate. Truncation applies to all layers alike. Reduced: all layers are trained from the start,
where the paper adds them one by one, as `progan` does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2, sqrt
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.kinds.signature import Choice
from souron.tasks.generate import Batch, Generator, Noise, Spec
from souron.utils.messages import N_

EVERY = 16  # updates between two of R1 (lazy regularisation, as `stylegan2` does)
MAPPING = 8  # layers of the mapping network
AVERAGE = 0.99  # decay of the moving average of the generator's weights
STATISTICS = 4  # images per group of the minibatch standard deviation


@dataclass(frozen=True)
class Config:
    width: int = 16  # channels next to the image; doubled at every step away from it
    most: int = 512  # most channels
    style: int = 512  # dimensions of style and noise
    rate: float = 1e-3
    gamma: float = 10.0  # weight of R1
    mixing: float = 0.9  # share of images with two styles
    part: int = 32  # images per update


class Linear(nn.Module):
    """Linear layer with equalised learning rate, multiplied by ``speed``."""

    def __init__(self, inputs: int, outputs: int, gain: float = sqrt(2), speed: float = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / speed)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.speed = gain * speed / sqrt(inputs), speed

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.speed)


class Conv(nn.Module):
    """Convolution with equalised learning rate that keeps the side."""

    def __init__(self, inputs: int, outputs: int, side: int, gain: float = sqrt(2), bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.padding = gain / sqrt(inputs * side**2), side // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class AdaIN(nn.Module):
    """Adaptive instance normalisation: (B, C, H, W), (B, style) -> (B, C, H, W).

    Each feature of each image is normalised and gets the mean and spread that the style sets.
    """

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.told = Linear(style, 2 * channels, gain=1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.told(style).float()[..., None, None].chunk(2, 1)
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        x32 = (x.float() - mean) * (variance + 1e-8).rsqrt()
        return ((1 + scale) * x32 + shift).to(x.dtype)


class Layer(nn.Module):
    """A convolution (except in the first layer), noise, a leaky ReLU, and AdaIN.

    The strength of the noise is trained per feature, starting from 0.
    """

    def __init__(self, inputs: int, outputs: int, style: int, first: bool = False) -> None:
        super().__init__()
        self.conv = nn.Identity() if first else Conv(inputs, outputs, 3, bias=False)
        self.strength = nn.Parameter(torch.zeros(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.adain = AdaIN(outputs, style)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        x = blur(self.conv(F.interpolate(x, scale_factor=2.0))) if noise.shape[-1] > x.shape[-1] else self.conv(x)
        x = x + (over(self.strength) * noise + over(self.bias)).to(x.dtype)
        return self.adain(F.leaky_relu(x, 0.2), style)


class Painter(nn.Module):
    """The generator; ``widths`` are listed from the constant, ``first`` pixels a side, outwards."""

    def __init__(self, style: int, widths: list[int], first: int, channels: int) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(Linear(style, style, speed=0.01) for _ in range(MAPPING))
        self.constant = nn.Parameter(torch.randn(widths[0], first, first))
        self.layers = nn.ModuleList(
            [Layer(widths[0], widths[0], style, first=True), Layer(widths[0], widths[0], style)]
        )
        for wide, narrow in pairwise(widths):
            self.layers.extend([Layer(wide, narrow, style), Layer(narrow, narrow, style)])
        self.colours = Conv(widths[-1], channels, 1, gain=1)

    def style(self, noise: Tensor) -> Tensor:
        """Map noise (..., style) to styles (..., style)."""
        x = noise * (noise.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            x = F.leaky_relu(layer(x), 0.2)
        return x.float()

    def forward(self, styles: Tensor, noise: Callable[[int], Tensor]) -> Tensor:
        """Map styles (B, layers, style) to (B, C, H, W); ``noise(s)`` is (B, 1, s, s)."""
        x = self.constant.expand(styles.shape[0], -1, -1, -1)
        for i, layer in enumerate(self.layers):
            doubles = i > 1 and i % 2 == 0  # the first of two layers doubles the side
            x = layer(x, styles[:, i], noise(x.shape[-1] << doubles))
        return self.colours(x).float()


class Down(nn.Module):
    """Two convolutions, after which the side is halved."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = Conv(inputs, inputs, 3), Conv(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        return F.leaky_relu(F.avg_pool2d(self.second(blur(x)), 2), 0.2)


class Critic(nn.Module):
    """The critic: images -> scores (B,), high for real ones; ``widths`` from the image inwards."""

    def __init__(self, widths: list[int], first: int, channels: int) -> None:
        super().__init__()
        self.colours = Conv(channels, widths[0], 1)
        self.blocks = nn.Sequential(*[Down(a, b) for a, b in pairwise(widths)])
        self.conv = Conv(widths[-1] + 1, widths[-1], 3)
        self.whole = Linear(widths[-1] * first**2, widths[-1])
        self.score = Linear(widths[-1], 1, gain=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(F.leaky_relu(self.colours(image), 0.2))
        x = F.leaky_relu(self.conv(torch.cat([x, deviation(x)], 1)), 0.2)
        x = F.leaky_relu(self.whole(x.flatten(1)), 0.2)
        return self.score(x).flatten().float()


class StyleGAN(Generator):
    year = 2018
    ja = "雑音から様式を作り、適応的インスタンス正規化で各層の特徴の平均と広がりを定めて画を描く"
    status = "reduced"
    channels_last = True
    SIZES = {"tiny": Config(8, 16, 16, 2e-3, 0.1), "small": Config(16, 64, 64, 2e-3, 0.1), "paper": Config()}
    SHOWN = {"paper": (3, 1024, 1)}
    mean: Tensor  # (style,) moving average of styles

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        steps = int(log2(spec.side / 4))  # doublings
        first = ceil(spec.side / 2**steps)  # side of the constant in pixels
        self.missing = first * 2**steps - spec.side  # padding to the training side in pixels
        widths = [min(config.width * 2**i, config.most) for i in range(steps + 1)]
        self.generator = Painter(config.style, widths[::-1], first, spec.channels)
        self.critic = Critic(widths, first, spec.channels)
        self.average = follower(self.generator)
        self.register_buffer("mean", torch.zeros(config.style))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, betas = self.config.rate, (0.0, 0.99)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), rate, betas),
            "generator": torch.optim.Adam(self.generator.parameters(), rate, betas),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        # many small updates train faster than one large one
        parts = batch.image.split(self.config.part)
        for update, part in enumerate(parts, step * len(parts)):
            real = F.pad(part, (0, self.missing, 0, self.missing), mode="replicate")
            fake_score = self.critic(self.image(len(real)).detach())
            loss = (F.softplus(-self.critic(real)) + F.softplus(fake_score)).mean()
            if update % EVERY == 0:
                loss = loss + EVERY * self.config.gamma / 2 * self.slope(real)
            yield "critic", loss
            yield "generator", F.softplus(-self.critic(self.image(len(real)))).mean()

    def image(self, count: int) -> Tensor:
        """Generate (count, C, H, W) from random styles and noise, most with two mixed styles."""
        noise = torch.randn(2, count, self.config.style, device=self.device)
        first, second = self.generator.style(noise)
        self.mean.lerp_(first.detach().mean(0), 0.005)
        layers = len(self.generator.layers)
        begin = torch.randint(1, layers, (count,), device=self.device)
        mixing = torch.rand(count, device=self.device) < self.config.mixing
        styles = self.cross(first, second, torch.where(mixing, begin, layers))
        return self.generator(styles, lambda side: torch.randn(count, 1, side, side).to(self.device))

    def cross(self, first: Tensor, second: Tensor, begin: Tensor) -> Tensor:
        """Mix styles (B, style): (B, layers, style), ``second`` from layer ``begin`` (B,) on."""
        layer = torch.arange(len(self.generator.layers), device=first.device)[:, None]
        return torch.where(layer < begin[:, None, None], first[:, None], second[:, None])

    def slope(self, real: Tensor) -> Tensor:
        """Return E[|dD/dx|^2]. Its gradient is a second derivative, too coarse in bfloat16."""
        with torch.autocast(real.device.type, enabled=False):
            real = real.detach().requires_grad_()
            [slope] = torch.autograd.grad(self.critic(real).sum(), real, create_graph=True)
            return slope.square().sum((1, 2, 3)).mean()

    def after_update(self, step: int) -> None:
        lead(self.average, self.generator, AVERAGE, step)

    def drawing(
        self,
        noise: Noise,
        label: Tensor,
        *,
        truncation: Annotated[
            float, Choice(N_("how far styles may be from the mean: 0 gives the mean, 1 all"), 0, 2)
        ] = 1.0,
        mix: Annotated[int, Choice(N_("layers until a second style takes over; 0: one style alone"), 0)] = 0,
    ) -> Iterator[Tensor]:
        both = noise.normal(2, self.config.style).transpose(0, 1)
        first, second = self.mean.lerp(self.average.style(both), truncation)
        begin = torch.full((both.shape[1],), mix or len(self.average.layers), device=self.device)
        styles = self.cross(first, second, begin)
        image = self.average(styles, lambda side: noise.normal(1, side, side))
        yield image[..., : self.spec.side, : self.spec.side]


def over(features: Tensor) -> Tensor:
    """Broadcast (C,) over images (B, C, H, W)."""
    return features[:, None, None]


def blur(x: Tensor) -> Tensor:
    """Blur each feature with the binomial filter 1, 2, 1, against grid artefacts of upsampling."""
    line = torch.tensor([1.0, 2.0, 1.0], device=x.device)
    kernel = (line[:, None] * line / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel.to(x.dtype), padding=1, groups=x.shape[1])


def deviation(x: Tensor) -> Tensor:
    """Return the minibatch standard deviation (B, 1, H, W), the mean over features and pixels."""
    group = STATISTICS if len(x) % STATISTICS == 0 else len(x)
    groups = x.float().unflatten(0, (group, -1))  # (group, B / group, C, H, W)
    spread = ((groups - groups.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.to(x.dtype).repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
