"""Enlarges with a residual network; a critic then teaches it to draw what looks sharp.

Ledig, Theis, Huszár, Caballero, Cunningham, Acosta, Aitken, Tejani, Totz, Wang, Shi:
Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network (2016).
https://arxiv.org/abs/1609.04802

    SRResNet: 9x9 convolution; blocks x + W2 PReLU(W1 x); one more and the long skip;
              a 3x3 convolution to 4 times the maps, whose values become 2x2 pixels (sub-pixel), ...
    pixel stage:  min_G  |G(low) - high|                   best PSNR, but blurred where it is unsure
    GAN stage:    min_D  -log D(high) - log(1 - D(G(low)))
                  min_G  |f(G(low)) - f(high)|^2 - w log D(G(low))          f: features of ImageNet

Of all sharp images that a small one may come from, the first stage gives the mean, the second one
that looks real: its details are plausible, not known. Both stages share one budget, and the weights
of the first are kept, so that what the second costs in PSNR, gains in appearance and invents can be
distinguished; `sharpness` interpolates between them.

Differs from the paper: one cycle of the rate over both stages; the pixel stage minimises absolute
differences (Zhao, Gallo, Frosio, Kautz, 2015, https://arxiv.org/abs/1511.08861); the GAN stage
keeps it with weight 1 beside content with 0.03 and the critic with 0.001, where the paper has
content with 1, the critic with 0.001 and no pixels, so that it sharpens less; a batch is trained in
parts; `tiny`, `small` and `x4` have narrower layers without normalisation, and predict the
difference from bicubic interpolation. Reduced: the features are EfficientNet-Lite0's, whose weights
come with souron, not VGG19's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from souron.blocks.averaging import in_a_row, unrolled
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
    features,
    lowered,
    passes,
    whole,
)
from souron.utils.messages import N_

STAGE = 2  # of the features: maps of an eighth of the side
CONTENT, ADVERSARIAL, PIXEL = 0.03, 1e-3, 1.0  # weights of the GAN stage's losses
CROP = 48  # side of training crops in the pixel stage
CALM = 0.1  # relative learning rate of the GAN stage


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels
    blocks: int = 16
    scale: int = 4  # factor of enlargement: 2 or 4
    lean: bool = False  # without normalisation, added to bicubic interpolation
    pixel: float = 0.6  # share of the budget for the pixel stage
    part: int = 16  # images per update
    rate: float = 1e-4


class Block(nn.Module):
    def __init__(self, width: int, lean: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), norm(width, lean)
        self.prelu = nn.PReLU()
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), norm(width, lean)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class SRResNet(nn.Module):
    """Enlarge (B, C, H, W) in 0..1 to (B, C, scale H, scale W)."""

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        width, self.scale, self.lean = config.width, config.scale, config.lean
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(Block(width, config.lean) for _block in range(config.blocks)))
        self.after = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), norm(width, config.lean))
        ups: list[nn.Module] = []
        for _doubling in range(config.scale.bit_length() - 1):
            ups += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.up = nn.Sequential(*ups)
        self.last = nn.Conv2d(width, channels, 9, padding=4)

    def forward(self, low: Tensor) -> Tensor:
        x = self.first(low)
        x = self.last(self.up(x + self.after(self.blocks(x)))).float()
        return x + enlarged(low, self.scale) if self.lean else x


class Critic(nn.Sequential):
    """Score images (B, C, side, side) as (B, 1), high for real ones."""

    def __init__(self, channels: int, width: int, side: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
        maps = width
        for wide, stride in zip((1, 2, 2, 4, 4, 8, 8), (2, 1, 2, 1, 2, 1, 2), strict=True):
            layers += [nn.Conv2d(maps, wide * width, 3, stride, 1), nn.BatchNorm2d(wide * width), nn.LeakyReLU(0.2)]
            maps, side = wide * width, -(-side // stride)
        hidden = 16 * width
        super().__init__(
            *layers, nn.Flatten(), nn.Linear(maps * side**2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1)
        )


def norm(width: int, lean: bool) -> nn.Module:
    return nn.Identity() if lean else nn.BatchNorm2d(width)


class SRGAN(ImageTranslator):
    year = 2016
    ja = "画素の平均誤差で拡大を学んだ後、批評する網と競い、本物らしい細部を描き足す"
    status = "reduced"
    channels_last = True
    measures = ("PSNR", "PSNR of luma", "SSIM", "feature distance", "sharpness")
    SIZES = {
        "tiny": Config(8, 2, 2, True, 0.8, 32, 3e-4),
        "small": Config(32, 8, 2, True, 0.6, 16, 5e-4),
        "x4": Config(32, 8, 4, True, 0.6, 16, 5e-4),
        "paper": Config(),
    }
    before: Tensor  # the weights after the pixel stage, flattened
    begun: Tensor  # (), whether the GAN stage has begun

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.generator = SRResNet(config, spec.channels)
        side = spec.side // config.scale * config.scale
        self.critic = Critic(spec.channels, config.width, side)
        if config.lean:
            nn.init.zeros_(self.generator.last.weight)
            assert self.generator.last.bias is not None
            nn.init.zeros_(self.generator.last.bias)
        self.register_buffer("before", in_a_row(self.generator))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, low: Tensor) -> Tensor:
        return self.generator(low)

    def given(self, image: Tensor) -> Tensor:
        return lowered(image, self.config.scale)

    def truth(self, image: Tensor) -> Tensor:
        return whole(image, self.config.scale)

    def rivals(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        images = {"bicubic": enlarged(image, self.config.scale)}
        if self.begun:
            images["pixel stage"] = self.between(image, 0.0)
        return images

    def between(self, low: Tensor, sharpness: float) -> Tensor:
        """Enlarge with weights between the pixel stage's (0) and the GAN stage's (1)."""
        if sharpness == 1 or not self.begun:
            return self(low)
        weights = torch.lerp(self.before, in_a_row(self.generator), sharpness)
        return functional_call(self.generator, unrolled(weights, self.generator), low)

    def portable(self) -> Portable:
        return self.carried(self)

    def predict(
        self,
        picture: Picture,
        *,
        scale: Annotated[int, Choice(N_("times as many pixels a side; 0 is its own"), 0, 16)] = 0,
        sharpness: Annotated[float, Choice(N_("0: most faithful; 1: as the GAN stage generates it"), 0, 1)] = 1.0,
        tile: Annotated[int, Choice(N_("input size: pixels a side"), 16, 4096)] = TILE,
        overlap: Annotated[float, Choice(N_("share of a tile's side"), 0, 0.5)] = 0.125,
    ) -> Made:
        """Return an enlarged image. Raises UserError if the network cannot reach that scale."""
        times = passes(scale, self.config.scale)

        def network(tile: Tensor) -> Tensor:
            for _pass in range(times):
                tile = self.between(tile, sharpness).clamp(0, 1)
            return tile

        return self.made(picture, network, self.config.scale**times, tile, overlap)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rate, betas = self.config.rate, (0.9, 0.999)
        return {
            "pixels": torch.optim.Adam(self.generator.parameters(), rate, betas),
            "critic": torch.optim.Adam(self.critic.parameters(), CALM * rate, betas),
            "generator": torch.optim.Adam(self.generator.parameters(), CALM * rate, betas),
        }

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        for image in batch.image.split(self.config.part):
            if self.used < self.config.pixel:
                part = cropped(image, CROP)
                yield "pixels", F.l1_loss(self.generator(self.given(part)), self.truth(part))
            else:
                self.begin()
                yield from self.adversarial(self.given(image), self.truth(image))

    def begin(self) -> None:
        if not self.begun:
            self.before.copy_(in_a_row(self.generator))
            self.begun.fill_(True)

    def adversarial(self, low: Tensor, high: Tensor) -> Iterator[tuple[str, Tensor]]:
        fake = self.generator(low).detach()
        # softplus(-a) = -log D and softplus(a) = -log(1 - D), where D = sigmoid(a)
        yield ("critic", F.softplus(-self.critic(high)).mean() + F.softplus(self.critic(fake)).mean())
        fake = self.generator(low)
        with torch.no_grad():
            true = features(high)[STAGE].float()
        content = F.mse_loss(features(fake)[STAGE].float(), true) / true.square().mean()
        adversarial = F.softplus(-self.critic(fake)).mean()
        pixels = F.l1_loss(fake, high)
        yield "generator", CONTENT * content + ADVERSARIAL * adversarial + PIXEL * pixels
