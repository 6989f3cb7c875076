"""Convert areas in COCO's notation, outlines or run lengths, to masks.

    [[x, y, x, y, ...], ...]              outlines in pixels; a pixel is inside if its centre is
    {"size": [h, w], "counts": [...]}     lengths of runs of 0 and 1 in turn, column by column
    {"size": [h, w], "counts": "..."}     the same, six bits per character

The format: https://cocodataset.org/#format-data
"""

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from souron.utils.messages import _

MOST_CORNERS = 100_000  # of an area
FARTHEST = 1e9  # pixels
AT_ONCE = 1_000_000  # crossings
CONTINUES, SIGN, BITS, FIRST = 0x20, 0x10, 5, 48  # of a character

Area = NDArray[np.bool_]
Corners = NDArray[np.float64]


class Fault(ValueError):
    """The notation of an area is invalid."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Piece(NamedTuple):
    """A part of an image: its mask, and the position of the upper left pixel."""

    left: int
    top: int
    inside: Area

    def whole(self, width: int, height: int) -> Area:
        """Return the mask of the whole image, (height, width) bool."""
        made = np.zeros((height, width), dtype=bool)
        high, wide = self.inside.shape
        made[self.top : self.top + high, self.left : self.left + wide] = self.inside
        return made

    def tight(self) -> "Piece":
        """Crop to the bounding box of the pixels; an empty mask becomes 0 x 0."""
        down, across = (np.flatnonzero(self.inside.any(axis)) for axis in (1, 0))
        if not len(down):
            return Piece(0, 0, np.zeros((0, 0), dtype=bool))
        inside = self.inside[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
        return Piece(self.left + int(across[0]), self.top + int(down[0]), inside)


def area(written: Any, width: int, height: int) -> Area:
    """Return the mask of an area, (height, width) bool. Raises ValueError if it is in neither
    notation, or of another size."""
    return piece(written, width, height).whole(width, height)


def piece(written: Any, width: int, height: int) -> Piece:
    """Return the part of the image that contains the area. Raises ``Fault``, a ValueError."""
    if isinstance(written, list):
        return filled(corners(written), width, height)
    if not isinstance(written, dict) or written.get("size") != [height, width]:
        raise Fault("size", _("neither outlines nor runs of pixels of the image's size"))
    counts = written.get("counts")
    runs = unpacked(counts, width * height) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise Fault("unreadable", _("no lengths of runs"))
    if sum(runs) != width * height:
        raise Fault("size", _("runs of another length than the image's"))
    ends = np.cumsum(runs, dtype=np.int64)
    starts, stops = ends[0:-1:2], ends[1::2]  # of the runs inside
    there = stops > starts
    if not there.any():
        return Piece(0, 0, np.zeros((0, 0), dtype=bool))
    first, last = starts[there][0] // height, (stops[there][-1] - 1) // height + 1
    value = np.zeros((last - first) * height + 1, dtype=np.int8)
    np.add.at(value, starts - first * height, 1)
    np.add.at(value, stops.clip(max=last * height) - first * height, -1)
    inside = value[:-1].cumsum(dtype=np.int8).astype(bool).reshape(-1, height).T
    return Piece(int(first), 0, inside).tight()


def corners(written: list[Any]) -> list[Corners]:
    """Convert outlines to arrays (n, 2). Raises ``Fault``."""
    if sum(len(line) if isinstance(line, list) else 1 for line in written) > 2 * MOST_CORNERS:
        raise Fault("too large", _("more than {count} corners").format(count=MOST_CORNERS))
    lines = []
    for line in written:
        if not isinstance(line, list) or not all(type(v) in (int, float) for v in line):
            raise Fault("unreadable", _("an outline that is no list of numbers"))
        if len(line) % 2 or len(line) < 6:
            raise Fault(
                "unreadable", _("an outline of {count} numbers, where three corners have six").format(count=len(line))
            )
        if any(v != v or abs(v) == inf for v in line):
            raise Fault("no number", _("a corner that is no number"))
        if any(abs(v) > FARTHEST for v in line):
            raise Fault("outside", _("a corner far outside of its image"))
        lines.append(np.array(line, dtype=float).reshape(-1, 2))
    return lines


def filled(lines: Sequence[Corners], width: int, height: int) -> Piece:
    """Return the pixels whose centre is inside of one of the outlines."""
    if not lines:
        return Piece(0, 0, np.zeros((0, 0), dtype=bool))
    every = np.concatenate(lines).clip(0, (width, height))
    left, top = np.floor(every.min(0)).astype(int).tolist()
    right, bottom = np.ceil(every.max(0)).astype(int).tolist()
    inside = np.zeros((bottom - top, right - left), dtype=bool)
    for line in lines:
        inside |= _inside(line - (left, top), right - left, bottom - top)
    return Piece(left, top, inside)


def _inside(corner: Corners, width: int, height: int) -> Area:
    """Fill an outline by the even-odd rule: a pixel is inside if an odd number of edges lies to the
    left of its centre."""
    crossed = np.zeros(height * (width + 1), dtype=np.uint8)  # only the parity is used
    edges = np.concatenate([corner, np.roll(corner, -1, 0)], 1)  # x, y, x, y
    low, high = (
        np.ceil(side(edges[:, 1], edges[:, 3]) - 0.5).clip(0, height).astype(np.int64)
        for side in (np.minimum, np.maximum)
    )
    rows = high - low  # whose centre an edge crosses
    edges, low, rows = edges[rows > 0], low[rows > 0], rows[rows > 0]
    part = np.cumsum(rows) // AT_ONCE
    for number in range(int(part[-1]) + 1 if len(part) else 0):
        first, last = np.searchsorted(part, [number, number + 1])
        count = rows[first:last]
        x, y, x_end, y_end = edges[first:last].repeat(count, 0).T
        row = np.arange(count.sum()) + (low[first:last] - np.cumsum(count) + count).repeat(count)
        at = x + (row + 0.5 - y) * (x_end - x) / (y_end - y)
        column = np.ceil(at - 0.5).clip(0, width).astype(np.int64)
        np.add.at(crossed, row * (width + 1) + column, 1)
    before = crossed.reshape(height, width + 1)[:, :width].cumsum(1, dtype=np.uint8)
    return before % 2 == 1


def unpacked(text: str, most: int) -> list[int]:
    """Decode run lengths from characters, for at most ``most`` pixels; from the third on, a value
    is the difference to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - FIRST
        if not 0 <= code < 2 * CONTINUES or shift > 40 or len(runs) > most + 2:
            raise Fault("unreadable", _("characters that are not lengths"))
        value |= (code & (CONTINUES - 1)) << shift
        shift += BITS
        if code & CONTINUES:
            continue
        if code & SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
