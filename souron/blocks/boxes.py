"""Boxes against boxes, which detectors with anchors share: offsets, overlaps, parts of maps.

Girshick, Donahue, Darrell, Malik: Rich feature hierarchies for accurate object detection and
semantic segmentation (2013). https://arxiv.org/abs/1311.2524

    x' = scale (x - x_anchor) / w_anchor,    w' = scale log(w / w_anchor)    alike y and h
"""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor
from torchvision.ops import batched_nms as local_maxima
from torchvision.ops import box_iou as overlaps
from torchvision.ops import roi_align, roi_pool

LARGEST = log(1000 / 16)  # of a logarithm of sizes, so that its exponential stays finite


def encode(box: Tensor, anchor: Tensor, scale: Sequence[float]) -> Tensor:
    """Boxes (..., 4), left, top, right, bottom, as offsets (..., 4) from their anchors; ``scale``
    is what offsets of place and of size are multiplied by."""
    size, anchor_size = box[..., 2:] - box[..., :2], anchor[..., 2:] - anchor[..., :2]
    far = (box[..., :2] + box[..., 2:] - anchor[..., :2] - anchor[..., 2:]) / 2 / anchor_size
    return torch.cat([scale[0] * far, scale[1] * (size / anchor_size).log()], -1)


def decode(offset: Tensor, anchor: Tensor, scale: Sequence[float]) -> Tensor:
    """Offsets (..., 4) from anchors -> boxes (..., 4)."""
    size = anchor[..., 2:] - anchor[..., :2]
    middle = (anchor[..., :2] + anchor[..., 2:]) / 2 + offset[..., :2] / scale[0] * size
    half = (offset[..., 2:] / scale[1]).clamp(max=LARGEST).exp() * size / 2
    return torch.cat([middle - half, middle + half], -1)


def around(height: int, width: int, stride: float, sizes: Tensor) -> Tensor:
    """Boxes of each of the ``sizes`` (K, 2), width and height in pixels, around each place of a
    map, row by row: (height * width * K, 4)."""
    y, x = (torch.arange(n, device=sizes.device) + 0.5 for n in (height, width))
    middle = torch.cartesian_prod(y, x).flip(1)[:, None] * stride
    return torch.cat([middle - sizes / 2, middle + sizes / 2], 2).flatten(0, 1)


__all__ = ["around", "decode", "encode", "local_maxima", "overlaps", "roi_align", "roi_pool"]
