"""Mask R-CNN's pyramid also names every pixel; things lie above, stuff fills the rest.

Kirillov, Girshick, He, Dollár: Panoptic Feature Pyramid Networks (2019).
https://arxiv.org/abs/1901.02446

    image -> backbone -> pyramid of maps (FPN)
      regions -> label, box and mask of each thing, as Mask R-CNN has them (``mask_rcnn``)
      each map -> (3 x 3 convolution, group norm, ReLU, twice the side) until all are as fine as the
      finest -> their sum -> a class for every pixel: each stuff, or "thing"
    loss = that of Mask R-CNN + 0.5 cross entropy of pixels

The two outputs disagree where a mask lies on stuff. They are merged by rule: things are placed by
descending score, each on free pixels only; one of which less than half would be visible is dropped.
Pixels without a thing get their stuff label, unless it is "thing" or covers less than a 64th of the
image: they are void.

The backbone may be a published classifier (``backbone=``, size ``lite``), whose first stages are
frozen.

Differs from the paper: AdamW and one cycle of the rate; both networks of Mask R-CNN are trained
jointly; anchors across the border are trained, too; a batch is trained in parts, with batch
normalisation, which the paper freezes; anchors are centred on cells; small sizes have one
convolution before the mask, not four, and the semantic branch has as many channels as the pyramid.
Reduced: the pyramid has no map of a quarter of the side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.csp import own_backbone
from souron.blocks.masks import DRAWN, MaskedRCNN
from souron.blocks.rcnn import PLACES, PROPOSED
from souron.hub.backbones import Backbone
from souron.tasks.detect import chosen
from souron.tasks.segment_panoptic import MOST, Answered, Batch, Panoptic, PanopticSegmenter, Shown, Spec, boxes_of
from souron.utils.messages import _

AT_ONCE = 16  # images per training step
LEVELS = 3  # pyramid levels used for pixel classes
OF_PIXELS = 0.5  # weight of the pixel loss
LEAST, OVERLAP = 0.05, 0.5  # minimum score of a candidate, and IoU of suppression
SEEN = 0.5  # share of a thing that must stay visible
LEAST_STUFF = 1 / 64  # of the image
NOWHERE = -100  # label of unknown pixels, which are excluded from training


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the pyramid; the head has four times as many units
    regions: int = 32  # training regions per image; four times as many are proposed
    scales: tuple[float, ...] = (2.5, 4.0)  # of anchors, in cells
    rate: float = 2e-3
    backbone: str = ""  # a classifier whose published layers replace the backbone


class Learnt(NamedTuple):
    """The training targets of a batch, for things and for pixels."""

    target: list[Tensor]  # per image (n, 5): index among things, box in pixels
    mask: list[Tensor]  # (n, H, W) bool
    pixel: Tensor  # (B, H, W) int64: index among stuff, then "thing"; or NOWHERE


class Candidates(NamedTuple):
    """The predictions for an image before things and stuff are merged."""

    box: Tensor  # (n, 6): index among things, edges, score; the highest score first
    mask: Tensor  # (n, H, W) bool
    pixel: Tensor  # (stuff + 1, H, W) in 0..1, the last one for things


class Namer(nn.Module):
    """Map pyramid levels at 1/8, 1/16, 1/32 of the side to pixel class logits at 1/8."""

    def __init__(self, inward: int, maps: int, classes: int) -> None:
        super().__init__()
        self.ways = nn.ModuleList(
            nn.ModuleList(finer(maps if step else inward, maps) for step in range(max(1, level)))
            for level in range(LEVELS)
        )
        self.last = nn.Conv2d(maps, classes, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        sizes = [x.shape[2:] for x in levels]
        ends = []
        for level, x in enumerate(levels):
            steps = self.ways[level].children()
            for step, size in zip(steps, reversed(sizes[: max(1, level)]), strict=True):
                x = F.interpolate(step(x), size, mode="bilinear")
            ends.append(x)
        return self.last(torch.stack(ends).sum(0)).float()


def finer(inward: int, maps: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, maps, 3, padding=1, bias=False), nn.GroupNorm(maps // 4, maps), nn.ReLU(inplace=True)
    )


class PanopticFPN(MaskedRCNN, PanopticSegmenter):
    year = 2019
    ja = "Mask R-CNN の特徴ピラミッドで画素の分類も行い、個々の物体と背景の領域を一枚に合わせる"
    status = "reduced"
    channels_last = True
    clip = 10.0
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, 16, (1.5, 2.5), 1e-2),
        "small": Config(),
        "lite": Config(backbone="efficientnet_lite"),
        "resnet50": Config(1.0, 1.0, 256, 256, (8.0,), 1e-4, "resnet50"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.build(
            Backbone(config.backbone, spec.channels)
            if config.backbone
            else own_backbone(config.width, config.depth, spec.channels),
            len(spec.things),
        )
        self.namer = Namer(config.maps, min(128, config.maps), len(spec.stuff) + 1)
        self.thing = [spec.labels.index(label) for label in spec.things]  # index -> label
        self.stuff = [spec.labels.index(label) for label in spec.stuff]

    def named(self, levels: Sequence[Tensor], side: Sequence[int]) -> Tensor:
        """Return logits (B, stuff + 1, H, W), the last one for things."""
        return F.interpolate(self.namer(levels[:LEVELS]), tuple(side), mode="bilinear")

    def candidates(self, image: Tensor) -> list[Candidates]:
        levels, pred = self.regions(image)
        detections = [chosen(box, score, LEAST, OVERLAP)[0].float() for box, score in pred]
        masks = self.masks(levels, detections, image.shape[2:])
        pixels = self.named(levels, image.shape[2:]).softmax(1)
        return [Candidates(*parts) for parts in zip(detections, masks, pixels, strict=True)]

    def merged(self, candidates: Sequence[Candidates], conf: float = 0.5) -> list[Answered]:
        return [self.one(pred, conf) for pred in candidates]

    def one(self, pred: Candidates, conf: float) -> Answered:
        """Merge an image's segments: things by descending score, then stuff on free pixels."""
        ids = torch.zeros(pred.pixel.shape[1:], dtype=torch.uint8, device=pred.pixel.device)
        labels, scores = list[int](), list[float]()
        sure = pred.box[:, 5] >= conf
        room = MOST - len(self.stuff)
        # things, unless most of one is covered by those of higher scores
        for (number, *_edges, score), mask in zip(pred.box[sure].tolist(), pred.mask[sure], strict=True):
            free = mask & (ids == 0)
            area, visible = int(mask.sum()), int(free.sum())
            if visible and visible > SEEN * area and len(labels) < room:
                labels.append(self.thing[int(number)])
                scores.append(score)
                ids[free] = len(labels)
        things = len(labels)
        # stuff where no thing is, unless it is small
        best = pred.pixel.argmax(0)
        for number, label in enumerate(self.stuff):
            free_part = (best == number) & (ids == 0)
            if int(free_part.sum()) >= max(1, LEAST_STUFF * free_part.numel()):
                labels.append(label)
                scores.append(float(pred.pixel[number][free_part].mean()))
                ids[free_part] = len(labels)
        thing = torch.arange(len(labels)) < things
        segments = Panoptic(torch.tensor(labels, dtype=torch.long), thing, ids)
        return Answered(segments, torch.tensor(scores))

    def learnt(self, batch: Batch) -> Learnt:
        """Return the targets for things and pixels; crowd regions are excluded from both."""
        side = batch.image.shape[2:]
        target, masks = [], []
        pixel = torch.full((len(batch.image), *side), NOWHERE, device=batch.image.device)
        number = {label: index for index, label in enumerate([*self.stuff])}
        among = torch.zeros(len(self.spec.labels), device=pixel.device)
        among[self.thing] = torch.arange(len(self.thing), device=pixel.device).float()
        for panoptic, area in zip(batch.target, pixel, strict=True):
            there = (panoptic.label >= 0) & (panoptic.pixels() > 0)
            rows = (there & panoptic.thing).nonzero().flatten()
            box = boxes_of(panoptic, rows)
            box[:, 0] = among[box[:, 0].long()]
            target.append(box)
            masks.append(panoptic.masks(rows))
            area[masks[-1].any(0)] = len(self.stuff)
            for row in (there & ~panoptic.thing).nonzero().flatten().tolist():
                area[panoptic.ids == row + 1] = number[int(panoptic.label[row])]
        return Learnt(target, masks, pixel)

    def loss(self, batch: Batch) -> Tensor:
        targets = self.learnt(batch)
        levels, regions, loss = self.first(batch.image, targets.target)
        box, owner = self.learning(regions, targets.target)
        loss = loss + self.judging(levels, box, owner, targets.target)
        loss = loss + self.mask_loss(levels, box, owner, targets)
        return loss + OF_PIXELS * self.naming(levels, targets.pixel)

    def naming(self, levels: Sequence[Tensor], pixel: Tensor) -> Tensor:
        """Return the cross-entropy over the labelled pixels (B, H, W)."""
        logits = self.named(levels, pixel.shape[1:])
        total = F.cross_entropy(logits, pixel, ignore_index=NOWHERE, reduction="sum")
        return total / (pixel != NOWHERE).sum().clamp(min=1)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start = 0
        for image in batch.image.chunk(ceil(len(batch.image) / AT_ONCE)):
            yield "model", self.loss(Batch(image, batch.target[start : start + len(image)]))
            start += len(image)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Panoptic | None, conf: float = 0.5) -> list[Shown]:
        [pred] = self.candidates(image)
        none = pred.box[:0], pred.mask[:0]
        whole = torch.zeros_like(pred.pixel)
        whole[-1] = 1
        stuff = self.one(Candidates(*none, pred.pixel), conf).segments
        things = self.one(Candidates(pred.box, pred.mask, whole), conf).segments
        return [
            Shown(_("Pixels"), _("the class predicted for every pixel; void is where a thing was predicted"), stuff),
            Shown(_("Things"), _("the masks in found boxes, the most confident on top"), things),
            Shown(_("Merged"), _("things first, then the stuff that they leave"), self.one(pred, conf).segments),
        ]

    def example(self) -> None:
        """Run one pass with as many regions as it proposes, for the table of layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        levels = self.pyramid(self.backbone(image))
        self.proposer(levels)
        self.judge(image.new_empty(PROPOSED * self.config.regions, maps, PLACES, PLACES))
        self.drawer(image.new_empty(1, maps, DRAWN, DRAWN))
        self.namer(levels[:LEVELS])
