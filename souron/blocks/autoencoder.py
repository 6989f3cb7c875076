"""The variational autoencoder of latent diffusion: an image as a small latent map, and back.

Rombach, Blattmann, Lorenz, Esser, Ommer: High-Resolution Image Synthesis with Latent Diffusion
Models (2022), section 3.1. https://arxiv.org/abs/2112.10752

    image -> residual blocks, half the side, ... -> mean and log variance of each latent
    latents -> residual blocks, twice the side, ... -> image

Modules are named as in diffusers' ``AutoencoderKL``, so that its weights load by name;
``autoencoder_name`` converts names of the authors' own program.
"""

import re
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.latent import Residual
from souron.blocks.unet import Attention, Double, Halve

LOWEST, HIGHEST = -30.0, 20.0  # of a log variance


class Level(nn.Module):
    def __init__(self, inputs: Sequence[int], wide: int, groups: int):
        super().__init__()
        blocks = [Residual(narrow, wide, 0, groups, 1e-6) for narrow in inputs]
        self.resnets = nn.ModuleList(blocks)


class Down(Level):
    downsamplers: nn.ModuleList

    def forward(self, x: Tensor) -> Tensor:
        for block in [*self.resnets, *self.downsamplers]:
            x = block(x)
        return x


class Up(Level):
    upsamplers: nn.ModuleList

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        for double in self.upsamplers:
            x = double(x, (2 * x.shape[-2], 2 * x.shape[-1]))
        return x


class Middle(Level):
    def __init__(self, wide: int, groups: int):
        super().__init__([wide, wide], wide, groups)
        self.attentions = nn.ModuleList([Attention(wide, groups)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    """Encode (B, channels, H, W) -> (B, 2 latent, H / 2^(levels - 1), W / ...)."""

    def __init__(self, channels: int, widths: Sequence[int], layers: int, latent: int, groups: int):
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks, now = nn.ModuleList(), widths[0]
        for i, wide in enumerate(widths):
            down = Down([now] + [wide] * (layers - 1), wide, groups)
            deepest = i == len(widths) - 1
            down.downsamplers = nn.ModuleList([] if deepest else [Halve(wide)])
            self.down_blocks.append(down)
            now = wide
        self.mid_block = Middle(now, groups)
        self.conv_norm_out = nn.GroupNorm(groups, now, eps=1e-6)
        self.conv_out = nn.Conv2d(now, 2 * latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Decode (B, latent, H, W) -> (B, channels, H * 2^(levels - 1), W * ...)."""

    def __init__(self, channels: int, widths: Sequence[int], layers: int, latent: int, groups: int):
        super().__init__()
        now = widths[-1]
        self.conv_in = nn.Conv2d(latent, now, 3, padding=1)
        self.mid_block = Middle(now, groups)
        self.up_blocks = nn.ModuleList()
        for i, wide in reversed(list(enumerate(widths))):
            up = Up([now] + [wide] * layers, wide, groups)
            up.upsamplers = nn.ModuleList([Double(wide)] if i else [])
            self.up_blocks.append(up)
            now = wide
        self.conv_norm_out = nn.GroupNorm(groups, now, eps=1e-6)
        self.conv_out = nn.Conv2d(now, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    """Images (B, channels, H, W) <-> latents (B, latent, h, w), h = H / 2^(levels - 1)."""

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (128, 256, 512, 512),
        layers: int = 2,
        latent: int = 4,
        groups: int = 32,
    ):
        super().__init__()
        self.encoder = Encoder(channels, widths, layers, latent, groups)
        self.decoder = Decoder(channels, widths, layers, latent, groups)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, (B, latent, h, w) each."""
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, 1)
        return mean, log_variance.clamp(LOWEST, HIGHEST)

    def decode(self, latent: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latent))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the KL divergence from a standard normal distribution, (B,) in nats."""
    nats = mean.square() + log_variance.exp() - 1 - log_variance
    return nats.flatten(1).sum(1) / 2


ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}


def autoencoder_name(name: str, levels: int = 4) -> str:
    """Convert a weight name to that of current diffusers.

    ``decoder.up.3.block.0.nin_shortcut.weight`` ->
    ``decoder.up_blocks.0.resnets.0.conv_shortcut.weight``

    ``name`` is the part after ``first_stage_model.`` in a single file, or an older name of
    diffusers; other names are unchanged.
    """
    match = re.fullmatch(r"(\w+)\.(down|up)\.(\d+)\.(block\.(\d+)|downsample|upsample)\.(.+)", name)
    if match is not None:
        part, way, level, what, block, inner = match.groups()
        number = int(level) if way == "down" else levels - 1 - int(level)
        where = f"{part}.{way}_blocks.{number}"
        if block is None:
            return f"{where}.{what}rs.0.{inner}"
        return f"{where}.resnets.{block}.{inner.replace('nin_shortcut', 'conv_shortcut')}"
    name = re.sub(r"\.mid\.block_(\d)\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}.", name)
    name = name.replace(".mid.attn_1.", ".mid_block.attentions.0.")
    name = re.sub(r"^(\w+)\.norm_out\.", r"\1.conv_norm_out.", name)
    match = re.fullmatch(r"(.+\.attentions\.0)\.(\w+)\.(\w+)", name)
    if match is not None and match[2] in ATTENTION:
        return f"{match[1]}.{ATTENTION[match[2]]}.{match[3]}"
    return name


def flat(weight: Tensor, like: Sequence[int]) -> Tensor:
    """Convert the weight of a 1 x 1 convolution to a linear layer's, if ``like`` is such
    a shape.
    """
    return weight[..., 0, 0] if weight.ndim == 4 and len(like) == 2 else weight
