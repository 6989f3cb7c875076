"""Intermediate results of a decoder on one text: attention of every head, MLP activations, logits.

Vaswani and others: Attention Is All You Need (2017). https://arxiv.org/abs/1706.03762

    attention = softmax(q k' / sqrt(d)) over the token itself and those before it

The decoder computes attention by a fused kernel that returns no weights. ``trace`` reads the
queries and keys of that same computation and applies the equation above; ``Trace.mixed`` is the
decoder's own product of weights and values, which a test compares with it.

Heads differ in what they attend to: the previous token, the first one, or many at once. See Clark
and others: What Does BERT Look At? (2019), https://arxiv.org/abs/1906.04341; attention on the first
token: Xiao and others: Efficient Streaming Language Models with Attention Sinks (2023),
https://arxiv.org/abs/2309.17453.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.decoder import Decoder, rotated


@dataclass(frozen=True)
class Trace:
    """Intermediate results for T tokens, float32.

    ``layers`` L, ``heads`` H, ``groups`` G of keys and values, head width d.
    """

    embedding: Tensor  # (T, width), of the tokens
    attention: Tensor  # (L, H, T, T): query, key; rows sum to 1
    keys: Tensor  # (L, G, T, d), as in the cache
    values: Tensor  # (L, G, T, d)
    mixed: Tensor  # (L, H, T, d): attention times values, by the decoder itself
    hidden: Tensor  # (L, T, units): activations of the MLP
    logits: Tensor  # (T, vocabulary)


@torch.inference_mode()
def trace(decoder: Decoder, tokens: Tensor) -> Trace:
    """Run the decoder on tokens (T,) and return its intermediate results.

    >>> from souron.blocks.decoder import named
    >>> found = trace(Decoder(named("modern", 300, 16, 2, 32, 4)), torch.tensor([1, 2, 3]))
    >>> tuple(found.attention.shape)
    (2, 4, 3, 3)
    """
    s = decoder.structure
    count = len(tokens)
    outputs: dict[tuple[int, str], Tensor] = {}
    inputs: dict[tuple[int, str], Tensor] = {}

    def note(layer: int, name: str, x: Tensor, out: Tensor) -> Tensor:
        inputs[layer, name], outputs[layer, name] = x[0], out[0]
        return out

    logits = decoder(tokens[None], change=note)[0]
    attention, keys, values, contexts = [], [], [], []
    for layer in range(s.layers):
        qkv = outputs[layer, "qkv"].view(count, -1, s.head_width).transpose(0, 1)
        q, k, v = qkv.split([s.heads, s.shared, s.shared])
        if s.rotary:
            turn = decoder.turn(torch.arange(count), q.dtype)
            q, k = rotated(q, *turn), rotated(k, *turn)
        if s.norm_queries:
            q, k = (F.rms_norm(part, (s.head_width,), eps=s.epsilon) for part in (q, k))
        attention.append(weights(q.float(), k.float().repeat_interleave(s.heads // s.shared, 0)))
        keys.append(k.float())
        values.append(v.float())
        contexts.append(inputs[layer, "out"].view(count, s.heads, s.head_width).transpose(0, 1).float())
    hidden = [inputs[layer, "down"].float() for layer in range(s.layers)]
    return Trace(
        decoder.embedding(tokens).float(),
        torch.stack(attention),
        torch.stack(keys),
        torch.stack(values),
        torch.stack(contexts),
        torch.stack(hidden),
        logits.float(),
    )


def weights(q: Tensor, k: Tensor) -> Tensor:
    """Return causal attention weights (H, T, T) of queries and keys (H, T, d)."""
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


@dataclass(frozen=True)
class Head:
    """Statistics of one head, averaged over the tokens from the third on."""

    layer: int
    head: int
    entropy: float  # in bits
    previous: float  # share of attention on the previous token
    first: float  # share of attention on the first token


def heads(attention: Tensor) -> list[Head]:
    """Describe each head of attention weights (L, H, T, T); [] for fewer than three tokens.

    >>> alike = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]])
    >>> [round(value, 3) for value in (heads(alike[None, None])[0].entropy, heads(alike[None, None])[0].first)]
    [1.585, 0.333]
    """
    count = attention.shape[-1]
    if count < 3:
        return []
    rows = torch.arange(2, count)
    weights_of_rows = attention[:, :, rows].double()
    entropy = torch.special.entr(weights_of_rows).sum(-1).mean(-1) / torch.tensor(2.0).log()
    previous = attention[:, :, rows, rows - 1].double().mean(-1)
    first = weights_of_rows[..., 0].mean(-1)
    return [
        Head(layer, head, *(float(figure[layer, head]) for figure in (entropy, previous, first)))
        for layer in range(attention.shape[0])
        for head in range(attention.shape[1])
    ]


def uniform(count: int) -> tuple[float, float]:
    """Return entropy in bits, and share of any one token, of attention that is equal everywhere.

    The mean over the tokens from the third of ``count`` on, as in ``heads``.

    >>> entropy, share = uniform(3)
    >>> round(entropy, 3), round(share, 3)
    (1.585, 0.333)
    """
    sizes = torch.arange(3, count + 1).double()
    return float(sizes.log2().mean()), float((1 / sizes).mean())


@torch.inference_mode()
def cached_logits(decoder: Any, tokens: Tensor) -> Tensor:
    """Return logits (vocabulary,) after tokens (T,), the last of which is read with a cache of the others."""
    cache = decoder.kv_cache(1, len(tokens))
    if len(tokens) > 1:
        decoder(tokens[None, :-1], cache, last=True)
    return decoder(tokens[None, -1:], cache, last=True)[0, -1].float()
