"""One look finds every object: each place of three grids says what is there, and its edges.

Terven, Córdova-Esparza, Romero-González: A Comprehensive Review of YOLO Architectures in Computer
Vision: From YOLOv1 to YOLOv8 and YOLO-NAS (2023). https://arxiv.org/abs/2304.00501

    image -> backbone -> 8, 16, 32 pixels per cell -> down and up again (PAN) -> at each cell
    scores s = sigmoid(label),    edges d = sum_i i softmax(edge)_i    left, top, right, bottom
    box = cell -+ d * stride,    loss = 7.5 CIoU + 0.5 BCE(s, t) + 1.5 DFL(edges)

YOLOv8 (Jocher, Chaurasia, Qiu 2023) has no paper of its own; this is written after its description.
Its parts: convolutions that pass half of their channels on unchanged (CSP; Wang et al. 2019,
https://arxiv.org/abs/1911.11929), a pyramid with an additional bottom-up path (PAN; Liu et al.
2018, https://arxiv.org/abs/1803.01534), and an anchor-free head with separate branches for labels
and edges. An edge's distance is a distribution over 0 to 15 strides, trained on the two bins next
to the true one (DFL; Li et al. 2020, https://arxiv.org/abs/2006.04388). Cells are assigned to
objects at each step: the ten inside it where s^0.5 u^6 is largest, u the overlap of the current
prediction (TOOD; Feng et al. 2021, https://arxiv.org/abs/2108.07755); the target t of the best is
its overlap, that of the others less. Boxes are trained on the overlap, the distance of centres and
the aspect (CIoU; Zheng et al. 2019, https://arxiv.org/abs/1911.08287). A moving average of the
weights is used for inference.

Differs from the paper: AdamW and one cycle of the rate; images are shifted and mirrored, without
mosaic; a batch is trained in parts, and the average decays faster; the initial scores of labels are
0.01 on each grid, not those of five objects in an image of 640 pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.blocks.averaging import follower
from souron.blocks.yolo import Network, assign, lead, learn, places
from souron.hub.backbones import Backbone
from souron.tasks.detect import Batch, Detector, Explained, Spec
from souron.utils.messages import _

AT_ONCE = 16  # images per training step


@dataclass(frozen=True)
class Config:
    width: float = 1.0  # times 64 to 1024 channels
    depth: float = 1.0  # times 3 to 6 blocks
    most: int = 1024  # most channels before ``width``
    rate: float = 1e-3
    average: float = 0.999  # decay of the moving average of weights
    backbone: str = ""  # a classifier whose published layers replace the backbone


class YOLO(Detector):
    year = 2023
    ja = "画像を一度だけ見て、三つの格子の各点が、そこに何があり端までどれだけかを答える"
    channels_last = True
    step = 32
    clip = 10.0
    SIZES = {
        "tiny": Config(0.125, 0.33, rate=5e-3, average=0.95),
        "small": Config(0.25, 0.33, rate=4e-3, average=0.99),
        "n": Config(0.25, 0.33),
        "s": Config(0.5, 0.33),
        "m": Config(0.75, 0.67, 768),
        "lite": Config(0.25, 0.33, rate=4e-3, average=0.99, backbone="efficientnet_lite"),
    }

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        backbone = Backbone(config.backbone, spec.channels) if config.backbone else None
        self.network = Network(config, spec.channels, len(spec.labels), backbone)
        self.average = follower(self.network)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network if self.training else self.average
        edge, label, sizes = network(image)
        box = network.boxes(edge.float(), *places(sizes, image.device))
        return box, label.float().sigmoid()  # (B, A, 4), (B, A, labels)

    def loss(self, batch: Batch) -> Tensor:
        return learn(self.network, self.network(batch.image), batch.target).loss

    def updates(self, batch: Batch, step: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of parts of a batch; the moving average is updated after each step."""
        for start in range(0, len(batch.image), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield "model", self.loss(Batch(batch.image[part], batch.target[part]))
            lead(self.average, self.network, self.config.average, step)

    @torch.inference_mode()
    def explain(self, image: Tensor, truth: Tensor) -> list[Explained]:
        """Return the cells that would be assigned to objects in training, and the final boxes."""
        if not len(truth):
            return [self.candidates(image), self.surest(image)]
        edge, label, sizes = self.average(image)
        center, stride = places(sizes, image.device)
        squares = torch.cat([center - stride / 2, center + stride / 2], 1)
        box, there = self.average.boxes(edge.float(), center, stride), truth[None, :, 0] >= 0
        _owner, [sure] = assign(label.float().sigmoid(), box, center, truth[None], there)
        squares, sure = squares[sure > 0], sure[sure > 0]
        title, caption = (
            _("Anchor points that learn"),
            _(
                "the anchor points that are trained to detect an object: squares of one stride, "
                "the more confident the better"
            ),
        )
        learning = Explained(title, caption, squares, sure)
        return [learning, self.surest(image)]

    def example(self) -> None:
        """Run one pass of the trained network, for the table of layers."""
        side = self.spec.side
        self.network(torch.empty(1, self.spec.channels, side, side, device=self.device))
