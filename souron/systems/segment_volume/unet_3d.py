"""A U-Net whose convolutions see a block of voxels, with what is round about it.

Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger: 3D U-Net: Learning Dense Volumetric Segmentation
from Sparse Annotation (2016). https://arxiv.org/abs/1606.06650

    down: a 3x3x3 convolution, another with twice the maps, then the largest of 2x2x2    x3
    two such convolutions
    up:   a 2x2x2 convolution that doubles the sides, beside it what the level was on the way down,
          two 3x3x3 convolutions, half the maps                                          x3
    a 1x1x1 convolution: the logits of every voxel

It is trained on patches, most of them around a random voxel of a random organ, so that small organs
are seen as often as large ones; with uniform patches the aorta is not learnt. The loss is
cross-entropy, in which the voxels of rare classes weigh more, and Dice of every class. The weights
fade over the second half of the budget, since organs that weigh more are segmented too large. At
inference the whole volume is processed at once. Each voxel's position in the body is given in three
more channels: bodies are much alike.

With the size ``planned``, levels, kernels, patch and intensities follow from the training cases
(``blocks.volume_plan``): thick slices are not halved as fast as their rows, and MRI needs no Hounsfield units.

Differs from the paper: padded convolutions; complete labels, no sparse ones; brightness and
contrast augmentation in place of elastic deformations; position channels; Dice beside the weighted
cross-entropy, weights that fade; the largest components; AdamW and one cycle of the rate.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks import volume_plan
from souron.blocks.portable import Answer, Input, Portable
from souron.blocks.volume_patches import around, dice_loss, shares
from souron.blocks.volume_plan import Axes
from souron.tasks.segment_volume import Batch, Spec, VolumeSegmenter

CENTRE, WIDTH = 40.0, 200.0  # HU that map to 0 and 1 in the first channel
WIDE = 600.0  # width of the second window
GREY = 2  # intensity channels
WHOLE = (slice(None),) * 3
NO_FOREGROUND = (-1000.0, 1000.0, 0.0, 300.0)  # of a network that has seen no data
POWER = 0.5  # a class's initial weight is its share of the voxels to the minus this


@dataclass(frozen=True)
class Config:
    width: int = 32  # channels of the first convolution, doubled at each level
    levels: int = 4
    patch: tuple[int, ...] = (32, 40, 48)  # slices, rows, columns; none: planned from the data
    patches: int = 2  # per step
    voxels: int = 61_440  # of a planned patch, at most
    rate: float = 4e-3


class Twice(nn.Sequential):
    """Two convolutions, each with normalisation and ReLU."""

    def __init__(self, inward: int, between: int, outward: int, kernel: Axes) -> None:
        layers: list[nn.Module] = []
        around: Any = tuple(side // 2 for side in kernel)
        for a, b in ((inward, between), (between, outward)):
            layers += [nn.Conv3d(a, b, kernel, padding=around, bias=False), nn.BatchNorm3d(b)]  # type: ignore[arg-type]
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Up(nn.Module):
    def __init__(self, coarse: int, fine: int, kernel: Axes, stride: Any) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose3d(coarse, coarse, stride, stride, bias=False)
        self.convs = Twice(coarse + fine, fine, fine, kernel)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        depth, height, width = fine.shape[2:]
        up = self.enlarge(coarse)[:, :, :depth, :height, :width]  # crop: an odd side was rounded up
        return self.convs(torch.cat([fine, up], 1))


class UNet3D(VolumeSegmenter):
    year = 2016
    ja = "ボクセルの塊を見る畳み込みで、ボリュームを縮めてから戻す3次元のU-Net"
    clip = 5.0
    SIZES = {
        "tiny": Config(4, 2, (8, 8, 8), rate=1e-2),
        "small": Config(5),
        "planned": Config(5, 5, ()),
        "paper": Config(patch=(116, 132, 132)),
    }

    share: Tensor  # (labels,) shares of the training voxels

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.patch:
            self.layout = volume_plan.fixed(config.patch, config.levels)
        else:
            self.layout = volume_plan.plan(spec.size, spec.spacing, config.voxels, config.levels)
        kernels, self.strides = self.layout.kernels, self.layout.strides
        self.grey = spec.channels * (GREY if config.patch else 1)
        maps = [config.width * 2 ** (level + 1) for level in range(len(kernels))]
        inward = [self.grey + len(WHOLE), *maps[:-1]]
        self.down = nn.ModuleList(Twice(a, b // 2, b, size) for a, b, size in zip(inward, maps, kernels, strict=True))
        self.up = nn.ModuleList(
            Up(coarse, fine, kernel, stride)
            for coarse, fine, kernel, stride in zip(maps[1:], maps[:-1], kernels[:-1], self.strides[1:], strict=True)
        )
        self.last = nn.Conv3d(maps[0], len(spec.labels), 1)
        self.register_buffer("share", torch.full((len(spec.labels),), 1 / len(spec.labels)))
        layout: Any = {"memory_format": torch.channels_last_3d}  # 1.7 times as fast
        self.to(**layout)

    def forward(self, volume: Tensor) -> Tensor:
        """Map input channels (B, C', D, H, W) to logits (B, labels, D, H, W)."""
        fine: list[Tensor] = []
        x = volume
        for depth, level in enumerate(self.down):
            x = level(F.max_pool3d(x, self.strides[depth], ceil_mode=True) if depth else x)
            fine.append(x)
        x = fine.pop()
        for up in reversed(self.up):
            x = up(x, fine.pop())
        return self.last(x)

    def portable(self) -> Portable:
        inward = Input("volume", (self.spec.channels, *self.spec.size), torch.float32)
        return Portable(
            Answer(self, lambda volume: (self(self.channels(volume[0])[None]).float(),)),
            (inward,),
            ("score",),
            "array",
            "voxels",
            self.spec.labels,
            {"score": 1},
            {"type": "float32", "spacing": list(self.spec.spacing)},
            of_rows=lambda rows: (torch.stack(list(rows)).float(),),
            batch=False,
            cases=2,
        )

    def channels(self, volume: Tensor, cut: tuple[slice, ...] = WHOLE) -> Tensor:
        """Convert (C, D, H, W) to intensity channels and three position channels.

        With a given patch the intensities are two windows of HU, with a planned one those of the foreground, clipped
        and standardised. Positions run from -1 to 1 within a volume of the training cases' size. ``cut`` selects a
        part.
        """
        grey = volume[(slice(None), *cut)].float()
        places = torch.meshgrid(
            *(
                ((torch.arange(count, device=grey.device) + 0.5 - count / 2) * 2 / size)[part]
                for count, size, part in zip(volume.shape[1:], self.spec.size, cut, strict=True)
            ),
            indexing="ij",
        )
        if self.config.patch:
            grey = grey - CENTRE
            grey = torch.cat([(grey / WIDTH).clamp(-2, 2), (grey / WIDE).clamp(-2, 4)])
        else:
            low, high, mean, deviation = self.spec.foreground or NO_FOREGROUND
            grey = (grey.clamp(low, high) - mean) / deviation
        return torch.cat([grey, torch.stack(places)])

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of random patches from some of the volumes."""
        with torch.no_grad():
            if self.share[0] == self.share[-1]:
                self.share.copy_(shares(batch.target, len(self.spec.labels)))
            rows = torch.randint(len(batch.volume), (self.config.patches,))
            inputs, targets = zip(*(self.patch(batch, row) for row in rows.tolist()), strict=True)
        inward = torch.stack(inputs).contiguous(memory_format=torch.channels_last_3d)
        logits = self(inward).float()
        target = torch.stack(targets).long()
        return F.cross_entropy(logits, target, self.weight) + dice_loss(logits, target)

    @property
    def weight(self) -> Tensor:
        """Return the class weights (labels,) of the cross-entropy, 1 on average over voxels."""
        power = POWER * min(1.0, 2 * (1 - self.used))
        weight = self.share.clamp(min=1e-6) ** -power
        return weight / (weight * self.share).sum()

    def patch(self, batch: Batch, row: int) -> tuple[Tensor, Tensor]:
        """Draw a patch of one volume: inputs (C', d, h, w) with random brightness, and classes."""
        target = batch.target[row]
        patch = around(target, self.layout.patch, len(self.spec.labels))
        inputs = self.channels(batch.volume[row], patch)
        inputs[: self.grey] *= 1 + 0.1 * (2 * torch.rand(()) - 1)
        inputs[: self.grey] += 0.1 * (2 * torch.rand(()) - 1)
        return inputs, target[patch]

    @classmethod
    def spec_for(cls, train: Any) -> Spec:
        spec = super().spec_for(train)
        return replace(spec, foreground=volume_plan.intensities(train.input, train.target))

    def plan(self) -> dict[str, Any]:
        return self.layout.as_json() if not self.config.patch else {}

    def named(self, volume: Tensor) -> Tensor:
        return self(self.channels(volume)[None])[0].argmax(0)
