"""The decoder of language models: what follows, from what went before.

Vaswani and others: Attention Is All You Need (2017). https://arxiv.org/abs/1706.03762

    x = embedding(token)
    x = x + attention(norm(x));  x = x + mlp(norm(x))    layer by layer
    logits = head(norm(x))

``Structure`` says in what published models differ: how they norm, how they know places, what their
small networks are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Turn = tuple[Tensor, Tensor]  # cosine and sine of the places' angles
Change = Callable[[int, str, Tensor, Tensor], Tensor]  # layer, name of a matrix, what goes in, what
# comes out -> what goes on


def unchanged(layer: int, name: str, given: Tensor, out: Tensor) -> Tensor:
    return out


@dataclass(frozen=True)
class Structure:
    """What a decoder is made of."""

    vocabulary: int
    context: int  # tokens that it sees at most
    layers: int
    width: int
    heads: int
    groups: int = 0  # heads of keys and values, each shared by several queries; 0: as many as heads
    hidden: int = 0  # width of the small networks; 0: four times the width
    norm: Literal["rms", "layer"] = "rms"
    learnt_norm: bool = True  # whether a norm has a weight
    mlp: Literal["relu2", "gelu", "swiglu"] = "swiglu"
    rotary: float = 10_000.0  # the base of the rotations; 0: places are embedded instead
    slowing: tuple[float, ...] = ()  # how much slower each rotation is, for a longer context
    norm_queries: bool = False  # norms of queries and keys, without a weight
    bias: bool = False
    bias_queries: bool = False  # of queries, keys and values
    bias_out: bool = False  # of what attention has mixed
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


def named(
    name: str, vocabulary: int, context: int, layers: int, width: int, heads: int
) -> Structure:
    """A structure of the name, at that size."""
    return Structure(vocabulary, context, layers, width, heads, **NAMED[name])


class Cache:
    """Keys and values of what was read: (layers, B, groups, context, head width) each."""

    def __init__(self, structure: Structure, rows: int, like: Tensor) -> None:
        shape = (structure.layers, rows, structure.shared, structure.context, structure.head_width)
        self.keys, self.values = (like.new_zeros(shape) for _each in range(2))
        self.length = 0

    def back_to(self, length: int) -> None:
        """Forget what stands after so many tokens."""
        self.length = min(self.length, length)


class Attention(nn.Module):
    """Each token asks those before it. Ainslie and others: GQA (2023),
    https://arxiv.org/abs/2305.13245; Su and others: RoFormer (2021),
    https://arxiv.org/abs/2104.09864."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        both = structure.heads + 2 * structure.shared
        bias = structure.bias or structure.bias_queries
        self.qkv = nn.Linear(structure.width, both * structure.head_width, bias=bias)
        bias = structure.bias or structure.bias_out
        self.out = nn.Linear(structure.width, structure.width, bias=bias)

    def forward(self, x: Tensor, turn: Turn | None, cache: Cache | None, layer: int,
                change: Change) -> Tensor:  # fmt: skip
        rows, tokens, width = x.shape
        s = self.structure
        qkv = (
            change(layer, "qkv", x, self.qkv(x))
            .view(rows, tokens, -1, s.head_width)
            .transpose(1, 2)
        )
        q, k, v = qkv.split([s.heads, s.shared, s.shared], 1)  # (B, heads, T, head width) each
        if turn is not None:
            q, k = rotated(q, *turn), rotated(k, *turn)
        if s.norm_queries:
            q, k = (F.rms_norm(part, (s.head_width,), eps=s.epsilon) for part in (q, k))
        if cache is not None:
            end = cache.length + tokens
            cache.keys[layer, :, :, cache.length : end] = k
            cache.values[layer, :, :, cache.length : end] = v
            k, v = cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end]
        mixed = attended(q, k.to(q.dtype), v.to(q.dtype))
        mixed = mixed.transpose(1, 2).reshape(rows, tokens, width)
        return change(layer, "out", mixed, self.out(mixed))


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries (B, heads, T, d) of the last T places, keys and values (B, groups, S, d) of all."""
    rows, heads, tokens, width = q.shape
    groups, seen = k.shape[1], k.shape[2]
    if tokens == 1:  # the queries of a group become rows of one product
        alike = q.view(rows, groups, heads // groups, width)
        return F.scaled_dot_product_attention(alike, k, v).view(rows, heads, 1, width)
    if groups != heads:
        k, v = (part.repeat_interleave(heads // groups, 1) for part in (k, v))
    if tokens == seen:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    before = torch.ones(tokens, seen, dtype=torch.bool, device=q.device).tril(seen - tokens)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=before)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair of numbers turned by the angle of its place."""
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


class MLP(nn.Module):
    """The small network that sees each token alone."""

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

    def forward(self, x: Tensor, turn: Turn | None, cache: Cache | None, layer: int,
                change: Change) -> Tensor:  # fmt: skip
        x = x + self.attention(self.norm1(x), turn, cache, layer, change)
        return x + self.mlp(self.norm2(x), layer, change)


def norm(structure: Structure) -> nn.Module:
    if structure.norm == "layer":
        return nn.LayerNorm(structure.width, eps=structure.epsilon)
    return nn.RMSNorm(structure.width, structure.epsilon, structure.learnt_norm)


class Decoder(nn.Module):
    """Tokens (B, T) -> logits (B, T, vocabulary) of the token after each."""

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
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        last: bool = False,
        change: Change = unchanged,
    ) -> Tensor:
        """``cache`` holds what was read before these tokens, and takes them in; ``last``: only the
        logits (B, 1, vocabulary) after the last one; ``change`` is what an adapter makes of what
        comes out of a matrix."""
        x = self.features(tokens, cache, change)
        return self.logits(x[:, -1:] if last else x)

    def features(
        self, tokens: Tensor, cache: Cache | None = None, change: Change = unchanged
    ) -> Tensor:
        """(B, T, width): what the head sees."""
        begin = cache.length if cache is not None else 0
        place = torch.arange(begin, begin + tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens)
        turn: Turn | None = None
        if self.structure.rotary:
            turn = self.turn(place, x.dtype)
        else:
            x = x + self.places(place)
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, cache, layer, change)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.norm(x)

    def memory(self, rows: int = 1, context: int = 0) -> Cache:
        """Room for what it reads of so many texts, of a shorter context where one is given."""
        context = context or self.structure.context
        return Cache(replace(self.structure, context=context), rows, self.embedding.weight)

    def logits(self, features: Tensor) -> Tensor:
        if self.structure.tied:
            return F.linear(features, self.embedding.weight)
        return self.head(features)

    def turn(self, place: Tensor, dtype: torch.dtype) -> Turn:
        """Cosine and sine (T, head width / 2) of the angles of each place."""
        half = self.structure.head_width // 2
        speed = self.structure.rotary ** (-torch.arange(half, device=place.device) / half)
        if self.structure.slowing:
            speed = speed / torch.tensor(self.structure.slowing, device=place.device)
        angle = place[:, None] * speed
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def matrices(self) -> Iterator[nn.Parameter]:
        """The weights of its blocks that are matrices."""
        return (weight for weight in self.blocks.parameters() if weight.ndim == 2)
