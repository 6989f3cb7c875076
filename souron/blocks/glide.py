"""GLIDE's UNet: pixels attend to each other and to the text in one attention layer.

Nichol and others: GLIDE: Towards Photorealistic Image Generation and Editing with Text-Guided
Diffusion Models (2021). https://arxiv.org/abs/2112.10741

Dhariwal, Nichol: Diffusion Models Beat GANs on Image Synthesis (2021), section 3.
https://arxiv.org/abs/2105.05233

    residual block: x + conv(silu(norm(conv(silu(norm(x)))) * (1 + scale) + shift))
    scale, shift = W silu(step + condition)
    attention: queries of positions, keys of all tokens and all positions
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.clip import attended
from souron.blocks.latent import waves
from souron.blocks.unet import nothing_at_first, with_places

HEAD = 32  # approximate width of an attention head
EXTRA = 4  # tokens per image embedding
BLUR = 0.6  # pixels, largest blur of the upsampler's input
MASKED = -1e4  # added to the attention scores of masked tokens


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(next(n for n in (32, 16, 8, 4, 2, 1) if width % n == 0 and width > n), width)


class Residual(nn.Module):
    """A residual block (B, narrow, H, W), (B, time) -> (B, wide, H, W)."""

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
    """Attention of positions (B, width, H, W) to each other and to tokens (B, T, tokens)."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.norm, self.qkv = norm(width), nn.Linear(width, 3 * width)
        self.kv = nn.Linear(tokens, 2 * width)
        self.out = nothing_at_first(nn.Linear(width, width))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Attend; ``mask`` (B, 1, 1, T) is added to the scores of tokens."""
        places = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, width)
        q, *own = self.qkv(places).chunk(3, 2)
        k, v = (torch.cat(both, 1) for both in zip(self.kv(tokens).chunk(2, 2), own, strict=True))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        mask = F.pad(mask, (0, places.shape[1]))
        output = attended(q, k, v, mask).transpose(1, 2).flatten(2)
        return x + self.out(output).transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention if there are tokens."""

    def __init__(self, inputs: Sequence[int], wide: int, time: int, tokens: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(narrow, wide, time) for narrow in inputs)
        self.attentions = nn.ModuleList(Attention(wide, tokens) for _each in inputs if tokens)

    def forward(
        self, x: Tensor, time: Tensor, context: tuple[Tensor, Tensor] | None, skips: list[Tensor], up: bool = False
    ) -> Tensor:
        """Append skip connections to ``skips``, or with ``up`` take them from there."""
        for i, block in enumerate(self.blocks):
            x = block(torch.cat([x, skips.pop()], 1) if up else x, time)
            x = self.attentions[i](x, *context) if context and self.attentions else x
            if not up:
                skips.append(x)
        return x


class GlideUNet(nn.Module):
    """(B, channels, side, side) and steps (B,) -> (B, out, side, side), for any side.

    ``widths`` are the channels of each level from the outside in. With ``tokens``, their width, it
    takes tokens (B, T, tokens), to which all levels but the first attend, a vector (B, 4 widths[0])
    added to the step embedding, and has coordinate channels. Without, it is fully convolutional, so
    that it can be trained on crops.
    """

    def __init__(self, channels: int, out: int, widths: Sequence[int], layers: int = 1, tokens: int = 0) -> None:
        super().__init__()
        first = widths[0]
        self.width, time = first, 4 * first
        self.step = nn.Sequential(nn.Linear(first, time), nn.SiLU(), nn.Linear(time, time))
        self.places = tokens > 0
        self.first = nn.Conv2d(channels + 2 * self.places, first, 3, padding=1)
        skips, now = [first], first
        self.down = nn.ModuleList()
        for i, wide in enumerate(widths):
            inputs = [now] + [wide] * (layers - 1)
            self.down.append(Level(inputs, wide, time, tokens if i else 0))
            skips += [wide] * layers
            now = wide
        self.middle = Level([now], now, time, tokens)
        self.up = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            inputs = [skips.pop() + (wide if j else now) for j in range(layers)]
            self.up.append(Level(inputs, wide, time, tokens if i else 0))
            now = wide
        self.last = nn.Sequential(norm(2 * first), nn.SiLU(), nothing_at_first(nn.Conv2d(2 * first, out, 3, padding=1)))

    def forward(
        self, x: Tensor, step: Tensor, vector: Tensor | None = None, context: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Predict; ``context`` are tokens (B, T, tokens) and an additive mask (B, 1, 1, T)."""
        time = self.step(waves(step, self.width).to(x.dtype))
        time = F.silu(time if vector is None else time + vector)  # (B, 4 width)
        x = self.first(with_places(x) if self.places else x)
        skips = [x]
        for level in self.down:
            if len(skips) > 1:
                x = F.avg_pool2d(x, 2, ceil_mode=True)
            x = level(x, time, context, skips)
        x = self.middle(x, time, context, [])
        for level in self.up:
            if x.shape[-2:] != skips[-1].shape[-2:]:
                x = F.interpolate(x, size=skips[-1].shape[-2:])
            x = level(x, time, context, skips, up=True)
        return self.last(torch.cat([x, skips.pop()], 1))


class Condition(NamedTuple):
    """The condition of the decoder for each image."""

    point: Tensor  # (B, dims)
    shown: Tensor  # (B,) bool: False where the embedding is dropped
    words: Tensor  # (B, T, dims)
    known: Tensor  # (B, T) bool: False where a word is dropped or padding

    def hidden(self) -> "Condition":
        """Return the condition with everything dropped."""
        return self._replace(shown=self.shown & False, known=self.known & False)


class PointDecoder(nn.Module):
    """Images (B, channels, side, side) and steps (B,) -> (B, channels, side, side).

    The image embedding is added to the step embedding, and becomes four tokens beside those of the
    words (Ramesh and others 2022, section 2.1); a learnt embedding replaces it where it is dropped.
    """

    def __init__(self, channels: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.unet = GlideUNet(channels, channels, widths, 1, dims)
        self.nothing = nn.Parameter(torch.randn(dims))
        self.vector, self.words = nn.Linear(dims, 4 * widths[0]), nn.Linear(dims, dims)
        self.extra = nn.Linear(dims, EXTRA * dims)

    def forward(self, x: Tensor, step: Tensor, condition: Condition) -> Tensor:
        point = torch.where(condition.shown[:, None], condition.point, self.nothing)
        extra = self.extra(point).unflatten(1, (EXTRA, -1))
        tokens = torch.cat([extra, self.words(condition.words)], 1)
        mask = F.pad(~condition.known, (EXTRA, 0))[:, None, None, :] * MASKED
        return self.unet(x, step, self.vector(point), (tokens, mask))


def resized(image: Tensor, side: int) -> Tensor:
    """Resize (B, C, H, W) -> (B, C, side, side)."""
    if side < image.shape[-1]:
        return F.interpolate(image, size=(side, side), mode="area")
    return F.interpolate(image, size=(side, side), mode="bilinear")


def blurred(image: Tensor) -> Tensor:
    """Blur each image (B, C, H, W) by a Gaussian of random width, at most ``BLUR`` pixels."""
    width = BLUR * torch.rand(len(image), 1, 1, 1, device=image.device).clamp(min=0.1)
    beside = (-1 / (2 * width.square())).exp()  # relative weight at a distance of one pixel
    for _axis in range(2):
        wide = F.pad(image, (1, 1, 0, 0), mode="replicate")
        sides = wide[..., :-2] + wide[..., 2:]
        image = ((image + beside * sides) / (1 + 2 * beside)).transpose(2, 3)
    return image


def in_patches(patch: int, network: Callable[..., Tensor], x: Tensor, *conditions: object) -> Tensor:
    """Apply a network to (B, C, H, W) with ``patch`` x ``patch`` pixels folded into channels."""
    height, width = x.shape[-2:]
    patches = F.pixel_unshuffle(F.pad(x, (0, -width % patch, 0, -height % patch)), patch)
    return F.pixel_shuffle(network(patches, *conditions), patch)[..., :height, :width]
