"""A style scales the weights of every layer: no normalisation, no blobs, no growing.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila: Analyzing and Improving the Image Quality of
StyleGAN (2019), the second version of `stylegan`.
https://arxiv.org/abs/1912.04958

    w = mapping(z)                      eight layers; styles are less entangled than noise
    s = A w + 1                         one number for each feature that a layer takes
    w'_oik = s_i w_oik                  modulation, in place of adaptive instance normalisation
    w''_oik = w'_oik / sqrt(sum over i and k of w'_oik^2)      demodulation
    constant -> layer, noise -> layer, noise -> ... ; each side's colours are added up
    D: log D(real) + log(1 - D(drawn)), of G: -log D(drawn)
    R1 = gamma / 2 * E[|dD/dx|^2] at real x, in every 16th update

Nine of ten training images mix two styles, so that each layer's is independent: the first layers
determine the content, the last the appearance. Truncation moves styles towards their mean, at a
loss of variety. Size `paper` is configuration F at 1024 pixels.

Differs from the paper: doubling starts from 4 to 8 pixels (28 = 7 * 2 * 2), and where it does not
meet the side, images are padded by repeating their edges for training and cropped when generated.
The decay of the averaged weights is 0.99 per step, for short trainings; `tiny` and `small` weigh R1
less; one cycle of the rate. Reduced: no path length regularisation.
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

EVERY = 16  # updates between two of R1 (lazy regularisation)
AVERAGE = 0.99  # decay of the moving average of the generator's weights


@dataclass(frozen=True)
class Config:
    width: int = 32  # channels next to the image; doubled at every step away from it
    most: int = 512  # most channels
    style: int = 512  # dimensions of style and noise
    rate: float = 2e-3
    gamma: float = 10.0  # weight of R1
    layers: int = 8  # of the mapping network
    part: int = 32  # images per update


class Linear(nn.Module):
    """Linear layer with equalised learning rate, multiplied by ``speed``."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0, speed: float = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / speed)
        self.bias = nn.Parameter(torch.full((outputs,), bias / speed))
        self.scale, self.speed = speed / sqrt(inputs), speed

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.speed)


class Conv(nn.Module):
    """Convolution with equalised learning rate; ``halve`` blurs and halves, 1 x 1 without bias."""

    def __init__(self, inputs: int, outputs: int, side: int, halve: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if side > 1 or not halve else None
        self.scale, self.padding, self.halve = 1 / sqrt(inputs * side**2), side // 2, halve

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if self.halve:
            return F.conv2d(blur(x, 1 + self.padding), weight, self.bias, stride=2)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class Modulated(nn.Module):
    """Convolution with weights modulated by each image's style: (B, C, H, W) -> (B, C', H, W).

    The style scales the input and demodulation the output: shared weights on scaled features equal
    separate weights per image, several times as fast as a grouped convolution. ``up`` doubles the
    side, ``plain`` omits demodulation.
    """

    def __init__(self, inputs: int, outputs: int, side: int, style: int) -> None:
        super().__init__()
        self.style = Linear(style, inputs, bias=1)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / sqrt(inputs * side**2)

    def forward(self, x: Tensor, style: Tensor, up: bool = False, plain: bool = False) -> Tensor:
        scale = self.style(style)  # (B, inputs)
        weight = self.weight * self.scale
        x = x * scale[..., None, None].to(x.dtype)
        if up:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not plain:
            # no matrix product: autocast would compute it in bfloat16
            square = scale.float().square()[:, None] * weight.square().sum((2, 3))
            x = x * (square.sum(2) + 1e-8).rsqrt()[..., None, None].to(x.dtype)
        return x + self.bias[:, None, None].to(x.dtype)


class Layer(nn.Module):
    """A modulated convolution, then noise with a trained strength."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, 3, style)
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        x = self.conv(x, style, up=noise.shape[-1] > x.shape[-1])
        return activate(x + (self.strength * noise).to(x.dtype))


class Painter(nn.Module):
    """The generator; ``widths`` are listed from the constant, ``first`` pixels a side, outwards."""

    def __init__(self, config: Config, widths: list[int], first: int, channels: int) -> None:
        super().__init__()
        style, layers = config.style, range(config.layers)
        self.mapping = nn.ModuleList(Linear(style, style, speed=0.01) for _ in layers)
        self.constant = nn.Parameter(torch.randn(widths[0], first, first))
        self.layers = nn.ModuleList([Layer(widths[0], widths[0], style)])
        for wide, narrow in pairwise(widths):
            self.layers.extend([Layer(wide, narrow, style), Layer(narrow, narrow, style)])
        self.colours = nn.ModuleList(Modulated(width, channels, 1, style) for width in widths)

    def style(self, noise: Tensor) -> Tensor:
        """Map noise (..., style) to styles (..., style)."""
        x = noise * (noise.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            x = activate(layer(x))
        return x.float()

    def forward(self, styles: Tensor, noise: Callable[[int], Tensor]) -> Tensor:
        """Map styles (B, layers + 1, style) to (B, C, H, W); ``noise(s)`` is (B, 1, s, s)."""
        x = self.constant.expand(styles.shape[0], -1, -1, -1)
        image = torch.zeros_like(x[:1, :1])  # sum of each side's colours
        for i, layer in enumerate(self.layers):
            x = layer(x, styles[:, i], noise(x.shape[-1] << i % 2))
            if i % 2:  # the first of two layers doubles the side
                image = F.interpolate(image, scale_factor=2.0, mode="bilinear")
            else:
                colour = self.colours[i // 2](x, styles[:, i + 1], plain=True)
                image = image + colour.float()
        return image


class Residual(nn.Module):
    """Residual block of two convolutions that halves the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Conv(inputs, inputs, 3)
        self.second = Conv(inputs, outputs, 3, halve=True)
        self.short = Conv(inputs, outputs, 1, halve=True)

    def forward(self, x: Tensor) -> Tensor:
        y = activate(self.second(activate(self.first(x))))
        return (y + self.short(x)) / sqrt(2)


class Critic(nn.Module):
    """The critic: images -> scores (B,), high for real ones; ``widths`` from the image inwards."""

    def __init__(self, widths: list[int], first: int, channels: int) -> None:
        super().__init__()
        self.colour = Conv(channels, widths[0], 1)
        self.blocks = nn.Sequential(*[Residual(a, b) for a, b in pairwise(widths)])
        self.conv = Conv(widths[-1] + 1, widths[-1], 3)
        self.whole = Linear(widths[-1] * first**2, widths[-1])
        self.score = Linear(widths[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(activate(self.colour(image)))
        x = activate(self.conv(torch.cat([x, deviation(x)], 1)))
        return self.score(activate(self.whole(x.flatten(1)))).flatten().float()


class StyleGAN2(Generator):
    year = 2019
    ja = "雑音から作った様式が各層の重みそのものを伸縮し、正規化を使わずに画を描く"
    status = "reduced"
    channels_last = True
    SIZES = {"tiny": Config(8, 16, 16, 4e-3, 0.01), "small": Config(16, 64, 64, 4e-3, 0.01), "paper": Config()}
    SHOWN = {"paper": (3, 1024, 1)}
    mean: Tensor  # (style,) moving average of styles

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        steps = int(log2(spec.side / 4))  # doublings
        first = ceil(spec.side / 2**steps)  # side of the constant in pixels
        self.missing = first * 2**steps - spec.side  # padding to the training side in pixels
        widths = [min(config.width * 2**i, config.most) for i in range(steps + 1)]
        self.generator = Painter(config, widths[::-1], first, spec.channels)
        self.critic = Critic(widths, first, spec.channels)
        self.average = follower(self.generator)
        self.register_buffer("mean", torch.zeros(config.style))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, share = self.config.rate, EVERY / (EVERY + 1)  # corrects for R1's extra updates
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), share * rate, (0.0, 0.99**share)),
            "generator": torch.optim.Adam(self.generator.parameters(), rate, (0.0, 0.99)),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        # many small updates train faster than one large one
        parts = batch.image.split(self.config.part)
        for update, part in enumerate(parts, step * len(parts)):
            real = F.pad(part, (0, self.missing, 0, self.missing), mode="replicate")
            if update % EVERY == 0:
                yield "critic", EVERY * self.config.gamma / 2 * self.slope(real)
            fake_score = self.critic(self.image(len(real)).detach())
            yield "critic", (F.softplus(-self.critic(real)) + F.softplus(fake_score)).mean()
            yield "generator", F.softplus(-self.critic(self.image(len(real)))).mean()

    def image(self, count: int) -> Tensor:
        """Generate (count, C, H, W) from random styles and noise, most with two mixed styles."""
        noise = torch.randn(2, count, self.config.style, device=self.device)
        first, second = self.generator.style(noise)
        self.mean.lerp_(first.detach().mean(0), 0.005)
        layers = len(self.generator.layers) + 1
        begin = torch.randint(1, layers, (count,), device=self.device)
        mixing = torch.rand(count, device=self.device) < 0.9
        styles = self.cross(first, second, torch.where(mixing, begin, layers))
        return self.generator(styles, lambda side: torch.randn(count, 1, side, side).to(self.device))

    def cross(self, first: Tensor, second: Tensor, begin: Tensor) -> Tensor:
        """Mix styles (B, style): (B, layers + 1, style), ``second`` from ``begin`` (B,) on."""
        layer = torch.arange(len(self.generator.layers) + 1, device=first.device)[:, None]
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
        begin = torch.full((both.shape[1],), mix or len(self.average.layers) + 1, device=self.device)
        styles = self.cross(first, second, begin)
        image = self.average(styles, lambda side: noise.normal(1, side, side))
        yield image[..., : self.spec.side, : self.spec.side]


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU scaled to keep the variance of normal features."""
    return F.leaky_relu(x, 0.2) * sqrt(2)


def blur(x: Tensor, padding: int, gain: float = 1) -> Tensor:
    """Blur each feature with the binomial filter 1, 3, 3, 1, against resampling artefacts."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device)
    kernel = (line[:, None] * line * (gain / 64)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel.to(x.dtype), padding=padding, groups=x.shape[1])


def deviation(x: Tensor) -> Tensor:
    """Return the minibatch standard deviation (B, 1, H, W), the mean over features and pixels."""
    group = 4 if len(x) % 4 == 0 else len(x)
    groups = x.float().unflatten(0, (group, -1))  # (group, B / group, C, H, W)
    spread = ((groups - groups.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.to(x.dtype).repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
