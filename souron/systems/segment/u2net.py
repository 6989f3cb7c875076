"""A U-Net of small U-Nets: each stage looks at its map at many scales before it is halved.

Qin, Zhang, Huang, Dehghan, Zaiane, Jagersand: U^2-Net: Going Deeper with Nested U-Structure for
Salient Object Detection (2020). https://arxiv.org/abs/2005.09007

    RSU:  x = W image,   x + U(x)        U: a U-Net of L layers with few maps inside
    image -> six stages down, five up; beside each what the stage was on the way down
    each of six maps -> a 3x3 convolution -> logits;    all of them -> a 1x1 convolution -> logits
    loss = sum of the cross entropy of all seven

It finds the main object of a photograph, whatever it is: the logit of the background is 0, so that
with one label beside it the softmax is sigmoid(logit). The stages deep down, whose maps are small
already, widen their convolutions instead of halving the map.

`small` is the paper's small network (U^2-Net†), with the weights that its authors trained on DUTS;
its answer is the cut-out. `paper` is the large one, `tiny` is narrower than both.

Differs from the paper: AdamW and one cycle of the rate; a batch is trained in parts; images are
shifted and mirrored, not cropped.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.folded import Norm
from souron.blocks.portable import Input, Pixels, Portable
from souron.kinds.cutout import Cutout
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.tasks.segment import Batch, Segmenter, Spec, cross_entropy, enlarged
from souron.utils.messages import N_

LAYERS = (7, 6, 5, 4, 4, 4)  # of the U-Net in each stage
DEEP = 4  # stages before those whose maps are not halved inside
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    inside: tuple[int, ...] = (16, 16, 16, 16, 16, 16)  # maps within the U-Net of each stage
    outside: tuple[int, ...] = (64, 64, 64, 64, 64, 64)  # maps that it gives
    last: int = 16  # maps within the last stage
    rate: float = 1e-3


class Convolution(nn.Module):
    """A 3x3 convolution with batch normalisation and ReLU; ``apart`` is its dilation."""

    def __init__(self, inward: int, outward: int, apart: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, 3, 1, apart, apart, bias=False)
        self.bn = Norm(outward)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class RSU(nn.Module):
    """A residual U-block. With ``deep``, its convolutions widen and its maps keep their side."""

    def __init__(self, layers: int, inward: int, inside: int, outward: int, deep: bool) -> None:
        super().__init__()
        self.deep = deep
        apart = [2**layer if deep else 1 for layer in range(layers - 1)]
        self.first = Convolution(inward, outward)
        self.down = nn.ModuleList(
            Convolution(inside if layer else outward, inside, rate) for layer, rate in enumerate(apart)
        )
        self.bottom = Convolution(inside, inside, 2 * apart[-1] if deep else 2)
        self.up = nn.ModuleList(
            Convolution(2 * inside, inside if layer else outward, rate)
            for layer, rate in reversed(list(enumerate(apart)))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y, skips = x, []
        for layer, down in enumerate(self.down):
            y = down(y if self.deep or not layer else halved(y))
            skips.append(y)
        y = self.bottom(y)
        for up, fine in zip(self.up, reversed(skips), strict=True):
            y = up(torch.cat([resized(y, fine), fine], 1))
        return x + y


def halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Resize maps bilinearly to the side of others."""
    size = like.shape[2:]
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear")


class U2Net(Segmenter):
    year = 2020
    ja = "U-Net の各段が、それ自身も小さな U-Net。写真の主役を、種類を問わず切り抜く"
    channels_last = True
    SIZES = {
        "tiny": Config((4,) * 6, (8,) * 6, 4, 1e-2),
        "small": Config(),
        "paper": Config((32, 32, 64, 128, 256, 256), (64, 128, 256, 512, 512, 512)),
    }
    WEIGHTS = {"small": "package:u2net"}
    published_from = {"small": "DUTS"}
    last_layers = ("side", "fuse")
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        inside, outside, inward = config.inside, config.outside, spec.channels
        self.down = nn.ModuleList()
        for stage, layers in enumerate(LAYERS):
            deep = stage >= DEEP
            self.down.append(RSU(layers, inward, inside[stage], outside[stage], deep))
            inward = outside[stage]
        self.up = nn.ModuleList()
        for stage in reversed(range(len(LAYERS) - 1)):
            narrow, outward = inside[stage] if stage else config.last, outside[max(0, stage - 1)]
            block = RSU(LAYERS[stage], inward + outside[stage], narrow, outward, stage >= DEEP)
            self.up.append(block)
            inward = outward
        objects = len(spec.labels) - 1
        maps = [outside[max(0, stage - 1)] for stage in range(len(LAYERS) - 1)] + [outside[-1]]
        self.side = nn.ModuleList(nn.Conv2d(count, objects, 3, padding=1) for count in maps)
        self.fuse = nn.Conv2d(len(maps) * objects, objects, 1)
        for name, values in (("mean", MEAN), ("std", STD)):
            own = values if spec.channels == 3 else (sum(values) / 3,) * spec.channels
            self.register_buffer(name, torch.tensor(own)[:, None, None], persistent=False)

    @classmethod
    def published_spec(cls, size: str) -> Spec | None:
        return Spec(3, 320, ("background", "object")) if size in cls.WEIGHTS else None

    def outputs(self, image: Tensor) -> list[Tensor]:
        """Return the logits (B, labels, H, W) of all maps together, then of each, finest first."""
        bright = image.amax((1, 2, 3), keepdim=True).clamp(min=1 / 255)
        x, skips = (image / bright - self.mean) / self.std, []
        for stage, down in enumerate(self.down):
            x = down(halved(x) if stage else x)
            skips.append(x)
        maps = [x]
        for up, fine in zip(self.up, reversed(skips[:-1]), strict=True):
            x = up(torch.cat([resized(x, fine), fine], 1))
            maps.insert(0, x)
        side = [resized(layer(x), image) for layer, x in zip(self.side, maps, strict=True)]
        return [F.pad(x, (0, 0, 0, 0, 1, 0)) for x in (self.fuse(torch.cat(side, 1)), *side)]

    def forward(self, image: Tensor) -> Tensor:
        return self.outputs(image)[0]

    def loss(self, batch: Batch) -> Tensor:
        losses = [cross_entropy(logits.float(), batch.target) for logits in self.outputs(batch.image)]
        return torch.stack(losses).sum()

    def portable(self) -> Portable:
        side, channels = self.spec.side, self.spec.channels
        return Portable(
            Pixels(self, lambda logits: (logits.float(),)),
            (Input("image", (channels, side, side)),),
            ("score",),
            "stretched",
            "mask",
            self.spec.labels,
            {"score": 1},
            {"side": side, "channels": channels},
            of_rows=lambda rows: (rows,),
            of_kind=lambda picture: (self.stretched(picture),),
        )

    def stretched(self, picture: Picture) -> Tensor:
        """Return the image as the network's input (1, channels, side, side) in 0..255."""
        image = picture.image if picture.image.mode == "F" else picture.image.convert("RGB")
        small = Picture(image.resize((self.spec.side, self.spec.side)))
        return small.square(self.spec.side, self.spec.channels)[None].to(self.device)

    @torch.inference_mode()
    def predict(
        self,
        picture: Picture,
        *,
        cut: Annotated[bool, Choice(N_("with one label: save the object on a transparent background"))] = True,
    ) -> Mask:
        """Return the mask of an image of any size, with one label as a cut-out.

        The image is stretched to a square, as in the training of the published weights.
        """
        width, height = picture.size
        logits = self(self.stretched(picture).float() / 255)[0].float()
        names = ["", *self.spec.labels[1:]]
        area = enlarged(logits, height, width).cpu().numpy()
        if not cut or len(names) != 2:
            return Mask(picture, area, names)
        whole = F.interpolate(logits[None], (height, width), mode="bilinear")[0, 1]
        return Cutout(picture, area, names, opacity=whole.sigmoid().cpu().numpy())
