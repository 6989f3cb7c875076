"""Every token looks at all others, and what was masked is guessed from both sides.

Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers (2018).
https://arxiv.org/abs/1810.04805

    x = encoder(tokens, 15 % of them masked)
    logits of a masked token = embedding . norm(gelu(W x)) + b

Of the masked tokens 80 % are replaced by the mask, 10 % by a random token, 10 % stay as they are. A
tagger can start from a run of it: ``pretrained=RUN``.

Differs from the paper: one text in place of two sentences; matrices are trained by Muon (Jordan and
others 2024), the rest by AdamW, with one cycle of the rate; masks are drawn anew each time.
Reduced: no next-sentence prediction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.encoder import Encoder, begin
from souron.blocks.muon import MuonAdamW
from souron.tasks.fill_mask import MaskFiller, Spec

MATRICES = 10.0  # Muon's learning rate, relative to ``rate``


@dataclass(frozen=True)
class Config:
    layers: int = 3
    width: int = 128
    heads: int = 4
    context: int = 128  # tokens
    drop: float = 0.0
    rate: float = 2e-3


class BERTMask(MaskFiller):
    year = 2018
    ja = "前後両方のすべてのトークンを見て、隠されたトークンを当てる Transformer"
    status = "reduced"
    clip = 1.0
    SIZES = {
        "tiny": Config(layers=2, width=64, heads=2, context=64),
        "small": Config(),
        "base": Config(12, 768, 12, 512, 0.1, 1e-4),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.encoder = Encoder(spec.vocabulary, config.context, config.layers, config.width, config.heads, config.drop)
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.bias = nn.Parameter(torch.zeros(spec.vocabulary))
        begin(self.dense)

    def example(self) -> None:
        self(torch.zeros(1, self.context, dtype=torch.long, device=self.device))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(tokens))  # (B, T, vocabulary)

    def head(self, features: Tensor) -> Tensor:
        x = self.norm(F.gelu(self.dense(features)))
        return F.linear(x, self.encoder.token.weight, self.bias)

    def guesses(self, given: Tensor, asked: Tensor) -> Tensor:
        logits = self.head(self.encoder(given)[asked])
        logits[:, self.mask] = -torch.inf
        return logits

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        matrices = self.encoder.matrices()
        known = {id(weight) for weight in matrices}
        others = [weight for weight in self.parameters() if id(weight) not in known]
        rate = self.config.rate
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.01)}
