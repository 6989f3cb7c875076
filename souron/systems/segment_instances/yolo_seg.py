"""A picture has a few dozen prototype masks, and each object says how to mix them.

Terven, Córdova-Esparza, Romero-González: A Comprehensive Review of YOLO Architectures in Computer
Vision: From YOLOv1 to YOLOv8 and YOLO-NAS (2023). https://arxiv.org/abs/2304.00501

    image -> YOLOv8 -> at each cell scores, edges and k = 32 coefficients c
    the finest map -> convolutions, twice the side -> k prototypes P, 4 pixels per cell
    mask = sigmoid(c . P), cut at the box
    loss = that of YOLOv8 + 7.5 BCE(mask), in each object's box the mean over its area

Prototypes are from YOLACT (Bolya, Zhou, Xiao, Lee 2019, https://arxiv.org/abs/1904.02689): masks
are computed once for the whole image, and an object costs only a product of k numbers with k masks.
A prototype may be an edge, a side of the image, or one of several similar objects; coefficients may
be negative, so that one object is subtracted from another. The box is found as in ``yolo`` (YOLOv8;
Jocher, Chaurasia, Qiu 2023), and the cells assigned to an object are trained on its coefficients,
too. A mask is trained only within its box and cropped to it at inference. A moving average of the
weights is used for inference.

The backbone may be a published classifier (``backbone=``, size ``lite``), whose first stages are
frozen.

Differs from the paper: AdamW and one cycle of the rate; images are shifted and mirrored, without
mosaic; a batch is trained in parts, and the average decays faster; the initial scores of labels are
0.01 on each grid, not those of five objects in an image of 640 pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.averaging import follower
from souron.blocks.csp import Convolution
from souron.blocks.portable import Portable
from souron.blocks.yolo import BOX, Branch, Network, Outputs, in_a_row, lead, learn, places
from souron.hub.backbones import Backbone
from souron.tasks.detect import OVERLAP, SURE, Explained, Maps, chosen
from souron.tasks.segment_instances import Batch, InstanceSegmenter, Spec
from souron.utils.messages import _

PROTOTYPES = 32
GRAIN = 4  # pixels per cell of a prototype
AT_ONCE = 16  # images per training step
MOST_MAPS = 8  # prototypes in explanations


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times 64 to 1024 channels
    depth: float = 1.0  # times 3 to 6 blocks
    most: int = 1024  # most channels before ``width``
    rate: float = 1e-3
    average: float = 0.999  # decay of the moving average of weights
    backbone: str = ""  # a classifier whose published layers replace the backbone


class Prototypes(nn.Sequential):
    """Map the finest features (B, maps, H / 8, W / 8) to (B, PROTOTYPES, H / 4, W / 4)."""

    def __init__(self, inward: int, maps: int) -> None:
        super().__init__(
            Convolution(inward, maps, 3),
            nn.ConvTranspose2d(maps, maps, 2, 2),
            Convolution(maps, maps, 3),
            Convolution(maps, PROTOTYPES),
        )


class Segmenting(Network):
    """YOLOv8 with prototypes, and coefficients (B, A, PROTOTYPES) in each cell."""

    def __init__(self, config: Config, channels: int, labels: int, backbone: nn.Module | None):
        super().__init__(config, channels, labels, backbone)
        self.prototypes = Prototypes(self.maps[0], max(PROTOTYPES, round(256 * config.width)))
        maps = max(self.maps[0] // 4, PROTOTYPES)
        self.coefficients = nn.ModuleList(Branch(c, maps, PROTOTYPES, 0.0) for c in self.maps)

    def forward(self, image: Tensor) -> tuple[Outputs, Tensor, Tensor]:  # type: ignore[override]
        """Return the edges and labels (``pred``), the coefficients and the prototypes."""
        levels = self.levels(image)
        parts = zip(self.coefficients, levels, strict=True)
        coefficient = torch.cat([in_a_row(part(x)) for part, x in parts], 1)
        return self.outputs(levels), coefficient.float(), self.prototypes(levels[0]).float()


class YOLOSeg(InstanceSegmenter):
    year = 2023
    ja = "画像ごとに数十枚の原型マスクを作り、各物体がその混ぜ方を答える"
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
        self.network = Segmenting(config, spec.channels, len(spec.labels), backbone)
        self.average = follower(self.network)

    def segment(self, image: Tensor, conf: float = 0.001, iou: float = 0.7) -> list[tuple[Tensor, Tensor]]:
        network = self.network if self.training else self.average
        (edge, label, sizes), coefficient, prototype = network(image)
        boxes = network.boxes(edge.float(), *places(sizes, image.device))
        segments = []
        for row, score in enumerate(label.float().sigmoid()):
            detections, cells = chosen(boxes[row], score, conf, iou)
            # a mask is a linear combination of the prototypes, cropped to its box
            small = torch.einsum("nk,khw->nhw", coefficient[row, cells], prototype[row])
            logit = enlarged(small, *image.shape[2:])
            segments.append((detections, (logit > 0) & inside(detections[:, 1:5], *image.shape[2:])))
        return segments

    def each(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return boxes (B, A, 4), scores (B, A, labels), coefficients and prototypes of images."""
        (edge, label, sizes), coefficient, prototype = self.average(image)
        box = self.average.boxes(edge.float(), *places(sizes, image.device))
        return box, label.float().sigmoid(), coefficient, prototype

    def portable(self) -> Portable:
        return self.carried(self.each, ("box", "probability", "coefficient", "prototype"), "objects")

    def explain(self, image: Tensor, truth: Tensor) -> list[Explained | Maps]:
        """Return the main prototypes of the highest-scoring object's mask, and that mask."""
        steps: list[Explained | Maps] = [self.surest(image)]
        (edge, label, sizes), coefficient, prototype = self.average(image)
        box = self.average.boxes(edge.float(), *places(sizes, image.device))[0]
        detections, cells = chosen(box, label[0].float().sigmoid(), SURE, OVERLAP)
        if not len(detections):
            return steps
        weight, maps = coefficient[0, cells[0]], prototype[0]
        most = (weight.abs() * maps.std((1, 2))).argsort(descending=True)[:MOST_MAPS].tolist()
        prototype_maps = [(f"{weight[k]:+.2f} x {k + 1}", maps[k]) for k in most]
        title, caption = (
            _("Prototypes"),
            _(
                "those of the image's {count} that contribute most to the most confident object, "
                "with its coefficients: orange above 0, blue below"
            ).format(count=PROTOTYPES),
        )
        steps.append(Maps(title, caption, prototype_maps, "signed"))
        total = torch.einsum("k,khw->hw", weight, maps)
        sums = [maps[most[0]] * weight[most[0]]]
        sums += [torch.einsum("k,khw->hw", weight[most[:n]], maps[most[:n]]) for n in (2, 4)]
        within = inside(detections[:1, 1:5] / GRAIN, *total.shape)[0]
        title, caption = (
            _("Their weighted sum"),
            _(
                "the more prototypes, the closer to the object; then the sum of all of them, and "
                "what is above 0 of it in the box"
            ),
        )
        names = ("1", "2", "4", str(PROTOTYPES))
        steps.append(
            Maps(
                title,
                caption,
                [
                    *zip(names, [*sums, total], strict=True),
                    (self.spec.labels[int(detections[0, 0])], ((total > 0) & within).float()),
                ],
                "signed",
            )
        )
        return steps

    def loss(self, batch: Batch) -> Tensor:
        pred, coefficient, prototype = self.network(batch.image)
        assignment = learn(self.network, pred, batch.target)
        loss = assignment.loss
        if assignment.on.any():
            loss = loss + BOX * mask_loss(coefficient, prototype, assignment.on, assignment.owner, batch)
        return loss

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch; the moving average is updated after each step."""
        for start in range(0, len(batch.image), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield "model", self.loss(Batch(batch.image[part], batch.target[part], batch.mask[part]))
            lead(self.average, self.network, self.config.average, step)

    def example(self) -> None:
        """Run one pass of the trained network, for the table of layers."""
        side = self.spec.side
        self.network(torch.empty(1, self.spec.channels, side, side, device=self.device))


def mask_loss(coefficient: Tensor, prototype: Tensor, on: Tensor, owner: Tensor, batch: Batch) -> Tensor:
    """Return the mask loss of the cells ``on`` (B, A), assigned to objects ``owner`` (B, A).

    It is the mean over cells of the cross-entropy within the object's box, divided by the box's
    area.
    """
    total = prototype.new_zeros(())
    height, width = prototype.shape[2:]
    for row, (truth, mask) in enumerate(zip(batch.target, batch.mask, strict=True)):
        mine = owner[row, on[row]]
        if not len(mine):
            continue
        logit = torch.einsum("nk,khw->nhw", coefficient[row, on[row]], prototype[row])
        true = enlarged(mask.float(), height, width)
        box = truth[:, 1:] / GRAIN
        within = inside(box, height, width).float()
        area = (box[:, 2:] - box[:, :2]).prod(1).clamp(min=1)
        wrong = F.binary_cross_entropy_with_logits(logit, true[mine], reduction="none")
        total = total + ((wrong * within[mine]).sum((1, 2)) / area[mine]).sum()
    return total / on.sum()


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """Resize (n, H, W) bilinearly to (n, height, width)."""
    return F.interpolate(maps[:, None], (height, width), mode="bilinear")[:, 0]


def inside(box: Tensor, height: int, width: int) -> Tensor:
    """Return a mask (n, height, width) of the pixels whose centre is in a box, (n, 4)."""
    y, x = (torch.arange(count, device=box.device) + 0.5 for count in (height, width))
    x1, y1, x2, y2 = box[..., None].unbind(1)
    return ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None]
