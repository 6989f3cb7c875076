"""Diffusion Transformer (DiT): latent patches with self-attention and cross-attention to a text.

Peebles, Xie: Scalable Diffusion Models with Transformers (2023). https://arxiv.org/abs/2212.09748

    c = mlp(waves(step));   shift, scale, gate (twice) = linear(SiLU(c))        adaLN-zero
    x = x + gate attention(norm(x) (1 + scale) + shift)
    x = x + cross-attention(norm(x), text)
    x = x + gate mlp(norm(x) (1 + scale) + shift)

Gates and the cross-attention's last layer start at zero, so that each block starts as the identity.
The cross-attention is that of Chen and others: PixArt-alpha: Fast Training of Diffusion Transformer
for Photorealistic Text-to-Image Synthesis (2023), https://arxiv.org/abs/2310.00426.

Differs from the paper: the condition is a text, not a class; as in ``TextUNet``, the queries of the
cross-attention are normalised, which PixArt-alpha leaves out. The variance is not learnt. Any
sides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.clip import Attention as SelfAttention
from souron.blocks.latent import Attention, TextUNet, Words, waves
from souron.blocks.unet import nothing_at_first

PATCH = 2  # side of a patch in latent cells
STEP = 256  # width of the sinusoidal step embedding
HEAD = 32  # width of an attention head in narrow networks
MOST_HEADS = 16


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift tokens (B, N, width) by each image's (B, width)."""
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    """A DiT block: patches (B, N, width) and the step (B, width) -> patches."""

    def __init__(self, width: int, text: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (plain_norm(width) for _each in range(2))
        self.attn = SelfAttention(width, heads)
        self.norm_text = nn.LayerNorm(width)
        self.cross_attn = Attention(width, text, heads)
        hidden = 4 * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU("tanh"), nn.Linear(hidden, width))
        self.adaLN_modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, step: Tensor, words: Words) -> Tensor:
        shift, scale, gate, *second = self.adaLN_modulation(step).chunk(6, 1)
        x = x + gate[:, None] * self.attn(modulated(self.norm1(x), shift, scale), None)
        x = x + self.cross_attn(self.norm_text(x), words.tokens, words.mask)
        shift, scale, gate = second
        return x + gate[:, None] * self.mlp(modulated(self.norm2(x), shift, scale))


class TextDiT(nn.Module):
    """(B, channels, H, W), steps (B,) and tokens (B, T, text) -> (B, out, H, W); any sides.

    ``mask`` (B, 1, 1, T) is 0 for tokens of the text, else -inf.
    """

    def __init__(
        self,
        channels: int = 4,
        out: int = 4,
        width: int = 1152,
        layers: int = 28,
        text: int = 768,
        heads: int = MOST_HEADS,
        patch: int = PATCH,
    ) -> None:
        super().__init__()
        self.width, self.patch = width, patch
        self.x_embedder = nn.Conv2d(channels, width, patch, patch)
        self.t_embedder = nn.Sequential(nn.Linear(STEP, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, text, heads) for _layer in range(layers))
        self.norm_final = plain_norm(width)
        self.modulation_final = nn.Linear(width, 2 * width)
        self.linear_final = nn.Linear(width, patch**2 * out)
        self.begin()

    def begin(self) -> None:
        """Initialise as in the paper: Xavier, and zeros for layers that start as zero."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(part.weight.flatten(1))
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        for part in self.t_embedder:
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=0.02)
        for part in self.modules():
            if isinstance(part, Block):
                nn.init.xavier_uniform_(part.attn.in_proj_weight)
                nn.init.zeros_(part.cross_attn.to_out.get_parameter("0.weight"))
                nothing_at_first(part.adaLN_modulation)
        nothing_at_first(self.modulation_final)
        nothing_at_first(self.linear_final)

    def forward(self, x: Tensor, step: Tensor, text: Tensor, mask: Tensor | None = None) -> Tensor:
        words, (high, wide) = Words(text, mask), x.shape[2:]
        c = F.silu(self.t_embedder(waves(step, STEP).to(x.dtype)))  # (B, width)
        x = self.x_embedder(F.pad(x, (0, -wide % self.patch, 0, -high % self.patch)))
        grid = x.shape[2:]
        position = sine_places(grid[0], grid[1], self.width, x.device).to(x.dtype)
        x = x.flatten(2).transpose(1, 2) + position  # (B, N, width)
        for block in self.blocks:
            x = block(x, c, words)
        shift, scale = self.modulation_final(c).chunk(2, 1)
        x = self.linear_final(modulated(self.norm_final(x), shift, scale))
        image = F.pixel_shuffle(x.transpose(1, 2).unflatten(2, grid), self.patch)
        return image[..., :high, :wide]


def plain_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, 1e-6, elementwise_affine=False)


def sine_places(high: int, wide: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal 2D position embeddings (high * wide, width): of y, then of x, padded
    with zeros.
    """
    y, x = (waves(torch.arange(side, device=device), width // 2) for side in (high, wide))
    both = torch.cat([y[:, None].expand(-1, wide, -1), x.expand(high, -1, -1)], 2).flatten(0, 1)
    return F.pad(both, (0, width - both.shape[1]))


def text_network(
    channels: int, widths: Sequence[int], layers: int, attended: Sequence[int], text: int, places: bool
) -> nn.Module:
    """Build a noise predictor: a UNet of these widths, or a DiT if only one is given.

    A DiT has ``layers`` blocks, which all attend to the text, and always has position embeddings.
    """
    first = widths[0]
    if len(widths) == 1:
        most = max(1, min(MOST_HEADS, first // HEAD))
        heads = next(heads for heads in range(most, 0, -1) if first % heads == 0)
        return TextDiT(channels, channels, first, layers, text, heads)
    heads, groups = max(1, min(8, first // 16)), min(32, first // 4)
    return TextUNet(channels, channels, widths, layers, attended, text, heads, groups, places)
