"""Default boxes of many shapes on maps of many grains: each says what it holds.

Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg: SSD: Single Shot MultiBox Detector (2015).
https://arxiv.org/abs/1512.02325

    image -> backbone -> maps that get coarser -> at each cell of each map, for each default box
    scores softmax(labels and background),    offsets to the object's edges
    loss = (sum smooth L1(offsets) + sum cross entropy(label)) / matched boxes

A default box is matched to an object that it overlaps by at least half (intersection over union),
and each object to at least the box that overlaps it most. Of the thousands of unmatched boxes only
those with the largest loss are trained as background: three for each matched one (hard negative
mining). Map k of m has boxes of scale s_k = 0.2 + 0.7 (k - 1) / (m - 1) of the side with aspects 1,
2, 3, 1/2, 1/3, and a square of scale sqrt(s_k s_k+1).

Size `300` is the published network: VGG-16 (Simonyan, Zisserman 2014,
https://arxiv.org/abs/1409.1556) whose last layers are dilated convolutions, and four blocks more.
Size `lite320_mobilenet_v3_large` is SSDLite, whose predictions come from depthwise convolutions
(Sandler and others 2018, https://arxiv.org/abs/1801.04381), on MobileNetV3. Both have torchvision's
layers, so that its published weights load: ``souron predict ssd300_vgg16 photo.jpg``. The small
ones have a backbone of CSP blocks, or a published classifier's. Size `oid` is MobileNetV2-SSD
with the weights of Google's MediaPipe: 23 of the classes of Open Images.

Differs from the paper: AdamW and one cycle of the rate; images are shifted and mirrored, not
cropped; a batch is trained in parts; an image without objects contributes its three boxes of
largest loss; in size oid the scores are independent of each other, sigmoid(labels).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.boxes import around, clipped, decode, encode, overlaps
from souron.blocks.csp import CSPBackbone
from souron.blocks.portable import Portable, refused
from souron.blocks.single_shot import OPEN_IMAGES, Features
from souron.blocks.ssd_networks import VGG, Branch, MobileNet, halved
from souron.hub.backbones import Backbone
from souron.kinds.codecs.image import Letterbox
from souron.kinds.picture import Picture
from souron.tasks.detect import Batch, Detector, Explained, Spec, suppressed
from souron.utils.messages import _

SCALE = (10.0, 5.0)  # of offsets: position, size
ENOUGH = 0.5  # minimum overlap of a default box and its object
NEGATIVES = 3  # background boxes per matched box in training
SMALLEST, LARGEST, BEYOND = 0.2, 0.9, 1.07  # first and last map's scales, and the next
AT_ONCE = 16  # images per training step


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times 64 to 1024 channels
    depth: float = 1.0  # times 3 to 6 blocks
    rate: float = 1e-3
    backbone: str = ""  # a classifier whose published layers replace the backbone
    vgg: bool = False  # the published network
    scales: tuple[float, ...] = ()  # of default boxes, per map and one more; (): by formula
    mobile: str = ""  # the published networks on MobileNet: "v3" is SSDLite, "v2" Google's


class Pyramid(nn.Module):
    """Images (B, C, H, W) -> feature maps at 1/8, 1/16, 1/32 of the side, and on to one cell."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        sizes = [8 * ceil(maps * config.width / 8) for maps in (64, 128, 256, 512, 1024)]
        short, long = (max(1, round(blocks * config.depth)) for blocks in (3, 6))
        self.first = (
            Backbone(config.backbone, spec.channels)
            if config.backbone
            else CSPBackbone(spec.channels, sizes, short, long)
        )
        self.maps, self.extra = list(self.first.maps), nn.ModuleList()
        side, maps = ceil(spec.side / 32), sizes[3]
        while side > 1:
            self.extra.append(halved(self.maps[-1], maps // 2, maps))
            self.maps.append(maps)
            side = ceil(side / 2)
        self.strides = tuple(8 * 2**level for level in range(len(self.maps)))
        self.aspects: tuple[tuple[int, ...], ...] = ((2, 3),) * len(self.maps)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = list(self.first(image))
        for block in self.extra:
            features.append(block(features[-1]))
        return features


def shapes(scale: float, following: float, aspects: Sequence[int]) -> list[tuple[float, float]]:
    """Return the width and height of a cell's default boxes, as shares of the side."""
    between = (scale * following) ** 0.5
    sizes = [(scale, scale), (between, between)]
    for aspect in aspects:
        wide, high = scale * aspect**0.5, scale / aspect**0.5
        sizes += [(wide, high), (high, wide)]
    return [(min(1.0, wide), min(1.0, high)) for wide, high in sizes]


@torch.no_grad()
def match(default: Tensor, true: Tensor) -> Tensor:
    """Match default boxes (A, 4) to objects (n, 4): indices (A,), -1 for background."""
    if not len(true):
        return torch.full((len(default),), -1, device=default.device)
    overlap = overlaps(true, default)  # (n, A)
    most, owner = overlap.max(0)
    owner[most < ENOUGH] = -1
    for _object in true:  # the best box of each object, the best pair first
        row, best = divmod(int(overlap.argmax()), len(default))
        owner[best] = row
        overlap[row], overlap[:, best] = -1, -1
    return owner


@torch.no_grad()
def hardest(loss: Tensor, positive: Tensor) -> Tensor:
    """Select as hard negatives (B, A) the boxes of largest ``loss`` not ``positive``.

    Each image has three of them per matched box.
    """
    order = loss.masked_fill(positive, -1).argsort(stable=True, dim=1, descending=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < NEGATIVES * positive.sum(1, keepdim=True).clamp(min=1)) & ~positive


class SSD(Detector):
    year = 2015
    ja = "粗さの異なる特徴マップに形の違うデフォルトボックスを並べ、物体を一度に検出する"
    channels_last = True
    clip = 10.0
    overlap = 0.45
    SIZES = {
        "tiny": Config(0.125, 0.33, 3e-3),
        "small": Config(0.25, 0.33, 2e-3),
        "300": Config(vgg=True, rate=2e-4, scales=(0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)),
        "lite": Config(0.25, 0.33, 2e-3, backbone="efficientnet_lite"),
        "lite320_mobilenet_v3_large": Config(rate=1e-3, scales=(0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0), mobile="v3"),
        "oid": Config(rate=1e-3, mobile="v2"),
    }
    WEIGHTS = {
        "300": "torchvision:SSD300_VGG16_Weights.COCO_V1",
        "lite320_mobilenet_v3_large": "torchvision:SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
        "oid": "package:ssd_oid",
    }
    published_from = {"oid": "Open Images V4"}

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.published_layout = config.vgg or config.mobile == "v3"
        self.backbone: VGG | MobileNet | Features | Pyramid
        if config.mobile == "v2":
            self.backbone = Features(spec.channels)
        elif config.mobile == "v3":
            self.backbone = MobileNet()
        else:
            self.backbone = VGG() if config.vgg else Pyramid(config, spec)
        maps, labels = self.backbone.maps, 1 + len(spec.labels)
        counts = [len(shape) for shape in self.shapes(len(maps))]
        kernel = 1 if config.mobile == "v2" else 3
        self.head = nn.ModuleDict(
            {
                "classification_head": Branch(maps, counts, labels, config.mobile == "v3", kernel),
                "regression_head": Branch(maps, counts, 4, config.mobile == "v3", kernel),
            }
        )

    @classmethod
    def published_spec(cls, size: str) -> Spec | None:
        return Spec(3, 300, OPEN_IMAGES) if size == "oid" else None

    def outputs(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return offsets (B, A, 4), logits (B, A, 1 + labels) and default boxes (A, 4) in pixels.

        The first logit is background.
        """
        if self.published_layout:
            image = image.expand(-1, 3, -1, -1)
        maps = self.backbone(image)
        logit, offset = (branch(maps) for branch in self.head.values())
        return offset, logit, self.defaults([x.shape[2:] for x in maps], image)

    def shapes(self, levels: int) -> list[list[tuple[float, float]]]:
        """Return the shapes of the default boxes on each map, as shares of the side."""
        if isinstance(self.backbone, Features):
            return self.backbone.shapes
        step = (LARGEST - SMALLEST) / max(1, levels - 1)
        formula = [*(SMALLEST + step * level for level in range(levels)), BEYOND]
        scales = self.config.scales or formula
        return [
            shapes(scales[level], scales[level + 1], aspects)
            for level, aspects in enumerate(self.backbone.aspects[:levels])
        ]

    def defaults(self, sizes: Sequence[Sequence[int]], image: Tensor) -> Tensor:
        """Return the default boxes (A, 4) of feature maps of these sizes."""
        side, boxes = image.shape[-1], []
        for level, shape in enumerate(self.shapes(len(sizes))):
            height, width = sizes[level]
            pixels = torch.tensor(shape, device=image.device) * side
            strides = self.backbone.strides
            stride = strides[level] if strides else side / width
            boxes.append(around(height, width, stride, pixels))
        return torch.cat(boxes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        offset, logit, default = self.outputs(image)
        score = logit.sigmoid() if self.config.mobile == "v2" else logit.softmax(2)
        return decode(offset, default, SCALE), score[..., 1:]

    @property
    def last_layers(self) -> tuple[str, ...]:  # type: ignore[override]
        last = ".1" if self.config.mobile == "v3" else ""
        levels = range(len(self.backbone.maps))
        return tuple(f"head.classification_head.module_list.{n}{last}" for n in levels)

    def framed(self, picture: Picture) -> tuple[Tensor, Letterbox]:
        if self.as_published:
            return picture.resized((self.spec.side, self.spec.side))
        return super().framed(picture)

    def portable(self) -> Portable:
        if self.as_published:
            raise refused("SSD", _("its published weights take images that are resized by a rule of their own"))
        most = float(self.spec.side)
        within = (lambda out: (out[0].clamp(0, most), out[1])) if self.published_layout else None
        return self.carried(self, ("box", "probability"), "boxes", within)

    def detect(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[Tensor]:
        if not self.published_layout:
            return super().detect(image, conf, iou)
        boxes, scores = self(image)
        return [suppressed(box, score, conf, iou) for box, score in zip(clipped(boxes, image), scores, strict=True)]

    def loss(self, batch: Batch) -> Tensor:
        offset, logit, default = self.outputs(batch.image)
        # match default boxes with objects
        owner = torch.stack([match(default, truth[:, 1:]) for truth in batch.target])  # (B, A)
        positive = owner >= 0
        mine = torch.cat(
            [truth[own[own >= 0]] for truth, own in zip(batch.target, owner, strict=True)]
        )  # (matched boxes, 5)
        target = torch.zeros_like(owner)
        target[positive] = 1 + mine[:, 0].long()
        # hard negative mining: three background boxes per matched one
        label = self.label_loss(logit, target)
        sample = positive | hardest(label, positive)
        # box regression, of the matched boxes alone
        true = encode(mine[:, 1:], default.expand(len(owner), -1, -1)[positive], SCALE)
        edges = F.smooth_l1_loss(offset[positive], true, reduction="sum")
        return (edges + label[sample].sum()) / max(1, len(mine))

    def label_loss(self, logit: Tensor, target: Tensor) -> Tensor:
        """Return the loss (B, A) of logits (B, A, 1 + labels) for true labels (B, A)."""
        if self.config.mobile != "v2":
            return F.cross_entropy(logit.transpose(1, 2), target, reduction="none")
        true = F.one_hot(target, logit.shape[2]).to(logit.dtype)
        return F.binary_cross_entropy_with_logits(logit, true, reduction="none").sum(2)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start = 0
        for image in batch.image.chunk(ceil(len(batch.image) / AT_ONCE)):
            yield "model", self.loss(Batch(image, batch.target[start : start + len(image)]))
            start += len(image)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained]:
        if not len(truth):
            return [self.candidates(image), self.surest(image)]
        default = self.outputs(image)[2]
        owner = match(default, truth[:, 1:])
        learning = default[owner >= 0]
        fit = overlaps(learning, truth[owner[owner >= 0], 1:]).diagonal().clamp(0, 1)
        title, caption = (
            _("Default boxes"),
            _("the default boxes that are trained to detect an object: they overlap it by half, or most of all"),
        )
        return [Explained(title, caption, learning, fit), self.surest(image)]
