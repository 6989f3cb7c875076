"""Every token looks at all others, before it and after it; the first one gives the class.

Devlin, Chang, Lee, Toutanova: BERT (2018). https://doi.org/10.48550/arXiv.1810.04805

    x = token + position    x = norm(x + attention(x))    x = norm(x + mlp(x))    fc(tanh(W x_0))

The attention of a language model is causal, since the next token must not be visible. To classify a
text all of it may be visible: each token gathers its meaning from the whole text.

Differs from the paper: AdamW and one cycle of the rate, byte-pair tokens, no segments. Reduced: no
pretraining on masked words; it starts from random weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from souron.blocks.portable import Portable
from souron.tasks.classify_text import Batch, Spec, TextClassifier, padded, tokens_of
from souron.utils.messages import UserError, _

AT_ONCE = 16  # texts per training step
PAD = -1  # pads shorter texts


@dataclass(frozen=True)
class Config:
    width: int = 128
    depth: int = 2  # layers
    heads: int = 4
    context: int = 256  # tokens; the rest of a text is truncated
    drop: float = 0.1
    rate: float = 1e-3


class BERT(TextClassifier):
    year = 2018
    ja = "どの単語も前後すべての単語を見て、文章全体の分類を決める Transformer"
    status = "reduced"
    clip = 1.0
    SIZES = {"tiny": Config(32, 1, 2, 64), "small": Config(), "base": Config(768, 12, 12, 512, rate=1e-4)}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.width % config.heads:
            raise UserError(
                "config",
                _("width={width} does not divide by heads={heads}").format(width=config.width, heads=config.heads),
            )
        self.token = nn.Embedding(spec.vocabulary, config.width)
        self.place = nn.Embedding(config.context, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.drop = nn.Dropout(config.drop)
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, config.drop, "gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.pool = nn.Linear(config.width, config.width)
        self.fc = nn.Linear(config.width, len(spec.labels))
        for part in (self.token, self.place):
            nn.init.normal_(part.weight, std=0.02)

    def encoded(self, texts: Sequence[str]) -> list[Any]:
        return tokens_of(self.tokenizer, texts, self.config.context)

    def cut(self, texts: Sequence[str]) -> int:
        return sum(len(ids) >= self.config.context for ids in self.tokenizer.encode_many(list(texts)))

    @property
    def tokenizer(self) -> Any:
        from souron.tasks.classify_text import Tokenizer

        return Tokenizer.unpacked(self.spec.tokenizer)

    def portable(self) -> Portable:
        return self.carried(self.tokenizer, self.config.context)

    def batch(self, rows: Any) -> Batch:
        return Batch(padded(list(rows.input), PAD), rows.target)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        for rows in torch.arange(len(batch.label)).split(AT_ONCE):
            tokens = batch.text[rows]
            longest = int((tokens >= 0).sum(1).max())
            yield "model", self.loss(Batch(tokens[:, :longest], batch.label[rows]))

    def example(self) -> None:
        self(torch.zeros(1, self.config.context, dtype=torch.long, device=self.device))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), padded with -1, to logits (B, labels)."""
        nothing = tokens < 0
        position = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token(tokens.clamp(min=0)) + self.place(position)
        x = self.layers(self.drop(self.norm(x)), src_key_padding_mask=nothing)  # (B, T, width)
        return self.fc(self.drop(self.pool(x[:, 0]).tanh()))
