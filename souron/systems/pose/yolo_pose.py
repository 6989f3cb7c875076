"""Every place of three grids says what is there, and where its edges and points are.

Maji, Nagori, Mathew, Poddar: YOLO-Pose: Enhancing YOLO for Multi Person Pose Estimation Using
Object Keypoint Similarity Loss (2022). https://arxiv.org/abs/2204.06806

    image -> YOLOv8 -> at each cell scores, edges, and 3 numbers per point: x, y, logit
    point = cell + stride (2 (x, y) - 1/2),    its score = sigmoid(logit)
    loss = that of YOLOv8 + 12 (1 - OKS) + 5 mean(d / root of area) + BCE(sure)
    OKS = mean of exp(-d^2 / (2 area (2 s)^2)),    s = 0.05, area of the box

A pose is found in one pass: no heat maps, no second look at regions. The cells assigned to an
object are trained on its keypoints, too, and the loss is the metric of poses, the mean similarity
of the annotated keypoints (object keypoint similarity), so that small errors on a large figure cost
little. Its gradient vanishes far away from the target, where that of the distance does not.
Keypoints may lie outside of the box, as those of hidden limbs do. The boxes are found as in
``yolo`` (YOLOv8; Jocher, Chaurasia, Qiu 2023, https://arxiv.org/abs/2304.00501), without anchor
boxes. A moving average of the weights is used for inference.

The backbone may be a published classifier (``backbone=``, size ``lite``), whose first stages are
frozen.

Differs from the paper: the network of YOLOv8 in place of YOLOv5's, and the weights 12 and 1 of its
losses; the distance in addition to the similarity; one s for all keypoints, also COCO's; AdamW and
one cycle of the rate; images are shifted and mirrored, without mosaic; a batch is trained in parts,
and the average decays faster; the initial scores of labels are 0.01 on each grid.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower
from souron.blocks.portable import Portable
from souron.blocks.yolo import Branch, Network, Outputs, in_a_row, lead, learn, places
from souron.hub.backbones import Backbone
from souron.tasks.detect import chosen
from souron.tasks.pose import Batch, Poser, Spec

POSE, FAR, SURE = 12.0, 5.0, 1.0  # weights of the losses
SPREAD = 0.1  # twice sigma
AT_ONCE = 16  # images per training step


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times 64 to 1024 channels
    depth: float = 1.0  # times 3 to 6 blocks
    most: int = 1024  # most channels before ``width``
    rate: float = 1e-3
    average: float = 0.999  # decay of the moving average of weights
    backbone: str = ""  # a classifier whose published layers replace the backbone


class Posing(Network):
    """YOLOv8 that also predicts 3 numbers per keypoint in each cell."""

    def __init__(self, config: Config, channels: int, labels: int, points: int, backbone: nn.Module | None) -> None:
        super().__init__(config, channels, labels, backbone)
        maps = max(self.maps[0] // 4, 3 * points)
        self.points = nn.ModuleList(Branch(c, maps, 3 * points, 0.0) for c in self.maps)

    def forward(self, image: Tensor) -> tuple[Outputs, Tensor]:  # type: ignore[override]
        """Return the edges and labels (``pred``) and the keypoints of each cell, (B, A, K, 3).

        A keypoint is x and y in pixels, and its confidence as a logit.
        """
        levels = self.levels(image)
        pred = self.outputs(levels)
        parts = zip(self.points, levels, strict=True)
        raw = torch.cat([in_a_row(part(x)) for part, x in parts], 1).float().unflatten(2, (-1, 3))
        center, stride = places(pred[2], image.device)
        at = center[:, None] + stride[:, None] * (2 * raw[..., :2] - 0.5)
        return pred, torch.cat([at, raw[..., 2:]], 3)


class YOLOPose(Poser):
    year = 2022
    ja = "三つの格子の各点が、物体の端とともに、その各点がどこにあるかまで一度に答える"
    channels_last = True
    clip = 10.0
    SIZES = {
        "tiny": Config(0.125, 0.33, rate=5e-3, average=0.95),
        "small": Config(0.25, 0.33, rate=4e-3, average=0.99),
        "lite": Config(0.25, 0.33, rate=4e-3, average=0.99, backbone="efficientnet_lite"),
        "n": Config(0.25, 0.33),
        "s": Config(0.5, 0.33),
        "m": Config(0.75, 0.67, 768),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        backbone = Backbone(config.backbone, spec.channels) if config.backbone else None
        self.network = Posing(config, spec.channels, len(spec.labels), len(spec.points), backbone)
        self.average = follower(self.network)

    def poses(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[tuple[Tensor, Tensor]]:
        network = self.network if self.training else self.average
        (edge, label, sizes), point = network(image)
        boxes = network.boxes(edge.float(), *places(sizes, image.device))
        poses = []
        for row, score in enumerate(label.float().sigmoid()):
            detections, cells = chosen(boxes[row], score, conf, iou)
            own = point[row, cells]
            poses.append((detections, torch.cat([own[..., :2], own[..., 2:].sigmoid()], 2)))
        return poses

    def each(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return boxes (B, A, 4), scores (B, A, labels) and keypoints (B, A, K, 3) of images."""
        (edge, label, sizes), point = self.average(image)
        box = self.average.boxes(edge.float(), *places(sizes, image.device))
        return box, label.float().sigmoid(), torch.cat([point[..., :2], point[..., 2:].sigmoid()], 3)

    def portable(self) -> Portable:
        return self.carried(self.each, ("box", "probability", "point"), "poses", points=list(self.spec.points))

    def loss(self, batch: Batch) -> Tensor:
        pred, point = self.network(batch.image)
        assignment = learn(self.network, pred, batch.target)
        loss = assignment.loss
        if assignment.on.any():
            loss = loss + pose_loss(point, assignment.on, assignment.owner, batch)
        return loss

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch; the moving average is updated after each step."""
        for start in range(0, len(batch.image), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield ("model", self.loss(Batch(batch.image[part], batch.target[part], batch.point[part])))
            lead(self.average, self.network, self.config.average, step)

    def example(self) -> None:
        """Run one pass of the trained network, for the table of layers."""
        side = self.spec.side
        self.network(torch.empty(1, self.spec.channels, side, side, device=self.device))


def pose_loss(point: Tensor, on: Tensor, owner: Tensor, batch: Batch) -> Tensor:
    """Return the keypoint loss of the cells ``on`` (B, A), assigned to objects ``owner`` (B, A).

    It is the mean over cells of the dissimilarity of keypoints (B, A, K, 3), plus the cross-entropy
    of whether each is annotated.
    """
    true, box = [], []
    for mine, own, truth, points in zip(on, owner, batch.target, batch.point, strict=True):
        true.append(points[own[mine]])
        box.append(truth[own[mine], 1:])
    target, edges = torch.cat(true), torch.cat(box)
    pred = point[on]
    visible = (target[..., 2] > 0).float()
    area = (edges[:, 2:] - edges[:, :2]).prod(1).clamp(min=1)
    far = (pred[..., :2] - target[..., :2]).square().sum(2)
    share = far / area[:, None]
    unlike = POSE * (1 - torch.exp(-share / (2 * SPREAD**2))) + FAR * (share + 1e-6).sqrt()
    mean = (unlike * visible).sum(1) / visible.sum(1).clamp(min=1)
    sure = F.binary_cross_entropy_with_logits(pred[..., 2], visible)
    return mean.mean() + SURE * sure
