"""Each region is named, moved, and then drawn: which of its pixels are the object's.

He, Gkioxari, Dollár, Girshick: Mask R-CNN (2017). https://arxiv.org/abs/1703.06870

    image -> backbone -> pyramid of maps (FPN) -> region proposal network -> regions
    7 x 7 cells of the map in each region -> softmax(labels and background), offsets
    14 x 14 cells of the map in each final box -> convolutions -> a 28 x 28 mask of each label
    loss = BCE(object) + smooth L1 + cross entropy(label) + smooth L1 + BCE(mask of the true label)

Faster R-CNN (``faster_rcnn``) with a third output. Every label has a mask of its own, without
competition: a sigmoid per pixel, and only the true label's mask is trained, on the regions that
overlap an object by half. The detection head alone decides the label. The features of a region are
sampled without rounding its edges (RoIAlign, in ``blocks.boxes``), since a mask shows every
misplaced pixel. At inference masks are predicted for the final boxes, not the proposals, resized to
the box and thresholded at a half.

The backbone may be a published classifier (``backbone=``, size ``lite``), whose first stages are
frozen.

Sizes `resnet50_fpn` and `resnet50_fpn_v2` are torchvision's networks, whose published weights load.
Their pyramid begins at a quarter of the side, batch normalisation of the backbone is frozen, and a
step has two images. Version 2 has more convolutions, and trains normalisation.

Differs from the paper: AdamW and one cycle of the rate; both networks are trained jointly; anchors
across the border are trained, too. In the small sizes the pyramid begins at an eighth of the side,
batch normalisation is trained, anchors are centred on cells, and one convolution leads to the mask,
not four.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks import torchvision_names
from souron.blocks.masks import DRAWN, MaskedRCNN
from souron.blocks.rcnn import PLACES, PROPOSED
from souron.hub import backbones
from souron.tasks.detect import SURE, Explained, Maps, chosen
from souron.tasks.segment_instances import Batch, InstanceSegmenter, Spec
from souron.utils.messages import _

AT_ONCE = 16  # images per training step
SHOWN, MOST_MAPS = 50, 6  # proposals and masks in explanations


@dataclass(frozen=True)
class Config:
    width: float = 0.25  # times 64 to 1024 channels
    depth: float = 0.33  # times 3 to 6 blocks
    maps: int = 64  # channels of the pyramid; the head has four times as many units
    regions: int = 32  # training regions per image; four times as many are proposed
    scales: tuple[float, ...] = (2.5, 4.0)  # of anchors, in cells
    rate: float = 1e-3
    backbone: str = ""  # a classifier whose published layers replace it, or a published layout


class MaskRCNN(MaskedRCNN, InstanceSegmenter):
    year = 2017
    ja = "領域ごとに名前を付けて位置を直し、さらにどの画素が物体のものかを描く"
    channels_last = True
    clip = 10.0
    overlap = 0.5
    SIZES = {
        "tiny": Config(0.125, 0.33, 32, 16, (1.5, 2.5), 1e-2),
        "small": Config(),
        "lite": Config(backbone="efficientnet_lite"),
        "resnet50": Config(1.0, 1.0, 256, 256, (8.0,), 1e-4, "resnet50"),
        "resnet50_fpn": Config(1.0, 1.0, 256, 512, (), 1e-4, "resnet50_fpn"),
        "resnet50_fpn_v2": Config(1.0, 1.0, 256, 512, (), 1e-4, "resnet50_fpn_v2"),
    }
    WEIGHTS = {
        "resnet50_fpn": "torchvision:MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
        "resnet50_fpn_v2": "torchvision:MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.build(backbones.of_detector(config, spec.channels), len(spec.labels))

    @property
    def last_layers(self) -> tuple[str, ...]:  # type: ignore[override]
        return "judge.label", "judge.offset", f"drawer.{len(self.drawer) - 1}"

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return torchvision_names.rcnn(self, weights)

    def segment(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[tuple[Tensor, Tensor]]:
        levels, pred = self.regions(image)
        detections = [chosen(box, score, conf, iou)[0].float() for box, score in pred]
        return list(zip(detections, self.masks(levels, detections, image.shape[2:]), strict=True))

    def explain(self, image: Tensor, truth: Tensor) -> list[Explained | Maps]:
        levels = self.pyramid(self.backbone(image))
        [(box, sure)] = self.proposals(self.proposer(levels), self.anchors(levels), image)
        title, caption = (_("Proposals"), _("the regions with the highest scores of the first network"))
        steps: list[Explained | Maps] = [Explained(title, caption, box[:SHOWN], sure[:SHOWN])]
        steps.append(self.surest(image))
        [detections] = self.detect(image, SURE, self.overlap)
        if len(detections):
            detections = detections[:MOST_MAPS].float()
            small = self.drawn(levels, [detections[:, 1:5]], detections[:, 0].long()).sigmoid()
            names = [self.spec.labels[int(label)] for label in detections[:, 0].tolist()]
            mask_maps = [
                (f"{name} {score:.0%}", mask)
                for name, score, mask in zip(names, detections[:, 5].tolist(), small, strict=True)
            ]
            title, caption = (
                _("Masks of 28 x 28 pixels"),
                _(
                    "the mask predicted in each found box, for its label alone; it is resized to "
                    "the box, and a pixel from a half on belongs to the object"
                ),
            )
            steps.append(Maps(title, caption, mask_maps))
        return steps

    def loss(self, batch: Batch) -> Tensor:
        levels, regions, loss = self.first(batch.image, batch.target)
        box, owner = self.learning(regions, batch.target)
        loss = loss + self.judging(levels, box, owner, batch.target)
        return loss + self.mask_loss(levels, box, owner, batch)

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch, one optimiser step each."""
        start = 0
        for image in batch.image.chunk(self.parts(len(batch.image), AT_ONCE)):
            part = slice(start, start + len(image))
            yield "model", self.loss(Batch(image, batch.target[part], batch.mask[part]))
            start += len(image)

    def example(self) -> None:
        """Run one pass with as many regions as it proposes, for the table of layers."""
        side, maps = self.spec.side, self.config.maps
        image = torch.empty(1, self.spec.channels, side, side, device=self.device)
        self.proposer(self.pyramid(self.backbone(image)))
        self.judge(image.new_empty(PROPOSED * self.config.regions, maps, PLACES, PLACES))
        self.drawer(image.new_empty(1, maps, DRAWN, DRAWN))
