"""A large picture through a network a tile at a time: tiles overlap, and blend into each other.

    w_1 + w_2 = 1 in the strip that two tiles share; near its own edge a tile counts nothing

A tile's edge lacks what lies beyond it, so that what a network says there differs from what it says
of the whole picture. The quarter of the strip next to an edge is left out; in the half between
the weights go from one tile to the other in a straight line. Rows are written as soon as no tile
to come reaches them.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]  # (C, h, w) in 0..1 -> (C', s h, s w)


class Window(NamedTuple):
    """From where to where a tile reaches along one side, and what each place counts."""

    start: int
    stop: int
    weight: Tensor  # (scale * (stop - start),)


def windows(length: int, tile: int, overlap: int, scale: int = 1) -> list[Window]:
    """Tiles along a side of ``length`` pixels; only neighbours overlap, and the weights of all add
    up to 1 in every place."""
    tile = max(tile, 2)
    overlap = min(overlap, tile // 2)
    step = tile - overlap
    count = max(1, -(-(length - overlap) // step))
    ends = [(i * step, min(i * step + tile, length)) for i in range(count)]
    found = []
    for number, (start, stop) in enumerate(ends):
        place = (torch.arange(scale * (stop - start)) + 0.5) / scale + start
        weight = torch.ones_like(place)
        if number:
            weight *= _rise(place, start, ends[number - 1][1])
        if number + 1 < count:
            weight *= 1 - _rise(place, ends[number + 1][0], stop)
        found.append(Window(start, stop, weight))
    return found


def _rise(place: Tensor, start: int, stop: int) -> Tensor:
    """0 up to the first quarter of a strip, 1 from its last quarter on."""
    edge = (stop - start) / 4
    return ((place - start - edge) / max(stop - start - 2 * edge, 1e-6)).clamp(0, 1)


def count(size: tuple[int, int], tile: int, overlap: int) -> int:
    """Tiles of a picture of that width and height."""
    wide, high = (len(windows(length, tile, overlap)) for length in size)
    return wide * high


def rows(
    network: Network, picture: Tensor, tile: int, overlap: int, scale: int = 1
) -> Iterator[Tensor]:
    """Strips (C', h, scale W) float32, from top to bottom, of what the network makes of a
    ``picture`` (C, H, W) of bytes, or of floats in 0..255."""
    across = windows(picture.shape[2], tile, overlap, scale)
    wide = scale * picture.shape[2]
    carried = None  # what the tiles above said of rows that are not finished
    down = windows(picture.shape[1], tile, overlap, scale)
    for number, (top, bottom, high) in enumerate(down):
        strip = None
        for left, right, weight in across:
            given = picture[:, top:bottom, left:right].float() / 255
            said = network(given).float() * high[:, None] * weight
            if strip is None:
                strip = torch.zeros(len(said), scale * (bottom - top), wide)
            strip[:, :, scale * left : scale * right] += said
        assert strip is not None
        if carried is not None:
            strip[:, : carried.shape[1]] += carried
        done = scale * ((down[number + 1].start if number + 1 < len(down) else bottom) - top)
        yield strip[:, :done]
        carried = strip[:, done:]
