"""It never sees the picture: what questions alone give away, the yardstick of the others.

Antol, Agrawal, Lu, Mitchell, Batra, Zitnick, Parikh: VQA: Visual Question Answering (2015).
https://arxiv.org/abs/1505.00468

    u = max over time of convolutions of 1, 2 and 3 words of the question
    answer = softmax(MLP(u))

The question "What colour is the banana?" almost contains its answer. A system that is no better
than this baseline has learnt a language, not to see: ``souron compare visual_qa question_only``.

Differs from the paper: its blind model reads with an LSTM; this one reads as ``visual_qa`` does, so
that their comparison isolates the image, with one cycle of the rate and AdamW.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.answer import Answerer, Spec

SPANS = (1, 2, 3)  # kernel sizes of the convolutions over the question, in tokens


@dataclass(frozen=True)
class Config:
    dims: int = 192
    words: int = 96  # width of a token's embedding
    drop: float = 0.1
    rate: float = 2e-3


class QuestionOnly(Answerer):
    year = 2015
    ja = "画像を見ず、質問の言葉だけから答える。他のシステムの比較の基準"
    clip = 1.0
    SIZES = {"tiny": Config(32, 16, 0.0, 1e-2), "small": Config()}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        dims = config.dims
        self.token = nn.Embedding(max(1, spec.vocabulary), config.words)
        nn.init.normal_(self.token.weight, std=0.1)
        self.spans = nn.ModuleList(nn.Conv1d(config.words, dims, span) for span in SPANS)
        self.join = nn.Linear(len(SPANS) * dims, dims)
        self.drop = nn.Dropout(config.drop)
        self.hidden = nn.Linear(dims, 2 * dims)
        self.answer = nn.Linear(2 * dims, len(spec.answers))

    def see(self, image: Tensor) -> Tensor:
        return image.new_zeros(len(image), 0, 1)  # no positions

    def respond(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        nothing = (tokens < 0)[:, None]  # (n, 1, T)
        x = self.token(tokens.clamp(min=0)).transpose(1, 2).masked_fill(nothing, 0)
        features = []
        for span, conv in zip(SPANS, self.spans, strict=True):
            maps = torch.tanh(conv(F.pad(x, (0, span - 1))))  # (n, dims, T)
            features.append(maps.masked_fill(nothing, -1).amax(2))
        u = self.join(torch.cat(features, 1))
        return self.answer(self.drop(F.relu(self.hidden(self.drop(u))))), pixels[..., 0]
