"""A picture is written like a sentence: pixel by pixel, each foretold from those before it.

Chen, Radford, Child, Wu, Jun, Luan, Sutskever: Generative Pretraining from Pixels (2020).
https://proceedings.mlr.press/v119/chen20s.html

    tokens = number of each pixel's colour cluster, row by row      p(x) = prod p(x_i | x_<i)
    x = tokens E + positions      x = x + attention(norm(x))      x = x + mlp(norm(x))
    p(x_i | x_<i) = softmax(head(norm(x)))_(i - 1)      attention sees what came before, no more

The clusters are those of k-means on the first training images. Generation caches each layer's keys
and values, so that a pixel costs one token, not all those before it again. An image's likelihood is
exact: each pixel's value follows its cluster's histogram (add-one smoothed), channel by channel, so
that p(value | before) = sum over clusters p(cluster | before) p(value | cluster). Generated pixels
have the cluster's own colour. Sizes `s`, `m`, `l` are the paper's for 32 x 32 pixels.

Differs from the paper: grey images have fewer clusters, of grey; attention and MLPs have biases,
which the paper's code has not; position embeddings start as sines and cosines of row and column,
else a short training does not find the pixel above; a batch is trained in several updates; one
cycle of the rate; no masked pixels (the paper's other objective, BERT) and no classifiers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.portable import PIECES
from souron.kinds.signature import Choice
from souron.tasks.generate import Batch, Generator, Noise, Spec
from souron.training.loop import Data, Progress, Run, descend
from souron.utils.messages import N_

SHOWN_STOPS = 20  # intermediate images shown
LOOKED_AT = 16  # batches of 128 images from which the clusters are computed
MOST_COLOURS = 16_384  # most of their colours, for k-means
ROUNDS = 20  # iterations of k-means
AT_ONCE = 16_384  # pixels assigned to clusters at once


@dataclass(frozen=True)
class Config:
    layers: int = 24
    heads: int = 8
    width: int = 512
    colours: int = 512  # clusters
    greys: int = 256  # clusters of grey images
    pictures: int = 128  # most images per update
    rate: float = 3e-3


class Norm(nn.Module):
    """RMS norm: divide by the root mean square without centring, as in the paper's code."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)


class Attention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.heads
        self.c_attn = nn.Linear(config.width, 3 * config.width)  # q, k and v, stacked
        self.c_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, cache: Tensor | None, start: int) -> Tensor:
        """Attend over (B, n, width); ``cache`` (2, B, heads, T, d) holds the keys and values of
        ``start`` earlier tokens and receives the new ones."""
        qkv = self.c_attn(x).unflatten(-1, (3, self.heads, -1))  # (B, n, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, n, d)
        if cache is not None:
            until = start + k.shape[2]
            cache[0, :, :, start:until], cache[1, :, :, start:until] = k, v
            k, v = cache[:, :, :, :until].to(q.dtype)
        assert start == 0 or q.shape[2] == 1
        context = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)
        return self.c_proj(context.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.ln_1, self.attn = Norm(config.width), Attention(config)
        self.ln_2 = Norm(config.width)
        self.c_fc = nn.Linear(config.width, 4 * config.width)
        self.c_proj = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor, cache: Tensor | None, start: int) -> Tensor:
        x = x + self.attn(self.ln_1(x), cache, start)
        wide = self.c_fc(self.ln_2(x))
        return x + self.c_proj(wide * (1.702 * wide).sigmoid())


class ImageGPT(Generator):
    blocked = PIECES
    year = 2020
    ja = "画素を文章のように一つずつ、それまでの画素から次の色を予測して描く"
    completes = True
    likelihood = "exact"
    measures = {"bits per dimension": "lower"}
    clip = 1.0
    SIZES = {
        "tiny": Config(1, 2, 32, 16, 8, 32, 1e-2),
        "small": Config(3, 2, 96, 64, 16, 32, 5e-3),
        "s": Config(),
        "m": Config(36, 8, 1024, rate=2e-3),
        "l": Config(48, 16, 1536, rate=1e-3),
    }
    SHOWN = {"s": (3, 32, 1), "m": (3, 32, 1), "l": (3, 32, 1)}

    palette: Tensor  # (K, C) in 0..255, each cluster's colour
    histogram: Tensor  # (C, K, 256) the probability of each value in each cluster
    known: Tensor  # () whether palette and histogram have been computed

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.clusters = config.greys if spec.channels == 1 else config.colours
        self.length, width = spec.side**2, config.width
        self.wte = nn.Embedding(self.clusters + 1, width)  # the last one is the start token
        self.wpe = nn.Parameter(places(spec.side, width))  # (T, width)
        self.h = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.ln_f, self.lm_head = Norm(width), nn.Linear(width, self.clusters, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and name != "wpe":
                # residual projections start smaller in deeper networks
                smaller = math.sqrt(2 * config.layers) if "c_proj" in name else 1
                nn.init.normal_(weight, std=0.02 / smaller)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

        evenly = torch.linspace(0, 255, self.clusters)[:, None].repeat(1, spec.channels)
        self.register_buffer("palette", evenly)
        flat = torch.full((spec.channels, self.clusters, 256), 1 / 256)
        self.register_buffer("histogram", flat)
        self.register_buffer("known", torch.tensor(False))

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        if not self.known:
            self.know(data)
        yield from descend(self, data, run)

    def know(self, data: Data) -> None:
        """Compute clusters and histograms from the first training images, deterministically."""
        batches = data.endless(128)
        images = torch.cat([next(batches).image for _ in range(LOOKED_AT)])
        values = bytes_of(images).movedim(1, -1).flatten(0, -2)  # (N, C)
        sample = values[:: max(1, len(values) // MOST_COLOURS)] if values.shape[1] > 1 else values
        colours, counts = sample.unique(dim=0, return_counts=True)
        self.palette.copy_(k_means(colours.float(), counts.float(), self.clusters))
        cluster = self.nearest(values.float())
        for channel, joint in enumerate(self.histogram):
            pairs = torch.bincount(cluster * 256 + values[:, channel], minlength=joint.numel())
            joint.copy_(pairs.view_as(joint) + 1)
        self.histogram /= self.histogram.sum(-1, keepdim=True)
        self.known.fill_(True)

    def nearest(self, colours: Tensor) -> Tensor:
        """Return the nearest cluster (N,) of colours (N, C) in 0..255."""
        return torch.cat([(part[:, None] - self.palette).square().sum(-1).argmin(1) for part in colours.split(AT_ONCE)])

    def tokens(self, image: Tensor) -> Tensor:
        """Convert images (B, C, H, W) in -1..1 to tokens (B, T)."""
        colours = (image.float() * 127.5 + 127.5).movedim(1, -1)  # (B, H, W, C)
        return self.nearest(colours.flatten(0, 2)).view(len(image), self.length)

    def image(self, tokens: Tensor) -> Tensor:
        """Convert tokens (B, n) to images (B, C, H, W) in -1..1; missing pixels are middle grey."""
        colours = torch.zeros(len(tokens), self.length, self.spec.channels, device=tokens.device)
        colours[:, : tokens.shape[1]] = self.palette[tokens] / 127.5 - 1
        side = self.spec.side
        return colours.unflatten(1, (side, side)).movedim(-1, 1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, betas = self.config.rate, (0.9, 0.95)
        return {"model": torch.optim.AdamW(self.parameters(), rate, betas, weight_decay=0.01)}

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        for part in self.tokens(batch.image).split(self.config.pictures):
            yield "model", F.cross_entropy(self.foretold(part).flatten(0, 1), part.flatten())

    def foretold(self, tokens: Tensor) -> Tensor:
        """Return next-token logits (B, T, K) for tokens (B, T), each from those before it."""
        return self.read(F.pad(tokens[:, :-1], (1, 0), value=self.clusters))

    def read(self, before: Tensor, cache: Tensor | None = None, start: int = 0) -> Tensor:
        """Return logits (B, n, K) after each of the tokens (B, n), which start at ``start``."""
        x = self.wte(before) + self.wpe[start : start + before.shape[1]]
        for i, layer in enumerate(self.h):
            x = layer(x, None if cache is None else cache[i], start)
        return self.lm_head(self.ln_f(x)).float()

    # in float32 on CPUs: for few tokens, casting the weights takes longer than it saves
    @torch.autocast("cpu", enabled=False)
    def read_on(self, before: Tensor, cache: Tensor, start: int) -> Tensor:
        return self.read(before, cache, start)

    @torch.no_grad()
    def growing(self, chance: Tensor, first: Tensor, temperature: float = 1.0, cached: bool = True) -> Iterator[Tensor]:
        """Yield tokens (B, n), growing by one from ``first`` (B, n), by random numbers ``chance``
        (B, T) in 0..1. Without ``cached`` the prefix is recomputed for each token."""
        count, start = len(first), 0
        before = F.pad(first, (1, 0), value=self.clusters)
        heads, wide = self.config.heads, self.config.width // self.config.heads
        shape = (len(self.h), 2, count, heads, self.length, wide)
        cache = self.wpe.new_empty(shape) if cached else None
        for at in range(first.shape[1], self.length):
            outputs = self.read(before) if cache is None else self.read_on(before[:, start:], cache, start)
            logits, start = outputs[:, -1], at + 1
            reach = (logits.double() / temperature).softmax(1).cumsum(1)
            token = (reach <= chance[:, at, None].double() * reach[:, -1:]).sum(1)
            before = torch.cat([before, token.clamp(max=self.clusters - 1)[:, None]], 1)
            yield before[:, 1:]

    def drawing(
        self,
        noise: Noise,
        label: Tensor,
        *,
        temperature: Annotated[float, Choice(N_("below 1 likelier images, above 1 more varied ones"), 0.01, 10)] = 1.0,
        given: Annotated[Tensor | None, Choice(N_("the image to be completed"))] = None,
        kept: Annotated[float, Choice(N_("how much of the given image stays, from its top"), 0, 1)] = 0.5,
    ) -> Iterator[Tensor]:
        side = self.spec.side
        rows = 0 if given is None else round(kept * side)
        prefix = torch.zeros(1, self.spec.channels, side, side) if given is None else given
        prefix = prefix.to(self.device).expand(len(noise), -1, -1, -1)
        first = self.tokens(prefix)[:, : rows * side]

        def drawn(tokens: Tensor) -> Tensor:
            image = self.image(tokens)
            image[:, :, :rows] = prefix[:, :, :rows]
            return image

        yield drawn(first)
        every = math.ceil(self.length / SHOWN_STOPS)
        for tokens in self.growing(noise.uniform(self.length), first, temperature):
            if tokens.shape[1] % every == 0 or tokens.shape[1] == self.length:
                yield drawn(tokens)

    def example(self) -> None:
        self.foretold(torch.zeros(1, self.length, dtype=torch.long, device=self.device))

    def bits(self, batch: Batch) -> Tensor:
        parts = batch.image.split(self.config.pictures)  # there are K numbers for each pixel
        return torch.cat([self.bits_of(image) for image in parts])

    def bits_of(self, image: Tensor) -> Tensor:
        chance = self.foretold(self.tokens(image)).log_softmax(-1)  # (B, T, K)
        values = bytes_of(image).flatten(2)  # (B, C, T)
        for channel, joint in enumerate(self.histogram.log()):
            chance = chance + joint.T[values[:, channel]]  # of (256, K)
        return -chance.logsumexp(-1).sum(1) / (math.log(2) * values[0].numel())


def bytes_of(image: Tensor) -> Tensor:
    """Convert -1..1 to integers 0..255."""
    return (image.float() * 127.5 + 127.5).round().clamp(0, 255).long()


def places(side: int, width: int) -> Tensor:
    """Return 2D sinusoidal position embeddings (side^2, width), half for rows, half for columns."""
    quarter = width // 4
    rate = 100 ** (-torch.arange(quarter) / quarter)
    angle = torch.arange(side)[:, None] * rate  # (side, quarter)
    waves = torch.cat([angle.sin(), angle.cos()], 1) * 0.1  # (side, width / 2)
    rows = waves[:, None].expand(-1, side, -1)
    return torch.cat([rows, rows.transpose(0, 1)], -1).flatten(0, 1)


def k_means(points: Tensor, weight: Tensor, count: int) -> Tensor:
    """Cluster distinct points (N, C) with weights (N,) into (count, C) centres, deterministically:
    the first centre is the heaviest point, each next one the farthest."""
    centres = points[weight.argmax()].expand(count, -1).clone()
    distance = (points - centres[0]).square().sum(1)
    for i in range(1, count):
        centres[i] = points[distance.argmax()]
        distance = distance.minimum((points - centres[i]).square().sum(1))
    for _ in range(ROUNDS):
        nearest = torch.cdist(points, centres).argmin(1)
        mass = weight.new_zeros(count).index_add(0, nearest, weight)
        total = torch.zeros_like(centres).index_add(0, nearest, points * weight[:, None])
        there = mass > 0
        centres[there] = total[there] / mass[there, None]
    return centres
