"""Writes a page as tokens of a grammar; labels are copied from the request, place by place.

Yin, Neubig: A Syntactic Neural Model for General-Purpose Code Generation (2017).
https://arxiv.org/abs/1704.01696

    memory = encoder(request)                        y = decoder(tokens before, memory)
    p(token) = softmax([E y ; (A memory) . (B y)])   over the tokens that the grammar allows

A token is a word of the grammar (a part, a colour, a number) or points at a position of the request
(Vinyals, Fortunato, Jaitly: Pointer Networks 2015, https://arxiv.org/abs/1506.03134): a label is
copied from the position where it begins to that where it ends. The grammar restricts the next token
at each step, so that every page is complete and contains only what the grammar has: no script can
be written, whatever is requested. Words that occurred only on labels have no embedding of their
own: copying uses positions alone.

Differs from the paper: Transformers with rotary position embeddings (Su and others: RoFormer 2021,
https://arxiv.org/abs/2104.09864) in place of LSTMs; matrices are trained by Muon, the rest by
AdamW, with one cycle of the rate. Reduced: a grammar of pages of one level, so that there is no
parent feeding; greedy decoding, without a beam.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from souron.blocks.muon import MuonAdamW
from souron.tasks.text_to_page import Dataset, ListColumn, Loader, PageSystem, Rows, Spec, Written, grammar, requests_of
from souron.utils.messages import UserError, _

PAD = -1  # pads requests and pages
UNKNOWN = 0  # the embedding of all unknown words
AT_ONCE = 32  # requests per training step
MATRICES = 2.0  # Muon's learning rate, relative to ``rate``
MOST_TOKENS = 160  # per page
Known = dict[str, Tensor]  # cached keys and values of a decoder layer


@dataclass(frozen=True)
class Config:
    width: int = 128
    encoder: int = 3  # layers
    decoder: int = 2
    heads: int = 4
    drop: float = 0.1
    strange: float = 0.02  # share of the request's words replaced by unknown in training
    rate: float = 3e-3


class Batch(NamedTuple):
    source: Tensor  # (B, S) int64, words of the request, padded with ``PAD``
    target: Tensor  # (B, T + 1) int64: the end token, the page, its end token, padded with ``PAD``


class Attention(nn.Module):
    """Multi-head attention from one sequence to another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def apart(self, x: Tensor, first: int | None = None) -> Tensor:
        """Split (B, T, C) into heads (B, heads, T, C / heads), with rotary position embeddings."""
        x = x.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return x if first is None else turned(x, first)

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        context = F.scaled_dot_product_attention(query, keys, values, mask)
        return self.out(context.transpose(1, 2).flatten(2))


def turned(x: Tensor, first: int) -> Tensor:
    """Apply rotary position embeddings to (B, heads, T, D), from position ``first`` on."""
    half = x.shape[3] // 2
    speed = 1000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = torch.arange(first, first + x.shape[2], device=x.device)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], 3)


def waves(length: int, like: Tensor) -> Tensor:
    """Return sinusoidal position embeddings (length, C)."""
    speed = 1000.0 ** (-torch.arange(0, like.shape[2], 2, device=like.device) / like.shape[2])
    angle = torch.arange(length, device=like.device)[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], 1).to(like.dtype)


class Layer(nn.Module):
    """One Transformer layer; ``across=True`` adds cross-attention (decoder)."""

    def __init__(self, config: Config, across: bool) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.norm3 = nn.LayerNorm(width) if across else None
        self.across = Attention(width, config.heads) if across else None
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(config.drop)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Known | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Transform (B, T, C).

        With ``cache``, x are the next tokens, from position ``offset`` on.
        """
        h, own = self.norm1(x), self.attention
        keys, values = own.apart(own.key(h), offset), own.apart(own.value(h))
        if cache is not None:
            if "keys" in cache:
                keys = torch.cat([cache["keys"], keys], 2)
                values = torch.cat([cache["values"], values], 2)
            cache |= {"keys": keys, "values": values}
        x = x + self.drop(own(own.apart(own.query(h), offset), keys, values, mask))
        if self.across is not None and self.norm3 is not None and memory is not None:
            look = self.across
            query = look.apart(look.query(self.norm3(x)))
            cross_cache = {} if cache is None else cache
            if "memory keys" not in cross_cache:
                cross_cache["memory keys"] = look.apart(look.key(memory))
                cross_cache["memory values"] = look.apart(look.value(memory))
            context = look(query, cross_cache["memory keys"], cross_cache["memory values"], memory_mask)
            x = x + self.drop(context)
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))


class PageWriter(PageSystem):
    year = 2017
    ja = "文法が許すトークンだけでページを書き、ラベルは依頼文の位置を指して写す"
    status = "reduced"
    clip = 1.0
    SIZES = {"tiny": Config(32, 1, 1, 2, 0.0, 0.0, 1e-2), "small": Config(), "medium": Config(256, 4, 3, 8, rate=2e-3)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.width % (4 * config.heads):
            message = _("width={width} does not divide by heads={heads}")
            raise UserError("config", message.format(width=config.width, heads=4 * config.heads))
        width = config.width
        self.word = nn.Embedding(1 + len(spec.vocabulary.split()), width)
        self.token = nn.Embedding(grammar.TOKENS, width)
        self.copied = nn.Linear(width, width)  # for copied positions
        self.encoder = nn.ModuleList(Layer(config, False) for _ in range(config.encoder))
        self.decoder = nn.ModuleList(Layer(config, True) for _ in range(config.decoder))
        self.read, self.wrote = nn.LayerNorm(width), nn.LayerNorm(width)
        self.point, self.pointed = nn.Linear(width, width), nn.Linear(width, width)
        self.drop = nn.Dropout(config.drop)
        for table in (self.word, self.token):
            nn.init.normal_(table.weight, std=width**-0.5)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):  # each block starts as the identity
                nn.init.zeros_(weight)

    @cached_property
    def number(self) -> dict[str, int]:
        return {word: 1 + k for k, word in enumerate(self.spec.vocabulary.split())}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        layers = [*self.encoder.parameters(), *self.decoder.parameters()]
        matrices = [weight for weight in layers if weight.ndim == 2 and weight.requires_grad]
        matrix_ids = {id(weight) for weight in matrices}
        others = [w for w in self.parameters() if w.requires_grad and id(w) not in matrix_ids]
        rate = self.config.rate
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.01)}

    def loader(self, data: Dataset, augment: Any = None, seed: int = 0, device: Any = None) -> Loader:
        """Encode each request as (words, its text), beside the parts.

        Requests whose page cannot be written with their own words are excluded from training.
        """
        inputs = ListColumn([(self.words(text), text) for text in requests_of(data)])
        return Loader(replace(data, input=inputs), self.batch, augment, seed, device or self.device)

    def words(self, request: str) -> Tensor:
        """Return the word indices (S,) int64 of a request."""
        pieces = grammar.pieces(request)[: grammar.MOST_PIECES]
        numbers = [self.number.get(piece.text, UNKNOWN) for piece in pieces]
        return torch.tensor(numbers or [UNKNOWN], device=self.device)

    def batch(self, rows: Rows) -> Batch:
        end = grammar.NUMBER_OF[grammar.END]
        target = []
        for (_words, text), parts in zip(rows.input, rows.target, strict=True):
            tokens = grammar.written(parts, text) or [end]
            target.append(torch.tensor([end, *tokens], device=self.device))
        source = [words.to(self.device) for words, _text in rows.input]
        return Batch(pad_sequence(source, True, PAD), pad_sequence(target, True, PAD))

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, of similar length, one optimiser step each."""
        order = (batch.source >= 0).sum(1).argsort(stable=True)
        for rows in order.split(AT_ONCE):
            chunk = [part[rows] for part in batch]
            wide = [int((part >= 0).sum(1).max()) for part in chunk]
            yield "model", self.loss(Batch(chunk[0][:, : wide[0]], chunk[1][:, : wide[1]]))

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy per token in nats."""
        source = batch.source
        if self.training and self.config.strange:
            blanks = torch.rand(source.shape, device=source.device) < self.config.strange
            source = source.masked_fill(blanks & (source >= 0), UNKNOWN)
        logits = self(source, batch.target[:, :-1]).transpose(1, 2).float()
        return F.cross_entropy(logits, batch.target[:, 1:], ignore_index=PAD)

    def example(self) -> None:
        words = torch.zeros(1, 24, dtype=torch.long, device=self.device)
        self(words, words[:, :12])

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return next-token logits (B, T, tokens + S) for requests (B, S) and pages (B, T)."""
        memory, mask = self.understood(source)
        size = target.shape[1]
        before = torch.ones(size, size, dtype=torch.bool, device=target.device).tril()
        return self.follow(target, memory, mask, before)

    def understood(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a request as (B, S, C), and return the mask (B, 1, 1, S) of its words."""
        mask = (source >= 0)[:, None, None]
        x = self.word(source.clamp(min=0)) * self.config.width**0.5
        x = self.drop(x + waves(source.shape[1], x))
        for layer in self.encoder:
            x = layer(x, mask)
        return self.read(x), mask

    def follow(
        self,
        target: Tensor,
        memory: Tensor,
        mask: Tensor,
        before: Tensor | None,
        caches: list[Known] | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Return next-token logits after ``target``, whose first token is at position ``offset``."""
        spot = (target - grammar.TOKENS).clamp(min=0)[..., None].expand(-1, -1, memory.shape[2])
        copies = self.copied(memory.gather(1, spot))
        own = self.token(target.clamp(0, grammar.TOKENS - 1)) * self.config.width**0.5
        y = self.drop(torch.where((target >= grammar.TOKENS)[..., None], copies, own))
        for number, layer in enumerate(self.decoder):
            y = layer(y, before, memory, mask, None if caches is None else caches[number], offset)
        y = self.wrote(y)
        places = self.point(y) @ self.pointed(memory).transpose(1, 2) / math.sqrt(y.shape[2])
        places = places.masked_fill(~mask[:, 0], -torch.inf)
        return torch.cat([F.linear(y, self.token.weight), places], 2)

    @torch.inference_mode()
    def write(self, requests: Sequence[str], by_grammar: bool = True) -> list[Written]:
        tokens = self.search(requests, by_grammar)
        return [Written(*grammar.read(*pair)) for pair in zip(tokens, requests, strict=True)]

    @torch.inference_mode()
    def search(self, requests: Sequence[str], by_grammar: bool = True) -> list[list[int]]:
        """Decode each page greedily; ``by_grammar``: among the tokens that the grammar allows."""
        source = pad_sequence([self.words(text) for text in requests], True, PAD)
        memory, mask = self.understood(source)
        states = [grammar.State(count) for count in (source >= 0).sum(1).tolist()]
        last = torch.full((len(requests), 1), grammar.NUMBER_OF[grammar.END], device=self.device)
        caches: list[Known] = [{} for _layer in self.decoder]
        pages: list[list[int]] = [[] for _request in requests]
        ends = [False] * len(requests)
        for position in range(MOST_TOKENS):
            logits = self.follow(last, memory, mask, None, caches, position)[:, -1].float()
            # mask the tokens that the grammar does not allow
            if by_grammar:
                valid = torch.zeros_like(logits, dtype=torch.bool)
                for row, state in enumerate(states):
                    valid[row, state.allowed() or [0]] = True
                logits = logits.masked_fill(~valid, -torch.inf)
            # greedy decoding
            last = logits.argmax(1, keepdim=True)
            for row, token in enumerate(last[:, 0].tolist()):
                if not ends[row]:
                    pages[row].append(token)
                    states[row].follow(token)
                    ends[row] = token == grammar.NUMBER_OF[grammar.END]
            if all(ends):
                break
        return pages
