"""Box operations shared by detectors with anchors: offsets, IoU, RoI pooling.

Girshick, Donahue, Darrell, Malik: Rich feature hierarchies for accurate object detection and
semantic segmentation (2013). https://arxiv.org/abs/1311.2524

    x' = scale (x - x_anchor) / w_anchor,    w' = scale log(w / w_anchor)    likewise y and h
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from math import log
from typing import Any

import torch
from torch import Tensor

NOTHING = -1  # object index of a background box
LARGEST = log(1000 / 16)  # limit of a log size, so that its exponential stays finite
MOST_AT_ONCE = 1000  # boxes of all labels; above this, one label at a time is faster


def overlaps(box: Tensor, other: Tensor) -> Tensor:
    """Compute the intersection over union of boxes (n, 4) with boxes (m, 4), (n, m)."""
    area, other_area = ((edges[:, 2:] - edges[:, :2]).prod(1) for edges in (box, other))
    start = torch.maximum(box[:, None, :2], other[:, :2])
    end = torch.minimum(box[:, None, 2:], other[:, 2:])
    intersection = (end - start).clamp(min=0).prod(2)
    return intersection / (area[:, None] + other_area - intersection)


def giou(box: Tensor, true: Tensor) -> Tensor:
    """Generalised IoU (n,) of boxes (n, 4) with (n, 4): less, the emptier their common hull.

    Rezatofighi et al.: Generalized Intersection over Union (2019).
    https://arxiv.org/abs/1902.09630
    """
    low, high = box[:, :2].maximum(true[:, :2]), box[:, 2:].minimum(true[:, 2:])
    intersection = (high - low).clamp(min=0).prod(1)
    union = sum((edges[:, 2:] - edges[:, :2]).prod(1) for edges in (box, true)) - intersection
    hull = (box[:, 2:].maximum(true[:, 2:]) - box[:, :2].minimum(true[:, :2])).prod(1)
    return intersection / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def local_maxima(box: Tensor, score: Tensor, label: Tensor, overlap: float) -> Tensor:
    """Non-maximum suppression per label; return the kept rows by descending score.

    A box (n, 4) is removed if a box of the same label with a higher score has an IoU above
    ``overlap``.
    """
    suppress = _operators().nms
    if len(box) > MOST_AT_ONCE:
        rows = (
            torch.cat(
                [
                    group[suppress(box[group], score[group], overlap)]
                    for group in ((label == value).nonzero().flatten() for value in label.unique())
                ]
            )
            .sort()
            .values
        )
        return rows[score[rows].argsort(descending=True)]
    if not len(box):
        return label.new_empty(0, dtype=torch.long)
    apart = label.to(box) * (box.max() + 1)  # boxes of two labels never meet
    return suppress(box + apart[:, None], score, overlap)


def roi_pool(x: Tensor, boxes: Sequence[Tensor], places: int, scale: float) -> Tensor:
    """Max-pool boxes (n, 4) per image to ``places`` x ``places`` cells.

    Feature maps (B, maps, H, W) -> (all boxes, maps, places, places).
    """
    from torchvision.ops import roi_pool  # it has the gradient, which the operator alone has not

    return roi_pool(x, list(boxes), places, scale)


@lru_cache
def _operators() -> Any:
    """Load torchvision's compiled operators without importing torchvision.

    Importing it also imports torch's compiler, which takes as long as torch itself.
    """
    package = find_spec("torchvision")
    library = PathFinder.find_spec("_C", package.submodule_search_locations) if package else None
    try:
        if library is None or library.origin is None:
            raise OSError("torchvision/_C")
        torch.ops.load_library(library.origin)
    except OSError:
        from torchvision import ops  # noqa: F401  (loads them from where this version has them)
    return torch.ops.torchvision


def encode(box: Tensor, anchor: Tensor, scale: Sequence[float]) -> Tensor:
    """Encode boxes (..., 4), left, top, right, bottom, as offsets (..., 4) from their anchors.

    ``scale`` multiplies the offsets of position and of size.
    """
    size, anchor_size = box[..., 2:] - box[..., :2], anchor[..., 2:] - anchor[..., :2]
    far = (box[..., :2] + box[..., 2:] - anchor[..., :2] - anchor[..., 2:]) / 2 / anchor_size
    return torch.cat([scale[0] * far, scale[1] * (size / anchor_size).log()], -1)


def decode(offset: Tensor, anchor: Tensor, scale: Sequence[float]) -> Tensor:
    """Decode offsets (..., 4) from anchors to boxes (..., 4)."""
    size = anchor[..., 2:] - anchor[..., :2]
    middle = (anchor[..., :2] + anchor[..., 2:]) / 2 + offset[..., :2] / scale[0] * size
    half = (offset[..., 2:] / scale[1]).clamp(max=LARGEST).exp() * size / 2
    return torch.cat([middle - half, middle + half], -1)


def crossed(x: Tensor, y: Tensor) -> Tensor:
    """Return all points (x, y), row by row: (len(y) * len(x), 2)."""
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1)


def around(height: int, width: int, stride: float, sizes: Tensor) -> Tensor:
    """Return anchors of all ``sizes`` (K, 2), width and height in pixels, centred on each cell.

    Cells are ordered row by row: (height * width * K, 4).
    """
    y, x = (torch.arange(n, device=sizes.device) + 0.5 for n in (height, width))
    middle = crossed(x, y)[:, None] * stride
    return torch.cat([middle - sizes / 2, middle + sizes / 2], 2).flatten(0, 1)


def at_corners(height: int, width: int, step: Sequence[float], sizes: Tensor) -> Tensor:
    """Return anchors of all ``sizes`` (K, 2) around the upper left corner of each cell, with edges
    in whole pixels; ``step`` is the width and the height of a cell.

    Cells are ordered as by ``around``: (height * width * K, 4).
    """
    y, x = (torch.arange(n, device=sizes.device) for n in (height, width))
    corner = crossed(x, y)[:, None] * sizes.new_tensor(step)
    half = (sizes / 2).round()
    return torch.cat([corner - half, corner + half], 2).flatten(0, 1)


def clipped(box: Tensor, image: Tensor) -> Tensor:
    """Clip boxes (..., 4) to images (B, C, H, W)."""
    height, width = image.shape[-2:]
    if height == width:
        return box.clamp(0, width)
    return box.clamp(min=0).minimum(box.new_tensor([width, height, width, height]))


def drawn(owner: Tensor, count: int, share: float) -> Tensor:
    """Sample ``count`` training boxes at random, given the object of each box (A,) or NOTHING.

    At most ``share`` of them have an object; the rest are background.
    """
    on, off = (owner >= 0).nonzero().flatten(), (owner == NOTHING).nonzero().flatten()
    on = on[torch.randperm(len(on), device=on.device)][: int(count * share)]
    off = off[torch.randperm(len(off), device=on.device)][: count - len(on)]
    return torch.cat([on, off])


def roi_align(x: Tensor, box: Tensor, places: int) -> Tensor:
    """RoIAlign of boxes (n, 4), in cells of the feature map (maps, H, W) -> (n, maps, places,
    places).

    Each output is the mean of 2 x 2 bilinear samples. As two matrix products it takes a tenth of
    torchvision's time.

    He, Gkioxari, Dollár, Girshick: Mask R-CNN (2017). https://arxiv.org/abs/1703.06870
    """
    across, down = _weights(box, x.shape[1], x.shape[2], places)
    rows = down.flatten(0, 1) @ x.permute(1, 2, 0).flatten(1)  # (n * places, W * maps)
    rows = rows.view(len(box), places, x.shape[2], x.shape[0])
    return (across[:, None].to(rows.dtype) @ rows).permute(0, 3, 1, 2)


def roi_align_shifted(x: Tensor, box: Tensor, places: int, scale: float) -> Tensor:
    """RoIAlign of boxes (n, 4) as in the first programs, half a cell right of and below the true
    position, from (maps, H, W) -> (n, maps, places, places).

    ``scale`` is the number of cells per pixel. For large feature maps this is faster than
    ``roi_align``.
    """
    rows = torch.cat([box.new_zeros(len(box), 1), box], 1).to(x.dtype)
    if torch.is_grad_enabled() and x.requires_grad:
        from torchvision import ops  # it has the gradient, which the operator alone has not

        return ops.roi_align(x[None], rows, places, scale, 2)
    return _operators().roi_align(x[None], rows, scale, places, places, 2, False)


def _weights(box: Tensor, height: int, width: int, places: int) -> list[Tensor]:
    """Compute the interpolation weights of cells in boxes: (n, places, W), (n, places, H)."""
    part = (torch.arange(2 * places, device=box.device) + 0.5) / (2 * places)
    point = box[:, None, :2] + part[:, None] * (box[:, None, 2:] - box[:, None, :2]) - 0.5
    weights = []
    for axis, count in ((0, width), (1, height)):
        far = point[..., axis, None].clamp(0, count - 1) - torch.arange(count, device=box.device)
        weights.append((1 - far.abs()).clamp(min=0).unflatten(1, (places, 2)).mean(2))
    return weights


def cropped(mask: Tensor, box: Tensor, places: int) -> Tensor:
    """Crop each mask (n, H, W) to its box (n, 4) -> (n, places, places) in 0..1."""
    across, down = _weights(box, mask.shape[1], mask.shape[2], places)
    return down @ mask.to(down.dtype) @ across.transpose(1, 2)


def pasted(mask: Tensor, box: Tensor, height: int, width: int) -> Tensor:
    """Paste masks (n, places, places) into their boxes (n, 4), -> (n, height, width).

    Interpolation is bilinear; pixels outside the boxes are 0.
    """
    weights, places = [], mask.shape[1]
    for axis, count in ((0, width), (1, height)):
        low, high = box[:, axis, None], box[:, axis + 2, None]
        share = (torch.arange(count, device=box.device) + 0.5 - low) / (high - low).clamp(min=1e-6)
        at = (share * places - 0.5).clamp(0, places - 1)[..., None]
        near = (1 - (at - torch.arange(places, device=box.device)).abs()).clamp(min=0)
        weights.append(near * ((share >= 0) & (share < 1))[..., None])
    across, down = weights  # (n, W, places), (n, H, places)
    return down @ mask.to(down.dtype) @ across.transpose(1, 2)
