"""Two competing networks begin with tiny pictures and grow, a finer layer at a time.

Karras, Aila, Laine, Lehtinen: Progressive Growing of GANs for Improved Quality, Stability, and
Variation (2017).
https://arxiv.org/abs/1710.10196

    image = (1 - a) * double(colours(x)) + a * colours(block(double(x)))    a: 0 -> 1, fade-in
    L_D = E[D(drawn)] - E[D(real)] + 10 E[(|dD/dx| - 1)^2] + 0.001 E[D(real)^2]
    L_G = -E[D(drawn)]                                    x: between a real and a generated image
    weights w ~ N(0, 1) are used as w * sqrt(2 / fan_in), so that all layers learn equally fast
    each pixel's features are divided by their root mean square

The critic also sees how much the images of a batch differ (minibatch standard deviation). A moving
average of the generator's weights is used for generation.

Size `paper` is the published one at 1024 pixels a side.

Differs from the paper: the side from which doubling starts is 4 to 8 pixels (28 = 7 * 2 * 2), and
where no doubling meets the side, images are padded by repeating their edges for training and
cropped when generated; each stage takes twice the budget of the one before it, since it costs more,
with fade-in during the first half; one cycle of the rate; the optimizer keeps its moments when a
stage starts; the average's decay is 0.999 per whole batch, not per update, less in the first steps,
and 0.99 for `tiny` and `small`, as they are trained for minutes; the minibatch statistic uses a
whole part of the batch, not groups of four.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.blocks.portable import Portable
from souron.tasks.generate import Batch, Generator, Noise, Spec

FADE = 0.5  # fade-in, as a share of a stage's budget


@dataclass(frozen=True)
class Config:
    width: int = 16  # channels next to the image; doubled at every step away from it
    most: int = 512  # most channels
    noise: int = 512
    rate: float = 1e-3
    average: float = 0.999  # decay of the moving average of the generator's weights
    part: int = 16  # images per update


class Conv(nn.Module):
    """A convolution with equalised learning rate: weights are scaled at every use."""

    def __init__(self, inputs: int, outputs: int, side: int, padding: int = 0, gain: float = 2):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.padding, self.scale = padding, sqrt(gain / (inputs * side**2))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class Spread(Conv):
    """(B, C, 1, 1) -> (B, C', side, side), with separate weights for each position."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, (self.weight * self.scale).transpose(0, 1), self.bias)


class PixelNorm(nn.Module):
    """Pixelwise feature normalisation by the root mean square, computed in float32."""

    def forward(self, x: Tensor) -> Tensor:
        square = x.float().square().mean(1, keepdim=True)
        return x * (square + 1e-8).rsqrt().to(x.dtype)


class MinibatchDeviation(nn.Module):
    """Append a channel with the minibatch standard deviation, averaged over features and pixels.

    It reveals a generator that repeats the same image.
    """

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        spread = ((x32 - x32.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
        return torch.cat([x, spread.to(x.dtype).expand(len(x), 1, *x.shape[2:])], 1)


class Painter(nn.Module):
    """The generator. ``grown`` 2.4: stage 3 is faded in by 0.4, later ones are unused."""

    def __init__(self, noise: int, widths: list[int], first: int, channels: int) -> None:
        """``widths`` are listed from the smallest images, ``first`` pixels a side, outwards."""
        super().__init__()
        after = nn.LeakyReLU(0.2), PixelNorm()
        begin = Spread(noise, widths[0], first), *after, Conv(widths[0], widths[0], 3, 1), *after
        self.blocks = nn.ModuleList([nn.Sequential(PixelNorm(), *begin)])
        for wide, narrow in pairwise(widths):
            finer = Conv(wide, narrow, 3, 1), *after, Conv(narrow, narrow, 3, 1), *after
            self.blocks.append(nn.Sequential(nn.UpsamplingNearest2d(scale_factor=2), *finer))
        self.colours = nn.ModuleList(Conv(width, channels, 1, gain=1) for width in widths)

    def forward(self, noise: Tensor, progress: float) -> Tensor:
        """Generate (B, C, side, side), at the stage's side, from noise (B, noise)."""
        stage = ceil(progress)
        x = before = noise[..., None, None]
        for block in self.blocks[: stage + 1]:
            before, x = x, block(x)
        image = self.colours[stage](x)
        if progress < stage:
            coarse = double(self.colours[stage - 1](before))
            image = coarse.lerp(image, progress - (stage - 1))
        return image


class Critic(nn.Module):
    """The critic: images -> scores (B,), high for real ones; grows like the generator."""

    def __init__(self, widths: list[int], first: int, channels: int) -> None:
        super().__init__()
        wide, after = widths[0], nn.LeakyReLU(0.2)
        end = Conv(wide + 1, wide, 3, 1), after, Conv(wide, wide, first), after
        last = Conv(wide, 1, 1, gain=1), nn.Flatten(0)
        self.blocks = nn.ModuleList([nn.Sequential(MinibatchDeviation(), *end, *last)])
        for wide, narrow in pairwise(widths):
            coarser = Conv(narrow, narrow, 3, 1), after, Conv(narrow, wide, 3, 1), after
            self.blocks.append(nn.Sequential(*coarser, nn.AvgPool2d(2)))
        self.colours = nn.ModuleList(nn.Sequential(Conv(channels, width, 1), after) for width in widths)

    def forward(self, image: Tensor, progress: float) -> Tensor:
        stage = ceil(progress)
        x = self.colours[stage](image)
        for i in range(stage, -1, -1):
            x = self.blocks[i](x)
            if i == stage and progress < stage:
                coarse = self.colours[stage - 1](F.avg_pool2d(image, 2))
                x = coarse.lerp(x, progress - (stage - 1))
        return x


class ProGAN(Generator):
    year = 2017
    ja = "小さな画から学び始め、層を足しながら少しずつ細かい画へ育てる"
    channels_last = True
    SIZES = {"tiny": Config(8, 16, 16, 2e-3, 0.99, 32), "small": Config(16, 64, 64, 4e-3, 0.99, 32), "paper": Config()}
    SHOWN = {"paper": (3, 1024, 1)}
    final: float | None = None  # ``grown``, once it no longer changes
    grown: Tensor  # (), number of doublings so far; 2.4: the third is faded in by 0.4
    grows = True
    used = 1.0  # before training, so that memory is measured at the last stage

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.steps = int(log2(spec.side / 4))  # doublings
        first = ceil(spec.side / 2**self.steps)  # side from which doubling starts, in pixels
        self.learnt = first * 2**self.steps  # side of the training images, in pixels
        widths = [min(config.width * 2**i, config.most) for i in range(self.steps, -1, -1)]
        self.generator = Painter(config.noise, widths, first, spec.channels)
        self.critic = Critic(widths, first, spec.channels)
        self.average = follower(self.generator)
        self.register_buffer("grown", torch.tensor(float(self.steps)))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, betas = self.config.rate, (0.0, 0.99)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), rate, betas, eps=1e-8),
            "generator": torch.optim.Adam(self.generator.parameters(), rate, betas, eps=1e-8),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        progress = self.growth(self.used)
        self.grown.fill_(progress)
        # many small updates train faster than one large one
        for part in batch.image.split(self.config.part):
            real = self.at(part, progress)  # (B, C, side, side) of the stage
            noise = torch.randn(2, len(real), self.config.noise, device=self.device)
            fake = self.generator(noise[0], progress).detach().float()
            score = self.critic(real, progress).float()
            wasserstein = self.critic(fake, progress).float().mean() - score.mean()
            drift = 1e-3 * score.square().mean()
            yield "critic", wasserstein + drift + 10 * self.penalty(real, fake, progress)
            yield "generator", -self.critic(self.generator(noise[1], progress), progress).float().mean()

    def growth(self, used: float) -> float:
        """Return ``grown`` for the used share 0..1 of the budget."""
        past = used * (2 ** (self.steps + 1) - 1) + 1  # in units of stage 0, counted from 1
        stage = min(int(log2(past)), self.steps)  # a stage starts at 2^stage
        within = past / 2**stage - 1  # 0..1 within this stage
        return max(0.0, stage - 1 + min(1.0, within / FADE))

    def at(self, real: Tensor, progress: float) -> Tensor:
        """Downscale and fade real images like the generated ones of the stage."""
        stage = ceil(progress)
        missing = self.learnt - self.spec.side
        real = F.pad(real, (0, missing, 0, missing), mode="replicate")
        real = F.avg_pool2d(real, 2 ** (self.steps - stage))
        if progress < stage:
            real = double(F.avg_pool2d(real, 2)).lerp(real, progress - (stage - 1))
        return real

    def penalty(self, real: Tensor, fake: Tensor, progress: float) -> Tensor:
        """Return the gradient penalty between real and generated images.

        Its gradient is a second derivative, for which bfloat16 is too coarse.
        """
        with torch.autocast(real.device.type, enabled=False):
            way = torch.rand(len(real), 1, 1, 1, device=real.device)
            between = real.lerp(fake, way).requires_grad_()
            score = self.critic(between, progress).sum()
            [slope] = torch.autograd.grad(score, between, create_graph=True)
            return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    def after_update(self, step: int) -> None:
        lead(self.average, self.generator, self.config.average, step)

    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        progress = float(self.grown) if self.final is None else self.final
        image = self.average(noise.normal(self.config.noise), progress)
        whole = F.interpolate(image, scale_factor=float(2 ** (self.steps - ceil(progress))))
        yield whole[..., : self.spec.side, : self.spec.side]

    def portable(self) -> Portable:
        self.final = float(self.grown)
        return super().portable()

    def example(self) -> None:
        """Run fully grown: on the meta device the stage buffer holds no number."""
        self.average(torch.zeros(1, self.config.noise, device=self.device), self.steps)


def double(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=2.0)
