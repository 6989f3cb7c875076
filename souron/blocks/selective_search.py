"""Selective search: region proposals without training, by hierarchical merging of segments.

Uijlings, van de Sande, Gevers, Smeulders: Selective Search for Object Recognition (2013).
https://doi.org/10.1007/s11263-013-0620-5

Felzenszwalb, Huttenlocher: Efficient Graph-Based Image Segmentation (2004).
https://doi.org/10.1023/B:VISI.0000022288.19776.77

    pixels join where their difference <= min over both regions of (largest difference within +
    k / pixels);  then the most similar neighbours merge, until one region is left
    similarity = shared colours + (1 - both sizes) + (1 - rest of their common box)

Large images are downsized first; texture is not used. Two scales and one colour space are searched,
where the paper's fast variant has two of each; at ``SIDE`` pixels nothing below about a tenth of
the side is proposed. Results are cached.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.data.dataset import ListColumn, Rows
from souron.utils import files
from souron.utils.messages import UserError

SIDE = 80  # pixels at most
SMOOTH = 0.8  # pixels
SCALES = (40.0, 150.0)  # k, for intensities of 0 to 255: larger k gives larger regions
SMALLEST = 8  # pixels of a region
BINS = 16  # intensities per bin of a colour histogram
PROPOSED = -torch.inf  # label of a proposal among the boxes of an image
VERSION = 2  # of the cached files
KEPT, LOOKED = 20_000, 500  # most files in the cache, and new files between two checks

Array = NDArray[np.float64]


def proposals(image: Tensor) -> Tensor:
    """Return boxes (n, 4), left, top, right, bottom in pixels, of an image (C, H, W) in 0..1.

    The last box is the whole image. Results are cached; a damaged file is rebuilt.
    """
    pixels = (image.detach().float().cpu() * 255).round().clamp(0, 255).byte().contiguous()
    hasher = hashlib.blake2b(repr((VERSION, tuple(pixels.shape))).encode(), digest_size=16)
    hasher.update(pixels.numpy().data)
    folder = files.cache_folder() / "proposals"
    file = folder / f"{hasher.hexdigest()}.safetensors"
    if file.exists():
        try:
            box = files.read_tensors(file)[0]["box"]
            if box.ndim == 2 and box.shape[1] == 4 and len(box):
                return box.float().to(image.device)
        except (UserError, KeyError):
            file.unlink(missing_ok=True)
    box = search(pixels)
    files.write_tensors(file, {"box": box}, {})
    make_room(folder)
    return box.float().to(image.device)


def moved_along(augment: Callable[[Rows, Generator], Rows]) -> Callable[[Rows, Generator], Rows]:
    """Extend an augmentation of images and boxes to the proposals of the original images.

    Proposals are added to the boxes; ``of_rows`` extracts them.
    """

    def change(rows: Rows, generator: Generator) -> Rows:
        boxes = [
            F.pad(proposals(image / 255), (1, 0), value=PROPOSED).to(box.dtype)
            for image, box in zip(rows.input, rows.target, strict=True)
        ]
        both = [torch.cat(parts) for parts in zip(rows.target, boxes, strict=True)]
        return augment(Rows(rows.input, ListColumn(both)), generator)

    return change


def of_rows(rows: Rows) -> list[Tensor]:
    """Return the proposals (n, 4) among the boxes of each image, possibly none."""
    boxes = [] if rows.target is None else rows.target
    return [box[box[:, 0] == PROPOSED, 1:] for box in boxes]


def search_all(images: Any) -> Iterator[float]:
    """Compute and cache the proposals of images (N, C, H, W) in 0..255; yield the fraction done.

    At most ``KEPT`` images are processed, the size of the cache.
    """
    most = min(KEPT, len(images))
    every = (image for part in images.split(LOOKED) for image in part)
    for number, image in zip(range(most), every, strict=False):
        proposals(image / 255)
        if number % 8 == 0 or number + 1 == most:
            yield (number + 1) / most


_written = 0


def make_room(folder: Path) -> None:
    """Remove the oldest files beyond ``KEPT``; checks only every ``LOOKED`` calls."""
    global _written
    _written += 1
    if _written % LOOKED:
        return
    files = sorted(folder.glob("*.safetensors"), key=lambda file: -file.stat().st_mtime)
    for old in files[KEPT:]:
        old.unlink(missing_ok=True)


def search(pixels: Tensor) -> Tensor:
    """Compute boxes (n, 4) float16 in an image (C, H, W) uint8."""
    height, width = pixels.shape[1:]
    small = pixels.float()
    scale = max(1.0, max(height, width) / SIDE)
    if scale > 1:
        sides = (max(1, round(height / scale)), max(1, round(width / scale)))
        small = F.interpolate(small[None], sides, mode="bilinear", antialias=True)[0]
    colours = small.numpy().transpose(1, 2, 0).astype(np.float64)
    boxes = np.concatenate([merged(segments(colours, k), colours) for k in SCALES])
    boxes = np.unique(boxes, axis=0) * np.array([width / small.shape[2], height / small.shape[1]] * 2)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= 2).all(1)]
    whole = np.array([[0, 0, width, height]], dtype=float)
    return torch.from_numpy(np.concatenate([boxes, whole])).to(torch.float16)


def segments(colours: Array, k: float) -> NDArray[np.int64]:
    """Segment an image (H, W, C) into regions (H, W), numbered from 0."""
    height, width = colours.shape[:2]
    smooth = scipy.ndimage.gaussian_filter(colours, (SMOOTH, SMOOTH, 0))
    number = np.arange(height * width).reshape(height, width)
    pairs = [(number[:, :-1], number[:, 1:]), (number[:-1], number[1:])]
    flat = smooth.reshape(-1, colours.shape[2])
    first, second = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    far = np.sqrt(((flat[first] - flat[second]) ** 2).sum(1))
    order = np.argsort(far, kind="stable")
    first, second, far = first[order], second[order], far[order]
    parent, size = list(range(height * width)), [1] * (height * width)
    most = [k] * (height * width)  # a region's largest difference + k / size
    edges = zip(first.tolist(), second.tolist(), far.tolist(), strict=True)
    for a, b, difference in edges:
        a, b = root(parent, a), root(parent, b)
        if a != b and difference <= most[a] and difference <= most[b]:
            join(parent, size, most, a, b, difference + k / (size[a] + size[b]))
    regions = roots(parent)
    apart = regions[first] != regions[second]
    for a, b in zip(first[apart].tolist(), second[apart].tolist(), strict=True):
        a, b = root(parent, a), root(parent, b)
        if a != b and min(size[a], size[b]) < SMALLEST:
            join(parent, size, most, a, b, 0.0)
    return np.unique(roots(parent), return_inverse=True)[1].reshape(height, width)


def root(parent: list[int], node: int) -> int:
    """Find the representative of a region with path compression (union-find)."""
    above = parent[node]
    while above != node:
        parent[node] = node = parent[above]
        above = parent[node]
    return node


def join(parent: list[int], size: list[int], most: list[float], a: int, b: int, last: float) -> None:
    """Merge the smaller of two regions into the larger one."""
    if size[a] < size[b]:
        a, b = b, a
    parent[b], most[a] = a, last
    size[a] += size[b]


def roots(parent: list[int]) -> NDArray[np.int64]:
    representatives = np.array(parent)
    while (representatives != representatives[representatives]).any():
        representatives = representatives[representatives]
    return representatives


def merged(region: NDArray[np.int64], colours: Array) -> NDArray[np.int64]:
    """Return the boxes (n, 4) of regions (H, W) and of all merged pairs of neighbours."""
    count, area = int(region.max()) + 1, region.size
    size = np.bincount(region.ravel()).astype(float)
    box = np.array([[x.start, y.start, x.stop, y.stop] for y, x in scipy.ndimage.find_objects(region + 1)])
    bins = 256 // BINS
    colour = (colours // BINS).astype(int).reshape(area, -1)
    histogram = (
        np.concatenate(
            [
                np.bincount(region.ravel() * bins + column, minlength=count * bins).reshape(count, bins)
                for column in colour.T
            ],
            1,
        )
        / size[:, None]
        / colour.shape[1]
    )
    near = np.zeros((count, count), dtype=bool)
    for here, there in ((region[:, :-1], region[:, 1:]), (region[:-1], region[1:])):
        near[here, there] = near[there, here] = True
    np.fill_diagonal(near, False)

    def similar(a: int) -> Array:
        low, high = np.minimum(box[:, :2], box[a, :2]), np.maximum(box[:, 2:], box[a, 2:])
        together = size + size[a]
        beside = (high - low).prod(1) - together
        intersection = np.minimum(histogram, histogram[a]).sum(1)
        return np.where(near[a], intersection + 2 - together / area - beside / area, -np.inf)

    likeness = np.stack([similar(a) for a in range(count)])
    boxes = [row.copy() for row in box]
    for _merge in range(count - 1):
        a, b = divmod(int(likeness.argmax()), count)
        both = size[a] + size[b]
        histogram[a] = (size[a] * histogram[a] + size[b] * histogram[b]) / both
        size[a] = both
        box[a, :2] = np.minimum(box[a, :2], box[b, :2])
        box[a, 2:] = np.maximum(box[a, 2:], box[b, 2:])
        boxes.append(box[a].copy())
        near[a] |= near[b]
        near[:, a] = near[a]
        near[a, a] = False
        near[b] = near[:, b] = False
        likeness[b] = likeness[:, b] = -np.inf
        likeness[a] = likeness[:, a] = similar(a)
    return np.array(boxes)
