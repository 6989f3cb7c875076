"""Distances between images, and the nearest training image of each image.

An image x is judged by how much nearer its nearest training image is than its neighbourhood:

    ratio(x) = |x - t_1| / median of |x - t_1|, ..., |x - t_k|      t_1, t_2, ... nearest first

Carlini and others: Extracting Training Data from Diffusion Models (2023).
https://arxiv.org/abs/2301.13188   (with the mean; a few copies of t_1 leave the median unchanged)

Distances are measured between pixels and between the features of a fixed network, for copies that
no longer agree pixel by pixel (Somepalli and others: Diffusion Art or Digital Forgery?, 2022,
https://arxiv.org/abs/2212.03860); mirrored or shifted by a pixel, a copy is a copy still.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data.quality import duplicates
from souron.utils.messages import _

NEIGHBOURS = 50
SIDE = 32  # pixels, to which larger images are reduced for the pixel distance
MOST_SEEN = 60_000  # training images for the feature distance
FENCE = 3.0  # interquartile ranges below the lower quartile: far outliers, after Tukey
QUERIES, KNOWN = 128, 2048  # images compared at once


class Extractor(Protocol):
    """A fixed network for image features."""

    @property
    def name(self) -> str: ...

    def features(self, image: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in 0..255."""
        ...


class Change(NamedTuple):
    """A transformation that a copy may have undergone."""

    mirror: bool = False
    down: int = 0  # pixels
    right: int = 0

    def of(self, image: Tensor) -> Tensor:
        """Apply the change to images (N, C, H, W), repeating edges."""
        if self.mirror:
            image = image.flip(-1)
        if not (self.down or self.right):
            return image
        height, width = image.shape[-2:]
        edged = F.pad(image.float(), (1, 1, 1, 1), "replicate")
        top, left = 1 - self.down, 1 - self.right
        return edged[..., top : top + height, left : left + width].to(image.dtype)

    def __str__(self) -> str:
        names = [_("mirrored")] if self.mirror else []
        return ", ".join([*names, _("shifted by a pixel")] if self.down or self.right else names)


SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class Space:
    """A distance between images."""

    name: str  # "pixels", "features"
    embed: Callable[[Tensor], Tensor]  # (N, C, H, W) in 0..255 -> (N, D)
    changes: tuple[Change, ...]
    network: str = ""  # its name
    most: int = sys.maxsize  # most training images compared


def pixels() -> Space:
    """Return the root mean square difference of pixel values, in levels of 0..255."""
    changes = tuple(Change(m, *shift) for m, shift in itertools.product((False, True), SHIFTS))
    return Space("pixels", _pixels, changes)


def features(extractor: Extractor) -> Space:
    """Return the distance between the features of a fixed network."""
    changes = (Change(), Change(mirror=True))
    return Space("features", extractor.features, changes, extractor.name, MOST_SEEN)


def _pixels(image: Tensor) -> Tensor:
    """Flatten images to (N, D), scaled so that distances are root mean squares.

    Larger images are reduced.
    """
    values = image.float()
    if image.shape[-1] > SIDE:
        values = F.interpolate(values, (SIDE, SIDE), mode="bilinear", antialias=True)
    values = values.flatten(1)
    return (values - 127.5) / math.sqrt(values.shape[1])


@dataclass(frozen=True)
class Nearest:
    """The nearest training image of each image."""

    row: Tensor  # (N,) index of the training image
    distance: Tensor  # (N,)
    ratio: Tensor  # (N,)
    change: Tensor  # (N,) index of the space's change with the least distance

    def only(self, chosen: Tensor) -> "Nearest":
        return Nearest(*(values[chosen] for values in vars(self).values()))


@torch.inference_mode()
def nearest(image: Tensor, training: Tensor, space: Space) -> Iterator[tuple[float, Nearest | None]]:
    """Yield progress 0..1 and, at the end, the nearest training image of each image (N, C, H, W).

    The training images are processed in batches, so that memory does not grow with them.
    """
    rows = torch.arange(len(training))
    if len(rows) > space.most:
        rows = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: space.most]
    batches = [Neighbours.of(some, space) for some in image.split(QUERIES)]
    pieces = rows.split(KNOWN)
    for done, piece in enumerate(pieces, 1):
        known = space.embed(training[piece])
        for batch in batches:
            batch.update(known, piece)
        yield done / (len(pieces) + 1), None
    columns = zip(*(batch.nearest(training, space) for batch in batches), strict=True)
    yield 1.0, Nearest(*map(torch.cat, columns))


@dataclass
class Neighbours:
    """The nearest training images so far of a batch of images, the nearest first."""

    own: Tensor  # (V, B, D) the batch under each change, embedded
    square: Tensor  # (B, k) distances
    row: Tensor  # (B, k) indices of training images
    change: Tensor  # (B, k)

    @classmethod
    def of(cls, image: Tensor, space: Space) -> "Neighbours":
        own = torch.stack([space.embed(change.of(image)) for change in space.changes])
        none = torch.empty(len(image), 0, dtype=torch.long)
        return cls(own, none.float(), none, none)

    def update(self, known: Tensor, row: Tensor) -> None:
        """Compare with more training images (K, D), whose indices are ``row``."""
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b
        apart = torch.stack(
            [
                torch.addmm(known.square().sum(1), one, known.T, alpha=-2).add_(one.square().sum(1, keepdim=True))
                for one in self.own
            ]
        )  # (V, B, K)
        least, change = apart.min(0)
        square = torch.cat([self.square, least], 1)
        self.square, kept = square.topk(min(NEIGHBOURS, square.shape[1]), largest=False)
        self.row = torch.cat([self.row, row.expand(len(least), -1)], 1).gather(1, kept)
        self.change = torch.cat([self.change, change], 1).gather(1, kept)

    def nearest(self, training: Tensor, space: Space) -> tuple[Tensor, ...]:
        """Return the fields of ``Nearest``."""
        row, change = self.row[:, 0], self.change[:, 0]
        mine = self.own[change, torch.arange(len(row))]
        # recomputed without the rounding of the sum above, which matters near 0
        distance = (mine - space.embed(training[row])).norm(dim=1)
        typical = self.square.clamp(min=0).sqrt().median(1).values
        return row, distance, distance / typical.clamp(min=1e-6), change


def are_copies(held_out: Tensor, training: Tensor, near: Nearest, space: Space) -> Tensor:
    """Return a mask (N,) of held-out images that are copies of training images.

    They equal a training image up to brightness, and are far nearer than the others. They would
    make the threshold 0.
    """
    logs = near.ratio.clamp(min=1e-6).log()
    low, high = logs.quantile(torch.tensor([0.25, 0.75]))
    copies = logs < low - FENCE * (high - low)
    for i in copies.nonzero().flatten().tolist():
        change = space.changes[int(near.change[i])]
        mine, theirs = change.of(held_out[i : i + 1]), training[near.row[i]][None]
        likeness = duplicates.alike(mine.float(), theirs.float(), duplicates.FINE)
        copies[i] = likeness[0] > duplicates.ALIKE_FINE
    return copies
