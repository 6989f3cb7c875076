"""First where objects may be, then what they are: one network proposes, another judges.

Ren, He, Girshick, Sun: Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks (2015). https://arxiv.org/abs/1506.01497

    image -> backbone -> maps of 1/8 to 1/64 of the side, coarse ones added to finer ones (FPN)
    at each cell, for each anchor: objectness, offsets to its edges -> best scores: regions
    7 x 7 cells of the map in each region -> two layers -> softmax(labels and background), offsets
    loss = BCE(object) + smooth L1(offsets) + cross entropy(label) + smooth L1(offsets)

The region proposal network and the detection head share the feature maps. An anchor is positive if
its overlap with an object is 0.7 or more, or the largest of all anchors', negative below 0.3, and
unused in between; of 256 anchors sampled per image at most half are positive. Proposals pass
non-maximum suppression (overlap of 0.7), and the head is trained on a sample of them, of which at
most a quarter are objects, with an overlap of at least half. Each label has its own offsets.

The pyramid is that of Lin et al.: Feature Pyramid Networks for Object Detection (2016),
https://arxiv.org/abs/1612.03144; RoIAlign, which does not round edges, is in ``blocks.boxes``.

Sizes `resnet50_fpn`, `resnet50_fpn_v2`, `mobilenet_v3_large_fpn` and `mobilenet_v3_large_320_fpn`
are torchvision's networks, whose published weights load: ``souron predict fasterrcnn_resnet50_fpn
photo.jpg``. Their pyramid begins at a quarter of the side, batch normalisation of the backbone is
frozen, and a step has two images. Version 2 has more convolutions, and trains normalisation.

Differs from the paper: AdamW and one cycle of the rate; both networks are trained jointly; anchors
across the border are trained, too; both terms of a loss have equal weights. In the small sizes the
pyramid begins at an eighth of the side, batch normalisation is trained, on parts of eight images,
and anchors are centred on cells.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks import torchvision_names
from souron.blocks.rcnn import PLACES, PROPOSED, RCNN
from souron.hub import backbones
from souron.tasks.detect import Batch, Detector, Explained, Spec, suppressed
from souron.utils.messages import _

AT_ONCE = 8  # images per training step
SHOWN = 50  # proposals


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the pyramid; the head has four times as many units
    regions: int = 32  # training regions per image; four times as many are proposed
    scales: tuple[float, ...] = (2.5, 4.0)  # of anchors, in cells
    rate: float = 1.5e-3
    backbone: str = ""  # a classifier whose published layers replace it, or a published layout


class FasterRCNN(RCNN, Detector):
    year = 2015
    ja = "まず領域提案ネットワークが物体のありそうな場所を挙げ、次にそれぞれが何かを判定する"
    channels_last = True
    last_layers = ("judge.label", "judge.offset")
    clip = 10.0
    overlap = 0.5
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, 16, (1.5, 2.5), 1e-2),
        "small": Config(),
        "resnet50": Config(1.0, 1.0, 256, 256, (8.0,), 1e-4, "resnet50"),
        "lite": Config(backbone="efficientnet_lite"),
        "resnet50_fpn": Config(1.0, 1.0, 256, 512, (), 1e-4, "resnet50_fpn"),
        "resnet50_fpn_v2": Config(1.0, 1.0, 256, 512, (), 1e-4, "resnet50_fpn_v2"),
        "mobilenet_v3_large_fpn": Config(1.0, 1.0, 256, 512, (), 1e-4, "mobilenet_v3_large_fpn"),
        "mobilenet_v3_large_320_fpn": Config(1.0, 1.0, 256, 512, (), 1e-4, "mobilenet_v3_large_320_fpn"),
    }
    WEIGHTS = {
        "resnet50_fpn": "torchvision:FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
        "resnet50_fpn_v2": "torchvision:FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        "mobilenet_v3_large_fpn": "torchvision:FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1",
        "mobilenet_v3_large_320_fpn": ("torchvision:FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.build(backbones.of_detector(config, spec.channels), len(spec.labels))

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return torchvision_names.rcnn(self, weights)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per image boxes (n, labels, 4) of the regions, and scores (n, labels)."""
        return self.regions(image)[1]

    def detect(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[Tensor]:
        return [suppressed(box, score, conf, iou) for box, score in self(image)]

    def loss(self, batch: Batch) -> Tensor:
        levels, regions, loss = self.first(batch.image, batch.target)
        return loss + self.judging(levels, *self.learning(regions, batch.target), batch.target)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start = 0
        for image in batch.image.chunk(self.parts(len(batch.image), AT_ONCE)):
            yield "model", self.loss(Batch(image, batch.target[start : start + len(image)]))
            start += len(image)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained]:
        levels = self.pyramid(self.backbone(image))
        [(box, sure)] = self.proposals(self.proposer(levels), self.anchors(levels), image)
        title, caption = (_("Proposals"), _("the regions with the highest scores of the first network"))
        return [Explained(title, caption, box[:SHOWN], sure[:SHOWN]), self.surest(image)]

    def example(self) -> None:
        """Run one pass with as many regions as it proposes, for the table of layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        self.proposer(self.pyramid(self.backbone(image)))
        self.judge(image.new_empty(PROPOSED * self.config.regions, maps, PLACES, PLACES))
