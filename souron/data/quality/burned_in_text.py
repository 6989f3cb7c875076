"""Detect characters and marks burned into images: an R for the right side, a name, a date.

A network may learn from such marks instead of the image, and a name in an image identifies a
person. The search does not recognise characters. It collects narrow strokes of uniform brightness,
much brighter or darker than their surroundings, and checks whether

- several of the same height stand side by side on one line near the image's border (``line``), or -
the same shape occurs at the same position near the border in many images (``repeated``).

The result is a hint: rows of windows can look like a line of characters, and low-contrast or
slanted characters, or those smaller than a sixtieth of the image, are missed. Detection and
false-positive rates: ``benchmarks/lettering.py``.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from PIL import Image

SIDE = 512  # pixels of the longer side after downscaling
STROKE = 1 / 40  # of the side; wider strokes are not characters
STANDS_OUT = 70  # grey levels brighter or darker than the surroundings
EVEN = 30  # grey levels; the greatest range within a stroke
LOWEST = 7  # pixels, the least height of a character
HIGHEST = 1 / 8  # of the side, the greatest height
FEWEST = 4  # characters of a line
BORDER = 0.22  # of the side: the width of the border in which lines and marks are sought
SAME_PLACE = 0.03  # of the side
SAME_SHAPE = 8  # bits of 64 that may differ
MOST = 2000  # shapes; an image with more is textured
MANY = 5  # least number of images, and at least a twentieth of those examined, that share a mark
COLUMN = "burned-in annotation"  # in ``Cases.columns``: DICOM's attribute, "YES" or "NO"


@dataclass(frozen=True)
class Mark:
    """A narrow bright or dark shape; positions in pixels from the left and the top."""

    left: int
    top: int
    right: int
    bottom: int
    bright: bool
    outline: tuple[bool, ...]  # 8 x 8

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def prepared(image: Image.Image) -> np.ndarray:
    """Downscale an image to at most ``SIDE`` pixels a side; return (H, W, 1 or 3) uint8."""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def marks(pixels: np.ndarray) -> list[Mark]:
    """Return the shapes that could be characters near the border of an image (H, W, C) uint8."""
    found = _strokes(pixels.max(2), bright=True) + _strokes(255 - pixels.min(2), bright=False)
    height, width = pixels.shape[:2]
    return [mark for mark in found if _at_border(mark, height, width)]


def _strokes(level: np.ndarray, bright: bool) -> list[Mark]:
    """Return narrow shapes of uniform brightness that stand out from ``level`` (H, W) uint8."""
    side = max(level.shape)
    wide, tall = max(3, round(STROKE * side)), HIGHEST * side
    around = scipy.ndimage.grey_opening(level, (wide, wide))  # nowhere brighter than ``level``
    places, count = scipy.ndimage.label(level - around > STANDS_OUT, np.ones((3, 3)))
    if count > MOST:
        return []
    found = []
    for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(places), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (LOWEST <= height <= tall and 2 <= width <= 1.5 * height):
            continue
        inside = places[rows, columns] == number
        values = level[rows, columns][inside]
        core = values[values >= np.quantile(values, 0.75)]  # without the soft edge
        if not 0.12 <= inside.mean() <= 0.95 or core.max() - core.min() > EVEN:
            continue
        small = Image.fromarray(inside).convert("L").resize((8, 8), Image.Resampling.BOX)
        outline = tuple((np.asarray(small) > 127).ravel().tolist())
        found.append(Mark(columns.start, rows.start, columns.stop, rows.stop, bright, outline))
    return found


def _at_border(mark: Mark, height: int, width: int) -> bool:
    middle = (mark.top + mark.bottom) / 2 / height, (mark.left + mark.right) / 2 / width
    return any(place < BORDER or place > 1 - BORDER for place in middle)


def line(found: Sequence[Mark]) -> bool:
    """Return whether some marks stand side by side like the characters of one line."""
    for bright in (True, False):
        some = sorted((m for m in found if m.bright == bright), key=lambda mark: mark.left)
        run = [1] * len(some)  # characters of the longest line that ends with this one
        for i, mark in enumerate(some):
            for j in range(i - 1, -1, -1):
                if mark.left - some[j].left > 3 * SIDE * HIGHEST:  # no character is wider
                    break
                if _next_to(some[j], mark):
                    run[i] = max(run[i], run[j] + 1)
            if run[i] >= FEWEST:
                return True
    return False


def _next_to(one: Mark, other: Mark) -> bool:
    """Return whether two marks could be neighbouring characters of one line: of similar height, on
    one baseline, with a small gap between them."""
    height = max(one.height, other.height)
    gap = other.left - one.right
    return (
        min(one.height, other.height) > 0.7 * height
        and abs(one.bottom - other.bottom) <= 0.2 * height
        and -1 <= gap <= height
    )


def repeated(found: Sequence[Sequence[Mark]], size: Sequence[tuple[int, int]]) -> list[int]:
    """Return the indices of images that share a mark of one shape and position with many others;
    ``size`` holds the height and width of each image."""
    where: dict[tuple[int, int, bool], list[tuple[int, Mark]]] = defaultdict(list)
    for i, (some, (height, width)) in enumerate(zip(found, size, strict=True)):
        for mark in some:
            y, x = mark.top / height / SAME_PLACE, mark.left / width / SAME_PLACE
            where[int(y), int(x), mark.bright].append((i, mark))
    many = max(MANY, len(found) / 20)
    rows: set[int] = set()
    for place in where.values():
        outline = np.array([mark.outline for _i, mark in place], dtype=np.float32)  # (n, 64)
        both = outline @ outline.T
        ink = outline.sum(1)
        differ = ink[:, None] + ink - 2 * both  # bits
        image = np.array([i for i, _mark in place])
        for alike in differ <= SAME_SHAPE:
            if len(set(image[alike].tolist())) >= many:
                rows |= set(image[alike].tolist())
    return sorted(rows)
