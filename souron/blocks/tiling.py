"""Apply a network to a large image in overlapping tiles that are blended.

    w_1 + w_2 = 1 in the strip shared by two tiles; near its own edge a tile has weight 0

Near its edge, a tile lacks context, so that the output there differs from that for the whole image.
The quarter of the strip next to an edge is left out; in the half between, the weights change
linearly from one tile to the other. Rows are returned as soon as they are finished.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]  # (C, h, w) in 0..1 -> (C', s h, s w)


class Window(NamedTuple):
    """The extent of a tile along one side, and the weight of each position."""

    start: int
    stop: int
    weight: Tensor  # (scale * (stop - start),)


def windows(length: int, tile: int, overlap: int, scale: int = 1) -> list[Window]:
    """Return the tiles along a side of ``length`` pixels; the weights sum to 1 at every position.

    Only neighbouring tiles overlap.
    """
    tile = max(tile, 2)
    overlap = min(overlap, tile // 2)
    step = tile - overlap
    count = max(1, -(-(length - overlap) // step))
    ends = [(i * step, min(i * step + tile, length)) for i in range(count)]
    tiles = []
    for number, (start, stop) in enumerate(ends):
        position = (torch.arange(scale * (stop - start)) + 0.5) / scale + start
        weight = torch.ones_like(position)
        if number:
            weight *= _rise(position, start, ends[number - 1][1])
        if number + 1 < count:
            weight *= 1 - _rise(position, ends[number + 1][0], stop)
        tiles.append(Window(start, stop, weight))
    return tiles


def _rise(position: Tensor, start: int, stop: int) -> Tensor:
    """Linear ramp: 0 in the first quarter of a strip, 1 in its last quarter."""
    edge = (stop - start) / 4
    return ((position - start - edge) / max(stop - start - 2 * edge, 1e-6)).clamp(0, 1)


def count(size: tuple[int, int], tile: int, overlap: int) -> int:
    """Return the number of tiles of an image of that width and height."""
    wide, high = (len(windows(length, tile, overlap)) for length in size)
    return wide * high


def rows(network: Network, image: Tensor, tile: int, overlap: int, scale: int = 1) -> Iterator[Tensor]:
    """Yield strips (C', h, scale W) float32 of the output, from top to bottom.

    ``picture`` (C, H, W) has bytes, or floats in 0..255.
    """
    across = windows(image.shape[2], tile, overlap, scale)
    wide = scale * image.shape[2]
    overhang = None  # partial output of the tiles above
    down = windows(image.shape[1], tile, overlap, scale)
    for number, (top, bottom, high) in enumerate(down):
        strip = None
        for x0, x1, weight in across:
            patch = image[:, top:bottom, x0:x1].float() / 255
            output = network(patch).float() * high[:, None] * weight
            if strip is None:
                strip = torch.zeros(len(output), scale * (bottom - top), wide)
            strip[:, :, scale * x0 : scale * x1] += output
        assert strip is not None
        if overhang is not None:
            strip[:, : overhang.shape[1]] += overhang
        height = scale * ((down[number + 1].start if number + 1 < len(down) else bottom) - top)
        yield strip[:, :height]
        overhang = strip[:, height:]
