"""Each region is named, moved, and gets a map of every point: where in it the point lies.

He, Gkioxari, Dollár, Girshick: Mask R-CNN (2017), section 5. https://arxiv.org/abs/1703.06870

    image -> backbone -> pyramid of maps (FPN) -> region proposal network -> regions
    7 x 7 cells of the map in each region -> softmax(labels and background), offsets
    14 x 14 cells of a finer map in each final box -> convolutions -> a 56 x 56 map per keypoint
    loss = BCE(object) + smooth L1 + cross entropy(label) + smooth L1 + cross entropy(position)

Mask R-CNN (``mask_rcnn``) with a mask for each keypoint. One cell of a keypoint's mask is true, so
that a softmax over all 56 x 56 cells replaces the sigmoid: the cells compete, and the heat map
gives the probability of each. A keypoint is trained on the regions that overlap its figure by half
and contain it, even if another figure hides it; unannotated ones are excluded. All labels share the
heat maps. A prediction is the centre of the 3 x 3 cells around the maximum, and its score is their
probability.

The backbone may be a published classifier (``backbone=``, size ``lite``), whose first stages are
frozen.

Size `resnet50_fpn` is torchvision's network, whose published weights load. Its keypoints are pooled
from the pyramid, which begins at a quarter of the side, and a prediction is the highest cell of the
heat map, enlarged to the pixels of the box. Batch normalisation of the backbone is frozen, and a
step has two images.

Differs from the paper: AdamW and one cycle of the rate; both networks are trained jointly; anchors
across the border are trained, too. In the small sizes keypoints are located in a feature map of a
quarter of the side, made of the image and of the pyramid's finest map, whatever the size of a
region; the pyramid begins at an eighth of the side; batch normalisation is trained; anchors are
centred on cells; fewer and narrower convolutions lead to the heat maps, not eight of 512; a
prediction is the centre of several cells; the 20 highest-scoring boxes of an image get keypoints.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks import torchvision_names
from souron.blocks.boxes import roi_align
from souron.blocks.csp import Convolution
from souron.blocks.rcnn import PLACES, PROPOSED, RCNN
from souron.hub import backbones
from souron.tasks.detect import chosen
from souron.tasks.pose import Batch, Poser, Spec

DRAWN = 14  # cells a side of a region; a heat map has four times as many
ACROSS = 4 * DRAWN
PUBLISHED = 512  # channels of the convolutions before the heat maps
GRAIN = 4  # pixels per cell of the feature map for keypoints
MOST = 20  # figures per image
LEAST = 1e-30  # probability of a cell whose logarithm is taken
AT_ONCE = 16  # images per training step


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the pyramid; the head has four times as many units
    regions: int = 32  # training regions per image; four times as many are proposed
    scales: tuple[float, ...] = (2.5, 4.0)  # of anchors, in cells
    rate: float = 1e-3
    backbone: str = ""  # a classifier whose published layers replace it, or a published layout


class Finest(nn.Module):
    """Combine the image and the pyramid's map at 1/8 of the side into a feature map at 1/4.

    It is made as the pyramid makes finer maps from coarser ones.
    """

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.seen = nn.Sequential(Convolution(channels, maps // 2, 3, 2), Convolution(maps // 2, maps, 3, 2))
        self.outer = nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        features = self.seen(image)
        return self.outer(features + F.interpolate(level, features.shape[2:]))


class Drawer(nn.Sequential):
    """Map regions (R, maps, 14, 14) to logits of each keypoint's position (R, K, 56, 56)."""

    def __init__(self, maps: int, points: int) -> None:
        layers: list[nn.Module] = []
        wide = PUBLISHED if maps >= PUBLISHED // 2 else maps
        for layer in range(max(1, maps // 32)):
            layers += [nn.Conv2d(wide if layer else maps, wide, 3, padding=1), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(wide, points, 4, 2, 1))
        super().__init__(*layers, nn.Upsample(scale_factor=2, mode="bilinear"))
        for part in layers:
            if not isinstance(part, nn.ReLU):
                nn.init.kaiming_normal_(part.get_parameter("weight"), mode="fan_out")
                nn.init.zeros_(part.get_parameter("bias"))


class KeypointRCNN(RCNN, Poser):
    year = 2017
    ja = "領域ごとに名前を付けて位置を直し、さらに各点がどこにあるかの地図を描く"
    channels_last = True
    last_layers = ("judge.label", "judge.offset", "drawer.16")
    clip = 10.0
    overlap = 0.5
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, 16, (1.5, 2.5), 1e-2),
        "small": Config(),
        "lite": Config(backbone="efficientnet_lite"),
        "resnet50": Config(1.0, 1.0, 256, 256, (8.0,), 1e-4, "resnet50"),
        "resnet50_fpn": Config(1.0, 1.0, 256, 512, (), 1e-4, "resnet50_fpn"),
    }
    WEIGHTS = {"resnet50_fpn": "torchvision:KeypointRCNN_ResNet50_FPN_Weights.COCO_V1"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.build(backbones.of_detector(config, spec.channels), len(spec.labels))
        if not self.published_layout:
            self.finest = Finest(spec.channels, config.maps)
        self.drawer = Drawer(config.maps, len(spec.points))

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return torchvision_names.rcnn(self, weights)

    def seen(self, levels: Sequence[Tensor]) -> Tensor | Sequence[Tensor]:
        """Return the maps of the pyramid that keypoints are located in: the finest, or all."""
        return levels if self.published_layout else levels[0]

    def drawn(self, image: Tensor, level: Any, box: Sequence[Tensor]) -> Tensor:
        """Return position logits (R, K, 56, 56) for each image's boxes (n, 4), concatenated.

        ``level`` is what ``seen`` returns of the pyramid.
        """
        if self.published_layout:
            return self.drawer(self.pooled(level, box, DRAWN)).float()
        finest = self.finest(image, level)
        parts = [roi_align(x, edges / GRAIN, DRAWN) for x, edges in zip(finest, box, strict=True)]
        part = torch.cat(parts).contiguous(memory_format=torch.channels_last)
        return self.drawer(part).float()

    def mapped(self, image: Tensor, conf: float, iou: float) -> list[tuple[Tensor, Tensor]]:
        """Return per image boxes (n, 6) and heat maps (n, K, 56, 56) within the boxes."""
        levels, pred = self.regions(image)
        most = None if self.published_layout else MOST
        detections = [chosen(box, score, conf, iou)[0].float()[:most] for box, score in pred]
        if not sum(map(len, detections)):
            none = image.new_zeros(0, len(self.spec.points), ACROSS, ACROSS)
            return [(box, none) for box in detections]
        logit = self.drawn(image, self.seen(levels), [box[:, 1:5] for box in detections])
        maps = logit.flatten(2).softmax(2).view_as(logit)
        return list(zip(detections, maps.split(list(map(len, detections))), strict=True))

    def poses(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[tuple[Tensor, Tensor]]:
        locate = highest if self.published_layout else brightest
        return [(box, locate(maps, box[:, 1:5])) for box, maps in self.mapped(image, conf, iou)]

    def maps(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.mapped(image, 0.25, self.overlap)

    def loss(self, batch: Batch) -> Tensor:
        levels, regions, loss = self.first(batch.image, batch.target)
        box, owner = self.learning(regions, batch.target)
        loss = loss + self.judging(levels, box, owner, batch.target)
        return loss + self.heatmap_loss(self.seen(levels), box, owner, batch)

    def heatmap_loss(self, level: Any, box: Sequence[Tensor], owner: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the mean cross-entropy of annotated keypoints' positions in object regions."""
        objects, targets = [], []
        for edges, mine, point in zip(box, owner, batch.point, strict=True):
            on = mine >= 0
            objects.append(edges[on])
            targets.append(places_of(point[mine[on]], edges[on]))
        target = torch.cat(targets).flatten()
        if not (target >= 0).any():
            return batch.image.new_zeros(())
        logit = self.drawn(batch.image, level, objects).flatten(2).flatten(0, 1)
        return F.cross_entropy(logit, target, ignore_index=-1)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start = 0
        for image in batch.image.chunk(self.parts(len(batch.image), AT_ONCE)):
            part = slice(start, start + len(image))
            yield "model", self.loss(Batch(image, batch.target[part], batch.point[part]))
            start += len(image)

    def example(self) -> None:
        """Run one pass with as many regions as it proposes, for the table of layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        levels = self.pyramid(self.backbone(image))
        self.proposer(levels)
        if not self.published_layout:
            self.finest(image, levels[0])
        self.judge(image.new_empty(PROPOSED * self.config.regions, maps, PLACES, PLACES))
        self.drawer(image.new_empty(1, maps, DRAWN, DRAWN))


def places_of(point: Tensor, box: Tensor) -> Tensor:
    """Return the index (n, K) of each keypoint's cell in the heat map of its box, row by row.

    ``point`` is (n, K, 3), ``box`` (n, 4); -1 where it is not annotated or outside.
    """
    share = (point[..., :2] - box[:, None, :2]) / (box[:, None, 2:] - box[:, None, :2])
    inside = ((share >= 0) & (share <= 1)).all(2) & (point[..., 2] > 0)
    x, y = (share * ACROSS).long().clamp(0, ACROSS - 1).unbind(2)
    return (y * ACROSS + x).where(inside, -1)


def brightest(maps: Tensor, box: Tensor) -> Tensor:
    """Locate keypoints in heat maps (n, K, 56, 56) within boxes (n, 4).

    Returns (n, K, 3): x, y of the centroid of the 3 x 3 cells around the maximum, in pixels, and
    their sum.
    """
    best = maps.flatten(2).argmax(2)
    row, column = best // ACROSS, best % ACROSS
    near = torch.arange(ACROSS, device=maps.device)
    down, across = ((near - at[..., None]).abs() <= 1 for at in (row, column))  # (n, K, 56)
    spot = maps * (down[..., :, None] & across[..., None, :])
    total = spot.sum((2, 3)).clamp(min=1e-12)
    middle = near + 0.5
    x, y = ((spot.sum(axis) @ middle) / total / ACROSS for axis in (2, 3))
    position = box[:, None, :2] + torch.stack([x, y], 2) * (box[:, None, 2:] - box[:, None, :2])
    return torch.cat([position, total[..., None]], 2)


def highest(maps: Tensor, box: Tensor) -> Tensor:
    """Locate keypoints in heat maps (n, K, 56, 56), enlarged to the pixels of their boxes (n, 4).

    Returns (n, K, 3) as ``brightest`` does, with the place of the highest value.
    """
    points = brightest(maps, box)
    size = (box[:, 2:] - box[:, :2]).clamp(min=1)
    for row, (wide, high) in enumerate(size.ceil().long().tolist()):
        large = F.interpolate(maps[row, :, None].clamp(min=LEAST).log(), (high, wide), mode="bicubic")[:, 0]
        index = large.flatten(1).argmax(1)
        cell = torch.stack([index % wide, index // wide], 1) + 0.5
        points[row, :, :2] = box[row, :2] + cell * size[row] / cell.new_tensor([wide, high])
    return points
