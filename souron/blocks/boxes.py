"""Boxes against boxes, which detectors with anchors share: offsets, overlaps, parts of maps.

Girshick, Donahue, Darrell, Malik: Rich feature hierarchies for accurate object detection and
semantic segmentation (2013). https://arxiv.org/abs/1311.2524

    x' = scale (x - x_anchor) / w_anchor,    w' = scale log(w / w_anchor)    alike y and h
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from math import log
from typing import Any

import torch
from torch import Tensor

NOTHING = -1  # the object of a box that learns background
LARGEST = log(1000 / 16)  # of a logarithm of sizes, so that its exponential stays finite
MOST_AT_ONCE = 1000  # boxes of all labels; more are quicker label by label


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes (n, 4) with boxes (m, 4): (n, m)."""
    area, other_area = ((box[:, 2:] - box[:, :2]).prod(1) for box in (one, other))
    start = torch.maximum(one[:, None, :2], other[:, :2])
    end = torch.minimum(one[:, None, 2:], other[:, 2:])
    shared = (end - start).clamp(min=0).prod(2)
    return shared / (area[:, None] + other_area - shared)


def local_maxima(box: Tensor, score: Tensor, label: Tensor, overlap: float) -> Tensor:
    """Rows of boxes (n, 4) that no surer box of their label overlaps by more than ``overlap``
    (non-maximum suppression), the surest first."""
    suppress = _operators().nms
    if len(box) > MOST_AT_ONCE:
        kept = torch.cat([
            rows[suppress(box[rows], score[rows], overlap)]
            for rows in ((label == one).nonzero().flatten() for one in label.unique())
        ]).sort().values  # fmt: skip
        return kept[score[kept].argsort(descending=True)]
    if not len(box):
        return label.new_empty(0, dtype=torch.long)
    apart = label.to(box) * (box.max() + 1)  # boxes of two labels never meet
    return suppress(box + apart[:, None], score, overlap)


def roi_pool(x: Tensor, boxes: Sequence[Tensor], places: int, scale: float) -> Tensor:
    """The largest value in each of ``places`` times ``places`` parts of boxes (n, 4), a tensor for
    each of the maps (B, maps, H, W) -> (all boxes, maps, places, places)."""
    from torchvision.ops import roi_pool  # it has the gradient, which the operator alone has not

    return roi_pool(x, list(boxes), places, scale)


@lru_cache
def _operators() -> Any:
    """torchvision's compiled operators. They are loaded without torchvision itself, which also
    imports torch's compiler: that takes as long as torch."""
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


def drawn(owner: Tensor, count: int, share: float) -> Tensor:
    """Rows that learn, by chance, of boxes with their object's number (A,): at most ``share`` of
    ``count`` have an object, the rest NOTHING."""
    on, off = (owner >= 0).nonzero().flatten(), (owner == NOTHING).nonzero().flatten()
    on = on[torch.randperm(len(on), device=on.device)][: int(count * share)]
    off = off[torch.randperm(len(off), device=on.device)][: count - len(on)]
    return torch.cat([on, off])


def roi_align(x: Tensor, box: Tensor, places: int) -> Tensor:
    """Of a map (maps, H, W) what lies in boxes (n, 4), in the map's places -> (n, maps, places,
    places): each the mean of two by two points between the map's places, none rounded. As two
    matrix products it takes a tenth of torchvision's time.

    He, Gkioxari, Dollár, Girshick: Mask R-CNN (2017). https://arxiv.org/abs/1703.06870
    """
    across, down = _weights(box, x.shape[1], x.shape[2], places)
    rows = down.flatten(0, 1) @ x.permute(1, 2, 0).flatten(1)  # (n * places, W * maps)
    rows = rows.view(len(box), places, x.shape[2], x.shape[0])
    return (across[:, None].to(rows.dtype) @ rows).permute(0, 3, 1, 2)


def _weights(box: Tensor, height: int, width: int, places: int) -> list[Tensor]:
    """How much each of a map's places is in each of a box's: (n, places, W), (n, places, H)."""
    part = (torch.arange(2 * places, device=box.device) + 0.5) / (2 * places)
    point = box[:, None, :2] + part[:, None] * (box[:, None, 2:] - box[:, None, :2]) - 0.5
    weights = []
    for axis, count in ((0, width), (1, height)):
        far = point[..., axis, None].clamp(0, count - 1) - torch.arange(count, device=box.device)
        weights.append((1 - far.abs()).clamp(min=0).unflatten(1, (places, 2)).mean(2))
    return weights


def cropped(mask: Tensor, box: Tensor, places: int) -> Tensor:
    """Of masks (n, H, W) what lies in a box of each, (n, 4) -> (n, places, places) in 0..1."""
    across, down = _weights(box, mask.shape[1], mask.shape[2], places)
    return down @ mask.to(down.dtype) @ across.transpose(1, 2)


def pasted(mask: Tensor, box: Tensor, height: int, width: int) -> Tensor:
    """The way back: masks (n, places, places) laid into boxes (n, 4) of a picture of so many
    pixels, (n, height, width), linearly between their places; 0 outside of the boxes."""
    weights, places = [], mask.shape[1]
    for axis, count in ((0, width), (1, height)):
        low, high = box[:, axis, None], box[:, axis + 2, None]
        share = (torch.arange(count, device=box.device) + 0.5 - low) / (high - low).clamp(min=1e-6)
        at = (share * places - 0.5).clamp(0, places - 1)[..., None]
        near = (1 - (at - torch.arange(places, device=box.device)).abs()).clamp(min=0)
        weights.append(near * ((share >= 0) & (share < 1))[..., None])
    across, down = weights  # (n, W, places), (n, H, places)
    return down @ mask.to(down.dtype) @ across.transpose(1, 2)
