"""The decoder-only Transformer of language models, which predicts the next token.

Vaswani and others: Attention Is All You Need (2017). https://arxiv.org/abs/1706.03762

    x = embedding(token)
    x = x + attention(norm(x));  x = x + mlp(norm(x))    layer by layer
    logits = head(norm(x))

``Structure`` holds the differences between published models: normalisation, position embeddings,
MLP.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Turn = tuple[Tensor, Tensor]  # cosine and sine of the positions' angles
Change = Callable[[int, str, Tensor, Tensor], Tensor]  # layer, name of a matrix, its input, its
# output -> changed output


def unchanged(layer: int, name: str, x: Tensor, out: Tensor) -> Tensor:
    return out


@dataclass(frozen=True)
class Structure:
    """The architecture of a decoder."""

    vocabulary: int
    context: int  # context length in tokens
    layers: int
    width: int
    heads: int
    groups: int = 0  # heads of keys and values in grouped-query attention; 0: ``heads``
    hidden: int = 0  # width of the MLPs; 0: four times the width
    norm: Literal["rms", "layer"] = "rms"
    learnt_norm: bool = True  # whether norms have a weight
    mlp: Literal["relu2", "gelu", "swiglu"] = "swiglu"
    rotary: float = 10_000.0  # base of RoPE; 0: learnt position embeddings
    slowing: tuple[float, ...] = ()  # divisors of the RoPE frequencies, for a longer context
    norm_queries: bool = False  # norms of queries and keys, without a weight
    bias: bool = False
    bias_queries: bool = False  # of queries, keys and values
    bias_out: bool = False  # of the output projection of attention
    tied: bool = True  # the head is the embedding
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def shared(self) -> int:
        return self.groups or self.heads


NAMED: dict[str, dict[str, Any]] = {
    "modern": {"mlp": "relu2", "norm_queries": True, "learnt_norm": False, "tied": False},
    "gpt2": {"norm": "layer", "mlp": "gelu", "rotary": 0.0, "bias": True},
    "smollm2": {"groups": 3, "hidden": 1536, "rotary": 100_000.0},
}


def named(name: str, vocabulary: int, context: int, layers: int, width: int, heads: int) -> Structure:
    """Return the named architecture at that size."""
    return Structure(vocabulary, context, layers, width, heads, **NAMED[name])


class Cache:
    """The key-value cache: (layers, B, groups, context, head width) each."""

    def __init__(self, structure: Structure, rows: int, like: Tensor) -> None:
        shape = (structure.layers, rows, structure.shared, structure.context, structure.head_width)
        self.keys, self.values = (like.new_zeros(shape) for _each in range(2))
        self.length = 0

    def truncate(self, length: int) -> None:
        """Discard all but the first ``length`` tokens."""
        self.length = min(self.length, length)


class Attention(nn.Module):
    """Causal self-attention with grouped queries and rotary position embeddings.

    Ainslie and others: GQA (2023), https://arxiv.org/abs/2305.13245; Su and others: RoFormer
    (2021), https://arxiv.org/abs/2104.09864.
    """

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        both = structure.heads + 2 * structure.shared
        bias = structure.bias or structure.bias_queries
        self.qkv = nn.Linear(structure.width, both * structure.head_width, bias=bias)
        bias = structure.bias or structure.bias_out
        self.out = nn.Linear(structure.width, structure.width, bias=bias)

    def forward(self, x: Tensor, turn: Turn | None, cache: Cache | None, layer: int, change: Change) -> Tensor:
        rows, tokens, width = x.shape
        s = self.structure
        qkv = change(layer, "qkv", x, self.qkv(x)).view(rows, tokens, -1, s.head_width).transpose(1, 2)
        qk, v = qkv.split([s.heads + s.shared, s.shared], 1)
        if turn is not None:
            qk = rotated(qk, *turn)
        q, k = qk.split([s.heads, s.shared], 1)  # (B, heads, T, head width) each, as v
        if s.norm_queries:
            q, k = (F.rms_norm(part, (s.head_width,), eps=s.epsilon) for part in (q, k))
        if cache is None:
            context = attended(q, k.to(q.dtype), v.to(q.dtype))
        else:
            end = cache.length + tokens
            cache.keys[layer, :, :, cache.length : end] = k
            cache.values[layer, :, :, cache.length : end] = v
            k, v = cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end]
            kind = k.dtype if tokens == 1 else q.dtype  # a token's step does not copy the cache
            context = attended(q.to(kind), k.to(kind), v.to(kind)).to(q.dtype)
        context = context.transpose(1, 2).reshape(rows, tokens, width)
        return change(layer, "out", context, self.out(context))


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with queries (B, heads, T, d) of the last T positions to all (B, groups, S, d)."""
    rows, heads, tokens, width = q.shape
    groups, length = k.shape[1], k.shape[2]
    if tokens == 1:  # the queries of a group become rows of one product
        alike = q.view(rows, groups, heads // groups, width)
        return F.scaled_dot_product_attention(alike, k, v).view(rows, heads, 1, width)
    if groups != heads:
        k, v = (part.repeat_interleave(heads // groups, 1) for part in (k, v))
    if tokens == length:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    before = torch.ones(tokens, length, dtype=torch.bool, device=q.device).tril(length - tokens)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=before)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embeddings: rotate each pair of features by its position's angle."""
    first, second = x.chunk(2, -1)
    return torch.cat([(first * cos).addcmul(second, sin, value=-1), (second * cos).addcmul(first, sin)], -1)


class MLP(nn.Module):
    """The feed-forward network, applied to each token."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.kind = structure.mlp
        hidden = structure.hidden or 4 * structure.width
        both = 2 * hidden if self.kind == "swiglu" else hidden
        self.up = nn.Linear(structure.width, both, bias=structure.bias)
        self.down = nn.Linear(hidden, structure.width, bias=structure.bias)

    def forward(self, x: Tensor, layer: int, change: Change) -> Tensor:
        x = change(layer, "up", x, self.up(x))
        if self.kind == "swiglu":  # Shazeer: GLU Variants (2020), https://arxiv.org/abs/2002.05202
            gate, value = x.chunk(2, -1)
            x = F.silu(gate) * value
        elif self.kind == "gelu":
            x = F.gelu(x, approximate="tanh")
        else:
            x = F.relu(x).square()
        return change(layer, "down", x, self.down(x))


class Block(nn.Module):
    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(structure), norm(structure)
        self.attention, self.mlp = Attention(structure), MLP(structure)

    def forward(self, x: Tensor, turn: Turn | None, cache: Cache | None, layer: int, change: Change) -> Tensor:
        x = x + self.attention(self.norm1(x), turn, cache, layer, change)
        return x + self.mlp(self.norm2(x), layer, change)


def norm(structure: Structure) -> nn.Module:
    if structure.norm == "layer":
        return nn.LayerNorm(structure.width, eps=structure.epsilon)
    return nn.RMSNorm(structure.width, structure.epsilon, structure.learnt_norm)


class Decoder(nn.Module):
    """Tokens (B, T) -> logits (B, T, vocabulary) of the next token."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        self.embedding = nn.Embedding(structure.vocabulary, structure.width)
        if not structure.rotary:
            self.places = nn.Embedding(structure.context, structure.width)
        self.blocks = nn.ModuleList(Block(structure) for _layer in range(structure.layers))
        self.norm = norm(structure)
        if not structure.tied:
            self.head = nn.Linear(structure.width, structure.vocabulary, bias=False)

    def forward(
        self, tokens: Tensor, cache: Cache | None = None, last: bool = False, change: Change = unchanged
    ) -> Tensor:
        """Compute the logits.

        ``cache`` holds earlier tokens and is extended; ``last`` returns only the logits (B, 1,
        vocabulary) after the last token; ``change`` lets an adapter change the output of each
        matrix.
        """
        x = self.features(tokens, cache, change)
        return self.logits(x[:, -1:] if last else x)

    def features(self, tokens: Tensor, cache: Cache | None = None, change: Change = unchanged) -> Tensor:
        """Compute the input of the head, (B, T, width)."""
        begin = cache.length if cache is not None else 0
        position = torch.arange(begin, begin + tokens.shape[1], device=tokens.device)
        x = self.embedded(tokens, position)
        turn = self.turn(position, x.dtype) if self.structure.rotary else None
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, cache, layer, change)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.norm(x)

    def embedded(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Look up tokens (B, T), and position embeddings where they are learnt: (B, T, width)."""
        x = self.embedding(tokens)
        return x if self.structure.rotary else x + self.places(position)

    def kv_cache(self, rows: int = 1, context: int = 0) -> Cache:
        """Return an empty cache for ``rows`` texts, with a shorter context if given."""
        context = context or self.structure.context
        return Cache(replace(self.structure, context=context), rows, self.embedding.weight)

    def logits(self, features: Tensor) -> Tensor:
        if self.structure.tied:
            return F.linear(features, self.embedding.weight)
        return self.head(features)

    def turn(self, position: Tensor, dtype: torch.dtype) -> Turn:
        """Compute cosine and sine (T, head width / 2) of the RoPE angles of each position."""
        half = self.structure.head_width // 2
        speed = self.structure.rotary ** (-torch.arange(half, device=position.device) / half)
        if self.structure.slowing:
            speed = speed / torch.tensor(self.structure.slowing, device=position.device)
        angle = position[:, None] * speed
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def matrices(self) -> Iterator[nn.Parameter]:
        """Yield the matrices among the weights of the blocks."""
        return (weight for weight in self.blocks.parameters() if weight.ndim == 2)
