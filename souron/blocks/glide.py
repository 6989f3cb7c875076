"""GLIDE's UNet: what pixels ask of each other they ask of the words as well, in one attention.

Nichol and others: GLIDE: Towards Photorealistic Image Generation and Editing with Text-Guided
Diffusion Models (2021). https://arxiv.org/abs/2112.10741
Dhariwal, Nichol: Diffusion Models Beat GANs on Image Synthesis (2021), section 3.
https://arxiv.org/abs/2105.05233

    residual block: x + conv(silu(norm(conv(silu(norm(x)))) * (1 + scale) + shift))
    scale, shift = W silu(step + condition)
    attention: q of a place asks the k of all tokens and of all places
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.clip import attended
from souron.blocks.latent import waves
from souron.blocks.unet import nothing_at_first, with_places

HEAD = 32  # numbers of a head of attention, about
EXTRA = 4  # tokens that a point becomes
BLUR = 0.6  # pixels, the most that an enlarger's small pictures are blurred by
MASKED = -1e4  # added to what places ask of a token that is hidden


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(
        next(n for n in (32, 16, 8, 4, 2, 1) if width % n == 0 and width > n), width
    )


class Residual(nn.Module):
    """(B, narrow, H, W), (B, time) -> (B, wide, H, W)"""

    def __init__(self, narrow: int, wide: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(narrow), nn.Conv2d(narrow, wide, 3, padding=1)
        self.modulation = nn.Linear(time, 2 * wide)
        self.norm2 = norm(wide)
        self.conv2 = nothing_at_first(nn.Conv2d(wide, wide, 3, padding=1))
        self.shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(time)[..., None, None].chunk(2, 1)
        inner = self.norm2(inner) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(inner))


class Attention(nn.Module):
    """Places of (B, width, H, W) look at each other and at tokens (B, T, tokens)."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.norm, self.qkv = norm(width), nn.Linear(width, 3 * width)
        self.kv = nn.Linear(tokens, 2 * width)
        self.out = nothing_at_first(nn.Linear(width, width))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """``mask`` (B, 1, 1, T) is added to what places ask of tokens."""
        places = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, width)
        q, *own = self.qkv(places).chunk(3, 2)
        k, v = (torch.cat(both, 1) for both in zip(self.kv(tokens).chunk(2, 2), own, strict=True))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        mask = F.pad(mask, (0, places.shape[1]))
        mixed = attended(q, k, v, mask).transpose(1, 2).flatten(2)
        return x + self.out(mixed).transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
    """Residual blocks of one side, each followed by attention where there are tokens."""

    def __init__(self, inputs: Sequence[int], wide: int, time: int, tokens: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(narrow, wide, time) for narrow in inputs)
        self.attentions = nn.ModuleList(Attention(wide, tokens) for _each in inputs if tokens)

    def forward(
        self, x: Tensor, time: Tensor, told: tuple[Tensor, Tensor] | None, kept: list[Tensor],
        up: bool = False,
    ) -> Tensor:  # fmt: skip
        """Adds to ``kept`` what the way up will see again, or takes it from there."""
        for i, block in enumerate(self.blocks):
            x = block(torch.cat([x, kept.pop()], 1) if up else x, time)
            x = self.attentions[i](x, *told) if told and self.attentions else x
            if not up:
                kept.append(x)
        return x


class GlideUNet(nn.Module):
    """(B, channels, side, side) and steps (B,) -> (B, out, side, side), of any side.

    ``widths`` are the channels of each level from the picture inwards. Where ``tokens`` is their
    width, it takes tokens (B, T, tokens), which all levels but the first look at, and a vector
    (B, 4 widths[0]) that is added to the step's, and knows where each number lies. Without, it is
    made of convolutions alone, so that it may learn from parts of pictures.
    """

    def __init__(
        self, channels: int, out: int, widths: Sequence[int], layers: int = 1, tokens: int = 0
    ) -> None:
        super().__init__()
        first = widths[0]
        self.width, time = first, 4 * first
        self.step = nn.Sequential(nn.Linear(first, time), nn.SiLU(), nn.Linear(time, time))
        self.places = tokens > 0
        self.first = nn.Conv2d(channels + 2 * self.places, first, 3, padding=1)
        kept, now = [first], first
        self.down = nn.ModuleList()
        for i, wide in enumerate(widths):
            inputs = [now] + [wide] * (layers - 1)
            self.down.append(Level(inputs, wide, time, tokens if i else 0))
            kept += [wide] * layers
            now = wide
        self.middle = Level([now], now, time, tokens)
        self.up = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            inputs = [kept.pop() + (wide if j else now) for j in range(layers)]
            self.up.append(Level(inputs, wide, time, tokens if i else 0))
            now = wide
        self.last = nn.Sequential(
            norm(2 * first), nn.SiLU(), nothing_at_first(nn.Conv2d(2 * first, out, 3, padding=1))
        )

    def forward(
        self, x: Tensor, step: Tensor, vector: Tensor | None = None,
        told: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """``told``: tokens (B, T, tokens), and a mask (B, 1, 1, T), 0 or below all else."""
        time = self.step(waves(step, self.width).to(x.dtype))
        time = F.silu(time if vector is None else time + vector)  # (B, 4 width)
        x = self.first(with_places(x) if self.places else x)
        kept = [x]
        for level in self.down:
            if len(kept) > 1:
                x = F.avg_pool2d(x, 2, ceil_mode=True)
            x = level(x, time, told, kept)
        x = self.middle(x, time, told, [])
        for level in self.up:
            if x.shape[-2:] != kept[-1].shape[-2:]:
                x = F.interpolate(x, size=kept[-1].shape[-2:])
            x = level(x, time, told, kept, up=True)
        return self.last(torch.cat([x, kept.pop()], 1))


class Told(NamedTuple):
    """What the decoder is told of each picture."""

    point: Tensor  # (B, dims)
    shown: Tensor  # (B,) bool: False where the point is hidden
    words: Tensor  # (B, T, dims)
    known: Tensor  # (B, T) bool: False where a word is hidden, or there is none

    def hidden(self) -> "Told":
        """Nothing of it."""
        return self._replace(shown=self.shown & False, known=self.known & False)


class PointDecoder(nn.Module):
    """Pictures (B, channels, side, side) and steps (B,) -> (B, channels, side, side).

    The point is added to the step's vector, and becomes four tokens beside those of the words
    (Ramesh and others 2022, section 2.1); a learnt one stands where it is hidden.
    """

    def __init__(self, channels: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.unet = GlideUNet(channels, channels, widths, 1, dims)
        self.nothing = nn.Parameter(torch.randn(dims))
        self.vector, self.words = nn.Linear(dims, 4 * widths[0]), nn.Linear(dims, dims)
        self.extra = nn.Linear(dims, EXTRA * dims)

    def forward(self, x: Tensor, step: Tensor, told: Told) -> Tensor:
        point = torch.where(told.shown[:, None], told.point, self.nothing)
        extra = self.extra(point).unflatten(1, (EXTRA, -1))
        tokens = torch.cat([extra, self.words(told.words)], 1)
        mask = F.pad(~told.known, (EXTRA, 0))[:, None, None, :] * MASKED
        return self.unet(x, step, self.vector(point), (tokens, mask))


def resized(image: Tensor, side: int) -> Tensor:
    """(B, C, H, W) -> (B, C, side, side)"""
    if side < image.shape[-1]:
        return F.interpolate(image, size=(side, side), mode="area")
    return F.interpolate(image, size=(side, side), mode="bilinear")


def blurred(image: Tensor) -> Tensor:
    """(B, C, H, W): each by a Gaussian of a width of its own, ``BLUR`` at most."""
    width = BLUR * torch.rand(len(image), 1, 1, 1, device=image.device).clamp(min=0.1)
    beside = (-1 / (2 * width.square())).exp()  # of the middle's weight, one pixel away
    for _axis in range(2):
        wide = F.pad(image, (1, 1, 0, 0), mode="replicate")
        sides = wide[..., :-2] + wide[..., 2:]
        image = ((image + beside * sides) / (1 + 2 * beside)).transpose(2, 3)
    return image


def in_patches(patch: int, network: Callable[..., Tensor], x: Tensor, *told: object) -> Tensor:
    """What the network makes of (B, C, H, W), ``patch`` by ``patch`` pixels seen as one."""
    height, width = x.shape[-2:]
    folded = F.pixel_unshuffle(F.pad(x, (0, -width % patch, 0, -height % patch)), patch)
    return F.pixel_shuffle(network(folded, *told), patch)[..., :height, :width]
