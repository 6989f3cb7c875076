"""Counts of what came next after the same few tones: no network, but the yardstick of one.

Conklin, Witten: Multiple Viewpoint Systems for Music Prediction (1995).
https://doi.org/10.1080/09298219508570672

    p(c | context) = max(n(context c) - d, 0) / n(context) + d k(context) / n(context) p(c | less)

The counts are of intervals rather than pitches, so that a piece counts in every key. The contexts
are nested: the voice and the position in the beat; the pitch of the voice before; the last move of
the own voice; the pitch of the voice before that.

Differs from the paper: four fixed contexts in place of many viewpoints, absolute discounting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.portable import NO_NETWORK
from souron.tasks.compose import HOLD, OWN, PLACE, REST, TOKEN, TOKENS, VOICE, Composer, Spec
from souron.training.loop import Data, Progress, Run

MOVES = 64  # 0 hold, 1 rest, else 2 + semitones + 30
MIDDLE = 32  # a repeated tone
NEVER = 1e-4  # probability shared by all tokens
RUNGS = 4
CENTRE = (70, 64, 59, 52)  # reference pitch of each voice before it has sounded


@dataclass(frozen=True)
class Config:
    rungs: int = 4  # contexts, from the voice alone to all of them
    discount: float = 0.75
    window: int = 512  # tokens per window


class NgramVoices(Composer):
    blocked = NO_NETWORK
    year = 1995
    ja = "直前の音と他の声部の音の後に何が来たかを数えるだけの、比較の基準となる方法"
    full_batch = True
    SIZES = {"tiny": Config(rungs=2, window=64), "small": Config()}
    sized_by_data = tuple(f"{name}{rung}" for rung in range(RUNGS) for name in ("keys", "counts"))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        for rung in range(RUNGS):
            self.register_buffer(f"keys{rung}", torch.zeros(0, dtype=torch.long))
            self.register_buffer(f"counts{rung}", torch.zeros(0))

    @property
    def context(self) -> int:
        return self.config.window

    def example(self) -> None:
        """Run nothing: there are no layers whose shapes a table could list."""

    def fit(self, data: Data, run: Run) -> Iterator[Progress]:
        """Count all moves in the training pieces, one context length per step."""
        pieces = [piece.long() for piece in data.cases.input]  # type: ignore[attr-defined]
        batch = next(data.once(4))  # type: ignore[attr-defined]
        contexts = torch.cat([self.contexts(piece[None])[0] for piece in pieces])  # (n, RUNGS)
        moves = torch.cat([moved(piece[:, TOKEN], reference(piece)) for piece in pieces])
        for rung in range(self.config.rungs):
            yield Progress(rung, {"model": self.loss(batch)})
            keys, counts = (contexts[:, rung] * MOVES + moves).unique(return_counts=True)
            setattr(self, f"keys{rung}", keys)
            setattr(self, f"counts{rung}", counts.float())
        yield Progress(self.config.rungs, {"model": self.loss(batch)})

    def contexts(self, rows: Tensor) -> Tensor:
        """Encode the contexts of each token as numbers: (B, T, 5) -> (B, T, RUNGS)."""
        own = reference(rows)
        sound = torch.where(rows[..., TOKEN] == HOLD, rows[..., OWN], rows[..., TOKEN])
        first, begins = back(sound, 1), back((rows[..., TOKEN] != HOLD).long(), 1)
        second = back(sound, 2)
        last = moved(back(rows[..., TOKEN], 4), back(own, 4))  # of the same voice
        beat = rows[..., PLACE] % 4
        base = rows[..., VOICE] * 4 + beat
        above = base * 52 + 2 * torch.where(first > REST, (first - own).clamp(-12, 12) + 12, 25)
        above = above + begins
        earlier = above * MOVES + last
        every = earlier * 13 + torch.where(second > REST, (second - own) % 12, 12)
        return torch.stack([base, above, earlier, every], -1)

    def following(self, rows: Tensor, memory: dict[str, Any]) -> Tensor:
        return self(rows[:, -8:])[:, -1]

    def forward(self, rows: Tensor) -> Tensor:
        """Return log probabilities (B, T, TOKENS)."""
        contexts = self.contexts(rows).flatten(0, 1)  # (n, RUNGS)
        chance = contexts.new_ones(len(contexts), MOVES, dtype=torch.float) / MOVES
        for rung in range(self.config.rungs):
            chance = self._refined(chance, contexts[:, rung], rung)
        own = reference(rows).flatten()
        token = torch.arange(TOKENS, device=own.device).expand(len(own), -1)
        move = moved(token, own[:, None])
        probability = chance.gather(1, move)
        probability = probability.masked_fill(out_of_reach(token, own[:, None]), 0)
        probability = probability / probability.sum(1, keepdim=True).clamp(min=1e-9)
        return ((1 - NEVER) * probability + NEVER / TOKENS).log().view(*rows.shape[:2], TOKENS)

    def _refined(self, chance: Tensor, context: Tensor, rung: int) -> Tensor:
        """Interpolate probabilities (n, MOVES) with the counts after contexts (n,)."""
        keys, counts = getattr(self, f"keys{rung}"), getattr(self, f"counts{rung}")
        first = torch.searchsorted(keys, context * MOVES)
        followers = torch.searchsorted(keys, (context + 1) * MOVES) - first
        row = torch.repeat_interleave(followers)
        offset = torch.arange(len(row), device=row.device) - (followers.cumsum(0) - followers)[row]
        count = counts[first[row] + offset]
        total = torch.zeros_like(chance[:, 0]).index_add_(0, row, count)
        discount = self.config.discount
        rest = torch.where(followers > 0, discount * followers / total.clamp(min=1), 1.0)
        mixture = chance * rest[:, None]
        own = (count - discount) / total[row]
        mixture.view(-1).index_add_(0, row * MOVES + keys[first[row] + offset] % MOVES, own)
        return mixture


def reference(rows: Tensor) -> Tensor:
    """Return the pitch from which a voice moves, (..., 5) -> (...), or its central pitch."""
    centre = torch.tensor(CENTRE, device=rows.device)[rows[..., VOICE].long()]
    own = rows[..., OWN].long()
    return torch.where(own > REST, own, centre)


def moved(token: Tensor, own: Tensor) -> Tensor:
    """Return a token as an interval from a pitch, clamped to the widest of ``MOVES``."""
    leap = (token - own + MIDDLE).clamp(2, MOVES - 1)
    return torch.where(token > REST, leap, token)


def out_of_reach(token: Tensor, own: Tensor) -> Tensor:
    leap = token - own + MIDDLE
    return (token > REST) & ((leap < 2) | (leap > MOVES - 1))


def back(values: Tensor, count: int) -> Tensor:
    """Shift (B, T) later by ``count`` positions, filling with 0."""
    return F.pad(values, (count, 0))[..., : values.shape[-1]]
