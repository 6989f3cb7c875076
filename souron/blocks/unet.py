"""The UNet of diffusion models: downsampling and upsampling with skip connections.

Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models (2020), appendix B.
https://arxiv.org/abs/2006.11239

    down: residual blocks, then half the side      up: the reverse, with skip connections
    residual block: x + conv(silu(norm(conv(silu(norm(x))) + W silu(time))))

Modules are named as in diffusers' ``UNet2DModel``, so that its weights load by name.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OCTAVES = 3  # of the sines that encode places


class Residual(nn.Module):
    def __init__(self, narrow: int, wide: int, time: int, groups: int, dropout: float):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, narrow, eps=1e-6)
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, wide)
        self.norm2 = nn.GroupNorm(groups, wide, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nothing_at_first(nn.Conv2d(wide, wide, 3, padding=1))
        self.conv_shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Compute (B, narrow, H, W), (B, time) -> (B, wide, H, W)."""
        inner = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(time)[..., None, None]
        inner = self.conv2(self.dropout(F.silu(self.norm2(inner))))
        return self.conv_shortcut(x) + inner


class ScaledResidual(nn.Module):
    """A residual block whose second normalisation is scaled and shifted by the condition.

    Dhariwal, Nichol: Diffusion Models Beat GANs on Image Synthesis (2021), section 3.1.
    https://arxiv.org/abs/2105.05233
    """

    def __init__(self, narrow: int, wide: int, condition: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, narrow, eps=1e-6)
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1)
        self.to_scale_shift = nn.Linear(condition, 2 * wide)
        self.norm2 = nn.GroupNorm(groups, wide, eps=1e-6)
        self.conv2 = nothing_at_first(nn.Conv2d(wide, wide, 3, padding=1))
        self.shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute (B, narrow, H, W), (B, condition) -> (B, wide, H, W)."""
        scale, shift = self.to_scale_shift(condition)[..., None, None].chunk(2, 1)
        inner = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(inner))


class Attention(nn.Module):
    """Single-head self-attention over all pixels."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nothing_at_first(nn.Linear(width, width))])

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, C, H, W) -> (B, C, H, W)."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        q, k, v = (part(tokens)[:, None] for part in (self.to_q, self.to_k, self.to_v))
        output = F.scaled_dot_product_attention(q, k, v)[:, 0]  # (B, H W, C)
        return x + self.to_out[0](output).transpose(1, 2).reshape(x.shape)


class Halve(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # a side of 45 becomes 22


class Double(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, sides: Sequence[int]) -> Tensor:
        return self.conv(F.interpolate(x, size=tuple(sides)))


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention where the level has it."""

    def __init__(
        self,
        widths: Sequence[int],  # input channels of each block
        wide: int,  # output channels of each block
        time: int,
        groups: int,
        dropout: float,
        attends: bool,
    ):
        super().__init__()
        self.resnets = nn.ModuleList(Residual(w, wide, time, groups, dropout) for w in widths)
        attentions = [Attention(wide, groups) if attends else nn.Identity() for _ in widths]
        self.attentions = nn.ModuleList(attentions)


class Down(Level):
    downsamplers: nn.ModuleList

    def forward(self, x: Tensor, time: Tensor, skips: list[Tensor]) -> Tensor:
        """Append the skip connections to ``skips``."""
        for block, attention in zip(self.resnets, self.attentions, strict=True):
            x = attention(block(x, time))
            skips.append(x)
        for halve in self.downsamplers:
            x = halve(x)
            skips.append(x)
        return x


class Middle(Level):
    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        before, after = self.resnets
        return after(self.attentions[0](before(x, time)), time)


class Up(Level):
    upsamplers: nn.ModuleList

    def forward(self, x: Tensor, time: Tensor, skips: list[Tensor]) -> Tensor:
        """Take the skip connections from ``skips``."""
        for block, attention in zip(self.resnets, self.attentions, strict=True):
            x = attention(block(torch.cat([x, skips.pop()], 1), time))
        for double in self.upsamplers:
            x = double(x, skips[-1].shape[-2:])
        return x


class UNet(nn.Module):
    """(B, channels, side, side) and steps (B,) -> (B, out, side, side); sides need not be even.

    ``widths`` are the channels of each level from the outside in, ``attended`` the indices of those
    with attention (the innermost point always has it). With ``labels``, a label (B,) in 0..labels
    is taken too; the last one means none.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        widths: Sequence[int],
        layers: int = 2,
        attended: Sequence[int] = (1,),
        labels: int = 0,
        dropout: float = 0.0,
    ):
        super().__init__()
        first, last = widths[0], widths[-1]
        groups, time = min(32, max(1, first // 4)), 4 * first
        self.width = first
        self.conv_in = nn.Conv2d(channels, first, 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(first, time), "linear_2": nn.Linear(time, time)})
        self.class_embedding = nn.Embedding(labels + 1, time) if labels else None

        self.down_blocks, skips, now = nn.ModuleList(), [first], first
        for i, wide in enumerate(widths):
            inward = [now] + [wide] * (layers - 1)
            down = Down(inward, wide, time, groups, dropout, i in attended)
            deepest = i == len(widths) - 1
            down.downsamplers = nn.ModuleList([] if deepest else [Halve(wide)])
            skips += [wide] * (layers if deepest else layers + 1)
            self.down_blocks.append(down)
            now = wide

        self.mid_block = Middle([last, last], last, time, groups, dropout, False)
        self.mid_block.attentions[0] = Attention(last, groups)

        self.up_blocks = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            outward = [skips.pop() + (wide if j else now) for j in range(layers + 1)]
            up = Up(outward, wide, time, groups, dropout, i in attended)
            up.upsamplers = nn.ModuleList([Double(wide)] if i else [])
            self.up_blocks.append(up)
            now = wide

        self.conv_norm_out = nn.GroupNorm(groups, first, eps=1e-6)
        self.conv_out = nothing_at_first(nn.Conv2d(first, out, 3, padding=1))

    def forward(self, x: Tensor, step: Tensor, label: Tensor | None = None) -> Tensor:
        time = waves(step, self.width)  # (B, width)
        time = self.time_embedding["linear_2"](F.silu(self.time_embedding["linear_1"](time)))
        if self.class_embedding is not None:
            time = time + self.class_embedding(label)
        time = F.silu(time)  # (B, 4 width)

        x = self.conv_in(x)
        skips = [x]
        for level in self.down_blocks:
            x = level(x, time, skips)
        x = self.mid_block(x, time)
        for level in self.up_blocks:
            x = level(x, time, skips)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def waves(step: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (B,) -> (B, width), sines first.

    Frequencies fall from 1 to 1/10 000 radians per step.
    """
    half = width // 2
    rate = torch.exp(-math.log(10_000) * torch.arange(half, device=step.device) / (half - 1))
    angle = step.float()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


def places(high: int, wide: int, device: torch.device) -> Tensor:
    """Return sines and cosines of y and x, (1, 4 OCTAVES, high, wide)."""
    across = torch.meshgrid(*(torch.linspace(-1, 1, side, device=device) for side in (high, wide)), indexing="ij")
    angles = torch.stack([math.pi / 2 * 2**octave * coordinate for octave in range(OCTAVES) for coordinate in across])
    return torch.cat([angles.sin(), angles.cos()])[None]


def with_places(x: Tensor) -> Tensor:
    """Append coordinate channels (CoordConv): (B, C, H, W) -> (B, C + 2, H, W), y and x in -1..1.

    Liu and others 2018, https://arxiv.org/abs/1807.03247
    """
    axes = (torch.linspace(-1, 1, side, device=x.device) for side in x.shape[2:])
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij")).to(x.dtype)
    return torch.cat([x, coordinates.expand(x.shape[0], -1, -1, -1)], 1)


def nothing_at_first(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Set the weight of a residual block's last layer to zero, so that it starts as the
    identity.
    """
    nn.init.zeros_(layer.weight)
    return layer
