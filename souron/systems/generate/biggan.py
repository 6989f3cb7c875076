"""A GAN made large: told the class at every layer, held steady by bounding every layer.

Brock, Donahue, Simonyan: Large Scale GAN Training for High Fidelity Natural Image Synthesis (2018).
https://arxiv.org/abs/1809.11096

    critic:    E max(0, 1 - D(x, y)) + E max(0, 1 + D(G(z, y), y))      generator: -E D(G(z, y), y)
    D(x, y) = w h(x) + e(y) h(x)                           the critic's features, the class's vector
    W -> W / sigma(W)                                      sigma: W's largest singular value
    G's penalty: ||W W^T (1 - I)||^2                       filters that do not repeat each other

Every block of the generator scales and shifts its features by the shared class embedding and its
own part of the noise. A moving average of the generator is used for generation; its batch norm has
statistics of its own. The noise may be truncated: `truncation` trades variety for quality. Spectral
norm and projection: Miyato and others (2018). Self-attention: Zhang and others (2018).

Size `paper` is the published one at 128 pixels a side.

Differs from the paper: any side of 8 pixels or more, by fewer or more blocks that start from 4 to 7
pixels, cropped at the end where no doubling meets the side; attention always before the last block;
the generator's class embeddings start as normal numbers, not orthogonal ones, without spectral
norm; generated images get the real ones' classes; one cycle of the rate; size `small` trains on a
batch in parts, with more steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower, lead
from souron.kinds.signature import Choice
from souron.tasks.generate import Batch, Generator, Noise, Spec
from souron.utils.messages import N_

ORTHOGONAL = 1e-4  # weight of the penalty
GATHER = 8  # steps between updates of the averaged network's batch-norm statistics
double = nn.Upsample(scale_factor=2)  # nearest-neighbour upsampling by 2


@dataclass(frozen=True)
class Config:
    width: int = 96  # channels next to the image; doubled at every step away from it, to 16 times
    noise: int = 20  # dimensions of noise for each block
    vector: int = 128  # dimensions of the class embedding, shared by all blocks
    rate: float = 5e-5  # of the generator; the critic's is four times as high
    turns: int = 2  # critic updates per generator update, each on its own part
    parts: int = 1  # parts of a batch, each for one update of the generator
    average: float = 0.9999


Layer = nn.Conv2d | nn.Linear | nn.Embedding


def spectral(layer: Layer) -> Tensor:
    """Return W / sigma(W), with one power iteration for sigma per training step."""
    if layer.training:
        iterate(layer)
    # the buffers change before the backward pass needs them
    u, v = layer.get_buffer("left").clone(), layer.get_buffer("right").clone()
    return layer.weight / (u[:, None] * layer.weight.flatten(1) * v).sum()


@torch.no_grad()
def iterate(layer: Layer) -> None:
    u, v = layer.get_buffer("left"), layer.get_buffer("right")
    matrix = layer.weight.flatten(1)
    # products and sums instead of @, which autocast would compute in bfloat16
    u.copy_(F.normalize((matrix * v).sum(1), dim=0))
    v.copy_(F.normalize((matrix.T * u).sum(1), dim=0))


def start(layer: Layer) -> None:
    """Initialise orthogonal weights and the singular vectors for power iteration."""
    nn.init.orthogonal_(layer.weight)
    rows, columns = layer.weight.flatten(1).shape
    layer.register_buffer("left", torch.randn(rows))
    layer.register_buffer("right", torch.randn(columns))
    iterate(layer)


class Conv(nn.Conv2d):
    def __init__(self, wide: int, out: int, kernel: int, bias: bool = True):
        super().__init__(wide, out, kernel, padding=kernel // 2, bias=bias)
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, spectral(self), self.bias)


class Linear(nn.Linear):
    def __init__(self, wide: int, out: int, bias: bool = True):
        super().__init__(wide, out, bias)
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, spectral(self), self.bias)


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias depend on the class and the noise."""

    def __init__(self, channels: int, code: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = Linear(code, channels, bias=False)
        self.shift = Linear(code, channels, bias=False)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, shift = 1 + self.gain(code), self.shift(code)  # (B, C)
        return self.norm(x) * gain[..., None, None] + shift[..., None, None]


class Attention(nn.Module):
    """Self-attention over pixels, with a residual gain that starts at 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.query = Conv(channels, ceil(channels / 8), 1, bias=False)
        self.key = Conv(channels, ceil(channels / 8), 1, bias=False)
        self.value = Conv(channels, ceil(channels / 2), 1, bias=False)
        self.out = Conv(ceil(channels / 2), channels, 1, bias=False)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # (B, C / 8, H W)
        key = F.max_pool2d(self.key(x), 2).flatten(2)  # (B, C / 8, H W / 4)
        value = F.max_pool2d(self.value(x), 2).flatten(2)  # (B, C / 2, H W / 4)
        likeness = (query.mT @ key).softmax(-1)  # (B, H W, H W / 4)
        context = (value @ likeness.mT).unflatten(2, x.shape[2:])
        return x + self.share * self.out(context)


class Up(nn.Module):
    """Residual block of the generator that doubles the side."""

    def __init__(self, wide: int, out: int, code: int):
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(wide, code), ConditionalNorm(out, code)
        self.conv1, self.conv2 = Conv(wide, out, 3), Conv(out, out, 3)
        self.skip = Conv(wide, out, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.conv1(double(self.norm1(x, code).relu()))
        y = self.conv2(self.norm2(y, code).relu())
        return y + double(self.skip(x))  # equivalent to upsampling first, at a quarter of the cost


class Down(nn.Module):
    """Residual block of the critic that halves the side, except in the last block."""

    def __init__(self, wide: int, out: int, first: bool, last: bool):
        super().__init__()
        self.conv1, self.conv2 = Conv(wide, out, 3), Conv(out, out, 3)
        self.skip = nn.Identity() if last and wide == out else Conv(wide, out, 1)
        self.pool = nn.Identity() if last else nn.AvgPool2d(2)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.first else x.relu()
        y = self.pool(self.conv2(self.conv1(y).relu()))
        return y + self.skip(self.pool(x))


class Painter(nn.Module):
    """The generator: noise (B, N) and classes (B,) -> images (B, C, H, W)."""

    def __init__(self, config: Config, spec: Spec, widths: list[int]):
        super().__init__()
        self.side, self.first = spec.side, ceil(spec.side / 2 ** (len(widths) - 1))
        self.vector = nn.Embedding(len(spec.labels), config.vector)
        self.start = Linear(config.noise, widths[-1] * self.first**2)
        code = config.vector + config.noise
        self.blocks = nn.ModuleList(Up(w, n, code) for w, n in pairwise(reversed(widths)))
        self.attention = Attention(widths[1])
        self.norm = nn.BatchNorm2d(widths[0])
        self.out = Conv(widths[0], spec.channels, 3)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        vector = self.vector(label)
        first, *parts = noise.chunk(len(self.blocks) + 1, 1)
        x = self.start(first).unflatten(1, (-1, self.first, self.first))
        for part, block in zip(parts, self.blocks, strict=True):
            if block is self.blocks[-1]:
                x = self.attention(x)
            x = block(x, torch.cat([vector, part], 1))
        x = self.out(self.norm(x).relu()).tanh()
        return x[..., : self.side, : self.side]


class Critic(nn.Module):
    """The critic: images (B, C, H, W) and classes (B,) -> scores (B,), positive for real ones."""

    def __init__(self, spec: Spec, widths: list[int]):
        super().__init__()
        ends = list(pairwise([spec.channels, *widths]))
        self.blocks = nn.ModuleList(
            Down(narrow, wide, i == 0, i == len(ends) - 1) for i, (narrow, wide) in enumerate(ends)
        )
        self.attention = Attention(widths[0])
        self.score = Linear(widths[-1], 1)
        self.vector = nn.Embedding(len(spec.labels), widths[-1])
        start(self.vector)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        x = self.attention(self.blocks[0](image))
        for block in self.blocks[1:]:
            x = block(x)
        features = x.relu().float().sum((2, 3))  # (B, C)
        vector = F.embedding(label, spectral(self.vector))
        return self.score(features)[:, 0] + (vector * features).sum(1)


def repetition(network: nn.Module) -> Tensor:
    """Return ||W W^T (1 - I)||^2 summed over all layers, the orthogonality penalty."""
    total = []
    for layer in network.modules():
        if isinstance(layer, Conv | Linear):
            matrix = layer.weight.flatten(1)  # (out, in)
            # ||W W^T|| = ||W^T W||: the smaller of the two
            gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
            total.append(gram.square().sum() - matrix.square().sum(1).square().sum())
    return torch.stack(total).sum()


class BigGAN(Generator):
    year = 2018
    ja = "大規模な GAN。すべての層にクラス名を伝え、各層の伸び率を抑えて学習を安定させる"
    conditional = True
    channels_last = True
    SIZES = {
        "tiny": Config(8, 4, 8, 1e-3, turns=1, average=0.99),
        "small": Config(8, 16, 32, 1e-3, turns=1, parts=4, average=0.99),
        "paper": Config(),
    }
    SHOWN = {"paper": (3, 128, 1000)}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        steps = int(log2(spec.side / 4))
        widths = [config.width * min(2**i, 16) for i in range(steps + 1)]  # from the image inward
        self.generator = Painter(config, spec, widths)
        self.critic = Critic(spec, widths)
        self.average = follower(self.generator)
        self.numbers = config.noise * (steps + 1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, betas = self.config.rate, (0.0, 0.999)
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), 4 * rate, betas, eps=1e-6),
            "generator": torch.optim.Adam(self.generator.parameters(), rate, betas, eps=1e-6),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        for image, label in zip(*(whole.chunk(self.config.parts) for whole in batch), strict=True):
            pieces = (whole.chunk(self.config.turns) for whole in (image, label))
            # several critic steps for each generator step, hinge loss
            for piece, classes in zip(*pieces, strict=True):
                with torch.no_grad():
                    fake = self.generator(self.noise(len(classes)), classes)
                both = torch.cat([piece, fake.to(piece.dtype)])
                real, false = self.critic(both, torch.cat([classes, classes])).chunk(2)
                yield "critic", (1 - real).relu().mean() + (1 + false).relu().mean()
            fake = self.generator(self.noise(len(label)), label)
            with torch.autocast(self.device.type, enabled=False):  # a difference of large numbers
                penalty = ORTHOGONAL * repetition(self.generator)
            yield "generator", penalty - self.critic(fake, label).mean()

    @torch.no_grad()
    def after_update(self, step: int) -> None:
        lead(self.average, self.generator, self.config.average, step)
        if step % GATHER == 0:
            # the averaged network needs its own batch-norm statistics
            norms = [part for part in self.average.modules() if isinstance(part, nn.BatchNorm2d)]
            for norm in norms:
                norm.momentum = max(0.1, 1 / (1 + step // GATHER))
            shares = torch.tensor(self.spec.shares, device=self.device)
            label = shares.multinomial(64, replacement=True)
            self.average.train()(self.noise(len(label)), label)

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.numbers, device=self.device)

    def drawing(
        self,
        noise: Noise,
        label: Tensor,
        *,
        truncation: Annotated[
            float, Choice(N_("the farthest from 0 that noise may lie: small is less varied"), 0.01)
        ] = 5.0,
    ) -> Iterator[Tensor]:
        yield self.average(noise.truncated(truncation, self.numbers), label)
