"""A decoder-only Transformer: each token looks at those before it and foretells the next.

Radford and others: Language Models are Unsupervised Multitask Learners (2019).
https://openai.com/index/better-language-models/

    x = embedding(token);    x = x + attention(norm(x));    x = x + mlp(norm(x))    layer by layer
    logits of the next token = head(norm(x))

``small`` and its neighbours are built as decoders are today: RMS norm, rotary position embeddings
(Su and others 2021, https://arxiv.org/abs/2104.09864), normalised queries and keys (Henry and
others 2020, https://arxiv.org/abs/2010.04245), squared ReLU (So and others 2021,
https://arxiv.org/abs/2109.08668). ``gpt2`` and ``smollm2`` have the structure of those models
(Allal and others 2025, https://arxiv.org/abs/2502.02737), so that their published weights load.

Differs from the paper: the modern parts named above; matrices are trained by Muon (Jordan and
others 2024), the rest by AdamW, with one cycle of the rate; no dropout.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from souron.blocks.decoder import Cache, Decoder, named
from souron.blocks.muon import MuonAdamW
from souron.blocks.portable import Portable
from souron.tasks.complete import LanguageModel, Spec

MATRICES = 2.0  # Muon's learning rate, relative to ``rate``
LESSONS = {
    "text": 1.0,
    "messages": 0.2,
    "preferences": 0.1,
}  # learning rate relative to ``rate``: lower in later stages
SPREAD = 0.5  # initial scale of an embedding that is not tied to the head


@dataclass(frozen=True)
class Config:
    layers: int = 4
    width: int = 192
    heads: int = 3
    context: int = 128  # tokens
    structure: str = "modern"  # or "gpt2", "smollm2"
    rate: float = 1e-2
    preferences: str = "dpo"  # or "chosen": train on the better answers alone


class GPT(LanguageModel):
    year = 2019
    ja = "各トークンがそれより前のトークンだけを見て、次のトークンを予測する"
    SIZES = {
        "tiny": Config(layers=2, width=64, heads=2, context=64, rate=1e-2),
        "small": Config(),
        "base": Config(layers=8, width=384, heads=6, context=256, rate=5e-3),
        "gpt2": Config(12, 768, 12, 1024, "gpt2", rate=6e-4),
        "smollm2": Config(30, 576, 9, 8192, "smollm2", rate=5e-4),
    }
    VOCABULARIES = {"gpt2": 50_257, "smollm2": 49_152}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.decoder = Decoder(
            named(config.structure, spec.vocabulary, config.context, config.layers, config.width, config.heads)
        )
        self.apply(begin)
        if not self.decoder.structure.tied:
            nn.init.normal_(self.decoder.embedding.weight, std=SPREAD)
        for name, weight in self.decoder.blocks.named_parameters():
            if name.endswith(("out.weight", "down.weight")):  # each block starts as the identity
                nn.init.zeros_(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(tokens)  # (B, T, vocabulary)

    def portable(self) -> Portable:
        return self.carried()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        matrices = [weight for weight in self.decoder.matrices() if weight.requires_grad]
        matrix_ids = {id(weight) for weight in matrices}
        others = [w for w in self.parameters() if w.requires_grad and id(w) not in matrix_ids]
        rate = self.config.rate * LESSONS[self.spec.lesson]
        return {"model": MuonAdamW(matrices, others, MATRICES * rate, rate, decay=0.01)}

    def kv_cache(self, rows: int = 1) -> Cache:
        return self.decoder.kv_cache(rows)

    def read_many(self, tokens: Tensor, cache: Cache) -> Tensor:
        return self.decoder(tokens.to(self.device), cache, last=True)[:, -1]


def begin(part: nn.Module) -> None:
    """Initialise the weights of a module."""
    if isinstance(part, nn.Linear | nn.Embedding):
        nn.init.normal_(part.weight, std=0.02)
    if isinstance(part, nn.Linear) and part.bias is not None:
        nn.init.zeros_(part.bias)
