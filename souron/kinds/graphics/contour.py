"""Masks in the formats of other tools: one outline along pixel edges, and packed run lengths.

The outline is exact: filled by the even-odd rule, it gives the mask again. Holes and further parts
are connected by lines that run there and back along the same path, so that they cancel.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

CONTINUES, SIGN, BITS, FIRST = 0x20, 0x10, 5, 48  # bits of a character, see ``letters``

Mask = NDArray[np.bool_]
Corner = tuple[int, int]  # x, y of a pixel's corner


def runs(mask: Mask, left: int = 0, top: int = 0, size: tuple[int, int] | None = None) -> list[int]:
    """Return the run lengths of a mask (H, W), column by column, the background first.

    The mask may be a window of an image of ``size``, width and height, whose first pixel is at
    ``left``, ``top``.

    >>> import numpy as np
    >>> runs(np.array([[0, 1], [1, 1]], bool))  # columns 0, 1 and 1, 1
    [1, 3]
    """
    return runs_of([(mask, left, top)], size or (mask.shape[1], mask.shape[0]))


def runs_of(windows: Iterable[tuple[Mask, int, int]], size: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask given in several windows: (H, W), left, top.

    The windows are ordered from left to right and share no column.

    >>> import numpy as np
    >>> column = np.ones((2, 1), bool)
    >>> runs_of([(column, 0, 0), (column, 2, 0)], size=(3, 2))
    [0, 2, 2, 2]
    """
    width, height = size
    first, last = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for mask, left, top in windows:
        change = np.diff(np.pad(mask.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        for step, found in ((1, first), (-1, last)):
            column, row = np.nonzero(change == step)
            found.append((column + left) * height + row + top)
    starts, stops = np.concatenate(first), np.concatenate(last)
    # a run that ends at the foot of a column continues at the head of the next
    apart = np.ones(len(starts) + 1, dtype=bool)
    apart[1:-1] = starts[1:] != stops[:-1]
    turns = np.stack([starts[apart[:-1]], stops[apart[1:]]], 1).ravel()
    lengths = np.diff(np.concatenate([[0], turns, [width * height]])).tolist()
    return lengths[:-1] if turns.size and not lengths[-1] else lengths


def letters(lengths: Sequence[int]) -> str:
    """Encode run lengths as COCO's string: six bits a character.

    From the fourth on, each is the difference to the last but one. The format:
    https://github.com/cocodataset/cocoapi (``rleToString``).

    >>> letters([1, 3])
    '13'
    """
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
    """Return the corners of one outline of all that is in a mask (H, W); [] for an empty one.

    >>> import numpy as np
    >>> outline(np.array([[1, 1], [0, 0]], bool))
    [(0, 0), (2, 0), (2, 1), (0, 1)]
    """
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
    """Return the closed lines between inside and outside, with the inside on their right.

    >>> import numpy as np
    >>> len(loops(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)))  # around, and the hole
    2
    """
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
    """Return whether three corners lie on one horizontal or vertical line."""
    return first[0] == middle[0] == last[0] or first[1] == middle[1] == last[1]
