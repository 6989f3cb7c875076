"""Layers of Whisper's Transformers, named as in the transformers library.

encoder  x = x + attention(x, x, x)            x = x + mlp(x)
decoder  y = y + attention(y, y before it, ..)  y = y + attention(y, x, x)   y = y + mlp(y)
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cache = dict[str, Tensor]  # keys and values of one decoder layer


class Attention(nn.Module):
    """Multi-head attention of ``x`` to keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)  # a bias would add the same everywhere

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from (B, T, C) to keys and values (B, heads, S, C / heads) where ``mask``."""
        context = F.scaled_dot_product_attention(self.apart(self.q_proj(x)), keys, values, mask)
        return self.out_proj(context.transpose(1, 2).flatten(2))

    def apart(self, x: Tensor) -> Tensor:
        """Split into heads: (B, T, C) -> (B, heads, T, C / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def memory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of ``x``."""
        return self.apart(self.k_proj(x)), self.apart(self.v_proj(x))


class Layer(nn.Module):
    """One Transformer layer; ``across=True`` adds cross-attention (decoder)."""

    formula = (
        "x = x + self_attn(layer_norm(x), layer_norm(x))\n"
        "x = x + encoder_attn(layer_norm(x), sound)      decoder only\n"
        "y = x + fc2(gelu(fc1(layer_norm(x))))"
    )

    def __init__(self, width: int, heads: int, across: bool) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, heads)
        if across:
            self.encoder_attn_layer_norm = nn.LayerNorm(width)
            self.encoder_attn = Attention(width, heads)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Transform (B, T, C). With a ``cache``, x are the tokens after those cached."""
        h = self.self_attn_layer_norm(x)
        keys, values = self.self_attn.memory(h)
        if cache is not None:
            keys = torch.cat([cache["keys"], keys], 2) if "keys" in cache else keys
            values = torch.cat([cache["values"], values], 2) if "values" in cache else values
            cache |= {"keys": keys, "values": values}
        x = x + self.self_attn(h, keys, values, mask)
        if memory is not None:
            cross_cache = {} if cache is None else cache
            if "sound keys" not in cross_cache:
                cross_cache["sound keys"], cross_cache["sound values"] = self.encoder_attn.memory(memory)
            h = self.encoder_attn_layer_norm(x)
            keys, values = cross_cache["sound keys"], cross_cache["sound values"]
            x = x + self.encoder_attn(h, keys, values, memory_mask)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


def listened(layers: Iterable[Layer], run: Callable[[], Any]) -> Tensor:
    """Run a decoder; return where its tokens listened, (B, L, T), the mean of layers and heads."""
    weights = []

    def note(attention: Attention, inputs: tuple, _out: Tensor) -> None:
        x, keys, _values, mask = inputs
        score = attention.apart(attention.q_proj(x)) @ keys.transpose(2, 3) / keys.shape[3] ** 0.5
        weights.append(score.masked_fill(~mask, -torch.inf).softmax(3).mean(1))

    hooks = [layer.encoder_attn.register_forward_hook(note) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(weights).mean(0)


def sinusoids(length: int, width: int) -> Tensor:
    """Return position embeddings (length, width): sines, then cosines, of falling frequencies."""
    falling = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(length)[:, None] * falling
    return torch.cat([angle.sin(), angle.cos()], 1)
