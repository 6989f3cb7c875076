"""A picture cut into patches is read like a sentence: every patch may look at every other.

Dosovitskiy and others: An Image is Worth 16x16 Words (2020). https://arxiv.org/abs/2010.11929

    tokens = [class; patches E] + positions
    x = x + attention(norm(x))      x = x + mlp(norm(x))      label = head(norm(x_class))
    attention(x) = softmax(q k' / sqrt(d)) v     q, k, v = three projections of x, d wide a head

Sizes `b16`, `b32` and `l16` are the paper's with torchvision's names, so that official weights
load.

Differs from the paper: it learns with one cycle of the rate, as all classifiers here, with AdamW;
no dropout; position embeddings start at the scale of the patches (0.02 there), else a short
training sees a bag of patches; images too small for seven patches a side get smaller ones, of at
least two pixels, and padding where they do not fill the side.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.tasks.classify import Classifier, Spec


@dataclass(frozen=True)
class Config:
    layers: int = 12
    heads: int = 12
    width: int = 768
    hidden: int = 3072  # hidden units of each layer's MLP
    patch: int = 16  # pixels a side, at most
    rate: float = 3e-4


class Attention(nn.Module):
    """Multi-head self-attention with queries q, keys k and values v."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # of q, k and v, stacked
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, T, 3 width)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, d)
            for part in qkv.chunk(3, -1)
        )
        # written out: scaled_dot_product_attention is slow in bfloat16 on a CPU, above all for
        # narrow heads
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, heads, T, T)
        context = scores.softmax(-1) @ v  # (B, heads, T, d)
        return self.out_proj(context.transpose(1, 2).flatten(2))  # (B, T, width)


class Layer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, eps=1e-6)
        self.self_attention = Attention(config.width, config.heads)
        self.ln_2 = nn.LayerNorm(config.width, eps=1e-6)
        widen = nn.Linear(config.width, config.hidden)
        narrow = nn.Linear(config.hidden, config.width)
        # torchvision's names count its dropout layers
        self.mlp = nn.Sequential(widen, nn.GELU(), nn.Identity(), narrow)
        for linear in (widen, narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    def __init__(self, config: Config, tokens: int):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens, config.width))
        self.layers = nn.Sequential()
        for i in range(config.layers):
            self.layers.add_module(f"encoder_layer_{i}", Layer(config))
        self.ln = nn.LayerNorm(config.width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(self.layers(x + self.pos_embedding))


class ViT(Classifier):
    year = 2020
    ja = "画像を小片に切って文のように読み、どの小片も互いに注目し合う"
    head = "heads.head"
    clip = 1.0
    SIZES = {
        "tiny": Config(2, 2, 32, 64, rate=5e-3),
        "small": Config(4, 4, 64, 128, rate=4e-3),
        "b16": Config(),
        "b32": Config(patch=32),
        "l16": Config(24, 16, 1024, 4096),
    }
    WEIGHTS = {
        "b16": "torchvision:ViT_B_16_Weights.IMAGENET1K_V1",
        "b32": "torchvision:ViT_B_32_Weights.IMAGENET1K_V1",
        "l16": "torchvision:ViT_L_16_Weights.IMAGENET1K_V1",
    }

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        patch = min(config.patch, max(2, spec.side // 7))
        grid = ceil(spec.side / patch)  # patches a side
        self.border = grid * patch - spec.side

        self.conv_proj = nn.Conv2d(spec.channels, config.width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.encoder = Encoder(config, 1 + grid**2)
        head = nn.Linear(config.width, len(spec.labels))
        self.heads = nn.Sequential(OrderedDict(head=head))

        nn.init.trunc_normal_(self.conv_proj.weight, std=(spec.channels * patch**2) ** -0.5)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, image: Tensor) -> Tensor:
        image = F.pad(image, (0, self.border, 0, self.border))
        patches = self.conv_proj(image).flatten(2).transpose(1, 2)  # (B, T, width)
        first = self.class_token.expand(image.shape[0], -1, -1)
        tokens = self.encoder(torch.cat([first, patches], 1))  # (B, 1 + T, width)
        return self.heads(tokens[:, 0])  # (B, labels)
