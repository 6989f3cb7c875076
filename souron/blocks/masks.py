"""The mask branch of Mask R-CNN.

He, Gkioxari, Dollár, Girshick: Mask R-CNN (2017). https://arxiv.org/abs/1703.06870
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.blocks.boxes import cropped, pasted
from souron.blocks.rcnn import RCNN, normed

DRAWN = 14  # side of a pooled region; a mask has twice the side


class Drawer(nn.Sequential):
    """The mask head: regions (R, maps, 14, 14) -> logits of each label's mask (R,
    labels, 28, 28).
    """

    def __init__(self, maps: int, labels: int, norms: bool = False) -> None:
        layers: list[nn.Module] = []
        for _layer in range(max(1, maps // 64)):
            conv = normed(maps, maps, 3) if norms else [nn.Conv2d(maps, maps, 3, padding=1)]
            layers += [*conv, nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(maps, maps, 2, 2), nn.ReLU(inplace=True)]
        layers.append(nn.Conv2d(maps, labels, 1))
        super().__init__(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class MaskedRCNN(RCNN):
    """An R-CNN that predicts a mask in each region."""

    drawer: Drawer

    def build(self, backbone: Any, labels: int) -> None:
        super().build(backbone, labels)
        self.drawer = Drawer(self.config.maps, labels, self.layout.normed)

    def drawn(self, levels: Sequence[Tensor], box: Sequence[Tensor], label: Tensor) -> Tensor:
        """Compute mask logits (R, 28, 28) of each image's boxes (n, 4) for their labels (R,)."""
        part = self.pooled(levels, box, DRAWN).contiguous(memory_format=torch.channels_last)
        logit = self.drawer(part).float()
        return logit[torch.arange(len(label), device=label.device), label]

    def masks(self, levels: Sequence[Tensor], boxes: Sequence[Tensor], side: Sequence[int]) -> list[Tensor]:
        """Predict masks (n, H, W) bool of each image's boxes (n, 5 or more).

        Columns are label, left, top, right, bottom; ``side`` is the image's height and width.
        """
        masks = []
        for row, box in enumerate(boxes):
            mask = torch.zeros((len(box), *side), dtype=torch.bool, device=box.device)
            if len(box):
                own = [x[row : row + 1] for x in levels]
                small = self.drawn(own, [box[:, 1:5]], box[:, 0].long()).sigmoid()
                mask = pasted(small, box[:, 1:5], *side) >= 0.5
            masks.append(mask)
        return masks

    def mask_loss(self, levels: Sequence[Tensor], box: Sequence[Tensor], owner: Sequence[Tensor], batch: Any) -> Tensor:
        """Compute the mask loss over regions with an object.

        It is the binary cross-entropy between the mask of the true label and the object's mask
        cropped to the region. ``batch`` holds ``target`` (n, 5), label and box, and ``mask`` (n, H,
        W) of each image.
        """
        objects, label, targets = [], [], []
        for edges, mine, truth, mask in zip(box, owner, batch.target, batch.mask, strict=True):
            on = mine >= 0
            objects.append(edges[on])
            label.append(truth[mine[on], 0].long())
            targets.append(cropped(mask[mine[on]], edges[on], 2 * DRAWN) >= 0.5)
        if not sum(map(len, objects)):
            return levels[0].new_zeros(())
        logit = self.drawn(levels, objects, torch.cat(label))
        return F.binary_cross_entropy_with_logits(logit, torch.cat(targets).float())
