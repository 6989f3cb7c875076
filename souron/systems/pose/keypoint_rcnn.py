"""Each region is named, moved, and gets a map of every point: where in it the point lies.

He, Gkioxari, Dollár, Girshick: Mask R-CNN (2017), section 5. https://arxiv.org/abs/1703.06870

    picture -> backbone -> pyramid of maps (FPN) -> region proposal network -> regions
    7 x 7 places of the map in each region -> softmax(labels and background), offsets
    14 x 14 places of a finer map in each found box -> convolutions -> a 56 x 56 map of each point
    loss = BCE(object) + smooth L1 + cross entropy(label) + smooth L1 + cross entropy(place)

Mask R-CNN (``mask_rcnn``) whose masks are points. One place of a point's mask is true, so that a
softmax over all 56 x 56 places stands where the sigmoid was: the places compete, and the map says
how likely the point lies at each. A point learns from the regions that overlap its figure by half
and hold it; one that is hidden by another figure learns as all do, one that is not marked learns
nothing. All labels share the maps. In answers a point is the middle of the brightest spot, three
places a side, and its score is how likely it lies there.

The backbone may be a published classifier (``backbone=``, size ``lite``), whose first stages stay
as they are.

Differs from the paper: points are looked for in a map of a quarter of the side, made of the picture
and of the pyramid's finest map, whatever the size of a region; AdamW and one cycle of the rate;
both networks learn in one step; anchors across the border learn, too; a batch is learnt from in
parts, and so is batch normalisation, which the paper freezes; anchors lie around the middle of a
cell; small sizes have fewer and narrower convolutions before the maps, not eight of 512; the spot's
middle answers, not its brightest place; the surest 20 boxes of a picture get points. Reduced: the
pyramid has no map of a quarter of the side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.boxes import roi_align
from souron.blocks.csp import Convolution
from souron.blocks.rcnn import PLACES, PROPOSED, RCNN, own_backbone
from souron.hub.backbones import Backbone
from souron.tasks.detect import chosen
from souron.tasks.pose import Batch, Poser, Spec

DRAWN = 14  # places of a region a side; a map has four times as many
ACROSS = 4 * DRAWN
PUBLISHED = 512  # maps of a convolution before the maps of points
GRAIN = 4  # pixels of a place of the map that points are looked for in
MOST = 20  # figures of a picture
AT_ONCE = 16  # pictures of a step


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 maps
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # of the pyramid; the judge has four times as many values
    regions: int = 32  # of a picture that learn; four times as many are proposed
    scales: tuple[float, ...] = (2.5, 4.0)  # of anchors, in places
    rate: float = 1e-3
    backbone: str = ""  # a classifier whose published layers stand in place of its own


class Finest(nn.Module):
    """The picture and the pyramid's map of an eighth of the side -> as many maps of a quarter, made
    as the pyramid makes finer maps of coarser ones."""

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            Convolution(channels, maps // 2, 3, 2), Convolution(maps // 2, maps, 3, 2)
        )
        self.outer = nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        seen = self.seen(image)
        return self.outer(seen + F.interpolate(level, seen.shape[2:]))


class Drawer(nn.Sequential):
    """Regions (R, maps, 14, 14) -> logits of each point's place (R, K, 56, 56)."""

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
    status = "reduced"
    channels_last = True
    clip = 10.0
    overlap = 0.5
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
            len(spec.labels),
        )
        self.finest = Finest(spec.channels, config.maps)
        self.drawer = Drawer(config.maps, len(spec.points))

    def drawn(self, image: Tensor, level: Tensor, box: Sequence[Tensor]) -> Tensor:
        """Logits (R, K, 56, 56) of the places in each picture's boxes (n, 4), one after the other;
        ``level`` is the pyramid's map of an eighth of the side."""
        finest = self.finest(image, level)
        parts = [roi_align(x, each / GRAIN, DRAWN) for x, each in zip(finest, box, strict=True)]
        part = torch.cat(parts).contiguous(memory_format=torch.channels_last)
        return self.drawer(part).float()

    def mapped(self, image: Tensor, conf: float, iou: float) -> list[tuple[Tensor, Tensor]]:
        """Of each picture boxes (n, 6) and how likely each point lies at each place of its box,
        (n, K, 56, 56)."""
        levels, said = self.regions(image)
        found = [chosen(box, score, conf, iou)[0].float()[:MOST] for box, score in said]
        if not sum(map(len, found)):
            none = image.new_zeros(0, len(self.spec.points), ACROSS, ACROSS)
            return [(box, none) for box in found]
        logit = self.drawn(image, levels[0], [box[:, 1:5] for box in found])
        maps = logit.flatten(2).softmax(2).view_as(logit)
        return list(zip(found, maps.split(list(map(len, found))), strict=True))

    def poses(
        self, image: Tensor, conf: float = 0.001, iou: float = 0.7
    ) -> list[tuple[Tensor, Tensor]]:
        return [(box, brightest(maps, box[:, 1:5])) for box, maps in self.mapped(image, conf, iou)]

    def maps(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.mapped(image, 0.25, self.overlap)

    def loss(self, batch: Batch) -> Tensor:
        levels, regions, loss = self.first(batch.image, batch.target)
        box, owner = self.learning(regions, batch.target)
        loss = loss + self.judging(levels, box, owner, batch.target)
        return loss + self.heatmap_loss(levels[0], box, owner, batch)

    def heatmap_loss(
        self, level: Tensor, box: Sequence[Tensor], owner: Sequence[Tensor], batch: Batch
    ) -> Tensor:
        """The loss of the maps, of the regions that are objects: how unlikely each marked point's
        place is, the mean over points."""
        objects, wanted = [], []
        for edges, mine, point in zip(box, owner, batch.point, strict=True):
            on = mine >= 0
            objects.append(edges[on])
            wanted.append(places_of(point[mine[on]], edges[on]))
        place = torch.cat(wanted).flatten()
        if not (place >= 0).any():
            return level.new_zeros(())
        logit = self.drawn(batch.image, level, objects).flatten(2).flatten(0, 1)
        return F.cross_entropy(logit, place, ignore_index=-1)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """A batch in parts, which makes more steps."""
        start = 0
        for image in batch.image.chunk(ceil(len(batch.image) / AT_ONCE)):
            part = slice(start, start + len(image))
            yield "model", self.loss(Batch(image, batch.target[part], batch.point[part]))
            start += len(image)

    def example(self) -> None:
        """One pass with as many regions as it proposes, for the table of its layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        levels = self.pyramid(self.backbone(image))
        self.proposer(levels)
        self.finest(image, levels[0])
        self.judge(image.new_empty(PROPOSED * self.config.regions, maps, PLACES, PLACES))
        self.drawer(image.new_empty(1, maps, DRAWN, DRAWN))


def places_of(point: Tensor, box: Tensor) -> Tensor:
    """Points (n, K, 3) -> (n, K): the number of the place of a box's map, (n, 4), that each lies
    in, row by row; -1 where it is not marked or outside."""
    share = (point[..., :2] - box[:, None, :2]) / (box[:, None, 2:] - box[:, None, :2])
    inside = ((share >= 0) & (share <= 1)).all(2) & (point[..., 2] > 0)
    x, y = (share * ACROSS).long().clamp(0, ACROSS - 1).unbind(2)
    return (y * ACROSS + x).where(inside, -1)


def brightest(maps: Tensor, box: Tensor) -> Tensor:
    """Maps (n, K, 56, 56) that add up to 1 in boxes (n, 4) -> (n, K, 3): x, y of the middle of
    three by three places around the brightest one, in pixels, and what these add up to."""
    best = maps.flatten(2).argmax(2)
    row, column = best // ACROSS, best % ACROSS
    near = torch.arange(ACROSS, device=maps.device)
    down, across = ((near - at[..., None]).abs() <= 1 for at in (row, column))  # (n, K, 56)
    spot = maps * (down[..., :, None] & across[..., None, :])
    total = spot.sum((2, 3)).clamp(min=1e-12)
    middle = near + 0.5
    x, y = ((spot.sum(axis) @ middle) / total / ACROSS for axis in (2, 3))
    place = box[:, None, :2] + torch.stack([x, y], 2) * (box[:, None, 2:] - box[:, None, :2])
    return torch.cat([place, total[..., None]], 2)
