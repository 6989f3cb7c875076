"""An encoder reads the whole text; a decoder writes its translation, looking back at it.

Vaswani, Shazeer, Parmar and others: Attention Is All You Need (2017).
https://arxiv.org/abs/1706.03762

    attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V
    encoder  x = x + attention(x, x, x)            x = x + mlp(x)
    decoder  y = y + attention(y, y before it, ..)  y = y + attention(y, x, x)   y = y + mlp(y)
    p(next token) = softmax(E y),   E the tokens' embedding, which both sides share

One network learns both directions: the first token of a text is the target language. Beam search
follows the few most probable prefixes and returns the translation of n tokens with the best log p /
((5 + n) / 6)^0.6 (Wu and others 2016, https://arxiv.org/abs/1609.08144).

Differs from the paper: pre-norm layers, and a norm at the end of each stack (Xiong and others 2020,
https://arxiv.org/abs/2002.04745); matrices are trained by Muon, the rest by AdamW, with one cycle
of the rate; byte pairs shared by both languages.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from souron.blocks.muon import MuonAdamW
from souron.tasks.translate import Dataset, ListColumn, Loader, Rows, Spec, Tokenizer, Translated, Translator, texts_of
from souron.utils.messages import UserError, _

PAD = -1  # pads texts
AT_ONCE = 24  # texts per training step
LENGTH_PENALTY = 0.6
SMOOTHED = 0.1  # label smoothing
MATRICES = 2.0  # Muon's learning rate, relative to ``rate``
Cache = dict[str, Tensor]  # cached keys and values of one decoder layer


@dataclass(frozen=True)
class Config:
    width: int = 128
    depth: int = 2  # layers of the encoder, and of the decoder
    heads: int = 4
    hidden: int = 512  # width of the MLPs
    drop: float = 0.1
    context: int = 96  # most tokens of a training text; longer ones are truncated
    rate: float = 3e-3


class Batch(NamedTuple):
    source: Tensor  # (B, S) int64, padded with ``PAD``
    target: Tensor  # (B, T + 1) int64: the end token, the text, the end token
    bytes: Tensor  # (B,) of the target's text


class Attention(nn.Module):
    """Multi-head attention of ``x`` to keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from (B, T, C) to keys and values (B, heads, S, C / heads) where ``mask``."""
        context = F.scaled_dot_product_attention(self.apart(self.query(x)), keys, values, mask)
        return self.out(context.transpose(1, 2).flatten(2))

    def apart(self, x: Tensor) -> Tensor:
        """Split into heads: (B, T, C) -> (B, heads, T, C / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def look(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of ``memory``."""
        return self.apart(self.key(memory)), self.apart(self.value(memory))


class Layer(nn.Module):
    """One Transformer layer; ``across=True`` adds cross-attention (decoder)."""

    formula = "x = x + attention(norm1(x))\nx = x + across(norm3(x), memory)\ny = x + down(relu(up(norm2(x))))"

    def __init__(self, config: Config, across: bool) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.norm3 = nn.LayerNorm(width) if across else None
        self.across = Attention(width, config.heads) if across else None
        self.up, self.down = nn.Linear(width, config.hidden), nn.Linear(config.hidden, width)
        self.drop = nn.Dropout(config.drop)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Transform (B, T, C). With a ``cache``, x are the tokens after those cached."""
        h = self.norm1(x)
        keys, values = self.attention.look(h)
        if cache is not None:
            keys = torch.cat([cache["keys"], keys], 2) if cache else keys
            values = torch.cat([cache["values"], values], 2) if cache else values
            cache |= {"keys": keys, "values": values}
        x = x + self.drop(self.attention(h, keys, values, mask))
        if self.across is not None and self.norm3 is not None and memory is not None:
            cross_cache = {} if cache is None else cache
            if "across keys" not in cross_cache:
                keys, values = self.across.look(memory)
                cross_cache |= {"across keys": keys, "across values": values}
            keys, values = cross_cache["across keys"], cross_cache["across values"]
            x = x + self.drop(self.across(self.norm3(x), keys, values, memory_mask))
        return x + self.drop(self.down(self.drop(F.relu(self.up(self.norm2(x))))))


class Transformer(Translator):
    year = 2017
    ja = "原文全体を読むエンコーダーと、それを見ながら訳文を一語ずつ書くデコーダー"
    clip = 1.0
    SIZES = {
        "tiny": Config(32, 1, 2, 64, 0.0, 64, 1e-2),
        "small": Config(),
        "medium": Config(256, 3, 4, 1024, context=128, rate=2e-3),
        "base": Config(512, 6, 8, 2048, context=256, rate=1e-3),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.width % (2 * config.heads):
            message = _("width={width} does not divide by heads={heads}")
            raise UserError("config", message.format(width=config.width, heads=2 * config.heads))
        self.token = nn.Embedding(spec.vocabulary, config.width)
        self.encoder = nn.ModuleList(Layer(config, False) for _ in range(config.depth))
        self.decoder = nn.ModuleList(Layer(config, True) for _ in range(config.depth))
        self.read, self.wrote = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.drop = nn.Dropout(config.drop)
        nn.init.normal_(self.token.weight, std=config.width**-0.5)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):  # each block starts as the identity
                nn.init.zeros_(weight)

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.unpacked(self.spec.tokenizer)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        layers = [*self.encoder.parameters(), *self.decoder.parameters()]
        matrices = [weight for weight in layers if weight.ndim == 2 and weight.requires_grad]
        matrix_ids = {id(weight) for weight in matrices}
        others = [w for w in self.parameters() if w.requires_grad and id(w) not in matrix_ids]
        rate = self.config.rate
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.01)}

    def loader(self, data: Dataset, augment: Any = None, seed: int = 0, device: Any = None) -> Loader:
        """Encode each pair as (first, second), the tokens and the number of bytes of each."""
        columns = [self.encoded(list(data.input)), self.encoded(texts_of(data))]
        dataset = replace(data, input=ListColumn(columns[0]), target=ListColumn(columns[1]))
        return Loader(dataset, self.batch, augment, seed, device or self.device)

    def encoded(self, texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Return the tokens (n,) and the number of bytes of each text."""
        sequences = self.tokenizer.encode_many(list(texts))
        sizes = [len(text.encode("utf-8", "replace")) for text in texts]
        pairs = zip(sequences, sizes, strict=True)
        return [(torch.tensor(ids, dtype=torch.long), torch.tensor(size)) for ids, size in pairs]

    def batch(self, rows: Rows) -> Batch:
        """Batch the pairs forwards, then the same pairs backwards."""
        first, second = list(rows.input), list(rows.target)
        most = self.config.context if self.training else None
        both = [(*pair, False) for pair in zip(first, second, strict=True)]
        both += [(*pair, True) for pair in zip(second, first, strict=True)]
        end = torch.tensor([self.end], device=self.device)
        source = [self.asked(ids[:most], back) for (ids, _n), _target, back in both]
        target = [torch.cat([end, ids[:most], end]) for _source, (ids, _n), _back in both]
        sizes = torch.stack([count for _source, (_ids, count), _back in both])
        return Batch(pad_sequence(source, True, PAD), pad_sequence(target, True, PAD), sizes)

    @property
    def end(self) -> int:
        return self.tokenizer.start if self.spec.tokenizer else 0

    def asked(self, ids: Tensor, back: bool) -> Tensor:
        """Prepend the token of the target language, one of the last two of the vocabulary."""
        return F.pad(ids, (1, 0), value=self.spec.vocabulary - 1 - back)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, of similar length, one optimiser step each."""
        order = (batch.target >= 0).sum(1).argsort(stable=True)
        for rows in order.split(AT_ONCE):
            yield "model", self.loss(shortened(Batch(*(part[rows] for part in batch))))

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy per token in nats, with label smoothing in training."""
        logits = self(batch.source, batch.target[:, :-1]).transpose(1, 2).float()
        smoothing = SMOOTHED if self.training else 0.0
        right = batch.target[:, 1:]
        return F.cross_entropy(logits, right, ignore_index=PAD, label_smoothing=smoothing)

    @torch.inference_mode()
    def surprise(self, data: Dataset) -> Tensor:
        """Return bits per byte (cases,) of the second text given the first."""
        pairs = data if isinstance(next(iter(data.input)), tuple) else self.loader(data).cases
        bits = []
        for batch in Loader(pairs, self.batch, device=self.device).once(AT_ONCE):
            forth = shortened(Batch(*(part[: len(part) // 2] for part in batch)))
            logits = self(forth.source, forth.target[:, :-1]).transpose(1, 2).float()
            nats = F.cross_entropy(logits, forth.target[:, 1:], ignore_index=PAD, reduction="none")
            bits.append((nats.sum(1) / math.log(2) / forth.bytes.clamp(min=1)).cpu())
        return torch.cat(bits)

    def example(self) -> None:
        tokens = torch.zeros(1, self.config.context, dtype=torch.long, device=self.device)
        self(tokens, tokens)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return next-token logits (B, T, vocabulary) for sources (B, S) and targets (B, T)."""
        memory, mask = self.understood(source)
        ahead = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool, device=self.device)
        return self.follow(target, memory, mask, ahead.tril())

    def understood(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sources as (B, S, C), and return the mask (B, 1, 1, S) of their tokens."""
        mask = (source >= 0)[:, None, None]
        x = self.placed(source, 0)
        for layer in self.encoder:
            x = layer(x, mask)
        return self.read(x), mask

    def follow(
        self,
        target: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        mask: Tensor | None,
        caches: list[Cache] | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Return next-token logits after ``target``, whose first token is at position ``offset``."""
        y = self.placed(target, offset)
        for number, layer in enumerate(self.decoder):
            y = layer(y, mask, memory, memory_mask, None if caches is None else caches[number])
        return F.linear(self.wrote(y), self.token.weight)

    def placed(self, tokens: Tensor, first: int) -> Tensor:
        """Embed tokens, with sinusoidal position embeddings."""
        width, device = self.config.width, tokens.device
        position = torch.arange(first, first + tokens.shape[1], device=device)[:, None]
        speed = 10_000 ** (-torch.arange(0, width, 2, device=device) / width)
        waves = torch.stack([(position * speed).sin(), (position * speed).cos()], 2).flatten(1)
        return self.drop(self.token(tokens.clamp(min=0)) * width**0.5 + waves)

    @torch.inference_mode()
    def translations(self, texts: Sequence[str], back: bool = False, beams: int = 1) -> list[Translated]:
        sources = [self.asked(ids.to(self.device), back) for ids, _bytes in self.encoded(texts)]
        hypotheses = self.search(pad_sequence(sources, True, PAD), beams)
        return [Translated(self.tokenizer.generated_text(ids).strip(), mean) for ids, mean in hypotheses]

    def search(self, source: Tensor, beams: int = 1, most: int | None = None) -> list[tuple[list[int], float]]:
        """Return the tokens of the best translation of each source (B, S), of at most ``most``
        tokens, with their mean log-probability, by beam search; 1 beam is greedy."""
        memory, mask = (part.repeat_interleave(beams, 0) for part in self.understood(source))
        count, size = len(source), self.spec.vocabulary
        tokens = torch.full((count * beams, 1), self.end, device=source.device)
        score = torch.full((count, beams), -torch.inf, device=source.device)
        score[:, 0] = 0.0
        length = torch.zeros(count, beams, device=source.device)
        ends = torch.zeros(count, beams, dtype=torch.bool, device=source.device)
        caches: list[Cache] = [{} for _layer in self.decoder]  # KV cache of each layer
        for position in range(most or 2 * source.shape[1] + 16):
            logits = self.follow(tokens[:, -1:], memory, mask, None, caches, position)[:, -1]
            chance = logits.float().log_softmax(1).view(count, beams, size)
            chance[ends] = -torch.inf  # a finished beam repeats its end token at no cost
            chance[..., self.end] = chance[..., self.end].masked_fill(ends, 0.0)
            score, best_tokens = (score[..., None] + chance).flatten(1).topk(beams)  # of beams x vocabulary
            parent, token = best_tokens // size, best_tokens % size
            # reorder tokens and cache to the parent of each beam
            row = (parent + torch.arange(count, device=source.device)[:, None] * beams).flatten()
            tokens = torch.cat([tokens[row], token.view(-1, 1)], 1)
            caches = [{name: part[row] for name, part in cache.items()} for cache in caches]
            ends, length = ends.gather(1, parent), length.gather(1, parent)
            length = length + ~ends
            ends = ends | (token == self.end)
            if ends.all():
                break
        best = torch.arange(count), (score / ((5 + length) / 6) ** LENGTH_PENALTY).argmax(1)  # length normalisation
        sequences, mean = tokens.view(count, beams, -1)[best][:, 1:].tolist(), (score / length)[best].tolist()
        return [(ids[: [*ids, self.end].index(self.end)], nats) for ids, nats in zip(sequences, mean, strict=True)]


def shortened(batch: Batch) -> Batch:
    """Drop the columns that are padding in every text."""
    wide, high = (int((part >= 0).sum(1).max()) for part in batch[:2])
    return Batch(batch.source[:, :wide], batch.target[:, :high], batch.bytes)
