"""Letters and marks that were burned into pictures: an R for the right side, a name, a date.

A network learns from them what it should learn from the picture, and a name in a picture is a
person's. The search knows no letters. It takes narrow strokes of one brightness, far brighter or
darker than what lies around them, and asks whether

- several of one height stand side by side on one line near the picture's border (``line``), or
- the same shape stands at the same place near the border in many pictures (``repeated``).

It is a hint: rows of windows can look like a line of letters, and letters in grey on grey, slanting
ones or those smaller than a sixtieth of the picture are not seen. What it finds and what it takes
for letters wrongly: ``benchmarks/lettering.py``.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from PIL import Image

SIDE = 512  # pixels of the longer side that is looked at
STROKE = 1 / 40  # of the side; wider strokes are no letters
STANDS_OUT = 70  # levels brighter or darker than what lies around
EVEN = 30  # levels; a stroke varies less
LOWEST = 7  # pixels of a letter
HIGHEST = 1 / 8  # of the side
FEWEST = 4  # letters of a line
BORDER = 0.22  # of the side: lines and marks lie that near to it
SAME_PLACE = 0.03  # of the side
SAME_SHAPE = 8  # bits of 64 that may differ
MOST = 2000  # shapes; a picture with more is full of texture
MANY = 5  # pictures, and a twentieth of those looked at, that share a mark
COLUMN = "burned-in annotation"  # of ``Cases.columns``: what DICOM's attribute says, "YES" or "NO"


@dataclass(frozen=True)
class Mark:
    """A narrow bright or dark shape; places in pixels from the left and from above."""

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
    """(H, W, 1 or 3) uint8, at most ``SIDE`` pixels a side."""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def marks(pixels: np.ndarray) -> list[Mark]:
    """What could be a letter near the border of a picture (H, W, C) uint8."""
    found = _strokes(pixels.max(2), bright=True) + _strokes(255 - pixels.min(2), bright=False)
    height, width = pixels.shape[:2]
    return [mark for mark in found if _at_border(mark, height, width)]


def _strokes(level: np.ndarray, bright: bool) -> list[Mark]:
    """Narrow shapes of one brightness that stand out of ``level`` (H, W) uint8."""
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
    """Whether some marks stand side by side like letters of one line."""
    for bright in (True, False):
        some = sorted((m for m in found if m.bright == bright), key=lambda mark: mark.left)
        run = [1] * len(some)  # letters of the longest line that ends with this one
        for i, mark in enumerate(some):
            for j in range(i - 1, -1, -1):
                if mark.left - some[j].left > 3 * SIDE * HIGHEST:  # no letter is wider
                    break
                if _next_to(some[j], mark):
                    run[i] = max(run[i], run[j] + 1)
            if run[i] >= FEWEST:
                return True
    return False


def _next_to(one: Mark, other: Mark) -> bool:
    """Two letters of one line: of like height, on one ground, a small gap between them."""
    height = max(one.height, other.height)
    gap = other.left - one.right
    return (
        min(one.height, other.height) > 0.7 * height
        and abs(one.bottom - other.bottom) <= 0.2 * height
        and -1 <= gap <= height
    )


def repeated(found: Sequence[Sequence[Mark]], size: Sequence[tuple[int, int]]) -> list[int]:
    """The pictures that share a mark of one shape and place with many others; ``size`` is the
    height and width of each."""
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
        picture = np.array([i for i, _mark in place])
        for alike in differ <= SAME_SHAPE:
            if len(set(picture[alike].tolist())) >= many:
                rows |= set(picture[alike].tolist())
    return sorted(rows)
