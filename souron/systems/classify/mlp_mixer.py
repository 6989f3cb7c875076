"""No convolution, no attention: one small network mixes places, another mixes channels.

Tolstikhin and others: MLP-Mixer: An all-MLP Architecture for Vision (2021).
https://arxiv.org/abs/2105.01601

    x: a table of patches by channels
    x = x + W2 gelu(W1 norm(x)')'     the same network along every column: between patches
    x = x + W4 gelu(W3 norm(x))       the same network along every row: between channels

Sizes `s32` to `h14` are the paper's with timm's names, so that official weights load.

Differs from the paper: it learns with AdamW and one cycle of the rate, as all classifiers here; no
dropout and no stochastic depth; images too small for seven patches a side get smaller ones, of at
least two pixels, and padding where they do not fill the side.
"""

from copy import copy
from dataclasses import dataclass
from math import ceil

from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.portable import Portable
from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    layers: int = 12
    width: int = 768
    tokens: int = 384  # hidden units of the token-mixing network
    channels: int = 3072  # hidden units of the channel-mixing network
    patch: int = 16  # pixels a side, at most
    rate: float = 3e-4


class Stem(nn.Module):
    def __init__(self, channels: int, width: int, patch: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)  # (B, positions, width)


class TwoLayers(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, config: Config, places: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp_tokens = TwoLayers(places, config.tokens)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp_channels = TwoLayers(config.width, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class MLPMixer(Classifier):
    year = 2021
    ja = "畳み込みも注意機構もなく、場所を混ぜる網とチャネルを混ぜる網だけで見る"
    head = "head"
    clip = 1.0
    SIZES = {
        "tiny": Config(2, 32, 32, 64, rate=5e-3),
        "small": Config(4, 64, 64, 256, rate=4e-3),
        "s32": Config(8, 512, 256, 2048, 32),
        "s16": Config(8, 512, 256, 2048),
        "b32": Config(patch=32),
        "b16": Config(),
        "l32": Config(24, 1024, 512, 4096, 32),
        "l16": Config(24, 1024, 512, 4096),
        "h14": Config(32, 1280, 640, 5120, 14),
    }
    WEIGHTS = {"b16": "timm:mixer_b16_224.goog_in21k_ft_in1k", "l16": "timm:mixer_l16_224.goog_in21k_ft_in1k"}

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        patch = min(config.patch, max(2, spec.side // 7))
        grid = ceil(spec.side / patch)  # patches a side
        self.border = grid * patch - spec.side

        self.stem = Stem(spec.channels, config.width, patch)
        self.blocks = nn.Sequential(*(Block(config, grid**2) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        # timm names this layer "head", the attribute that names the output layer here
        self._modules["head"] = nn.Linear(config.width, len(spec.labels))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(F.pad(image, (0, self.border, 0, self.border)))  # (B, positions, width)
        for block in self.blocks:
            x = block(x)
        return self.get_submodule("head")(self.norm(x).mean(1))  # (B, labels)

    def portable(self) -> Portable:
        whole = copy(self)
        vars(whole)["head"] = self._modules["head"]  # torch.export asks for layers as attributes
        return Classifier.portable(whole)

    def get_submodule(self, target: str) -> nn.Module:
        return dict(self.named_modules())[target]
