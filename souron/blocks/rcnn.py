"""Networks and losses shared by R-CNNs with a feature pyramid.

Ren, He, Girshick, Sun: Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks (2015). https://arxiv.org/abs/1506.01497

Lin, Dollár, Girshick, He, Hariharan, Belongie: Feature Pyramid Networks for Object Detection
(2016). https://arxiv.org/abs/1612.03144
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, log2
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks import boxes
from souron.blocks.boxes import NOTHING, around, at_corners, clipped, decode, drawn, encode, overlaps
from souron.blocks.portable import REGIONS
from souron.kinds.codecs.image import Letterbox
from souron.kinds.picture import Picture

STRIDES = (8, 16, 32, 64)  # pixels per cell
ASPECTS = (0.5, 1.0, 2.0)  # height by width
OBJECT, BACKGROUND = 0.7, 0.3  # IoU of an anchor
HALF = 0.5  # least IoU of a positive proposal
BETWEEN = -2  # object index of an ignored anchor
ANCHORS, ANCHORS_ON = 256, 0.5  # sampled per image, and the largest share of positives
REGIONS_ON = 0.25  # largest share of positive regions
PROPOSED = 4  # proposals per training region
MOST, OVERLAP = 1000, 0.7  # proposals of a level before NMS, and its IoU threshold
PLACES, USUAL = 7, 224  # side of a pooled region; side in pixels of regions pooled at 1/16
ANCHOR_SCALE, REGION_SCALE = (1.0, 1.0), (10.0, 5.0)  # of offsets: position, size
AT_ONCE = 2  # images in a training step of a published size
SHARP = 1e-6  # added to a level, so that a side of exactly 224 pixels is not rounded down
EMPTY = 1e-2  # pixels, of boxes that are dropped


@dataclass(frozen=True)
class Layout:
    """Geometry of an R-CNN: its levels, its anchors, and its proposals.

    With ``sides`` it is a published one: anchors lie around the corner of each cell, with edges in
    whole pixels, and RoIAlign samples half a cell further than it should, as in the first programs.
    """

    strides: tuple[int, ...] = STRIDES  # pixels per cell; regions are pooled from all but the last
    sides: tuple[tuple[int, ...], ...] = ()  # of the anchors of each level, in pixels
    smallest: float = 1.0  # side of a proposal in pixels
    most: int = MOST  # proposals of a level before NMS
    proposed: int = 0  # after it; 0: PROPOSED for each training region
    least: float = 0.0  # score of a proposal
    normed: bool = False  # heads and pyramid with batch normalisation, and deeper
    eps: float | None = None  # of the backbone's batch normalisation, which is frozen; None: is not
    classifier: str = ""  # of the backbone
    taken: tuple[int, ...] = ()  # layers of MobileNetV3 that the pyramid is made of
    multiple: int = 32  # pixels, of the padded image
    short: int = 800  # pixels of the shorter side
    long: int = 1333  # most pixels of the longer side

    @property
    def scales(self) -> int:
        """The number of anchor sides of a level."""
        return len(self.sides[0])


_RESNET = partial(
    Layout,
    strides=(4, 8, 16, 32, 64),
    sides=((32,), (64,), (128,), (256,), (512,)),
    smallest=1e-3,
    proposed=1000,
    classifier="resnet50",
)
_MOBILE = partial(
    Layout,
    strides=(32, 32, 64),
    sides=((32, 64, 128, 256, 512),) * 3,
    smallest=1e-3,
    proposed=1000,
    least=0.05,
    eps=1e-5,
    taken=(13, 16),
)
LAYOUTS = {  # torchvision's, by the name of their backbone
    "resnet50_fpn": _RESNET(eps=0.0),
    "resnet50_fpn_v2": _RESNET(normed=True),
    "mobilenet_v3_large_fpn": _MOBILE(),
    "mobilenet_v3_large_320_fpn": _MOBILE(proposed=150, most=150, short=320, long=640),
}


def normed(inward: int, outward: int, kernel: int) -> nn.Sequential:
    """Convolution and batch normalisation."""
    conv = nn.Conv2d(inward, outward, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outward))


class FPN(nn.Module):
    """A feature pyramid: maps, the finest first -> as many of equal channels, and one coarser."""

    def __init__(self, inward: Sequence[int], maps: int, norms: bool = False) -> None:
        super().__init__()
        self.inner = nn.ModuleList(
            normed(channels, maps, 1) if norms else nn.Conv2d(channels, maps, 1) for channels in inward
        )
        self.outer = nn.ModuleList(
            normed(maps, maps, 3) if norms else nn.Conv2d(maps, maps, 3, padding=1) for _each in inward
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        levels = [layer(x) for layer, x in zip(self.inner, features, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            above = levels[fine + 1]
            levels[fine] = levels[fine] + F.interpolate(above, levels[fine].shape[2:])
        levels = [layer(x) for layer, x in zip(self.outer, levels, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, 2)]


class Proposer(nn.Module):
    """The region proposal network.

    Returns objectness logits (B, A) and box offsets (B, A, 4) of the anchors of all levels.
    """

    def __init__(self, maps: int, anchors: int, deep: bool = False) -> None:
        super().__init__()
        first = nn.Conv2d(maps, maps, 3, padding=1)
        self.conv: nn.Module = first
        if deep:
            self.conv = nn.Sequential(first, nn.ReLU(), nn.Conv2d(maps, maps, 3, padding=1))
        self.sure, self.offset = nn.Conv2d(maps, anchors, 1), nn.Conv2d(maps, 4 * anchors, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        features = [F.relu(self.conv(x)) for x in levels]
        sure = [self.sure(x).permute(0, 2, 3, 1).flatten(1) for x in features]
        offset = [self.offset(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4) for x in features]
        return torch.cat(sure, 1).float(), torch.cat(offset, 1).float()


class Judge(nn.Module):
    """The box head: regions (R, maps, 7, 7) -> class logits and box offsets.

    Logits (R, 1 + labels) have the background first; offsets (R, labels, 4) are per label. A deep
    one has four convolutions in place of its second layer.
    """

    def __init__(self, maps: int, labels: int, deep: bool = False) -> None:
        super().__init__()
        self.deep = deep
        if deep:
            layers = [nn.Sequential(*normed(maps, maps, 3), nn.ReLU()) for _layer in range(4)]
            self.convs = nn.Sequential(*layers)
        self.first = nn.Linear(maps * PLACES**2, 4 * maps)
        self.second = nn.Identity() if deep else nn.Linear(4 * maps, 4 * maps)
        self.label, self.offset = nn.Linear(4 * maps, 1 + labels), nn.Linear(4 * maps, 4 * labels)
        for layer, deviation in ((self.label, 0.01), (self.offset, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, part: Tensor) -> tuple[Tensor, Tensor]:
        x = self.convs(part) if self.deep else part
        x = F.relu(self.second(F.relu(self.first(x.flatten(1)))))
        return self.label(x).float(), self.offset(x).float().unflatten(1, (-1, 4))


def pooled(
    levels: Sequence[Tensor], regions: Sequence[Tensor], places: int = PLACES, layout: Layout | None = None
) -> Tensor:
    """RoIAlign of each image's regions (n, 4) -> (R, maps, places, places).

    Large regions use coarser feature maps: level = log2(side / 224) relative to that of 1/16.
    """
    layout = layout or Layout()
    strides, corner = layout.strides[:-1], bool(layout.sides)
    usual, coarsest = 4 - log2(strides[0]), log2(strides[-1] / strides[0])
    parts, order, start = [], [], 0
    images = zip(*(x.unbind() for x in levels[:-1]), strict=True)
    for box, maps in zip(regions, images, strict=True):
        side = (box[:, 2:] - box[:, :2]).prod(1).sqrt().clamp(min=layout.smallest)
        level = (usual + (side / USUAL).log2() + corner * SHARP).floor().clamp(0, coarsest)
        for number, x in enumerate(maps):
            at = (level == number).nonzero().flatten()
            if len(at) and corner:
                parts.append(boxes.roi_align_shifted(x, box[at], places, 1 / strides[number]))
            elif len(at):
                parts.append(boxes.roi_align(x, box[at] / strides[number], places))
            if len(at):
                order.append(start + at)
        start += len(box)
    if not parts:
        return levels[0].new_zeros(0, levels[0].shape[1], places, places)
    return torch.cat(parts)[torch.cat(order).argsort()]


@torch.no_grad()
def match(box: Tensor, true: Tensor, high: float, low: float) -> Tensor:
    """Assign an object (n, 4) to each box (A, 4), as an index (A,).

    Boxes with an IoU of at least ``high`` get the object, below ``low`` NOTHING, between BETWEEN.
    """
    if not len(true):
        return torch.full((len(box),), NOTHING, device=box.device)
    most, owner = overlaps(true, box).max(0)
    return owner.where(most >= high, BETWEEN).where(most >= low, NOTHING)


@torch.no_grad()
def match_anchors(anchor: Tensor, true: Tensor, high: float = OBJECT, low: float = BACKGROUND) -> Tensor:
    """Assign objects to anchors as ``match`` does; each object also gets its best anchors."""
    owner = match(anchor, true, high, low)
    if not len(true):
        return owner
    overlap = overlaps(true, anchor)  # (n, A)
    best = (overlap == overlap.amax(1, keepdim=True)) & (overlap > 0)
    best_overlap, claimant = overlap.where(best, -1).max(0)
    return claimant.where(best_overlap > 0, owner)


def corner_anchors(levels: Sequence[Tensor], stride: int, sides: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the anchors (A, 4) of each level as published: around the corners of its cells.

    ``stride`` is the pixels per cell of the first level, ``sides`` are those of each level's anchors.
    """
    height, width = (count * stride for count in levels[0].shape[2:])
    anchors = []
    for x, of_level in zip(levels, sides, strict=True):
        sizes = [(side / aspect**0.5, side * aspect**0.5) for aspect in ASPECTS for side in of_level]
        high, wide = x.shape[2:]
        step = wide and width // wide, high and height // high
        anchors.append(at_corners(high, wide, step, torch.tensor(sizes, device=x.device)))
    return anchors


class RCNN(nn.Module):
    """A mixin of systems with these networks.

    Its ``config`` has ``maps``, ``regions``, ``scales`` and ``backbone``, which may name one of the
    published ``LAYOUTS``.
    """

    blocked = REGIONS
    config: Any
    as_published: bool
    backbone: nn.Module
    pyramid: FPN
    proposer: Proposer
    judge: Judge

    def build(self, backbone: Any, labels: int) -> None:
        self.layout, maps = LAYOUTS.get(self.config.backbone, Layout()), self.config.maps
        scales = self.layout.scales if self.published_layout else len(self.config.scales)
        self.backbone = backbone
        self.pyramid = FPN(backbone.maps, maps, self.layout.normed)
        self.proposer = Proposer(maps, scales * len(ASPECTS), self.layout.normed)
        self.judge = Judge(maps, labels, self.layout.normed)

    @property
    def published_layout(self) -> bool:
        return bool(self.layout.sides)

    def parts(self, count: int, most: int) -> int:
        """Return the number of training steps for a batch of ``count`` images, ``most`` in each;
        of a published size, fewer.
        """
        return ceil(count / (AT_ONCE if self.published_layout else most))

    def framed(self, picture: Picture) -> tuple[Tensor, Letterbox]:
        """Resize an image as the published networks do, see ``Finder.framed``."""
        if self.as_published and self.published_layout:
            return picture.resized(fitting(picture.size, self.layout.short, self.layout.long))
        frame: tuple[Tensor, Letterbox] = super().framed(picture)  # type: ignore[misc]
        return frame

    def anchors(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors (A, 4) of each level, of every scale and aspect, at each cell."""
        if self.published_layout:
            return corner_anchors(levels, self.layout.strides[0], self.layout.sides)
        sides = [(s / a**0.5, s * a**0.5) for s in self.config.scales for a in ASPECTS]
        sizes = torch.tensor(sides, device=levels[0].device)
        return [
            around(x.shape[2], x.shape[3], stride, stride * sizes) for x, stride in zip(levels, STRIDES, strict=True)
        ]

    @torch.no_grad()
    def proposals(
        self, outputs: tuple[Tensor, Tensor], anchors: Sequence[Tensor], image: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return each image's proposals: boxes (n, 4) and scores (n,), highest first."""
        sure, offset = outputs
        layout = self.layout
        box = clipped(decode(offset, torch.cat(list(anchors)), ANCHOR_SCALE), image)
        start, most = 0, []
        for level in anchors:
            here = sure[:, start : start + len(level)]
            most.append(start + here.topk(min(layout.most, len(level)), 1).indices)
            start += len(level)
        candidates, of_level = torch.cat(most, 1), [torch.full_like(m[0], i) for i, m in enumerate(most)]
        proposals = []
        for row, places in enumerate(candidates):
            score, edges, level = sure[row, places], box[row, places], torch.cat(of_level)
            large = ((edges[:, 2:] - edges[:, :2]) >= layout.smallest).all(1)
            large &= score.sigmoid() >= layout.least
            score, edges = score[large], edges[large]
            best = boxes.local_maxima(edges, score, level[large], OVERLAP)[
                : layout.proposed or PROPOSED * self.config.regions
            ]
            proposals.append((edges[best], score[best].sigmoid()))
        return proposals

    def pooled(self, levels: Sequence[Tensor], regions: Sequence[Tensor], places: int = PLACES) -> Tensor:
        """Pool regions as the size does, see the function of that name."""
        if self.published_layout or places != PLACES:
            return pooled(levels, regions, places, self.layout)
        return pooled(levels, regions)

    def regions(self, image: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Return the pyramid, and each image's boxes (n, labels, 4) with scores (n, labels)."""
        levels = self.pyramid(self.backbone(image))
        proposals = self.proposals(self.proposer(levels), self.anchors(levels), image)
        regions, counts = [box for box, _sure in proposals], [len(box) for box, _sure in proposals]
        logit, offset = self.judge(self.pooled(levels, regions))
        box = clipped(decode(offset, torch.cat(regions)[:, None], REGION_SCALE), image)
        score = logit.softmax(1)[:, 1:]
        if self.published_layout:
            score = score * ((box[..., 2:] - box[..., :2]) >= EMPTY).all(2)
        return levels, list(zip(box.split(counts), score.split(counts), strict=True))

    def first(self, image: Tensor, target: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return the pyramid, each image's proposals, and the loss of the proposal network."""
        levels = self.pyramid(self.backbone(image))
        anchors, outputs = self.anchors(levels), self.proposer(levels)
        regions = [box for box, _sure in self.proposals(outputs, anchors, image)]
        return levels, regions, self.proposing(outputs, torch.cat(anchors), target)

    def proposing(self, outputs: tuple[Tensor, Tensor], anchor: Tensor, target: Sequence[Tensor]) -> Tensor:
        """Compute the two losses of the region proposal network."""
        sure, offset = outputs
        loss, count = sure.new_zeros(()), 0
        for row, truth in enumerate(target):
            owner = match_anchors(anchor, truth[:, 1:])
            rows = drawn(owner, ANCHORS, ANCHORS_ON)
            on = rows[owner[rows] >= 0]
            label = (owner[rows] >= 0).float()
            objectness, said_edges = sure[row, rows], offset[row, on]
            true = encode(truth[owner[on], 1:], anchor[on], ANCHOR_SCALE)
            loss = loss + F.binary_cross_entropy_with_logits(objectness, label, reduction="sum")
            loss = loss + F.smooth_l1_loss(said_edges, true, reduction="sum", beta=1 / 9)
            count += len(rows)
        return loss / max(1, count)

    def learning(self, regions: Sequence[Tensor], target: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Sample each image's training regions (n, 4), with true boxes added, and their objects
        (n,).

        Background regions have the object NOTHING.
        """
        samples, owners = [], []
        for box, truth in zip(regions, target, strict=True):
            every = torch.cat([box, truth[:, 1:]])
            owner = match(every, truth[:, 1:], HALF, HALF)
            rows = drawn(owner, self.config.regions, REGIONS_ON)
            samples.append(every[rows])
            owners.append(owner[rows])
        return samples, owners

    def judging(
        self, levels: Sequence[Tensor], samples: Sequence[Tensor], owners: Sequence[Tensor], target: Sequence[Tensor]
    ) -> Tensor:
        """Compute the two losses of the box head on the training regions."""
        mine = []
        for owner, truth in zip(owners, target, strict=True):
            background = truth.new_tensor([[-1.0, 0, 0, 1, 1]])
            mine.append(torch.cat([truth, background])[owner])  # -1 is the last
        logit, offset = self.judge(self.pooled(levels, samples))
        box, true = torch.cat(list(samples)), torch.cat(mine)
        label, on = true[:, 0].long(), (true[:, 0] >= 0).nonzero().flatten()
        deltas = encode(true[on, 1:], box[on], REGION_SCALE)
        edges = F.smooth_l1_loss(offset[on, label[on]], deltas, reduction="sum")
        return F.cross_entropy(logit, 1 + label) + edges / max(1, len(box))


def fitting(size: tuple[int, int], short: int, long: int) -> tuple[int, int]:
    """Return the width and height of an image whose shorter side becomes ``short``, or less where
    the longer one would exceed ``long``.

    >>> fitting((640, 480), 800, 1333), fitting((1000, 100), 800, 1333)
    ((1066, 800), (1333, 133))
    """
    scale = min(short / min(size), long / max(size))
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
