"""Paints an image in the style of another: one network reads the style, a second paints.

Ghiasi, Lee, Kudlur, Dumoulin, Shlens: Exploring the structure of a real-time, arbitrary neural
artistic stylization network (2017). https://arxiv.org/abs/1705.06830

    style image -> MobileNetV2 -> mean over positions -> z, 100 numbers
    content image -> convolutions, 1/4 of the side -> 5 residual blocks -> twice the side, twice
    after each convolution:  y = g(z) (x - mean x) / deviation x + b(z)        per image and map
    loss = |f(y) - f(content)|^2 + w sum_l |G_l(y) - G_l(style)|^2,            G = f f' / positions

The mean and the deviation of a map carry much of an image's style; the network removes them and
sets those that z asks for (conditional instance normalisation). Any image can be the style, also
one that was never seen, and two styles can be mixed. ``f`` are features of a network trained on
ImageNet; their products G (Gram matrices) tell which features occur together, wherever.

`small` is Magenta's published network, whose weights were stored in eight bits.

Differs from the paper: MobileNetV2 reads the style, as in the published network, not Inception-v3;
AdamW and one cycle of the rate; the styles of training are other images of the batch, which is
trained in parts. Reduced: the features are EfficientNet-Lite0's, whose weights come with souron,
not VGG16's.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.folded import Norm
from souron.blocks.folded_mobilenet import MobileNetV2
from souron.blocks.recolouring import smaller
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.tasks.image_to_image import Batch, ImageTranslator, Large, Made, Spec, features
from souron.utils.messages import N_, _

SIDE = 256  # pixels of a style image
CONTENT, STYLE = 2, 4  # the stage of features for the content; the stages for the style
EPSILON = 1e-5
SMALLEST = 32  # pixels of a content image's shorter side


@dataclass(frozen=True)
class Config:
    maps: int = 8  # of the first convolution; four times as many in the middle
    blocks: int = 5
    style: int = 100  # numbers that describe a style
    width: float = 1.0  # of MobileNetV2
    weight: float = 1.0  # w
    part: int = 8  # images per update
    rate: float = 1e-3


class Convolution(nn.Module):
    """A convolution over a mirrored border, with batch normalisation and ReLU."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, stride, bias=False)
        self.bn = Norm(outward, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(mirrored(x, self.conv.kernel_size[0] // 2))))


class Styled(nn.Module):
    """A convolution over a mirrored border, then the mean and the deviation of a style."""

    def __init__(self, inward: int, outward: int, kernel: int, style: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, bias=False)
        self.scale, self.shift = nn.Conv2d(style, outward, 1), nn.Conv2d(style, outward, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.conv(mirrored(x, self.conv.kernel_size[0] // 2))
        x = F.instance_norm(x, eps=EPSILON)
        return self.scale(style) * x + self.shift(style)


class Block(nn.Module):
    def __init__(self, maps: int, style: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (Styled(maps, maps, 3, style) for _layer in range(2))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x, style)), style)


def mirrored(x: Tensor, border: int) -> Tensor:
    """Add a border that mirrors the map; of a map that is too small, one that repeats its edge."""
    mode = "reflect" if min(x.shape[2:]) > border else "replicate"
    return F.pad(x, (border,) * 4, mode=mode)


class Style(ImageTranslator):
    blocked = N_("it takes two images")
    year = 2017
    ja = "ある画像の画風を数値に読み取り、別の画像をその画風で描き直す"
    status = "reduced"
    channels_last = True
    measures = ("PSNR", "SSIM", "feature distance")
    SIZES = {"tiny": Config(4, 1, 16, 0.25, part=24, rate=5e-3), "small": Config()}
    WEIGHTS = {"small": "package:style"}
    published_from = {"small": "ImageNet, Painter by Numbers, DTD"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        m, style = config.maps, config.style
        self.reader = MobileNetV2(spec.channels, config.width)
        self.bottleneck = nn.Conv2d(self.reader.maps[-1], style, 1)
        self.contract = nn.ModuleList(
            [Convolution(spec.channels, m, 9), Convolution(m, 2 * m, 3, 2), Convolution(2 * m, 4 * m, 3, 2)]
        )
        self.residual = nn.ModuleList(Block(4 * m, style) for _block in range(config.blocks))
        self.expand = nn.ModuleList(
            [Styled(4 * m, 2 * m, 3, style), Styled(2 * m, m, 3, style), Styled(m, spec.channels, 9, style)]
        )
        for part in self.modules():
            if isinstance(part, Styled):
                nn.init.ones_(part.scale.get_parameter("bias"))
                nn.init.zeros_(part.shift.get_parameter("bias"))

    @classmethod
    def published_spec(cls, size: str) -> Spec | None:
        return Spec(3, 384) if size in cls.WEIGHTS else None

    def read(self, style: Tensor) -> Tensor:
        """Return the styles (B, Z, 1, 1) of images (B, C, H, W) in 0..1."""
        return self.bottleneck(self.reader(style).last.mean((2, 3), keepdim=True))

    def paint(self, image: Tensor, style: Tensor) -> Tensor:
        """Return images (B, C, H, W) painted in styles (B, Z, 1, 1)."""
        x = image
        for layer in self.contract:
            x = layer(x)
        for block in self.residual:
            x = block(x, style)
        for number, layer in enumerate(self.expand):
            if number < 2:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = layer(x, style)
            x = F.relu(x) if number < 2 else x.sigmoid()
        return x[:, :, : image.shape[2], : image.shape[3]]

    def forward(self, image: Tensor, style: Tensor | None = None) -> Tensor:
        """Paint images (B, C, H, W) in the styles of others, or in their own."""
        return self.paint(image, self.read(image if style is None else style))

    def loss(self, batch: Batch) -> Tensor:
        # paint each image in the style of its neighbour in the batch
        output = self(batch.image, batch.image.roll(1, 0)).float()
        with torch.no_grad():
            true = features(batch.image)
        pred = features(output)
        # content loss: features of one stage
        content = unlike(pred[CONTENT], true[CONTENT])
        # style loss: Gram matrices of the first stages
        pairs = zip(pred[:STYLE], true[:STYLE], strict=True)
        style = sum(unlike(gram(own), gram(other).roll(1, 0)) for own, other in pairs)
        return content + self.config.weight * style

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        for image, label in zip(*(part.split(self.config.part) for part in batch), strict=True):
            yield "model", self.loss(Batch(image, label))

    @torch.no_grad()
    def predict(
        self,
        picture: Picture,
        *,
        style: Annotated[Picture | None, Choice(N_("an image whose style is taken; without one, waves"))] = None,
        strength: Annotated[float, Choice(N_("from the image's own style (0) to the other's (1)"), 0, 1)] = 1.0,
        size: Annotated[
            int, Choice(N_("pixels of the longer side while painting: more, finer strokes"), 64, 2048)
        ] = 384,
    ) -> Made:
        """Return the image in the style of another."""
        start = time.perf_counter()
        model = waves() if style is None else style.image
        own = self.read(self._pixels(picture.image, (SIDE, SIDE)))
        other = self.read(self._pixels(model, (SIDE, SIDE)))
        share = min(1.0, size / max(picture.size))
        wide, high = (max(SMALLEST, 4 * round(share * side / 4)) for side in picture.size)
        content = self._pixels(picture.image, (wide, high))
        [output] = self.paint(content, torch.lerp(own, other, strength)).float().cpu()
        canvas = Picture.of(255 * output).image.convert("RGB")
        canvas = canvas.resize(picture.size)
        note = "" if style else _("style=FILE paints in the style of an image of yours")
        return Made(picture, Large(canvas), 1, time.perf_counter() - start, note=note)

    def _pixels(self, image: Any, size: tuple[int, int]) -> Tensor:
        """Return an image of a size as (1, C, H, W) in 0..1."""
        pixels = smaller(image, size).to(self.device)
        return pixels if self.spec.channels == 3 else pixels.mean(1, keepdim=True)


def gram(x: Tensor) -> Tensor:
    """Return the mean products of each pair of maps (B, C, H, W), (B, C, C)."""
    flat = x.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def unlike(pred: Tensor, target: Tensor) -> Tensor:
    """Return the squared difference of features, relative to those of the second."""
    return F.mse_loss(pred.float(), target.float()) / target.float().square().mean().clamp(min=1e-6)


def waves() -> Any:
    """Draw the style that is used where none is given."""
    turn = torch.arange(SIDE) * (2 * math.pi / SIDE)
    down, across = turn[:, None], turn[None]
    first = 0.5 + 0.5 * torch.sin(3 * across + 0.6 * torch.sin(2 * down))
    second = 0.5 + 0.5 * torch.sin(5 * down + 2.5 * torch.sin(3 * across))
    colours = [0.15 + 0.8 * first * second, 0.25 + 0.5 * second, 0.95 - 0.4 * first]
    return Picture.of(255 * torch.stack(colours)).image
