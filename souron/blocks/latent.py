"""The UNet of latent diffusion, with cross-attention to a text.

Rombach, Blattmann, Lorenz, Esser, Ommer: High-Resolution Image Synthesis with Latent Diffusion
Models (2022), section 3.3. https://arxiv.org/abs/2112.10752

    level: residual blocks of ``unet``, each followed by a spatial transformer:
    x + proj(self-attention -> cross-attention to the text's tokens -> GEGLU)

Modules are named as in diffusers' ``UNet2DConditionModel``, so that its weights load by name;
``unet_name`` converts names of the authors' own program.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.clip import attended
from souron.blocks.unet import Double, nothing_at_first, with_places

FEW = 256 * 256  # positions times tokens up to which explicit attention is faster


class Words(NamedTuple):
    """The text tokens of each image."""

    tokens: Tensor  # (B, T, text)
    mask: Tensor | None = None  # (B, 1, 1, T), added to the attention scores: 0 or -inf


class Residual(nn.Module):
    """A residual block (B, narrow, H, W) -> (B, wide, r H, r W); without ``time`` as in an
    autoencoder.

    ``resize`` r is 1, 2 or 0.5, applied before the first convolution. With ``scales`` the time scales
    and shifts the second normalisation, as in Dhariwal, Nichol (2021); otherwise it is added before.
    """

    def __init__(
        self, narrow: int, wide: int, time: int, groups: int, epsilon: float, scales: bool = False, resize: float = 1
    ):
        super().__init__()
        self.scales, self.resize = scales, resize
        self.norm1 = nn.GroupNorm(groups, narrow, eps=epsilon)
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, (1 + scales) * wide) if time else None
        self.norm2 = nn.GroupNorm(groups, wide, eps=epsilon)
        self.conv2 = nothing_at_first(nn.Conv2d(wide, wide, 3, padding=1))
        self.conv_shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        inner = F.silu(self.norm1(x))
        if self.resize != 1:
            x, inner = (resized(maps, self.resize) for maps in (x, inner))
        inner = self.conv1(inner)
        shift = None if self.time_emb_proj is None else self.time_emb_proj(time)[..., None, None]
        if shift is None:
            inner = self.norm2(inner)
        elif self.scales:
            scale, shift = shift.chunk(2, 1)
            inner = self.norm2(inner) * (1 + scale) + shift
        else:
            inner = self.norm2(inner + shift)
        return self.conv_shortcut(x) + self.conv2(F.silu(inner))


def resized(x: Tensor, factor: float) -> Tensor:
    """Repeat each pixel of (B, C, H, W), where ``factor`` is 2, or average two by two, where it is 0.5."""
    return F.interpolate(x, scale_factor=factor) if factor > 1 else F.avg_pool2d(x, 2)


class Attention(nn.Module):
    """Attention of positions (B, N, width) to themselves, or to text tokens (B, T, text)."""

    def __init__(self, width: int, context_width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(context_width, width, bias=False) for _each in range(2))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, width / heads)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        few = q.shape[2] * k.shape[2] <= FEW
        output = attended(q, k, v, mask) if few else F.scaled_dot_product_attention(q, k, v, mask)
        return self.to_out[0](output.transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    """A gated linear unit with GELU.

    Shazeer: GLU Variants Improve Transformer (2020), https://arxiv.org/abs/2002.05202.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        inner, gate = self.proj(x).chunk(2, -1)
        return inner * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Layer(nn.Module):
    def __init__(self, width: int, text: int, heads: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _each in range(3))
        self.attn1 = Attention(width, width, heads)
        self.attn2 = Attention(width, text, heads)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, words: Words) -> Tensor:
        own = self.norm1(x)
        x = x + self.attn1(own, own)
        x = x + self.attn2(self.norm2(x), words.tokens, words.mask)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A Transformer over the positions of feature maps (B, C, H, W) with a text -> (B, C, H, W)."""

    def __init__(self, width: int, text: int, heads: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([Layer(width, text, heads)])
        self.proj_out = nothing_at_first(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, words: Words) -> Tensor:
        places = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # (B, H W, C)
        for layer in self.transformer_blocks:
            places = layer(places, words)
        return x + self.proj_out(places.transpose(1, 2).reshape(x.shape))


class Shrink(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by its spatial transformer, if any."""

    def __init__(self, blocks: Sequence[nn.Module], attentions: Sequence[nn.Module]):
        super().__init__()
        self.resnets = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)

    def block(self, i: int, x: Tensor, time: Tensor, words: Words) -> Tensor:
        x = self.resnets[i](x, time)
        return self.attentions[i](x, words) if i < len(self.attentions) else x


class Down(Level):
    downsamplers: nn.ModuleList

    def forward(self, x: Tensor, time: Tensor, words: Words, skips: list[Tensor]) -> Tensor:
        """Append the skip connections to ``skips``."""
        for i in range(len(self.resnets)):
            x = self.block(i, x, time, words)
            skips.append(x)
        for shrink in self.downsamplers:
            x = shrink(x)
            skips.append(x)
        return x


class Middle(Level):
    def forward(self, x: Tensor, time: Tensor, words: Words) -> Tensor:
        return self.resnets[1](self.block(0, x, time, words), time)


class Up(Level):
    upsamplers: nn.ModuleList

    def forward(self, x: Tensor, time: Tensor, words: Words, skips: list[Tensor]) -> Tensor:
        """Take the skip connections from ``skips``."""
        for i in range(len(self.resnets)):
            x = self.block(i, torch.cat([x, skips.pop()], 1), time, words)
        for double in self.upsamplers:
            x = double(x, skips[-1].shape[-2:])
        return x


class TextUNet(nn.Module):
    """(B, channels, H, W), steps (B,) and tokens (B, T, text) -> (B, out, H, W); any sides.

    ``mask`` (B, 1, 1, T) is 0 for tokens of the text, else -inf.

    ``widths`` are the channels of each level from the outside in; ``attended`` the indices of those
    with spatial transformers, which the innermost point always has. ``places`` adds coordinate
    channels.
    """

    def __init__(
        self,
        channels: int = 4,
        out: int = 4,
        widths: Sequence[int] = (320, 640, 1280, 1280),
        layers: int = 2,
        attended: Sequence[int] = (0, 1, 2),
        text: int = 768,
        heads: int = 8,
        groups: int = 32,
        places: bool = False,
    ):
        super().__init__()
        first, last = widths[0], widths[-1]
        self.width, time, self.places = first, 4 * first, places
        self.conv_in = nn.Conv2d(channels + 2 * places, first, 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(first, time), "linear_2": nn.Linear(time, time)})

        def parts(inputs: Sequence[int], wide: int, attends: bool) -> tuple[list, list]:
            blocks = [Residual(narrow, wide, time, groups, 1e-5) for narrow in inputs]
            looks = [SpatialTransformer(wide, text, heads, groups) for _each in inputs if attends]
            return blocks, looks

        self.down_blocks, skips, now = nn.ModuleList(), [first], first
        for i, wide in enumerate(widths):
            down = Down(*parts([now] + [wide] * (layers - 1), wide, i in attended))
            deepest = i == len(widths) - 1
            down.downsamplers = nn.ModuleList([] if deepest else [Shrink(wide)])
            skips += [wide] * (layers if deepest else layers + 1)
            self.down_blocks.append(down)
            now = wide

        blocks, [look, _second] = parts([last, last], last, True)
        self.mid_block = Middle(blocks, [look])

        self.up_blocks = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            inputs = [skips.pop() + (wide if j else now) for j in range(layers + 1)]
            up = Up(*parts(inputs, wide, i in attended))
            up.upsamplers = nn.ModuleList([Double(wide)] if i else [])
            self.up_blocks.append(up)
            now = wide

        self.conv_norm_out = nn.GroupNorm(groups, first, eps=1e-5)
        self.conv_out = nothing_at_first(nn.Conv2d(first, out, 3, padding=1))

    def forward(self, x: Tensor, step: Tensor, text: Tensor, mask: Tensor | None = None) -> Tensor:
        words = Words(text, mask)
        time = waves(step, self.width).to(x.dtype)  # (B, width)
        time = self.time_embedding["linear_2"](F.silu(self.time_embedding["linear_1"](time)))
        time = F.silu(time)  # (B, 4 width)
        x = self.conv_in(with_places(x) if self.places else x)
        skips = [x]
        for level in self.down_blocks:
            x = level(x, time, words, skips)
        x = self.mid_block(x, time, words)
        for level in self.up_blocks:
            x = level(x, time, words, skips)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def waves(step: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (B,) -> (B, width), cosines first.

    Frequencies fall from 1 to almost 1/10 000 radians per step.
    """
    half = width // 2
    rate = torch.exp(-math.log(10_000) * torch.arange(half, device=step.device) / half)
    angle = step.float()[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], 1)


RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OUTER = {
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
}


def unet_name(name: str, layers: int = 2) -> str:
    """Convert a weight name to that of diffusers.

    ``input_blocks.1.0.in_layers.0.weight`` -> ``down_blocks.0.resnets.0.norm1.weight``

    ``name`` is the part after ``model.diffusion_model.`` in a single file; "" where it is unknown.
    """
    module, _dot, kind = name.rpartition(".")
    if module in OUTER:
        return f"{OUTER[module]}.{kind}"
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.+)|middle_block\.(\d)\.(.+)", module)
    if match is None:
        return ""
    side, block, part, inner, middle, within = match.groups()
    if middle is not None:
        target = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}.get(middle)
        return f"mid_block.{target}.{RESIDUAL.get(within, within)}.{kind}" if target else ""
    number = int(block) - (side == "input")
    level, i = divmod(number, layers + 1)
    where = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
    if inner == "op":
        return f"{where}.downsamplers.0.conv.{kind}"
    if inner == "conv":
        return f"{where}.upsamplers.0.conv.{kind}"
    if part == "0":
        return f"{where}.resnets.{i}.{RESIDUAL.get(inner, inner)}.{kind}"
    return f"{where}.attentions.{i}.{inner}.{kind}"
