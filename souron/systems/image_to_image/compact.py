"""Enlarges with plain convolutions on the small image; only the last layer makes it large.

Shi, Caballero, Huszár, Totz, Aitken, Bishop, Rueckert, Wang: Real-Time Single Image and Video
Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network (2016).
https://arxiv.org/abs/1609.05158

    x -> 3x3 convolution, PReLU, as often as there are layers -> 3x3 convolution to 3 s^2 maps
    high = pixels put side by side from the s^2 maps of each colour, + x repeated s times

All layers work at the small size, which keeps the work small. Sizes ``general`` and ``animation``
are the compact networks of Real-ESRGAN (Wang, Xie, Dong, Shan 2021,
https://arxiv.org/abs/2107.10833): ``souron fetch compact_general``.

Differs from the paper: PReLU in place of tanh, 3x3 kernels, many layers, and the sum with the
repeated pixels, as in Real-ESRGAN; the mean of absolute errors; AdamW and one cycle of the rate;
``bicubic`` adds interpolated in place of repeated pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.esrgan_names import renamed
from souron.blocks.portable import Portable
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.tasks.image_to_image import (
    TILE,
    Batch,
    ImageTranslator,
    Made,
    Spec,
    cropped,
    enlarged,
    lowered,
    passes,
    whole,
)
from souron.utils.messages import N_

CROP = 48  # side of training crops


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels
    layers: int = 32  # convolutions between the first and the last
    scale: int = 4
    bicubic: bool = False  # the network predicts the difference from interpolation
    rate: float = 1e-3


class Compact(ImageTranslator):
    year = 2016
    ja = "小さな画像のまま畳み込み、最後の層で画素を並べ替えて拡大する。写真も速い"
    channels_last = True
    measures = ("PSNR", "PSNR of luma", "SSIM", "feature distance", "sharpness")
    SIZES = {
        "tiny": Config(8, 2, 2, True, 3e-3),
        "small": Config(32, 6, 2, True, 2e-3),
        "general": Config(),
        "animation": Config(layers=16),
    }
    WEIGHTS = {"general": "Real-ESRGAN:realesr-general-x4v3", "animation": "Real-ESRGAN:realesr-animevideov3"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        layers: list[nn.Module] = [nn.Conv2d(spec.channels, config.width, 3, padding=1), nn.PReLU(config.width)]
        for _layer in range(config.layers):
            layers += [nn.Conv2d(config.width, config.width, 3, padding=1), nn.PReLU(config.width)]
        last = nn.Conv2d(config.width, spec.channels * config.scale**2, 3, padding=1)
        for weight in last.parameters():
            nn.init.zeros_(weight)  # it starts as interpolation
        self.body = nn.Sequential(*layers, last)

    @classmethod
    def of_published(cls, weights: Mapping[str, Tensor]) -> "Compact | None":
        """Build the model from published weights; None if they belong to another network."""
        tensors = renamed(weights)
        numbers = [name.split(".")[1] for name in tensors if name.startswith("body.") and name.count(".") == 2]
        last = (
            tensors.get(f"body.{max(map(int, numbers), default=0)}.weight") if all(map(str.isdigit, numbers)) else None
        )
        first = tensors.get("body.0.weight")
        if first is None or last is None or first.ndim != 4 or last.ndim != 4 or last.shape[0] % first.shape[1]:
            return None
        scale = isqrt(last.shape[0] // first.shape[1])
        config = Config(len(first), (len(set(numbers)) - 3) // 2, scale)
        with torch.device("meta"):
            model = cls(config, Spec(first.shape[1], 64))
        if {n: w.shape for n, w in model.state_dict().items()} != {n: w.shape for n, w in tensors.items()}:
            return None
        model.load_state_dict({n: w.float() for n, w in tensors.items()}, assign=True)
        return model.requires_grad_(False).eval()

    def forward(self, low: Tensor) -> Tensor:
        scale = self.config.scale
        under = enlarged(low, scale) if self.config.bicubic else F.interpolate(low, scale_factor=scale, mode="nearest")
        return under + F.pixel_shuffle(self.body(low), scale)

    def given(self, image: Tensor) -> Tensor:
        return lowered(image, self.config.scale)

    def truth(self, image: Tensor) -> Tensor:
        return whole(image, self.config.scale)

    def rivals(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"bicubic": enlarged(image, self.config.scale)}

    def loss(self, batch: Batch) -> Tensor:
        part = cropped(batch.image, CROP)
        return F.l1_loss(self(self.given(part)).float(), self.truth(part))

    def portable(self) -> Portable:
        return self.carried(self)

    def predict(
        self,
        picture: Picture,
        *,
        scale: Annotated[int, Choice(N_("times as many pixels a side; 0 is its own"), 0, 16)] = 0,
        tile: Annotated[int, Choice(N_("input size: pixels a side"), 16, 4096)] = TILE,
        overlap: Annotated[float, Choice(N_("share of a tile's side"), 0, 0.5)] = 0.125,
    ) -> Made:
        """Return an enlarged image. Raises UserError if the network cannot reach that scale."""
        times = passes(scale, self.config.scale)

        def network(tile: Tensor) -> Tensor:
            for _pass in range(times):
                tile = self(tile).clamp(0, 1)
            return tile

        return self.made(picture, network, self.config.scale**times, tile, overlap)
