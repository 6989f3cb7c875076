"""It looks where the question points, looks again, and picks one of the answers it knows.

Yang, He, Gao, Deng, Smola: Stacked Attention Networks for Image Question Answering (2016).
https://arxiv.org/abs/1511.02274

    v = tanh(conv network(image))            a grid of positions
    u = max over time of convolutions of 1, 2 and 3 words of the question
    p = softmax(w tanh(V v + U u))           where to look
    u = u + tanh(A sum p v) * tanh(B u)      what is there, joined with the question; and again
    answer = softmax(MLP(u))

The question selects the positions, so that the weights ``p`` of the last step show which part of
the image determined the answer. They show where the network attended, not that it attended for the
right reason.

Differs from the paper: image and question are combined by a product, as in Kim and others:
Multimodal Residual Learning for Visual QA (2016), https://arxiv.org/abs/1606.01455, rather than a
sum: a sum of "is it red" and "red" does not show whether they match. A hidden layer before the
answers. Position embeddings for the grid. Tokens are shared by all languages, and one cycle of the
rate with AdamW. Reduced: the image encoder is small and trained on the questions alone, where the
paper takes the features of VGGNet.
"""

from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.answer import Answerer, Spec

PLACES = 8  # approximate cells a side of the grid
SPANS = (1, 2, 3)  # kernel sizes of the convolutions over the question, in tokens
BEGINNING = 0.3  # initial standard deviation of the grid's position embeddings


@dataclass(frozen=True)
class Config:
    width: int = 32  # channels of the image's first layer; each halving of the side has more
    dims: int = 192  # width of positions and questions
    words: int = 96  # width of a token's embedding
    looks: int = 2
    drop: float = 0.1
    rate: float = 2e-3


class VisualQA(Answerer):
    year = 2016
    ja = "質問が指す場所を画像から二度見て、知っている答えから一つを選ぶ"
    status = "reduced"
    channels_last = True
    clip = 1.0
    SIZES = {"tiny": Config(8, 32, 16, 1, 0.0, 1e-2), "small": Config()}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        dims = config.dims
        self.picture = Seeing(spec.channels, spec.side, config.width, dims)
        self.question = Reading(max(1, spec.vocabulary), config.words, dims)
        self.looks = nn.ModuleList(Look(dims) for _look in range(config.looks))
        self.drop = nn.Dropout(config.drop)
        self.hidden = nn.Linear(dims, 2 * dims)
        self.answer = nn.Linear(2 * dims, len(spec.answers))

    def see(self, image: Tensor) -> Tensor:
        return self.picture(image)

    def respond(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        u = self.question(tokens)  # (n, dims)
        attention = pixels.new_zeros(pixels.shape[:2])
        for look in self.looks:
            u, attention = look(pixels, u)
        return self.answer(self.drop(F.relu(self.hidden(self.drop(u))))), attention


class Look(nn.Module):
    """One attention step over a grid (n, positions, dims) with a question (n, dims).

    Returns the refined question and the attention weights (n, positions).
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.place, self.asks = nn.Linear(dims, dims, bias=False), nn.Linear(dims, dims)
        self.attention = nn.Linear(dims, 1, bias=False)
        self.found, self.asked = nn.Linear(dims, dims), nn.Linear(dims, dims)

    def forward(self, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.place(v) + self.asks(u)[:, None])
        p = self.attention(h)[..., 0].float().softmax(1)
        context = (p[..., None].to(v.dtype) * v).sum(1)
        return u + torch.tanh(self.found(context)) * torch.tanh(self.asked(u)), p


class Seeing(nn.Module):
    """(B, C, H, W) -> a grid of about ``PLACES`` a side as (B, positions, dims), row by row."""

    def __init__(self, channels: int, side: int, width: int, dims: int) -> None:
        super().__init__()
        halvings = max(1, round(log2(max(2, side / PLACES))))
        maps = [width * (2 + step) // 2 for step in range(halvings)]
        layers: list[nn.Module] = [convolution(channels, width, 1)]
        for before, after in zip([width, *maps], maps, strict=False):
            layers += [convolution(before, after, 2), Residual(after)]
        self.layers = nn.Sequential(*layers, Residual(maps[-1]))
        self.last = nn.Conv2d(maps[-1], dims, 1)
        grid = side
        for _step in range(halvings):
            grid = (grid + 1) // 2
        self.where = nn.Parameter(BEGINNING * torch.randn(dims, grid, grid))

    def forward(self, image: Tensor) -> Tensor:
        maps = torch.tanh(self.last(self.layers(image)) + self.where)
        return maps.flatten(2).transpose(1, 2)


class Residual(nn.Module):
    """A residual block of two convolutions, (B, C, H, W)."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first = convolution(maps, maps, 1)
        self.second = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(maps)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class Reading(nn.Module):
    """Question encoder: tokens (n, T), padded with values below 0 -> (n, dims)."""

    def __init__(self, vocabulary: int, width: int, dims: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.token.weight, std=0.1)
        self.spans = nn.ModuleList(nn.Conv1d(width, dims, span) for span in SPANS)
        self.join = nn.Linear(len(SPANS) * dims, dims)

    def forward(self, tokens: Tensor) -> Tensor:
        nothing = (tokens < 0)[:, None]  # (n, 1, T)
        x = self.token(tokens.clamp(min=0)).transpose(1, 2).masked_fill(nothing, 0)
        features = []
        for span, conv in zip(SPANS, self.spans, strict=True):
            maps = torch.tanh(conv(F.pad(x, (0, span - 1))))  # (n, dims, T)
            features.append(maps.masked_fill(nothing, -1).amax(2))
        return self.join(torch.cat(features, 1))


def convolution(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
