"""A picture and its caption become the same point: of a batch, each must find the other.

Radford and others: Learning Transferable Visual Models From Natural Language Supervision (2021).
https://arxiv.org/abs/2103.00020

    i = see(image) / |see(image)|          t = read(caption) / |read(caption)|
    logits = s i t'                        s = exp(learnt), 100 at most
    loss = (cross entropy of rows + cross entropy of columns) / 2

No labels are needed: the network learns what distinguishes an image's caption from the others in
its batch. Classes are named afterwards, by sentences. ``rn50`` and ``vit_b_32`` are OpenAI's, so
that their published weights load: ``souron predict clip_vit_b_32 photo.jpg texts="a cat|a dog"``.

Differs from the paper: one cycle of the rate with AdamW. Equal captions within a batch are not each
other's negatives. Of several captions of an image one is chosen at random in each step. The small
sizes have tokenizers trained on their own captions, in all languages together, without a start
token; small images keep a finer feature map, or have smaller patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.blocks.clip import CLIP as Network
from souron.blocks.clip import CONTEXT, MEAN, PAD, STD, contrast, equal
from souron.kinds.picture import Picture
from souron.tasks.match import Batch, Matcher, Spec

MOST_SCALE = 100.0
TOKENS = 49_408  # of the published networks


@dataclass(frozen=True)
class Config:
    depths: tuple[int, ...] = (1, 1, 1, 1)  # blocks of a ResNet's stages; a single number is a ViT's layers
    width: int = 24  # channels of the ResNet's first stage; width of a ViT's tokens
    patch: int = 0  # pixels a side, for a ViT
    text: tuple[int, int, int] = (2, 128, 4)  # layers, width and heads of the text encoder
    dims: int = 128  # of the shared space
    quick: bool = False  # QuickGELU, as in OpenAI's weights, rather than GELU
    rate: float = 2e-3


class CLIP(Matcher):
    year = 2021
    ja = "画像とその説明文を同じ空間の近い点に写し、互いを探し当てるように学ぶ"
    channels_last = True
    clip = 1.0
    SIZES = {
        "tiny": Config((1, 1), 8, text=(1, 32, 2), dims=32),
        "small": Config(),
        "small_vit": Config((4,), 128, 8, rate=1e-3),
        "rn50": Config((3, 4, 6, 3), 64, 0, (12, 512, 8), 1024, True, 5e-4),
        "vit_b_32": Config((12,), 768, 32, (12, 512, 8), 512, True, 5e-4),
    }
    PUBLISHED = {"rn50": (224, TOKENS), "vit_b_32": (224, TOKENS)}
    WEIGHTS = {
        "rn50": "open_clip:timm/resnet50_clip.openai",
        "vit_b_32": "open_clip:timm/vit_base_patch32_clip_224.openai",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.network = Network(
            spec.channels,
            spec.side,
            config.depths,
            config.width,
            config.patch,
            spec.vocabulary,
            config.text,
            config.dims,
            config.quick,
        )
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        if spec.channels == 1:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    mean: Tensor  # (C, 1, 1), of images in 0..1
    std: Tensor

    @property
    def scale(self) -> Tensor:
        """Return the factor applied to cosines before the softmax."""
        return self.network.logit_scale.clamp(max=log(MOST_SCALE)).exp()

    def see(self, image: Tensor) -> Tensor:
        points = self.network.image(((image + 1) / 2 - self.mean) / self.std)
        return F.normalize(points.float(), dim=-1)  # (B, dims)

    def read(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.network.text(tokens).float(), dim=-1)  # (B, dims)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenise lower-cased texts: (B, T) int64, T at most 77, padded with ``PAD``."""
        tokenizer = self.tokenizer
        begin = [] if tokenizer.start in tokenizer.end else [tokenizer.start]
        most = CONTEXT - 1 - len(begin)
        small = tokenizer.encode_many([text.lower() for text in texts])
        sequences = [[*begin, *ids[:most], tokenizer.end[0]] for ids in small]
        longest = max(map(len, sequences))
        rows = [ids + [PAD] * (longest - len(ids)) for ids in sequences]
        return torch.tensor(rows, device=self.device)

    def pixels(self, picture: Picture) -> Tensor:
        bicubic = self.spec.vocabulary == TOKENS
        return picture.square(self.spec.side, self.spec.channels, bicubic).float() / 127.5 - 1

    def loss(self, batch: Batch) -> Tensor:
        draws = torch.rand(len(batch.captions)).tolist()
        texts = [
            captions[int(chance * len(captions))].text for captions, chance in zip(batch.captions, draws, strict=True)
        ]
        tokens = self.tokens(texts)
        return contrast(self.see(batch.image), self.read(tokens), self.scale, equal(tokens))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return AdamW without weight decay for gains, biases and the temperature."""
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        groups = [
            {"params": [weight for weight in learning if weight.ndim > 1], "weight_decay": 0.1},
            {"params": [weight for weight in learning if weight.ndim < 2], "weight_decay": 0.0},
        ]
        betas = (0.9, 0.98)
        return {"model": torch.optim.AdamW(groups, self.config.rate, betas, 1e-6, fused=True)}
