"""The prior of unCLIP: predict the CLIP embedding of an image from a text.

Ramesh, Dhariwal, Nichol, Chu, Chen: Hierarchical Text-Conditional Image Generation with CLIP
Latents (2022), section 2.2. https://arxiv.org/abs/2204.06125

    tokens:  text tokens, text embedding, step, noisy image embedding, query
    attention is causal; the output at the query is the clean embedding

Modules are named as in diffusers' ``PriorTransformer``, so that Karlo's weights load by name.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.clip import attended
from souron.blocks.latent import waves
from souron.blocks.samplers import dpm

BEHIND = 4  # tokens after those of the text
MASKED = -1e4  # added to masked attention scores; finite, so that fully masked rows stay valid


class Text(NamedTuple):
    """CLIP's encodings of texts."""

    point: Tensor  # (B, dims), scaled to values of about 1
    words: Tensor  # (B, T, text)
    known: Tensor  # (B, T) bool: False for padding

    def hidden(self) -> "Text":
        """Return the encodings with everything dropped."""
        return Text(0 * self.point, self.words, self.known & False)

    def of(self, rows: Tensor) -> "Text":
        return Text(*(part[rows] for part in self))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _each in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, d)
            for part in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out[0](attended(q, k, v, mask).transpose(1, 2).flatten(2))


class Widen(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Widen(width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Layer(nn.Module):
    """A Transformer layer: x = x + attention(norm(x));  x = x + ff(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(width), Attention(width, heads)
        self.norm3, self.ff = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x), mask)
        return x + self.ff(self.norm3(x))


class PriorTransformer(nn.Module):
    """Noisy embeddings (B, dims), steps (B,) and texts -> clean embeddings (B, dims).

    The default sizes are Karlo's. ``context`` is the largest T. Embeddings are standardised:
    ``normal`` subtracts the mean and divides by the standard deviation, which ``learn`` estimates,
    and ``point`` inverts this.
    """

    clip_mean: Tensor  # (1, dims)
    clip_std: Tensor

    def __init__(
        self, dims: int = 768, text: int = 768, context: int = 77, width: int = 2048, heads: int = 32, layers: int = 20
    ) -> None:
        super().__init__()
        self.width, self.context = width, context
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(width, width), "linear_2": nn.Linear(width, width)})
        self.proj_in = nn.Linear(dims, width)
        self.embedding_proj = nn.Linear(dims, width)
        self.encoder_hidden_states_proj = nn.Linear(text, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(1, context + BEHIND, width))
        self.prd_embedding = nn.Parameter(0.01 * torch.randn(1, 1, width))
        self.transformer_blocks = nn.ModuleList(Layer(width, heads) for _layer in range(layers))
        self.norm_out = nn.LayerNorm(width)
        self.proj_to_clip_embeddings = nn.Linear(width, dims)
        self.register_buffer("clip_mean", torch.zeros(1, dims))
        self.register_buffer("clip_std", torch.ones(1, dims))

    def forward(self, noisy: Tensor, step: Tensor, text: Text) -> Tensor:
        time = waves(step, self.width).to(noisy.dtype)
        time = self.time_embedding["linear_2"](F.silu(self.time_embedding["linear_1"](time)))
        behind = (self.embedding_proj(text.point), time, self.proj_in(noisy))
        query = self.prd_embedding.expand(len(noisy), -1, -1)
        words = self.encoder_hidden_states_proj(text.words)
        x = torch.cat([words, torch.stack(behind, 1), query], 1)  # (B, T + 4, width)
        own = self.positional_embedding[:, : text.words.shape[1]]
        x = x + torch.cat([own, self.positional_embedding[:, self.context :]], 1)
        hidden = F.pad(~text.known, (0, BEHIND))[:, None, None, :] * MASKED  # (B, 1, 1, T + 4)
        ahead = x.new_full((x.shape[1], x.shape[1]), MASKED).triu(1)
        mask = hidden.to(x.dtype) + ahead
        for layer in self.transformer_blocks:
            x = layer(x, mask)
        return self.proj_to_clip_embeddings(self.norm_out(x[:, -1]))

    @torch.no_grad()
    def learn(self, points: Tensor, share: float) -> None:
        """Update mean and deviation with weight ``share`` from ``points`` (B, dims)."""
        points = points.float()
        self.clip_mean.lerp_(points.mean(0, keepdim=True), share)
        far = (points - self.clip_mean).square().mean(0, keepdim=True).sqrt()
        self.clip_std.lerp_(far.clamp(min=1e-4), share)

    def normal(self, points: Tensor) -> Tensor:
        return (points - self.clip_mean) / self.clip_std

    def point(self, normal: Tensor) -> Tensor:
        return normal * self.clip_std + self.clip_mean


def drawn_points(
    prior: PriorTransformer, alpha_bar: Sequence[float], start: Tensor, text: Text, guidance: float, steps: int = 20
) -> Tensor:
    """Sample standardised image embeddings (B, dims) from noise (B, candidates, dims).

    Of the candidates of a text, the one nearest to the text embedding is returned.
    """
    rows = torch.arange(len(start), device=start.device).repeat_interleave(start.shape[1])
    text_rows = text.of(rows)

    def clean(noisy: Tensor, t: int) -> Tensor:
        step = torch.full_like(rows, t)
        free = prior(noisy, step, text_rows.hidden()).float()
        return free + guidance * (prior(noisy, step, text_rows).float() - free)

    [points] = deque(dpm(clean, alpha_bar, steps, start.flatten(0, 1), lambda: start), maxlen=1)
    points = points.view_as(start)
    near = F.cosine_similarity(prior.point(points), text.point[:, None], dim=2)  # (B, candidates)
    return points[torch.arange(len(points), device=points.device), near.argmax(1)]


def between(start: Tensor, end: Tensor, way: float) -> Tensor:
    """Interpolate unit vectors (B, dims) spherically from ``start``, at 0, to ``end``, at 1."""
    start, end = F.normalize(start, dim=1), F.normalize(end, dim=1)
    angle = (start * end).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return (((1 - way) * angle).sin() * start + (way * angle).sin() * end) / angle.sin()
