"""Masks as files of other tools write them: one outline along the edges of pixels, and packed runs.

The outline is exact: filled where an odd number of edges lies to the left of a pixel's middle, it
gives the mask again. Holes and further parts hang on it by lines that go there and come back the
same way, which count twice and thus not at all.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

CONTINUES, SIGN, BITS, FIRST = 0x20, 0x10, 5, 48  # of a letter, see ``letters``

Mask = NDArray[np.bool_]
Corner = tuple[int, int]  # x, y of a pixel's corner


def runs(mask: Mask, left: int = 0, top: int = 0, size: tuple[int, int] | None = None) -> list[int]:
    """Lengths of runs of a mask (H, W), column by column, the first of what is outside. The mask
    may be a window of a picture of ``size``, width and height, whose first pixel is given."""
    return runs_of([(mask, left, top)], size or (mask.shape[1], mask.shape[0]))


def runs_of(windows: Iterable[tuple[Mask, int, int]], size: tuple[int, int]) -> list[int]:
    """The same of a mask in several windows, (H, W), left, top, which follow each other from left
    to right and hold no column twice."""
    width, height = size
    first, last = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for mask, left, top in windows:
        change = np.diff(np.pad(mask.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        for step, found in ((1, first), (-1, last)):
            column, row = np.nonzero(change == step)
            found.append((column + left) * height + row + top)
    starts, stops = np.concatenate(first), np.concatenate(last)
    # what ends at the foot of a column goes on at the head of the next
    apart = np.ones(len(starts) + 1, dtype=bool)
    apart[1:-1] = starts[1:] != stops[:-1]
    turns = np.stack([starts[apart[:-1]], stops[apart[1:]]], 1).ravel()
    lengths = np.diff(np.concatenate([[0], turns, [width * height]])).tolist()
    return lengths[:-1] if turns.size and not lengths[-1] else lengths


def letters(lengths: Sequence[int]) -> str:
    """Runs as COCO packs them: six bits a letter, and from the fourth on the difference to the last
    but one. The form: https://github.com/cocodataset/cocoapi (``rleToString``)."""
    written = []
    for place, length in enumerate(lengths):
        value = length - lengths[place - 2] if place > 2 else length
        while True:
            code = value & (CONTINUES - 1)
            value >>= BITS
            more = value != -1 if code & SIGN else value != 0
            written.append(chr((code | CONTINUES if more else code) + FIRST))
            if not more:
                break
    return "".join(written)


def outline(mask: Mask) -> list[Corner]:
    """The corners of one outline of all that is in a mask (H, W); none of an empty one."""
    first, *others = loops(mask) or [[]]
    if not first:
        return []
    path, (x, y) = list(first), first[0]
    for loop in others:
        across, down = loop[0]
        # to the next part along the grid, around it, and back the same way: a slanted line may pass
        # a pixel's middle, where the last digit decides on which side it is
        path += [(x, y), (across, y), *loop, (across, down), (across, y)]
    return path


def loops(mask: Mask) -> list[list[Corner]]:
    """The closed lines between what is inside and what is not, what is inside on their right."""
    wide = np.pad(mask, 1).astype(np.int8)
    down, right = np.diff(wide, axis=0)[:, 1:-1], np.diff(wide, axis=1)[1:-1]
    ways: dict[Corner, list[Corner]] = {}
    for change, step in ((1, 1), (-1, -1)):  # above a part to the right, below it to the left
        for y, x in np.argwhere(down == change).tolist():
            start, stop = ((x, y), (x + 1, y)) if step > 0 else ((x + 1, y), (x, y))
            ways.setdefault(start, []).append(stop)
        for y, x in np.argwhere(right == change).tolist():
            start, stop = ((x, y + 1), (x, y)) if step > 0 else ((x, y), (x, y + 1))
            ways.setdefault(start, []).append(stop)
    found = []
    while ways:
        start = here = next(iter(ways))
        loop: list[Corner] = []
        while True:
            ends = ways[here]
            there = ends.pop()
            if not ends:
                del ways[here]
            if len(loop) > 1 and _straight(loop[-2], loop[-1], here):
                loop.pop()
            loop.append(here)
            here = there
            if here == start:
                break
        if len(loop) > 2 and _straight(loop[-2], loop[-1], loop[0]):
            loop.pop()
        found.append(loop)
    return found


def _straight(first: Corner, middle: Corner, last: Corner) -> bool:
    return first[0] == middle[0] == last[0] or first[1] == middle[1] == last[1]
