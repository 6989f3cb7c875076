"""Enlarges with dense residual blocks; the critic says which of two pictures is more real.

Wang, Yu, Wu, Gu, Liu, Dong, Qiao, Loy: ESRGAN: Enhanced Super-Resolution Generative Adversarial
Networks (2018).
https://arxiv.org/abs/1809.00219

    dense block:  x + 0.2 W5 [x, x1, x2, x3, x4],   xi = lrelu(Wi [x, x1, ..])
    RRDB:         x + 0.2 D3 D2 D1 x                 no normalisation anywhere
    pixel stage:  min_G  |G(low) - high|
    GAN stage:    D_Ra(a, b) = sigmoid(C(a) - mean C(b)):  is a more real than b are in the mean?
                  min_D  -log D_Ra(high, G(low)) - log(1 - D_Ra(G(low), high))
                  min_G  |f(G) - f(high)| - w log D_Ra(G, high) - w log(1 - D_Ra(high, G)) + pixels

Interpolating between the weights of both stages gives every mixture of faithful and sharp (network
interpolation, section 3.4 of the paper): `sharpness` chooses it. Upsampling repeats pixels and
convolves the result. The modules have the names of the authors' later program, so that published
files of ESRGAN and Real-ESRGAN load; those of the first program are translated.

Differs from the paper: one cycle of the rate over both stages, in one budget; a batch is trained in
parts; the GAN stage weighs content 0.03, critic 0.001 and pixels 1, where the paper has 1, 0.005
and 0.01, so that it stays near the pixel stage and sharpens less; content is measured against the
mean of the features; `tiny`, `small` and `x4` are narrower and shorter, and predict the difference
from bicubic interpolation; a factor of two folds 2x2 pixels into one, as Real-ESRGAN does (Wang,
Xie, Dong, Shan, 2021, https://arxiv.org/abs/2107.10833), or upsamples once for files of the first
program. Reduced: the features are EfficientNet-Lite0's, whose weights come with souron, not
VGG19's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from souron.blocks.averaging import in_a_row, unrolled
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
SCALE = 0.2  # residual scaling


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels; each convolution of a dense block adds half as many
    blocks: int = 23
    scale: int = 4  # factor of enlargement: 1, 2 or 4
    lean: bool = False  # added to bicubic interpolation
    pixel: float = 0.6  # share of the budget for the pixel stage
    part: int = 16  # images per update
    rate: float = 2e-4


class Dense(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for number in range(1, 6):
            wide, out = width + (number - 1) * growth, growth if number < 5 else width
            self.add_module(f"conv{number}", nn.Conv2d(wide, out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for number in range(1, 5):
            conv = self.get_submodule(f"conv{number}")
            maps.append(F.leaky_relu(conv(torch.cat(maps, 1)), 0.2))
        return x + SCALE * self.get_submodule("conv5")(torch.cat(maps, 1))


class RRDB(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _dense in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """Enlarge (B, C, H, W) in 0..1 to (B, C, scale H, scale W).

    ``folded`` is the side of the pixel blocks folded into channels before two upsamplings.
    """

    def __init__(self, config: Config, channels: int, folded: int = 1, growth: int = 0) -> None:
        super().__init__()
        growth = growth or config.width // 2  # channels that each convolution of a block adds
        width, self.scale, self.lean, self.folded = config.width, config.scale, config.lean, folded
        self.doublings = (config.scale * folded).bit_length() - 1
        self.conv_first = nn.Conv2d(channels * folded**2, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(width, growth) for _block in range(config.blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        for number in range(1, self.doublings + 1):
            self.add_module(f"conv_up{number}", nn.Conv2d(width, width, 3, padding=1))
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, low: Tensor) -> Tensor:
        high, wide = low.shape[2:]
        short = [-length % self.folded for length in (wide, high)]
        x = F.pad(low, (0, short[0], 0, short[1]), mode="replicate") if any(short) else low
        x = self.conv_first(F.pixel_unshuffle(x, self.folded))
        x = x + self.conv_body(self.body(x))
        for number in range(1, self.doublings + 1):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = F.leaky_relu(self.get_submodule(f"conv_up{number}")(x), 0.2)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2)).float()
        x = x[:, :, : self.scale * high, : self.scale * wide]
        return x + enlarged(low, self.scale) if self.lean else x


class Critic(nn.Sequential):
    """Score the realism of images, (B, C, side, side) -> (B, 1), on no absolute scale."""

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


class ESRGAN(ImageTranslator):
    year = 2018
    ja = "密につないだ残差ブロックで拡大し、二枚のどちらが本物らしいかを比べる網と競う"
    status = "reduced"
    channels_last = True
    measures = ("PSNR", "PSNR of luma", "SSIM", "feature distance", "sharpness")
    SIZES = {
        "tiny": Config(8, 1, 2, True, 0.8, 32, 1e-3),
        "small": Config(32, 3, 2, True, 0.6, 16, 5e-4),
        "x4": Config(32, 3, 4, True, 0.6, 16, 5e-4),
        "paper": Config(),
        "x2": Config(scale=2),
        "x4plus": Config(),
        "drawings": Config(blocks=6),
    }
    WEIGHTS = {
        "paper": "ESRGAN:RRDB_ESRGAN_x4",
        "x2": "Real-ESRGAN:RealESRGAN_x2plus",
        "x4plus": "Real-ESRGAN:RealESRGAN_x4plus",
        "drawings": "Real-ESRGAN:RealESRGAN_x4plus_anime_6B",
    }
    before: Tensor  # the weights after the pixel stage, flattened
    begun: Tensor  # (), whether the GAN stage has begun

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        fold = 1 if config.lean else max(1, 4 // config.scale)
        self.generator = RRDBNet(config, spec.channels, fold)
        self.critic: nn.Module = Critic(spec.channels, config.width, spec.side // config.scale * config.scale)
        for layer in self.generator.body.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                assert layer.bias is not None
                layer.weight.data.mul_(0.1)
                layer.bias.data.zero_()
        if config.lean:
            for weight in self.generator.conv_last.parameters():
                nn.init.zeros_(weight)
        self.register_buffer("before", in_a_row(self.generator))
        self.register_buffer("begun", torch.tensor(False))

    @classmethod
    def of_published(cls, weights: Mapping[str, Tensor]) -> "ESRGAN | None":
        """Build the model from published weights; None if they belong to another network."""
        tensors = renamed(weights)
        first, last = tensors.get("conv_first.weight"), tensors.get("conv_last.weight")
        growth = tensors.get("body.0.rdb1.conv1.bias")
        if first is None or last is None or growth is None or min(first.ndim, last.ndim) < 4:
            return None
        ups = sum(name.startswith("conv_up") and name.endswith("weight") for name in tensors)
        blocks = len({m[1] for name in tensors if (m := re.match(r"body\.(\d{1,3})\.", name))})
        unshuffle = {len(last) * fold**2: fold for fold in (1, 2, 4)}.get(first.shape[1], 0)
        if not unshuffle or 2**ups < unshuffle:
            return None
        config = Config(len(first), blocks, 2**ups // unshuffle)
        with torch.device("meta"):
            model = cls(config, Spec(len(last), 64))
            network = RRDBNet(config, len(last), unshuffle, len(growth))
        expected = network.state_dict()
        if {n: w.shape for n, w in expected.items()} != {n: w.shape for n, w in tensors.items()}:
            return None
        network.load_state_dict({n: w.float() for n, w in tensors.items()}, assign=True)
        model.generator, model.critic = network, nn.Identity()
        model.before, model.begun = torch.zeros(0), torch.tensor(False)
        return model.requires_grad_(False).eval()

    def forward(self, low: Tensor) -> Tensor:
        return self.generator(low)

    def given(self, image: Tensor) -> Tensor:
        return lowered(image, self.config.scale)

    def truth(self, image: Tensor) -> Tensor:
        return whole(image, self.config.scale)

    def rivals(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        images = {"bicubic": enlarged(image, self.config.scale)}
        return images | ({"pixel stage": self.between(image, 0.0)} if self.begun else {})

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
                if not self.begun:
                    self.before.copy_(in_a_row(self.generator))
                    self.begun.fill_(True)
                yield from self.adversarial(self.given(image), self.truth(image))

    def adversarial(self, low: Tensor, high: Tensor) -> Iterator[tuple[str, Tensor]]:
        fake = self.generator(low).detach()
        # relativistic average discriminator
        yield "critic", relative(self.critic(high), self.critic(fake))
        fake = self.generator(low)
        with torch.no_grad():
            true, real = features(high)[STAGE].float(), self.critic(high)
        # generator: perceptual, adversarial and pixel losses
        content = F.l1_loss(features(fake)[STAGE].float(), true) / true.abs().mean()
        adversarial = relative(self.critic(fake), real)
        pixels = F.l1_loss(fake, high)
        yield "generator", CONTENT * content + ADVERSARIAL * adversarial + PIXEL * pixels


def relative(real: Tensor, fake: Tensor) -> Tensor:
    """Return -log D_Ra(real, drawn) - log(1 - D_Ra(drawn, real)) for scores (B, 1).

    With exchanged arguments it is the generator's loss.
    """
    ahead, behind = real - fake.mean(), fake - real.mean()
    return F.softplus(-ahead).mean() + F.softplus(behind).mean()
