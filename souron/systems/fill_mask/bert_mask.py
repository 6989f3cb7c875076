"""Every token looks at all others, and what was masked is guessed from both sides.

Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers (2018).
https://arxiv.org/abs/1810.04805

    x = encoder(tokens, 15 % of them masked)
    logits of a masked token = embedding . norm(gelu(W x)) + b

Of the masked tokens 80 % are replaced by the mask, 10 % by a random token, 10 % stay as they are. A
tagger can start from a run of it: ``pretrained=RUN``.

Attention is first spread evenly over the window, and a token's neighbours are hard to find among 128
tokens: on a small computer the loss would stay at that of single tokens for very long. So training
begins with windows of ``FIRST`` tokens, which double each time ``growth`` of the budget is used (the
paper, too, trains on short windows first).

Differs from the paper: one text in place of two sentences; matrices are trained by Muon (Jordan and
others 2024), the rest by AdamW, with one cycle of the rate; masks are drawn anew each time, and in
training they hide 30 % of the tokens in place of 15 % (Wettig and others 2023,
https://doi.org/10.18653/v1/2023.eacl-main.217).
Reduced: no next-sentence prediction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.encoder import Encoder, begin
from souron.blocks.muon import MuonAdamW
from souron.blocks.portable import Portable
from souron.tasks.fill_mask import Batch, MaskFiller, Spec, shorter

MATRICES = 7.0  # Muon's learning rate, relative to ``rate``
FIRST = 8  # tokens of the first windows
HIDDEN = 0.3  # share of the tokens that training hides


@dataclass(frozen=True)
class Config:
    layers: int = 3
    width: int = 128
    heads: int = 4
    context: int = 128  # tokens
    drop: float = 0.0
    rate: float = 3e-3
    growth: float = 0.15  # share of the budget after which windows double; 0 for whole windows at once


class BERTMask(MaskFiller):
    year = 2018
    ja = "前後両方のすべてのトークンを見て、隠されたトークンを当てる Transformer"
    status = "reduced"
    clip = 1.0
    SIZES = {
        "tiny": Config(layers=2, width=64, heads=2, context=64),
        "small": Config(),
        "base": Config(12, 768, 12, 512, 0.1, 1e-4, 0.0),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder = Encoder(spec.vocabulary, config.context, config.layers, config.width, config.heads, config.drop)
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.bias = nn.Parameter(torch.zeros(spec.vocabulary))
        begin(self.dense)

    @property
    def hidden(self) -> float:
        return HIDDEN

    def portable(self) -> Portable:
        return self.carried()

    def example(self) -> None:
        self(torch.zeros(1, self.context, dtype=torch.long, device=self.device))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(tokens))  # (B, T, vocabulary)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        growth = self.config.growth
        length = FIRST << int(self.used / growth) if growth else self.context
        yield from super().updates(shorter(batch, min(length, self.context)), step)

    def head(self, features: Tensor) -> Tensor:
        x = self.norm(F.gelu(self.dense(features)))
        return F.linear(x, self.encoder.token.weight, self.bias)

    def guesses(self, tokens: Tensor, masked: Tensor) -> Tensor:
        logits = self.head(self.encoder(tokens)[masked])
        logits[:, self.mask] = -torch.inf
        return logits

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        matrices = self.encoder.matrices()
        matrix_ids = {id(weight) for weight in matrices}
        others = [weight for weight in self.parameters() if id(weight) not in matrix_ids]
        rate = self.config.rate
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.01)}
