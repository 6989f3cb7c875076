"""Regions from outside of the network, one map for all of them: each is named and moved.

Girshick: Fast R-CNN (2015). https://arxiv.org/abs/1504.08083

    picture -> selective search -> some hundred regions     picture -> backbone -> one map
    the largest value in each of 7 x 7 parts of the map in a region (RoIPool) -> two layers
    -> p = softmax(labels and background),   offsets t of each label
    loss = -log p(true label) + smooth L1(t of the true label - offsets to the object)

Where objects may be is asked of the picture alone: pixels join to regions, and neighbours that are
alike merge until one is left; each of them leaves a box (Uijlings et al.: Selective Search for
Object Recognition, 2013, https://doi.org/10.1007/s11263-013-0620-5). The network learns what they
are and how far their edges are off. Of a picture's regions that learn, a quarter overlap an object
by half (intersection over union); the others are background that overlaps one by 0.1 to 0.5.

The regions of a picture are found once, in about 50 ms at 128 pixels a side, and lie in the cache:
before it learns it asks for those of all pictures, which no budget counts. Where pictures are
shifted and mirrored, their regions move with them.

Differs from the paper: AdamW and one cycle of the rate; a batch is learnt from in parts of eight
pictures, not two, and batch normalisation with it (VGG-16 has none, later ones freeze it).
Selective search is a small one: pictures of 80 pixels a side at most, two scales and one colour
space where its paper's fast one has two and two, no texture; things under a tenth of the side are
not proposed. Reduced: the map of an eighth of the side is made of a backbone's last three, and no
size has the layers of VGG-16.
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
from souron.blocks.selective_search import moved_along, of_rows, proposals, search_all
from souron.hub.backbones import Backbone
from souron.tasks.detect import Detector, Explained, Spec, suppressed
from souron.utils.messages import _

STRIDE = 8  # pixels a place
OBJECT, NEAR = 0.5, 0.1  # overlaps: of an object, and of background that learns
FAR = -2  # what a region learns that does not learn
SHARE = 0.25  # of objects among the regions that learn, at most
PLACES = 7  # of a region a side
SCALE = (10.0, 5.0)  # of offsets: place, size
AT_ONCE = 8  # pictures of a step


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 maps
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # of the one map
    hidden: int = 256  # values of both layers
    regions: int = 32  # of a picture that learn
    rate: float = 1.5e-3
    backbone: str = ""  # a classifier whose published layers stand in place of its own


class Proposed(NamedTuple):
    image: Tensor  # (B, C, H, W) in 0..1
    target: list[Tensor]  # of each picture (n, 5): label, left, top, right, bottom in pixels
    regions: list[Tensor]  # of each picture (n, 4), or (0, 4): those of the picture as it is


@torch.no_grad()
def match(region: Tensor, true: Tensor) -> Tensor:
    """Which of the objects (n, 4) each region (R, 4) is, (R,), or NOTHING, or FAR: it does not
    learn. In a picture without objects every region is background."""
    if not len(true):
        return torch.full((len(region),), NOTHING, device=region.device)
    most, owner = overlaps(true, region).max(0)
    owner[most < OBJECT] = NOTHING
    owner[most < NEAR] = FAR
    return owner


class FastRCNN(Detector):
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

    def loader(
        self, data: Any, augment: Callable | None = None, seed: int = 0, device: Any = None
    ) -> Any:
        """Where pictures are changed, their proposals change with them."""
        return super().loader(data, augment and moved_along(augment), seed, device)

    def batch(self, rows: Any) -> Proposed:
        image, target = super().batch(rows)
        return Proposed(image, target, of_rows(rows))

    def map_of(self, image: Tensor) -> Tensor:
        """Pictures (B, C, H, W) -> one map of each, (B, maps, H / 8, W / 8)."""
        fine, *coarse = self.backbone(image)
        large = [F.interpolate(x, fine.shape[2:]) for x in coarse]
        return self.mixed(torch.cat([fine, *large], 1))

    def judge(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (R, maps, 7, 7) -> logits (R, 1 + labels), the first of them background, and each
        label's offsets (R, labels, 4)."""
        x = F.relu(self.second(F.relu(self.first(part.flatten(1)))))
        return self.label(x).float(), self.offset(x).float().unflatten(1, (-1, 4))

    def said(self, x: Tensor, regions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What is said of each picture's regions (n, 4), all in one row."""
        return self.judge(roi_pool(x.float(), regions, PLACES, 1 / STRIDE))

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each picture its regions as each label has them, (n, labels, 4), and its scores
        (n, labels)."""
        x, found = self.map_of(image), []
        for row, picture in enumerate(image):
            region = proposals(picture)
            logit, offset = self.said(x[row : row + 1], [region])
            box = decode(offset, region[:, None], SCALE).clamp(0, image.shape[-1])
            found.append((box, logit.softmax(1)[:, 1:]))
        return found

    def detect(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[Tensor]:
        return [suppressed(box, score, conf, iou) for box, score in self(image)]

    def loss(self, batch: Proposed) -> Tensor:
        chosen, mine = [], []
        for row, truth in enumerate(batch.target):
            region = batch.regions[row] if len(batch.regions) else truth[:0, 1:]
            if not len(region):
                region = proposals(batch.image[row])
            region = torch.cat([region, truth[:, 1:]])  # true boxes are regions, too
            owner = match(region, truth[:, 1:])
            rows = drawn(owner, self.config.regions, SHARE)
            background = truth.new_tensor([[-1.0, 0, 0, 1, 1]])
            chosen.append(region[rows])
            mine.append(torch.cat([truth, background])[owner[rows]])  # -1 is the last
        logit, offset = self.said(self.map_of(batch.image), chosen)
        box, true = torch.cat(chosen), torch.cat(mine)
        label, on = true[:, 0].long(), (true[:, 0] >= 0).nonzero().flatten()
        wanted = encode(true[on, 1:], box[on], SCALE)
        edges = F.smooth_l1_loss(offset[on, label[on]], wanted, reduction="sum")
        return F.cross_entropy(logit, 1 + label) + edges / max(1, len(box))

    def updates(self, batch: Proposed, step: int) -> Iterator[tuple[str, Tensor]]:
        """A batch in parts, which makes more steps."""
        start = 0
        for image in batch.image.chunk(ceil(len(batch.image) / AT_ONCE)):
            part = slice(start, start + len(image))
            yield "model", self.loss(Proposed(image, batch.target[part], batch.regions[part]))
            start += len(image)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained]:
        box = proposals(image[0])
        title, caption = (
            _("Proposals"),
            _("the regions of selective search, which has learnt nothing"),
        )
        return [
            Explained(title, caption, box, torch.ones(len(box), device=box.device)),
            self.surest(image),
        ]

    def example(self) -> None:
        """One pass with as many regions as learn, for the table of its layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        self.map_of(image)
        self.judge(image.new_empty(self.config.regions, maps, PLACES, PLACES))
