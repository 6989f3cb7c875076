"""Layers that run backwards as well, so that a picture's density can be computed exactly.

Kingma, Dhariwal: Glow: Generative Flow with Invertible 1x1 Convolutions (2018).
https://arxiv.org/abs/1807.03039

    log p(x) = log N(z; 0, 1) + sum of log |det dh_i / dh_{i-1}|        x = h_0, ..., h_n = z
    a step:  y = s x + b  ->  y = W x  ->  (x_1, x_2) -> (s(x_2) x_1 + t(x_2), x_2)
    a level: fold 2x2 pixels into channels, steps, then half of the channels are done

Uniform noise is added within an image's 256 grey levels (dequantisation). The density is exact for dequantised pixels,
and a bound for the 8-bit image, which costs at most the bits stated. The halves split off are normal, with mean and
spread predicted from the other half (Dinh and others: Real NVP, 2016): one invertible map to as many standard normal
numbers. Size `paper` is the published one for 32 pixels a side.

Differs from the paper: scales and spreads are bounded by tanh, else an early flow generates infinite numbers; one cycle
of the rate; fewer levels where a folded image would be smaller than 4 pixels. The last row and column of an odd side
are split off first, as normal given the rest.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.portable import Portable
from souron.kinds.signature import Choice
from souron.tasks.generate import Batch, Generator, Noise, Spec
from souron.utils.messages import N_

SPREAD = Choice(N_("spread of the noise: 0.7 gives likelier, plainer images"), 0, 2)
OutputLogDet = tuple[Tensor, Tensor]  # a layer's output and its log |det|, (B,) or ()


@dataclass(frozen=True)
class Config:
    levels: int = 3
    depth: int = 32  # steps of flow at each level
    width: int = 512  # channels of each coupling network
    rate: float = 1e-3


class Actnorm(nn.Module):
    """Activation normalisation, y = s x + b per channel, initialised from the first batch."""

    def __init__(self, channels: int):
        super().__init__()
        self.ready: Tensor
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("ready", torch.tensor(False))

    def forward(self, x: Tensor) -> OutputLogDet:
        self.start(x)
        y = torch.addcmul(over(self.shift), x, over(self.log_scale.exp()))
        return y, self.log_scale.sum() * x[0, 0].numel()

    def inverse(self, y: Tensor) -> Tensor:
        return (y - over(self.shift)) * over((-self.log_scale).exp())

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        if not self.training or self.ready:
            return
        variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        scale = (variance + 1e-6).rsqrt()  # bounded for channels that hardly vary, as in the corners of images
        self.log_scale.copy_(scale.log())
        self.shift.copy_(-mean * scale)
        self.ready.fill_(True)


class NormedConv(nn.Conv2d):
    """A convolution with actnorm, as scaled weights and a bias."""

    def __init__(self, channels: int, out: int, kernel: int):
        super().__init__(channels, out, kernel, padding=kernel // 2, bias=False)
        nn.init.normal_(self.weight, 0, 0.05)
        self.norm = Actnorm(out)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.norm.ready:
            self.norm.start(super().forward(x))
        scale = self.norm.log_scale.exp()[:, None, None, None]
        return self._conv_forward(x, scale * self.weight, self.norm.shift)


class InvertibleConv1x1(nn.Module):
    """Invertible 1x1 convolution, y = W x at every pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.inverse_weight: Tensor | None = None  # of W, where it is computed beforehand
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))

    def forward(self, x: Tensor) -> OutputLogDet:
        return F.conv2d(x, self.weight[..., None, None]), self.weight.slogdet().logabsdet * x[0, 0].numel()

    def inverse(self, y: Tensor) -> Tensor:
        inverse = self.weight.inverse() if self.inverse_weight is None else self.inverse_weight
        return F.conv2d(y, inverse[..., None, None])


class Coupling(nn.Module):
    """Affine coupling, y_1 = s(x_2) x_1 + t(x_2), y_2 = x_2, initialised with s = 1 and t = 0."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = NormedConv(channels // 2, width, 3)
        self.conv2 = NormedConv(width, width, 1)
        self.conv3 = zero(nn.Conv2d(width, channels, 3, padding=1))

    def estimate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log s and t, (B, C / 2, H, W) each."""
        within = self.conv2(self.conv1(x).relu()).relu()
        log_scale, shift = self.conv3(within).to(x.dtype).chunk(2, 1)
        return bounded(log_scale, 2), shift

    def forward(self, x: Tensor) -> OutputLogDet:
        x1, x2 = x.chunk(2, 1)
        log_scale, shift = self.estimate(x2)
        x1 = torch.addcmul(shift, x1, log_scale.exp())
        return torch.cat([x1, x2], 1), log_scale.sum((1, 2, 3))

    def inverse(self, y: Tensor) -> Tensor:
        y1, y2 = y.chunk(2, 1)
        log_scale, shift = self.estimate(y2)
        return torch.cat([(y1 - shift) * (-log_scale).exp(), y2], 1)


class SplitPrior(nn.Module):
    """Split prior, p(x_2 | x_1) = N(mean(x_1), std(x_1)), as an invertible map of x_2 to standard normal numbers."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = zero(nn.Conv2d(channels, 2 * channels, 3, padding=1))

    def estimate(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the logarithm of the standard deviation."""
        mean, log_std = self.conv(x1).to(x1.dtype).chunk(2, 1)
        return mean, bounded(log_std, 4)

    def forward(self, x2: Tensor, x1: Tensor) -> OutputLogDet:
        mean, log_std = self.estimate(x1)
        return (x2 - mean) * (-log_std).exp(), -log_std.flatten(1).sum(1)

    def inverse(self, z: Tensor, x1: Tensor) -> Tensor:
        mean, log_std = self.estimate(x1)
        return torch.addcmul(mean, z, log_std.exp())


class Edge(SplitPrior):
    """The map for the last row and column of an odd side, given the pixels beside them."""

    def estimate(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        beside = F.pad(x1, (0, 1, 0, 1), mode="replicate")
        mean, log_std = super().estimate(beside)
        return edge(mean + beside), edge(log_std)


class Level(nn.Module):
    """(B, C, H, W) <-> the input of the next level and the normal numbers split off."""

    def __init__(self, channels: int, side: int, config: Config, last: bool):
        super().__init__()
        self.edge = Edge(channels) if side % 2 else None
        channels *= 4  # by the squeeze
        self.steps: Any = nn.ModuleList()
        for _ in range(config.depth):
            self.steps.extend([Actnorm(channels), InvertibleConv1x1(channels), Coupling(channels, config.width)])
        self.rest = None if last else SplitPrior(channels // 2)
        self.top = Actnorm(channels) if last else None  # one mean and standard deviation per channel

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        latents, log_dets = [], []
        if self.edge is not None:
            x2, x = edge(x), x[..., :-1, :-1]
            z, log_det = self.edge(x2, x)
            latents, log_dets = [z], [log_det]
        x = F.pixel_unshuffle(x, 2)  # squeeze: (B, 4 C, H / 2, W / 2)
        for step in self.steps:
            x, log_det = step(x)  # actnorm, invertible 1x1 convolution, coupling
            log_dets.append(log_det)
        if self.top is not None:
            z, log_det = self.top(x)  # the last level: all of it is latent
        elif self.rest is not None:
            x, x2 = x.chunk(2, 1)  # half of the channels go on, half are factored out
            z, log_det = self.rest(x2, x)
        return x, [z, *latents], sum([*log_dets, log_det])

    def inverse(self, x: Tensor, z: Tensor, edge_z: Tensor | None = None) -> Tensor:
        if self.rest is not None:
            x = torch.cat([x, self.rest.inverse(z, x)], 1)
        elif self.top is not None:
            x = self.top.inverse(z)
        for step in reversed(self.steps):
            x = step.inverse(x)
        x = F.pixel_shuffle(x, 2)
        if self.edge is not None and edge_z is not None:
            bottom, right = self.edge.inverse(edge_z, x).split([x.shape[-1] + 1, x.shape[-1]], -1)
            x = torch.cat([torch.cat([x, right[..., None]], -1), bottom[..., None, :]], -2)
        return x


def over(channels: Tensor) -> Tensor:
    """Broadcast (C,) over images (B, C, H, W)."""
    return channels[:, None, None]


def edge(x: Tensor) -> Tensor:
    """Return the last row, then the rest of the last column: (B, C, 2 H - 1)."""
    return torch.cat([x[..., -1, :], x[..., :-1, -1]], -1)


def bounded(log_scale: Tensor, most: float) -> Tensor:
    """Bound to -most..most, so that noise far from the training images stays finite."""
    return most * (log_scale / most).tanh()


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


class Glow(Generator):
    year = 2018
    ja = "逆向きにも計算できる層を重ね、画像の密度を厳密に求める(8 ビット画像の尤度には下界)"
    likelihood = "bound"
    measures = {"bits per dimension": "lower"}
    channels_last = True
    clip = 10.0
    SIZES = {"tiny": Config(2, 2, 16, 2e-3), "small": Config(3, 6, 64, 2e-3), "paper": Config()}
    SHOWN = {"paper": (3, 32, 1)}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        channels, side = spec.channels, spec.side
        self.shapes: list[list[tuple[int, ...]]] = []  # shapes of the normal numbers of each level
        self.levels: Any = nn.ModuleList()
        count = min(config.levels, max(1, int(math.log2(side)) - 2))
        for last in [False] * (count - 1) + [True]:
            self.levels.append(Level(channels, side, config, last))
            border = [(channels, 2 * side - 1)] if side % 2 else []
            side //= 2
            self.shapes.append([((4 if last else 2) * channels, side, side), *border])
            channels *= 2

    def forward(self, x: Tensor) -> tuple[list[list[Tensor]], Tensor]:
        """Map (B, C, H, W) in -0.5..0.5 to the normal numbers of every level and log |det| (B,)."""
        latents, log_det_sum = [], x.new_zeros(len(x))
        for level in self.levels:
            x, level_latents, log_det = level(x)
            latents.append(level_latents)
            log_det_sum = log_det_sum + log_det
        return latents, log_det_sum

    def inverse(self, latents: list[list[Tensor]]) -> Tensor:
        x = torch.empty(0)
        for level, level_latents in zip(reversed(self.levels), reversed(latents), strict=True):
            x = level.inverse(x, *level_latents)
        return x

    def loss(self, batch: Batch) -> Tensor:
        return self.cost(batch.image).mean()

    def bits(self, batch: Batch) -> Tensor:
        with torch.autocast(batch.image.device.type, enabled=False):  # as in generation
            return self.cost(batch.image)

    def cost(self, image: Tensor) -> Tensor:
        """Return bits per value (B,) of the 8-bit image, for images (B, C, H, W) in -1..1."""
        grey = (127.5 * image.float() + 127.5).round()
        latents, log_det = self((grey + torch.rand_like(grey)) / 256 - 0.5)  # dequantised
        squares = sum(z.square().flatten(1).sum(1) for level_latents in latents for z in level_latents)
        values = image[0].numel()
        nats = 0.5 * squares + values * (0.5 * math.log(2 * math.pi) + math.log(256)) - log_det  # -log p(x)
        return nats / (values * math.log(2))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.parameters(), self.config.rate)}

    def drawing(self, noise: Noise, label: Tensor, *, temperature: Annotated[float, SPREAD] = 1.0) -> Iterator[Tensor]:
        latents = [[temperature * noise.normal(*s) for s in shapes] for shapes in self.shapes]
        with torch.autocast(label.device.type, enabled=False):  # errors grow in the inverse
            grey = 256 * (self.inverse(latents) + 0.5)
        yield (grey - 0.5) / 127.5 - 1

    def portable(self) -> Portable:
        """Return the generator with inverted matrices: the formats of others cannot invert them."""
        generator = copy.deepcopy(self)
        for layer in [module for module in generator.modules() if isinstance(module, InvertibleConv1x1)]:
            layer.inverse_weight = layer.weight.detach().inverse()
        return super(Glow, generator).portable()

    def example(self) -> None:
        self(torch.empty(1, self.spec.channels, self.spec.side, self.spec.side, device=self.device))
