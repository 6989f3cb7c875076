"""Areas as COCO's files write them: outlines, or the lengths of runs -> masks.

    [[x, y, x, y, ...], ...]              outlines in pixels; a pixel is inside where its middle is
    {"size": [h, w], "counts": [...]}     lengths of runs of 0 and 1 in turn, column by column
    {"size": [h, w], "counts": "..."}     the same, six bits a letter

The form: https://cocodataset.org/#format-data
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CORNERS = 100_000  # of an area
CONTINUES, SIGN, BITS, FIRST = 0x20, 0x10, 5, 48  # of a letter

Area = NDArray[np.bool_]


def area(written: Any, width: int, height: int) -> Area:
    """(height, width) bool. Raises ValueError where it is neither form, or of another size."""
    if isinstance(written, list):
        return filled(written, width, height)
    if not isinstance(written, dict) or written.get("size") != [height, width]:
        raise ValueError("neither outlines nor runs of this size")
    counts = written.get("counts")
    runs = unpacked(counts, width * height) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise ValueError("no lengths of runs")
    if sum(runs) != width * height:
        raise ValueError("runs of another length than the picture's")
    value = np.arange(len(runs)) % 2 == 1
    return np.repeat(value, runs).reshape(width, height).T


def filled(outlines: list[Any], width: int, height: int) -> Area:
    """The pixels whose middle is inside of one of the outlines."""
    if sum(len(line) if isinstance(line, list) else 1 for line in outlines) > 2 * MOST_CORNERS:
        raise ValueError("too many corners")
    inside = np.zeros((height, width), dtype=bool)
    for line in outlines:
        if not isinstance(line, list) or not all(type(v) in (int, float) for v in line):
            raise ValueError("an outline that is no list of numbers")
        corner = np.array(line, dtype=float)
        if len(line) % 2 or len(line) < 6 or not np.isfinite(corner).all():
            raise ValueError("an outline without an area")
        inside |= _inside(corner.reshape(-1, 2), width, height)
    return inside


def _inside(corner: NDArray[np.float64], width: int, height: int) -> Area:
    """A pixel is inside where an odd number of edges lies to the left of its middle."""
    crossed = np.zeros((height, width + 1), dtype=np.int64)
    for (x, y), (x_end, y_end) in zip(corner, np.roll(corner, -1, 0), strict=True):
        low, high = (min(max(np.ceil(edge - 0.5), 0), height) for edge in sorted((y, y_end)))
        rows = np.arange(int(low), int(high))
        if len(rows):
            at = x + (rows + 0.5 - y) * (x_end - x) / (y_end - y)
            np.add.at(crossed, (rows, np.ceil(at - 0.5).clip(0, width).astype(int)), 1)
    return crossed[:, :width].cumsum(1) % 2 == 1


def unpacked(text: str, most: int) -> list[int]:
    """Lengths of runs, of which there are at most so many pixels; from the third on, a letter tells
    the difference to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - FIRST
        if not 0 <= code < 2 * CONTINUES or shift > 40 or len(runs) > most + 2:
            raise ValueError("letters that are no lengths")
        value |= (code & (CONTINUES - 1)) << shift
        shift += BITS
        if code & CONTINUES:
            continue
        if code & SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
