"""Every anchor is trained, but the focal loss makes easy background hardly count.

Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection (2017).
https://arxiv.org/abs/1708.02002

    image -> backbone -> feature maps at 1/8, 1/16, 1/32 -> top-down pyramid (FPN), and on to 1/64, 1/128
    at each cell, for each of 9 anchors (3 sizes in an octave, 3 aspects), the same layers on all maps:
    scores p = sigmoid(label) of each label on its own,    offsets to the object's edges
    FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t),    p_t = p for the true label, 1 - p for every other
    loss of an image = (sum over all anchors FL + sum over positive ones smooth L1) / positive anchors

A detector with one stage judges every anchor, and for each one on an object there are hundreds on background.
Each of these has a small loss, but together they outweigh the objects. ``ssd`` trains only the worst of them,
``faster_rcnn`` a sample. Here all are trained, and the loss is scaled instead: with gamma = 2, that of an anchor
with p_t = 0.9 is divided by a hundred, with 0.5 only by four. ``gamma=0 alpha=0.5`` is half of ordinary
cross-entropy. All scores begin at 0.01 (the prior probability), or background would dominate the first steps.
An anchor is positive if its IoU with an object is 0.5 or more, background below 0.4, and unused in between.

Sizes `resnet50_fpn` and `resnet50_fpn_v2` are torchvision's networks, whose published weights load: ``souron
predict retinanet_resnet50_fpn photo.jpg``. Version 2 has group normalisation in the heads (Wu, He 2018,
https://arxiv.org/abs/1803.08494), boxes that are trained on their generalised IoU (Rezatofighi et al. 2019,
https://arxiv.org/abs/1902.09630), and batch normalisation in the backbone that is trained; in version 1 it is
frozen, and the map at 1/64 is made of the pyramid's last one, not of the backbone's.

Differs from the paper: AdamW and one cycle of the rate; each object also has its best anchors, however little
they overlap, as in torchvision; a batch is trained in parts. The small sizes have a backbone of CSP blocks or a
published classifier's, heads and losses of version 2, and anchors of half the sides, centred on cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.boxes import around, clipped, decode, encode, giou, overlaps
from souron.blocks.csp import own_backbone
from souron.blocks.portable import Portable, refused
from souron.blocks.rcnn import ASPECTS, BETWEEN, FPN, corner_anchors, fitting, match_anchors
from souron.blocks.torchvision_names import OLDER, of_backbone, replaced, with_counts
from souron.hub.backbones import Backbone
from souron.kinds.codecs.image import Letterbox
from souron.kinds.picture import Picture
from souron.tasks.detect import Batch, Detector, Explained, Maps, Spec, suppressed
from souron.utils.messages import _

STRIDES = (8, 16, 32, 64, 128)  # pixels per cell
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))  # sides of a cell's anchors, relative to the smallest
SMALLEST = 2.0  # side of a cell's smallest anchors in strides; twice as much in the published sizes
ANCHORS = len(OCTAVE) * len(ASPECTS)  # of a cell
OBJECT, BACKGROUND = 0.5, 0.4  # IoU from which an anchor is positive, and below which it is background
PRIOR = 0.01  # initial score of every label
SCALE = (1.0, 1.0)  # of offsets: position, size
BETA = 1 / 9  # error of an offset from which its loss is linear
AROUND = (1, 1, 1, 1)  # cells of padding
DEEP = 4  # convolutions of a head before its last
AT_ONCE, AT_ONCE_PUBLISHED = 16, 2  # images per training step
PUBLISHED: dict[str, float | None] = {"resnet50_fpn": 0.0, "resnet50_fpn_v2": None}  # torchvision's networks,
# and what their frozen batch normalisation adds to variances; None: it is not frozen
SHORT, LONG = 800, 1333  # pixels of an image's sides for the published weights
NAMES = (  # of layers in torchvision -> here
    *OLDER,
    *((rf"(head\.\w+\.conv)\.{2 * n}\.(weight|bias)$", rf"\1.{n}.0.\2") for n in range(DEEP)),  # before 2022
    (r"backbone\.fpn\.inner_blocks\.(\d)\.0\.", r"pyramid.fpn.inner.\1."),
    (r"backbone\.fpn\.layer_blocks\.(\d)\.0\.", r"pyramid.fpn.outer.\1."),
    (r"backbone\.fpn\.extra_blocks\.", "pyramid."),
    (r"head\.classification_head\.cls_logits\.", "label.last."),
    (r"head\.classification_head\.", "label."),
    (r"head\.regression_head\.bbox_reg\.", "offset.last."),
    (r"head\.regression_head\.", "offset."),
)


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the pyramid and of the heads
    gamma: float = 2.0  # focusing; 0: cross-entropy
    alpha: float = 0.25  # weight of an object's label; of every other 1 - alpha
    rate: float = 2e-3
    backbone: str = ""  # a classifier whose published layers replace it, or a published network


class Pyramid(nn.Module):
    """Maps at 1/8, 1/16, 1/32 -> as many of equal channels, and two coarser ones.

    These are padded beforehand: PyTorch 2.13 leaves parts of the gradient of the weights unset where a
    convolution itself pads a map of one cell.
    """

    def __init__(self, inward: Sequence[int], maps: int, of_backbone: bool) -> None:
        super().__init__()
        self.fpn, self.of_backbone = FPN(inward, maps), of_backbone
        self.p6 = nn.Conv2d(inward[-1] if of_backbone else maps, maps, 3, 2)
        self.p7 = nn.Conv2d(maps, maps, 3, 2)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        *levels, _pooled = self.fpn(features)
        sixth = self.p6(F.pad(features[-1] if self.of_backbone else levels[-1], AROUND))
        return [*levels, sixth, self.p7(F.pad(F.relu(sixth), AROUND))]


class Head(nn.Module):
    """Answers (B, A, values) for every anchor, by the same layers on each map (B, maps, h, w)."""

    def __init__(self, maps: int, values: int, normed: bool, bias: float = 0.0) -> None:
        super().__init__()
        layers = []
        for _layer in range(DEEP):
            norm = [nn.GroupNorm(maps // 8, maps)] if normed else []
            layers.append(nn.Sequential(nn.Conv2d(maps, maps, 3, padding=1, bias=not normed), *norm, nn.ReLU()))
        self.conv, self.values = nn.Sequential(*layers), values
        self.last = nn.Conv2d(maps, ANCHORS * values, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.constant_(self.last.get_parameter("bias"), bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        outputs = [self.last(self.conv(x)).permute(0, 2, 3, 1) for x in levels]
        return torch.cat([x.reshape(x.shape[0], -1, self.values) for x in outputs], 1).float()


def focal(logit: Tensor, true: Tensor, gamma: float, alpha: float) -> Tensor:
    """Return the focal loss of each of ``logit``, whose true labels are 1 and others 0.

    >>> focal(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]), 2.0, 0.25)  # -log(0.5) / 4, weighted
    tensor([0.0433, 0.1300])
    """
    wrong = (logit.sigmoid() - true).abs().clamp(min=1e-6)  # 1 - p_t
    balance = alpha * true + (1 - alpha) * (1 - true)
    return balance * wrong**gamma * F.binary_cross_entropy_with_logits(logit, true, reduction="none")


class RetinaNet(Detector):
    year = 2017
    ja = "どのアンカーも学習に使い、易しい背景の損失を小さくして、物体が埋もれないようにする"
    channels_last = True
    clip = 10.0
    overlap = 0.5
    last_layers = ("label.last",)
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, rate=5e-3),
        "small": Config(),
        "lite": Config(backbone="efficientnet_lite"),
        "resnet50_fpn": Config(1.0, 1.0, 256, rate=1e-4, backbone="resnet50_fpn"),
        "resnet50_fpn_v2": Config(1.0, 1.0, 256, rate=1e-4, backbone="resnet50_fpn_v2"),
    }
    WEIGHTS = {
        "resnet50_fpn": "torchvision:RetinaNet_ResNet50_FPN_Weights.COCO_V1",
        "resnet50_fpn_v2": "torchvision:RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.published_layout, self.revised = config.backbone in PUBLISHED, config.backbone != "resnet50_fpn"
        self.backbone: Any
        if self.published_layout:
            eps = PUBLISHED[config.backbone]
            self.backbone = Backbone("resnet50", spec.channels, frozen=2, eps=eps, multiple=32)
        elif config.backbone:
            self.backbone = Backbone(config.backbone, spec.channels)
        else:
            self.backbone = own_backbone(config.width, config.depth, spec.channels)
        self.pyramid = Pyramid(self.backbone.maps, config.maps, self.revised)
        self.label = Head(config.maps, len(spec.labels), self.revised, log(PRIOR / (1 - PRIOR)))
        self.offset = Head(config.maps, 4, self.revised)

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return torchvision's weights by their names here, without the background's scores."""
        renaming, state_dict = of_backbone(self.backbone, "backbone.body.", "backbone."), {}
        for name, tensor in weights.items():
            key = renaming.get(name) or replaced(name, NAMES)
            last = key.startswith("label.last.")
            state_dict[key] = tensor.unflatten(0, (ANCHORS, -1))[:, 1:].flatten(0, 1) if last else tensor
        return with_counts(self, state_dict)

    def outputs(self, image: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return logits (B, A, labels), offsets (B, A, 4), and the anchors (a, 4) of each level."""
        levels = self.pyramid(self.backbone(image))
        return self.label(levels), self.offset(levels), self.anchors(levels)

    def anchors(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors (a, 4) of each level in pixels, at each cell."""
        if self.published_layout:
            return corner_anchors(levels, STRIDES[0], [[int(4 * s * scale) for scale in OCTAVE] for s in STRIDES])
        sides = [(s / a**0.5, s * a**0.5) for s in OCTAVE for a in ASPECTS]
        sizes = SMALLEST * torch.tensor(sides, device=levels[0].device)
        return [
            around(x.shape[2], x.shape[3], stride, stride * sizes) for x, stride in zip(levels, STRIDES, strict=True)
        ]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logit, offset, anchors = self.outputs(image)
        return decode(offset, torch.cat(anchors), SCALE), logit.sigmoid()

    def detect(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[Tensor]:
        if not self.published_layout:
            return super().detect(image, conf, iou)
        boxes, scores = self(image)
        return [suppressed(box, score, conf, iou) for box, score in zip(clipped(boxes, image), scores, strict=True)]

    def framed(self, picture: Picture) -> tuple[Tensor, Letterbox]:
        if self.as_published:
            return picture.resized(fitting(picture.size, SHORT, LONG))
        return super().framed(picture)

    def portable(self) -> Portable:
        if self.as_published:
            raise refused("RetinaNet", _("its published weights take images that are resized by a rule of their own"))
        return super().portable()

    def loss(self, batch: Batch) -> Tensor:
        logit, offset, anchors = self.outputs(batch.image)
        anchor, loss = torch.cat(anchors), logit.new_zeros(())
        for row, truth in enumerate(batch.target):
            owner = match_anchors(anchor, truth[:, 1:], OBJECT, BACKGROUND)
            on, used = owner >= 0, owner != BETWEEN
            mine = truth[owner[on]]  # (positive anchors, 5)
            scores = self.label_loss(logit[row], self.wanted(owner, truth))[used]
            boxes = self.box_loss(offset[row, on], anchor[on], mine[:, 1:])
            loss = loss + (scores.sum() + boxes) / max(1, len(mine))
        return loss / len(batch.target)

    def label_loss(self, logit: Tensor, target: Tensor) -> Tensor:
        return focal(logit, target, self.config.gamma, self.config.alpha)

    def wanted(self, owner: Tensor, truth: Tensor) -> Tensor:
        """Return the true label of each anchor (A, labels), all 0 for background."""
        target = torch.zeros(len(owner), len(self.spec.labels), device=owner.device)
        on = (owner >= 0).nonzero().flatten()
        target[on, truth[owner[on], 0].long()] = 1
        return target

    def box_loss(self, offset: Tensor, anchor: Tensor, true: Tensor) -> Tensor:
        """Sum the loss of the offsets (n, 4) of positive anchors (n, 4) for their objects (n, 4)."""
        if self.revised:
            return (1 - giou(decode(offset, anchor, SCALE), true)).sum()
        return F.smooth_l1_loss(offset, encode(true, anchor, SCALE), reduction="sum", beta=BETA)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start, most = 0, AT_ONCE_PUBLISHED if self.published_layout else AT_ONCE
        for image in batch.image.chunk(ceil(len(batch.image) / most)):
            yield "model", self.loss(Batch(image, batch.target[start : start + len(image)]))
            start += len(image)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained | Maps]:
        """Return the positive anchors, where the loss lies with and without focusing, and the boxes."""
        if not len(truth):
            return [self.candidates(image), self.surest(image)]
        levels = self.pyramid(self.backbone(image))
        [logit], anchors = self.label(levels), self.anchors(levels)
        anchor = torch.cat(anchors)
        owner = match_anchors(anchor, truth[:, 1:], OBJECT, BACKGROUND)
        on = owner >= 0
        fit = overlaps(anchor[on], truth[owner[on], 1:]).diagonal().clamp(0, 1)
        title, caption = (
            _("Anchors that learn"),
            _("the anchors that are trained to detect an object: they overlap it by half, or most of all"),
        )
        learning = Explained(title, caption, anchor[on], fit)
        return [learning, self.where_loss_lies(levels, logit, owner, truth), self.surest(image)]

    def where_loss_lies(self, levels: Sequence[Tensor], logit: Tensor, owner: Tensor, truth: Tensor) -> Maps:
        """Return the loss of the labels in each cell, as cross-entropy and as focal loss."""
        target, side = self.wanted(owner, truth), levels[0].shape[2:]
        plain = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
        maps, shares = [], []
        for name, losses in ((_("cross-entropy"), plain), (_("focal loss"), self.label_loss(logit, target))):
            loss = losses.sum(1) * (owner != BETWEEN)  # (A,)
            parts = zip(levels, loss.split([x[0, 0].numel() * ANCHORS for x in levels]), strict=True)
            cells = [part.view(1, 1, *x.shape[2:], ANCHORS).sum(4) for x, part in parts]
            heat = torch.stack([F.interpolate(cell, side)[0, 0] for cell in cells]).sum(0)
            maps.append((name, heat / heat.max()))
            shares.append(float(loss[owner < 0].sum() / loss.sum()))
        caption = _("background makes up {plain:.0%} of the cross-entropy, and {focal:.0%} of the focal loss")
        return Maps(_("Loss of each cell"), caption.format(plain=shares[0], focal=shares[1]), maps, "heat")
