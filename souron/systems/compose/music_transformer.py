"""Attention that knows how far back each token lies: motifs return at a distance.

Huang, Vaswani, Uszkoreit and others: Music Transformer: Generating Music with Long-Term Structure
(2018). https://arxiv.org/abs/1809.04281

    attention(Q, K, V) = softmax((Q K^T + S) / sqrt(d)) V,    S[i, j] = Q[i] . E[j - i]

E has a vector for each distance. Q E^T has a column for each distance, whereas S has one for each
token; ``skewed`` shifts every row into position without a copy of E for each pair of tokens.

Differs from the paper: the highest voice is written two beats ahead, so that the others know where
the tune goes; each token's embedding includes the voice, its last pitch, the position in the bar
and the remaining length; matrices are trained by Muon, the rest by AdamW, with one cycle of the
rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.muon import MuonAdamW
from souron.tasks.compose import HOLD, LEFT, LEFTS, OWN, PLACE, PLACES, TOKEN, TOKENS, VOICE, Batch, Composer, Spec
from souron.utils.messages import UserError, _

AT_ONCE = 8  # windows per training step
MATRICES = 2.0  # Muon's learning rate, relative to ``rate``
Cache = dict[str, Tensor]  # one layer's cached keys and values


@dataclass(frozen=True)
class Config:
    layers: int = 4
    width: int = 160
    heads: int = 4
    hidden: int = 640  # width of the MLPs
    context: int = 256  # tokens: 64 sixteenths, four bars of four quarters
    drop: float = 0.1
    rate: float = 3e-3


class RelativeAttention(nn.Module):
    """Multi-head attention with a learned vector per head for every distance."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.distance = nn.Parameter(torch.randn(heads, context, width // heads) * 0.02)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Attend over (B, T, C). With a ``cache``, x is the single next token."""
        split = self.qkv(x).unflatten(2, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # (B, heads, T, C / heads) each
        if cache is not None:
            if cache:
                keys = torch.cat([cache["keys"], keys], 2)
                values = torch.cat([cache["values"], values], 2)
            cache |= {"keys": keys, "values": values}
        # the vectors for distances T - 1 ... 0
        near = self.distance[:, self.distance.shape[1] - keys.shape[2] :].to(queries.dtype)
        relative = queries @ near.transpose(1, 2)  # (B, heads, T, S)
        score = queries @ keys.transpose(2, 3)
        if queries.shape[2] > 1:
            ahead = torch.ones_like(score[0, 0]).triu(1) * -1e4
            score = score + skewed(relative) + ahead
        else:
            score = score + relative
        context = (score * queries.shape[3] ** -0.5).softmax(3).to(values.dtype) @ values
        return self.out(context.transpose(1, 2).flatten(2))


def skewed(by_distance: Tensor) -> Tensor:
    """Shift rows from distances to positions, (..., T, T).

    Column T - 1 - d of row i, for distance d, becomes column i - d; values above the diagonal are
    undefined. A column is prepended so that each row is one longer; cut into rows of the old
    length, each row begins one position later than the one before.
    """
    *_others, length, columns = by_distance.shape
    padded = F.pad(by_distance, (1, 0))
    return padded.flatten(-2)[..., length:].unflatten(-1, (length, columns))


class Layer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = RelativeAttention(width, config.heads, config.context)
        self.up, self.down = nn.Linear(width, config.hidden), nn.Linear(config.hidden, width)
        self.drop = nn.Dropout(config.drop)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        x = x + self.drop(self.attention(self.norm1(x), cache))
        return x + self.drop(self.down(F.relu(self.up(self.norm2(x)))))


class MusicTransformer(Composer):
    year = 2018
    ja = "トークン間の距離に応じた相対位置つき自己注意で、四声の続きを一音ずつ書く"
    lead = 8
    SIZES = {
        "tiny": Config(1, 32, 2, 64, context=64, drop=0.0, rate=1e-2),
        "small": Config(),
        "base": Config(6, 256, 8, 1024, context=1024, rate=2e-3),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.width % config.heads or config.context % 8:
            raise UserError(
                "config",
                _("width={width} does not divide by heads={heads}").format(width=config.width, heads=config.heads),
                expected=_("a width of whole heads, and a context of whole eights"),
            )
        width = config.width
        self.sound = nn.Embedding(TOKENS, width)  # pitch sounding after the previous token
        self.begins = nn.Embedding(2, width)  # whether that one is an onset
        self.own = nn.Embedding(TOKENS, width)  # last pitch of the voice
        self.voice, self.place = nn.Embedding(4, width), nn.Embedding(PLACES, width)
        self.left = nn.Embedding(LEFTS + 1, width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, TOKENS)
        self.drop = nn.Dropout(config.drop)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight", "head.weight")):
                nn.init.zeros_(weight)  # a layer begins by changing nothing
            elif isinstance(getattr(self, name.partition(".")[0]), nn.Embedding):
                nn.init.normal_(weight, std=0.3)

    @property
    def context(self) -> int:
        return self.config.context

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        matrices = [weight for weight in self.layers.parameters() if weight.ndim == 2]
        matrix_ids = {id(weight) for weight in matrices}
        others = [weight for weight in self.parameters() if id(weight) not in matrix_ids]
        rate = self.config.rate
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.01)}

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        for rows in torch.arange(len(batch.rows)).split(AT_ONCE):
            yield "model", self.loss(Batch(batch.rows[rows], batch.counts[rows]))

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits (B, T, TOKENS) for rows (B, T, 5)."""
        before = F.pad(rows[:, :-1], (0, 0, 1, 0))
        return self.head(self.norm(self.through(self.embedded(before, rows))))

    def embedded(self, before: Tensor, rows: Tensor) -> Tensor:
        """Embed what is known of each token and of the token written before it, (B, T, C)."""
        begins = before[..., TOKEN] != HOLD
        sound = torch.where(begins, before[..., TOKEN], before[..., OWN])
        return self.drop(
            self.sound(sound)
            + self.begins(begins.long())
            + self.own(rows[..., OWN])
            + self.voice(rows[..., VOICE])
            + self.place(rows[..., PLACE])
            + self.left(rows[..., LEFT])
        )

    def through(self, x: Tensor, caches: list[Cache] | None = None) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x, caches[number] if caches else None)
        return x

    def following(self, rows: Tensor, memory: dict[str, Any]) -> Tensor:
        """Return the next logits incrementally, with cached keys and values.

        When the context is full, its second half is recomputed.
        """
        last = rows.shape[1] - 1
        half = self.context // 2
        if last == 0 or (last >= self.context and last % half == 0):
            memory["caches"] = [{} for _layer in self.layers]
            start = max(0, last - half)
            window = rows[:, start : last + 1]
            before = F.pad(window[:, :-1], (0, 0, 1, 0))
            x = self.embedded(before, window)
        else:
            x = self.embedded(rows[:, last - 1 : last], rows[:, last:])
        return self.head(self.norm(self.through(x, memory["caches"])[:, -1]))
