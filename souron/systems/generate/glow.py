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
Change = tuple[Tensor, Tensor]  # a layer's output and its log |det|, (B,) or ()


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

    def forward(self, x: Tensor) -> Change:
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


class Mixing(nn.Module):
    """Invertible 1x1 convolution, y = W x at every pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.inverted: Tensor | None = None  # of W, where it is computed beforehand
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))

    def forward(self, x: Tensor) -> Change:
        y = F.conv2d(x, self.weight[..., None, None])
        return y, self.weight.slogdet().logabsdet * x[0, 0].numel()

    def inverse(self, y: Tensor) -> Tensor:
        return F.conv2d(y, (self.weight.inverse() if self.inverted is None else self.inverted)[..., None, None])


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

    def forward(self, x: Tensor) -> Change:
        first, second = x.chunk(2, 1)
        log_scale, shift = self.estimate(second)
        first = torch.addcmul(shift, first, log_scale.exp())
        return torch.cat([first, second], 1), log_scale.sum((1, 2, 3))

    def inverse(self, y: Tensor) -> Tensor:
        first, second = y.chunk(2, 1)
        log_scale, shift = self.estimate(second)
        return torch.cat([(first - shift) * (-log_scale).exp(), second], 1)


class Rest(nn.Module):
    """Invertible map of the split-off half to standard normal numbers, given the other half."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = zero(nn.Conv2d(channels, 2 * channels, 3, padding=1))

    def estimate(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the logarithm of the standard deviation."""
        mean, log_spread = self.conv(stays).to(stays.dtype).chunk(2, 1)
        return mean, bounded(log_spread, 4)

    def forward(self, leaves: Tensor, stays: Tensor) -> Change:
        mean, log_spread = self.estimate(stays)
        return (leaves - mean) * (-log_spread).exp(), -log_spread.flatten(1).sum(1)

    def inverse(self, normal: Tensor, stays: Tensor) -> Tensor:
        mean, log_spread = self.estimate(stays)
        return torch.addcmul(mean, normal, log_spread.exp())


class Edge(Rest):
    """The map for the last row and column of an odd side, given the pixels beside them."""

    def estimate(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        near = F.pad(stays, (0, 1, 0, 1), mode="replicate")
        mean, log_spread = super().estimate(near)
        return edge(mean + near), edge(log_spread)


class Level(nn.Module):
    """(B, C, H, W) <-> the input of the next level and the normal numbers split off."""

    def __init__(self, channels: int, side: int, config: Config, last: bool):
        super().__init__()
        folded = 4 * channels
        self.edge = Edge(channels) if side % 2 else None
        self.steps: Any = nn.ModuleList()
        for _ in range(config.depth):
            self.steps.extend([Actnorm(folded), Mixing(folded), Coupling(folded, config.width)])
        self.rest = None if last else Rest(folded // 2)
        self.top = Actnorm(folded) if last else None  # one mean and standard deviation per channel

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        done, changes = [], []
        if self.edge is not None:
            leaves, x = edge(x), x[..., :-1, :-1]
            normal, change = self.edge(leaves, x)
            done, changes = [normal], [change]
        x = F.pixel_unshuffle(x, 2)  # (B, 4 C, H / 2, W / 2)
        for step in self.steps:
            x, change = step(x)
            changes.append(change)
        if self.top is not None:
            normal, change = self.top(x)
        elif self.rest is not None:
            x, leaves = x.chunk(2, 1)
            normal, change = self.rest(leaves, x)
        return x, [normal, *done], sum([*changes, change])

    def inverse(self, x: Tensor, normal: Tensor, edges: Tensor | None = None) -> Tensor:
        if self.rest is not None:
            x = torch.cat([x, self.rest.inverse(normal, x)], 1)
        elif self.top is not None:
            x = self.top.inverse(normal)
        for step in reversed(self.steps):
            x = step.inverse(x)
        x = F.pixel_shuffle(x, 2)
        if self.edge is not None and edges is not None:
            low, right = self.edge.inverse(edges, x).split([x.shape[-1] + 1, x.shape[-1]], -1)
            x = torch.cat([torch.cat([x, right[..., None]], -1), low[..., None, :]], -2)
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
        normal, total = [], x.new_zeros(len(x))
        for level in self.levels:
            x, done, change = level(x)
            normal.append(done)
            total = total + change
        return normal, total

    def inverse(self, normal: list[list[Tensor]]) -> Tensor:
        x = torch.empty(0)
        for level, done in zip(reversed(self.levels), reversed(normal), strict=True):
            x = level.inverse(x, *done)
        return x

    def loss(self, batch: Batch) -> Tensor:
        return self.cost(batch.image).mean()

    def bits(self, batch: Batch) -> Tensor:
        with torch.autocast(batch.image.device.type, enabled=False):  # as in generation
            return self.cost(batch.image)

    def cost(self, image: Tensor) -> Tensor:
        """Return bits per value (B,) of the 8-bit image, for images (B, C, H, W) in -1..1."""
        grey = (127.5 * image.float() + 127.5).round()
        normal, total = self((grey + torch.rand_like(grey)) / 256 - 0.5)
        squares = sum(z.square().flatten(1).sum(1) for done in normal for z in done)
        values = image[0].numel()
        nats = 0.5 * squares + values * (0.5 * math.log(2 * math.pi) + math.log(256)) - total
        return nats / (values * math.log(2))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.Adam(self.parameters(), self.config.rate)}

    def drawing(self, noise: Noise, label: Tensor, *, temperature: Annotated[float, SPREAD] = 1.0) -> Iterator[Tensor]:
        normal = [[temperature * noise.normal(*s) for s in shapes] for shapes in self.shapes]
        with torch.autocast(label.device.type, enabled=False):  # errors grow in the inverse
            grey = 256 * (self.inverse(normal) + 0.5)
        yield (grey - 0.5) / 127.5 - 1

    def portable(self) -> Portable:
        """Return the generator with inverted matrices: the formats of others cannot invert them."""
        generator = copy.deepcopy(self)
        for layer in [each for each in generator.modules() if isinstance(each, Mixing)]:
            layer.inverted = layer.weight.detach().inverse()
        return super(Glow, generator).portable()

    def example(self) -> None:
        self(torch.empty(1, self.spec.channels, self.spec.side, self.spec.side, device=self.device))
