"""A deep encoder of residual blocks; a light decoder adds its maps on the way up.

Myronenko: 3D MRI Brain Tumor Segmentation Using Autoencoder Regularization (2018).
https://arxiv.org/abs/1810.11654

    block   x + conv(relu(norm(conv(relu(norm(x))))))          norm: group normalisation
    down    a convolution of stride 2, then blocks             1, 2, 2, 4 of them on four levels
    up      1x1x1 convolution, twice the side by interpolation, + the level's own map, a block

Most weights are in the encoder: to see what something is takes more than to draw its outline.

Size ``whole_body`` is MONAI's network for CT, which learnt 104 organs, bones, muscles and vessels
from TotalSegmentator's volumes (Wasserthal and others 2023, https://doi.org/10.1148/ryai.230024)
at 3 mm: ``souron fetch segresnet_whole_body``. It is not to be used for diagnosis.

Differs from the paper: no autoencoder beside it, as in MONAI; cross-entropy and Dice on patches;
AdamW and one cycle of the rate; values are those of MONAI's program: of each volume the mean and
the deviation, without the voxels that are 0, then -1 to 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.volume_patches import around, dice_loss, slid
from souron.kinds.finding import Familiarity
from souron.kinds.volume import Volume
from souron.tasks.segment_volume import Batch, Spec, VolumeSegmenter
from souron.utils.messages import N_

GROUPS = 8
OVERLAP = 0.25  # of neighbouring windows
AIR = -500.0  # HU; darker is air, in lungs or around the patient
LEAST_AIR, MOST_AIR = 0.005, 0.98  # shares of air in a CT volume
SIDES = ("left", "right")
LABELS = (  # of ``whole_body``, in MONAI's order
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic vein",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
    "left upper lobe of lung",
    "left lower lobe of lung",
    "right upper lobe of lung",
    "right middle lobe of lung",
    "right lower lobe of lung",
    *(f"vertebra {part}{n}" for part, count in (("L", 5), ("T", 12), ("C", 7)) for n in range(count, 0, -1)),
    "oesophagus",
    "trachea",
    "heart muscle",
    "left atrium",
    "left ventricle",
    "right atrium",
    "right ventricle",
    "pulmonary artery",
    "brain",
    *(f"{side} iliac {vessel}" for vessel in ("artery", "vein") for side in SIDES),
    "small bowel",
    "duodenum",
    "colon",
    *(f"{side} rib {n}" for side in SIDES for n in range(1, 13)),
    *(f"{side} {bone}" for bone in ("humerus", "scapula", "clavicle", "femur", "hip") for side in SIDES),
    "sacrum",
    "face",
    *(f"{side} gluteus {part}" for part in ("maximus", "medius", "minimus") for side in SIDES),
    *(f"{side} {muscle}" for muscle in ("autochthonous muscles", "iliopsoas") for side in SIDES),
    "urinary bladder",
)


@dataclass(frozen=True)
class Config:
    width: int = 32  # channels of the first level, doubled at each
    down: tuple[int, ...] = (1, 2, 2, 4)  # blocks of each level
    drop: float = 0.2
    patch: int = 96  # voxels a side of a window
    patches: int = 2  # per training step
    rate: float = 1e-3


def convolution(inward: int, outward: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Sequential:
    """A convolution by the name that MONAI gives it."""
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv3d(inward, outward, kernel, stride, kernel // 2, bias=bias))
    return layer


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(GROUPS, width) for _half in range(2))
        self.conv1, self.conv2 = (convolution(width, width) for _half in range(2))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(inner)))


class SegResNet(VolumeSegmenter):
    blocked = N_("it moves a window over the volume, in a program around the network")
    year = 2018
    ja = "残差ブロックを深く重ねたエンコーダーと、途中の特徴を足し戻す軽いデコーダーで3次元の領域を求める"
    clip = 5.0
    SIZES = {
        "tiny": Config(8, (1, 1), 0.0, 16),
        "small": Config(8, (1, 1, 1), 0.0, 32, rate=4e-3),
        "whole_body": Config(),
    }
    WEIGHTS = {"whole_body": "MONAI:whole_body_ct_3mm"}
    published_from = {"whole_body": "TotalSegmentator (CC-BY-4.0)"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        widths = [config.width * 2**level for level in range(len(config.down))]
        self.convInit = convolution(spec.channels, widths[0])
        self.down_layers = nn.ModuleList(
            nn.Sequential(
                convolution(widths[level - 1], wide, stride=2) if level else nn.Identity(),
                *[Block(wide) for _block in range(blocks)],
            )
            for level, (wide, blocks) in enumerate(zip(widths, config.down, strict=True))
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up_samples = nn.ModuleList(nn.Sequential(convolution(wide, narrow, 1)) for wide, narrow in pairs)
        self.up_layers = nn.ModuleList(nn.Sequential(Block(narrow)) for _wide, narrow in pairs)
        last = convolution(widths[0], len(spec.labels), 1, bias=True)
        self.conv_final = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.ReLU(), last)
        self.dropout = nn.Dropout3d(config.drop)
        self.of_monai = spec.labels[1:] == LABELS

    @classmethod
    def published_spec(cls, size: str) -> Spec | None:
        if size != "whole_body":
            return None
        return Spec(1, (96, 96, 96), (3.0, 3.0, 3.0), ("background", *LABELS), ())

    def forward(self, volume: Tensor) -> Tensor:
        """Map (B, C, D, H, W) to logits (B, labels, D, H, W); the sides are multiples of 2^levels."""
        x = self.dropout(self.convInit(volume))
        fine: list[Tensor] = []
        for level in self.down_layers:
            x = level(x)
            fine.append(x)
        fine.pop()
        for shrink, level in zip(self.up_samples, self.up_layers, strict=True):
            x = F.interpolate(shrink(x), scale_factor=2, mode="trilinear")
            x = level(x + fine.pop())
        return self.conv_final(x)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of random patches from some of the volumes."""
        with torch.no_grad():
            side, labels = self.config.patch, len(self.spec.labels)
            inputs, targets = [], []
            for row in torch.randint(len(batch.volume), (self.config.patches,)).tolist():
                volume = filled(batch.volume[row].float(), side)
                target = filled(batch.target[row][None], side)[0]
                patch = around(target, (side,) * 3, labels)
                inputs.append(normalised(volume)[(slice(None), *patch)])
                targets.append(target[patch])
        logits, target = self(torch.stack(inputs)).float(), torch.stack(targets).long()
        return F.cross_entropy(logits, target) + dice_loss(logits, target)

    def named(self, volume: Tensor) -> Tensor:
        """Window by window, with the axes that MONAI's program has: to the right, front and head."""
        oriented = volume.permute(0, 3, 2, 1).flip(1, 2) if self.of_monai else volume
        labels = slid(self, normalised(oriented.float()), self.config.patch, OVERLAP)
        return labels.flip(0, 1).permute(2, 1, 0) if self.of_monai else labels

    @torch.no_grad()
    def example(self) -> Tensor:
        """Segment one window, to show the layers' shapes."""
        return self(torch.empty(1, self.spec.channels, *[self.config.patch] * 3, device=self.device))

    def familiar(self, volume: Volume) -> Familiarity | None:
        """With the published weights: whether it is CT, since something in it is air, or bone."""
        if not self.of_monai:
            return None
        air = float((volume.values < AIR).mean())
        strange = not LEAST_AIR <= air <= MOST_AIR or volume.values.max() < -AIR / 2
        return Familiarity(2.0 if strange else 0.0, 1.0)


def normalised(volume: Tensor) -> Tensor:
    """Return (C, D, H, W) with mean 0 and deviation 1, without the voxels that are 0, then in -1..1."""
    there = volume != 0
    if not there.any():
        return volume
    deviation = volume[there].std(correction=0)
    scores = torch.where(there, (volume - volume[there].mean()) / deviation.clamp(min=1e-6), volume)
    low, high = scores.min(), scores.max()
    return 2 * (scores - low) / (high - low).clamp(min=1e-6) - 1


def filled(volume: Tensor, side: int) -> Tensor:
    """Return (C, D, H, W), padded at the end to at least ``side`` along each axis."""
    short = [max(0, side - count) for count in volume.shape[1:]]
    padding = [part for width in reversed(short) for part in (0, width)]
    return F.pad(volume, padding) if any(short) else volume
