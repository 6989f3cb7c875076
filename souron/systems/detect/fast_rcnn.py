"""Regions from outside of the network, one map for all of them: each is named and moved.

Girshick: Fast R-CNN (2015). https://arxiv.org/abs/1504.08083

    image -> selective search -> some hundred regions     image -> backbone -> one feature map
    the largest value in each of 7 x 7 parts of the map in a region (RoIPool) -> two layers
    -> p = softmax(labels and background),   offsets t of each label
    loss = -log p(true label) + smooth L1(t of the true label - offsets to the object)

Region proposals come from the image alone: pixels are joined to regions, and similar neighbours
merge until one is left; each region gives a box (Uijlings et al.: Selective Search for Object
Recognition, 2013, https://doi.org/10.1007/s11263-013-0620-5). The network learns their labels and
the offsets of their edges. Of the training regions of an image, at most a quarter overlap an object
by half (intersection over union); the others are background that overlaps one by 0.1 to 0.5.

The proposals of an image are computed once, in about 50 ms at 128 pixels a side, and cached: before
training those of all images are computed, which no time budget includes. Where images are shifted
and mirrored, their proposals move with them.

Differs from the paper: AdamW and one cycle of the rate; a batch is trained in parts of eight
images, not two, with batch normalisation (VGG-16 has none, later ones freeze it). Selective search
is a small one: images of at most 80 pixels a side, two scales and one colour space where its
paper's fast version has two and two, no texture; objects under a tenth of the side are not
proposed. Reduced: the feature map of an eighth of the side is made of a backbone's last three, and
no size has the layers of VGG-16.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.boxes import NOTHING, decode, drawn, encode, overlaps, roi_pool
from souron.blocks.csp import Convolution, CSPBackbone
from souron.blocks.portable import REGIONS
from souron.blocks.selective_search import moved_along, of_rows, proposals, search_all
from souron.hub.backbones import Backbone
from souron.tasks.detect import Detector, Explained, Spec, suppressed
from souron.utils.messages import _

STRIDE = 8  # pixels per cell
OBJECT, NEAR = 0.5, 0.1  # overlaps: of an object, and of training background
FAR = -2  # label of a region that is not used for training
SHARE = 0.25  # most objects among the training regions, as a share
PLACES = 7  # cells a side of a pooled region
SCALE = (10.0, 5.0)  # of offsets: position, size
AT_ONCE = 8  # images per training step


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the shared feature map
    hidden: int = 256  # units of both layers
    regions: int = 32  # training regions per image
    rate: float = 1.5e-3
    backbone: str = ""  # a classifier whose published layers replace the backbone


class Proposed(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: list[Tensor]  # per image (n, 5): label, left, top, right, bottom in pixels
    regions: list[Tensor]  # per image (n, 4), or (0, 4): proposals of the unchanged image


@torch.no_grad()
def match(region: Tensor, true: Tensor) -> Tensor:
    """Match regions (R, 4) to objects (n, 4): an index, NOTHING for background, or FAR, (R,).

    FAR regions are not used for training. Without objects every region is background.
    """
    if not len(true):
        return torch.full((len(region),), NOTHING, device=region.device)
    most, owner = overlaps(true, region).max(0)
    owner[most < OBJECT] = NOTHING
    owner[most < NEAR] = FAR
    return owner


class FastRCNN(Detector):
    blocked = REGIONS
    year = 2015
    ja = "選択的探索が挙げた領域を一枚の特徴マップから切り出し、名前を付けて位置を直す"
    status = "reduced"
    channels_last = True
    clip = 10.0
    overlap = 0.5
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, 64, 16, 1e-2),
        "small": Config(),
        "resnet50": Config(1.0, 1.0, 512, 4096, 64, 1e-4, "resnet50"),
        "lite": Config(backbone="efficientnet_lite"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        sizes = [8 * ceil(maps * config.width / 8) for maps in (64, 128, 256, 512, 1024)]
        short, long = (max(1, round(blocks * config.depth)) for blocks in (3, 6))
        self.backbone = (
            Backbone(config.backbone, spec.channels)
            if config.backbone
            else CSPBackbone(spec.channels, sizes, short, long)
        )
        self.mixed = Convolution(sum(self.backbone.maps), config.maps)
        self.first = nn.Linear(config.maps * PLACES**2, config.hidden)
        self.second = nn.Linear(config.hidden, config.hidden)
        self.label = nn.Linear(config.hidden, 1 + len(spec.labels))
        self.offset = nn.Linear(config.hidden, 4 * len(spec.labels))
        for layer, deviation in ((self.label, 0.01), (self.offset, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def prepare(self, data: Any) -> Iterator[float]:
        return search_all(data.input)

    def loader(self, data: Any, augment: Callable | None = None, seed: int = 0, device: Any = None) -> Any:
        """Return a loader whose augmentation also moves the proposals."""
        return super().loader(data, augment and moved_along(augment), seed, device)

    def batch(self, rows: Any) -> Proposed:
        image, target = super().batch(rows)
        return Proposed(image, target, of_rows(rows))

    def map_of(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) to one feature map each, (B, maps, H / 8, W / 8)."""
        fine, *coarse = self.backbone(image)
        large = [F.interpolate(x, fine.shape[2:]) for x in coarse]
        return self.mixed(torch.cat([fine, *large], 1))

    def judge(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """Map pooled regions (R, maps, 7, 7) to logits and box offsets.

        The logits are (R, 1 + labels), background first; the offsets (R, labels, 4).
        """
        x = F.relu(self.second(F.relu(self.first(part.flatten(1)))))
        return self.label(x).float(), self.offset(x).float().unflatten(1, (-1, 4))

    def outputs(self, x: Tensor, regions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits and offsets of the regions (n, 4) of all images, concatenated."""
        return self.judge(roi_pool(x.float(), regions, PLACES, 1 / STRIDE))

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per image boxes (n, labels, 4) of the regions, and scores (n, labels)."""
        x, outputs = self.map_of(image), []
        for row, picture in enumerate(image):
            region = proposals(picture)
            logit, offset = self.outputs(x[row : row + 1], [region])
            box = decode(offset, region[:, None], SCALE).clamp(0, image.shape[-1])
            outputs.append((box, logit.softmax(1)[:, 1:]))
        return outputs

    def detect(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[Tensor]:
        return [suppressed(box, score, conf, iou) for box, score in self(image)]

    def loss(self, batch: Proposed) -> Tensor:
        samples, mine = [], []
        for row, truth in enumerate(batch.target):
            region = batch.regions[row] if len(batch.regions) else truth[:0, 1:]
            if not len(region):
                region = proposals(batch.image[row])
            # sample regions, a share of them objects
            region = torch.cat([region, truth[:, 1:]])  # true boxes are regions, too
            owner = match(region, truth[:, 1:])
            rows = drawn(owner, self.config.regions, SHARE)
            background = truth.new_tensor([[-1.0, 0, 0, 1, 1]])
            samples.append(region[rows])
            mine.append(torch.cat([truth, background])[owner[rows]])  # -1 selects the last row
        # RoI pooling from the shared feature map, then both heads
        logit, offset = self.outputs(self.map_of(batch.image), samples)
        box, true = torch.cat(samples), torch.cat(mine)
        label, on = true[:, 0].long(), (true[:, 0] >= 0).nonzero().flatten()
        target = encode(true[on, 1:], box[on], SCALE)
        # box regression, of the class of each object
        edges = F.smooth_l1_loss(offset[on, label[on]], target, reduction="sum")
        return F.cross_entropy(logit, 1 + label) + edges / max(1, len(box))

    def updates(self, batch: Proposed, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start = 0
        for image in batch.image.chunk(ceil(len(batch.image) / AT_ONCE)):
            part = slice(start, start + len(image))
            yield "model", self.loss(Proposed(image, batch.target[part], batch.regions[part]))
            start += len(image)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained]:
        box = proposals(image[0])
        title, caption = (_("Proposals"), _("the regions of selective search, which is not trained"))
        return [Explained(title, caption, box, torch.ones(len(box), device=box.device)), self.surest(image)]

    def example(self) -> None:
        """Run one pass with as many regions as in training, for the table of layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        self.map_of(image)
        self.judge(image.new_empty(self.config.regions, maps, PLACES, PLACES))
