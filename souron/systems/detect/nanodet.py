"""A detector for phones: each cell predicts its labels, and how far each edge is, as bins.

Lyu: NanoDet-Plus: Super fast and high accuracy lightweight anchor-free object detection model
(2021). https://github.com/RangiLyu/nanodet

    image -> CSP backbone -> maps at 1/8, 1/16, 1/32 -> down and up again, by adding (PAN)
    at each cell:   scores s = sigmoid(label),    edges d = sum_i i softmax(edge)_i  in strides
    loss = QFL(s, t) + 2 GIoU + 1/4 DFL(edges),    QFL = |t - s|^2 BCE(s, t)

NanoDet has no paper of its own: its loss is that of Li et al.: Generalized Focal Loss (2020,
https://arxiv.org/abs/2006.04388). The score of a cell learns the overlap t of its own box with its
object, so that it says both what is there and how well the box fits; a wrong score weighs more, the
further it is off (quality focal loss). Cells are assigned by ATSS (Zhang et al. 2019,
https://arxiv.org/abs/1912.02424): of an object's nine nearest cells on each map, those whose square
of eight strides overlaps it by more than their mean and standard deviation together. Compared with
``yolo``, one branch serves labels and edges, and the pyramid adds maps, without convolutions.

`small` is NanoDet-g, with the weights that its author trained on COCO; `tiny` is narrower.

Differs from the paper: the version g (2021), before NanoDet-Plus; AdamW and one cycle of the rate;
images are shifted and mirrored, not scaled; a batch is trained in parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.boxes import giou, overlaps
from souron.blocks.folded import Norm
from souron.blocks.yolo import distribution_focal, in_a_row, places
from souron.kinds.boxes import Boxes
from souron.kinds.picture import Picture
from souron.kinds.signature import Choice
from souron.tasks.detect import Batch, Detector, Explained, Spec, coco_labels
from souron.utils.messages import N_, _

BINS = 11  # of an edge's distance, in strides
NEAREST = 9  # cells of each map that may be assigned to an object
SQUARE = 8  # strides: the side of a cell's square, for the assignment
BOX, EDGE = 2.0, 0.25  # weights of the losses
PRIOR = 0.01  # initial score of every label
MEAN, STD = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)  # of blue, green and red
AT_ONCE = 16  # images per training step
SLOPE = 0.1  # of the activation below 0


@dataclass(frozen=True)
class Config:
    width: int = 32  # channels of the first convolution
    pyramid: int = 128  # channels of the pyramid
    blocks: tuple[int, ...] = (1, 2, 2, 3)  # residual blocks of each stage
    rate: float = 1e-3


class Convolution(nn.Module):
    """A convolution with batch normalisation and a leaky ReLU."""

    def __init__(self, inward: int, outward: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)
        self.bn = Norm(outward)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.bn(self.conv(x)), SLOPE)


class Block(nn.Module):
    """Two convolutions of half of the channels each, both passed on."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(maps, maps // 2), Convolution(maps // 2, maps // 2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.first(x)
        return torch.cat([self.second(half), half], 1)


class Stage(nn.Module):
    """A cross-stage partial stage: its input passes by the blocks, and is concatenated after."""

    def __init__(self, maps: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.first = Convolution(maps, maps, 3, stride)
        self.blocks = nn.Sequential(*(Block(maps) for _block in range(blocks)))
        self.last = Convolution(maps, maps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.cat([self.last(self.blocks(x)), x], 1)  # (B, 2 maps, h, w)


class Pyramid(nn.Module):
    """Maps at 1/8, 1/16, 1/32 -> the same sides, each with what the others saw (PAN)."""

    def __init__(self, inward: list[int], maps: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(Lateral(count, maps) for count in inward)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        x = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        for fine in (1, 0):
            x[fine] = x[fine] + resized(x[fine + 1], x[fine])
        for coarse in (1, 2):
            x[coarse] = x[coarse] + resized(x[coarse - 1], x[coarse])
        return x


class Lateral(nn.Module):
    """A 1x1 convolution with normalisation, without an activation."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(inward, outward, 1, bias=False), Norm(outward)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Resize bilinearly to the sides of another map.

    Half of the sides are means of 2x2 cells: OpenVINO 2026.4 interpolates another value where one cell is left.
    """
    if x.shape[2] == 2 * like.shape[2] and x.shape[3] == 2 * like.shape[3]:
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, like.shape[2:], mode="bilinear")


class NanoDet(Detector):
    year = 2021
    ja = "携帯端末向けの小さな検出器。各点がラベルと、物体の端までの距離の分布を答える"
    channels_last = True
    step = 32
    clip = 35.0
    overlap = 0.6
    SIZES = {"tiny": Config(8, 32, (1, 1, 1, 1), 5e-3), "small": Config()}
    WEIGHTS = {"small": "package:nanodet"}
    published_from = {"small": "COCO 2017"}
    last_layers = ("outputs",)
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        w, maps = config.width, config.pyramid
        self.first = Convolution(spec.channels, w, 3, 2)
        self.stages = nn.ModuleList(
            Stage(w * 2**level, blocks, 1 if level == 0 else 2) for level, blocks in enumerate(config.blocks)
        )
        self.pyramid = Pyramid([4 * w, 8 * w, 16 * w], maps)
        self.heads = nn.ModuleList(Convolution(maps, maps) for _level in range(3))
        self.outputs = nn.ModuleList(nn.Conv2d(maps, len(spec.labels) + 4 * BINS, 1) for _level in range(3))
        for output in self.outputs:
            bias = output.get_parameter("bias")
            nn.init.normal_(output.get_parameter("weight"), 0, 0.01)
            nn.init.constant_(bias[: len(spec.labels)], log(PRIOR / (1 - PRIOR)))
            nn.init.zeros_(bias[len(spec.labels) :])
        for name, values in (("mean", MEAN), ("std", STD)):
            own = values if spec.channels == 3 else (sum(values) / 3,) * spec.channels
            self.register_buffer(name, torch.tensor(own)[:, None, None], persistent=False)

    def predict(
        self,
        picture: Picture,
        *,
        conf: Annotated[float, Choice(N_("minimum confidence of a box"), low=0, high=1)] = 0.35,
        iou: Annotated[float, Choice(N_("merge boxes that overlap by"), low=0, high=1)] = 0.5,
        classes: Annotated[str, Choice(N_("labels to look for, with commas; all of them"), metavar="LABELS")] = "",
    ) -> Boxes:
        """Return the boxes of at least the score at which its author's own program shows them."""
        return super().predict(picture, conf=conf, iou=iou, classes=classes)

    @classmethod
    def published_spec(cls, size: str) -> Spec | None:
        return Spec(3, 416, coco_labels()) if size in cls.WEIGHTS else None

    def raw(self, image: Tensor) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Return label logits (B, A, labels), edge bins (B, A, 4 BINS), the sides of the maps."""
        x = (image.flip(1) - self.mean) / self.std  # the published weights want blue first
        x, levels = F.max_pool2d(self.first(x), 3, 2, 1), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        levels = self.pyramid(levels[1:])
        parts = zip(self.outputs, self.heads, levels, strict=True)
        out = torch.cat([in_a_row(output(head(x))) for output, head, x in parts], 1)
        label, edge = out.float().split([len(self.spec.labels), 4 * BINS], 2)
        return label, edge, [(x.shape[2], x.shape[3]) for x in levels]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        label, edge, sizes = self.raw(image)
        return boxes(edge, *places(sizes, image.device)), label.sigmoid()

    def loss(self, batch: Batch) -> Tensor:
        label, edge, sizes = self.raw(batch.image)
        center, stride = places(sizes, label.device)
        score, box = label.sigmoid(), boxes(edge, center, stride)
        owner = torch.stack([assign(center, stride, sizes, truth) for truth in batch.target])
        on = owner >= 0  # (B, A)
        pairs = zip(batch.target, owner, strict=True)
        mine = torch.cat([truth[own[own >= 0]] for truth, own in pairs])  # (cells, 5)
        where, near = (part.expand(len(on), -1, -1)[on] for part in (center, stride))
        # quality focal loss: the class target is the IoU of the predicted box
        target = torch.zeros_like(label)
        with torch.no_grad():
            fit = overlaps(box[on], mine[:, 1:]).diagonal()
            weight = score[on].amax(1)  # boxes of confident cells count more
            target[on] = F.one_hot(mine[:, 0].long(), label.shape[2]) * fit[:, None]
        # distances of the edges in strides, and the boxes' GIoU
        far = torch.cat([where - mine[:, 1:3], mine[:, 3:] - where], 1) / near
        edges = distribution_focal(edge[on], far.clamp(0, BINS - 1.1))
        unlike = 1 - giou(box[on], mine[:, 1:])
        box_loss = (weight * (BOX * unlike + EDGE * edges)).sum() / weight.sum().clamp(min=1e-6)
        quality = F.binary_cross_entropy_with_logits(label, target, reduction="none")
        quality = (target - score).square() * quality
        return quality.sum() / max(1, len(mine)) + box_loss

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        for start in range(0, len(batch.image), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield "model", self.loss(Batch(batch.image[part], batch.target[part]))

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained]:
        """Return the cells that would be assigned to objects in training, and the final boxes."""
        if not len(truth):
            return [self.candidates(image), self.surest(image)]
        label, _edge, sizes = self.raw(image)
        center, stride = places(sizes, image.device)
        on = assign(center, stride, sizes, truth) >= 0
        squares = torch.cat([center - stride / 2, center + stride / 2], 1)[on]
        title, caption = (
            _("Anchor points that learn"),
            _(
                "the anchor points that are trained to detect an object: squares of one stride, "
                "the more confident the better"
            ),
        )
        return [Explained(title, caption, squares, label[0, on].sigmoid().amax(1)), self.surest(image)]


def boxes(edge: Tensor, center: Tensor, stride: Tensor) -> Tensor:
    """Decode bins (B, A, 4 BINS) to boxes (B, A, 4) in pixels, each edge at its mean distance."""
    bins = torch.arange(float(BINS), device=edge.device)
    distance = edge.unflatten(2, (4, BINS)).softmax(3) @ bins * stride
    return torch.cat([center - distance[..., :2], center + distance[..., 2:]], 2)


@torch.no_grad()
def assign(center: Tensor, stride: Tensor, sizes: list[tuple[int, int]], truth: Tensor) -> Tensor:
    """Assign an object of ``truth`` (n, 5) to each cell: indices (A,), -1 for background (ATSS)."""
    owner = torch.full((len(center),), -1, device=center.device)
    if not len(truth):
        return owner
    squares = torch.cat([center - SQUARE / 2 * stride, center + SQUARE / 2 * stride], 1)
    overlap = overlaps(truth[:, 1:], squares)  # (n, A)
    far = torch.cdist((truth[:, 1:3] + truth[:, 3:]) / 2, center)
    # candidates: the nearest cells on each level
    near, start = torch.zeros_like(overlap, dtype=torch.bool), 0
    for height, width in sizes:
        cells = far[:, start : start + height * width]
        nearest = cells.topk(min(NEAREST, cells.shape[1]), largest=False).indices + start
        near.scatter_(1, nearest, True)
        start += height * width
    candidates = overlap.masked_fill(~near, 0)
    # the threshold: mean plus standard deviation of the candidates' IoU
    count = near.sum(1, keepdim=True)
    mean = candidates.sum(1, keepdim=True) / count
    spread = ((candidates - mean).square() * near).sum(1, keepdim=True) / (count - 1).clamp(min=1)
    inside = torch.cat([center - truth[:, None, 1:3], truth[:, None, 3:] - center], 2).amin(2) > 0
    positive = near & inside & (overlap >= mean + spread.sqrt())
    # of several objects a cell takes the one with the largest IoU
    best, own = overlap.masked_fill(~positive, -1).max(0)
    owner[best >= 0] = own[best >= 0]
    return owner
