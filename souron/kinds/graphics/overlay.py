"""Drawing over an image: boxes, areas, points and their names.

Nothing relies on colour alone: each mark bears its name. Colours: Okabe, Ito: Color Universal
Design (2008), https://jfly.uni-koeln.de/color/.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from souron.kinds import files
from souron.kinds.codecs import image
from souron.kinds.picture import Picture
from souron.utils.messages import _

COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (240, 228, 66))
LEAST = 512  # pixels of the longer side; smaller images are enlarged by an integer factor
LONGEST = 24  # columns of a name, at most
LIGHT = 140  # of 255: brighter colours bear black text


class Canvas:
    """A colour copy of an image to draw on, enlarged by ``scale``."""

    def __init__(self, picture: Picture) -> None:
        plain = image.rounded(picture.image).convert("RGB")
        self.scale = max(1, LEAST // max(plain.size))
        size = (plain.width * self.scale, plain.height * self.scale)
        self.image = plain.resize(size, Image.Resampling.NEAREST)
        self.line = max(2, max(size) // 250)  # line width in pixels
        self.draw = ImageDraw.Draw(self.image)

    def box(self, corners: Sequence[float], name: str, colour: tuple[int, int, int]) -> None:
        """Draw a box; ``corners``: left, top, right, bottom in the image's own pixels."""
        left, top, right, bottom = (round(edge * self.scale) for edge in corners)
        edges = (left, top, max(left, right), max(top, bottom))
        self.draw.rectangle(edges, outline=colour, width=self.line)
        self.name((left, top), name, colour)

    def line_to(self, start: Sequence[float], end: Sequence[float], colour: tuple[int, int, int]) -> None:
        """Draw a line between two points (x, y) in the image's own pixels."""
        ends = [(x * self.scale, y * self.scale) for x, y in (start, end)]
        self.draw.line(ends, fill=colour, width=self.line)

    def path(self, places: Sequence[Sequence[float]], colour: tuple[int, int, int]) -> None:
        """Draw a line through points (x, y) in the image's own pixels."""
        if len(places) > 1:
            ends = [(x * self.scale, y * self.scale) for x, y in places]
            self.draw.line(ends, fill=colour, width=self.line)

    def dot(self, place: Sequence[float], name: str, colour: tuple[int, int, int]) -> None:
        """Draw a point (x, y) in the image's own pixels, and its name."""
        x, y = (edge * self.scale for edge in place)
        reach = 2 * self.line
        self.draw.ellipse(
            (x - reach, y - reach, x + reach, y + reach), fill=colour, outline="white", width=max(1, self.line // 2)
        )
        self.name((round(x + 1.5 * reach), round(y)), name, colour)

    def bones(self, places: Sequence[Sequence[float] | None], lines: Sequence[tuple[int, int]]) -> None:
        """Draw a skeleton: points (x, y), None where missing, and lines between some of them.

        Each line has its own colour on a dark rim.
        """
        at = [None if place is None else (place[0] * self.scale, place[1] * self.scale) for place in places]
        there = [
            (number, start, end)
            for number, (a, b) in enumerate(lines)
            if (start := at[a]) is not None and (end := at[b]) is not None
        ]
        for _number, start, end in there:
            self.draw.line((*start, *end), fill="black", width=2 * self.line + 2)
        for number, start, end in there:
            self.draw.line((*start, *end), fill=colour(number), width=2 * self.line - 1)
        for place in at:
            if place is not None:
                x, y = place
                ends = (x - self.line, y - self.line, x + self.line, y + self.line)
                self.draw.ellipse(ends, fill="white", outline="black")

    def area(self, inside: np.ndarray, name: str, colour: tuple[int, int, int]) -> None:
        """Tint, outline and name the pixels ``inside`` (H, W) bool of the image."""
        if not inside.any():
            return
        wide = inside.repeat(self.scale, 0).repeat(self.scale, 1)
        pixels = np.array(self.image)
        pixels[wide] = pixels[wide] // 2 + np.array(colour, np.uint8) // 2
        pixels[_border(wide, self.line)] = colour
        self.image = Image.fromarray(pixels)
        self.draw = ImageDraw.Draw(self.image)
        self.name(_within(wide), name, colour)

    def name(self, place: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
        """Draw a text on a background of that colour, kept within the image."""
        if not text:
            return
        from souron.utils import fonts

        font = _font(max(12, max(self.image.size) // 40))
        text = fonts.short(" ".join(text.split()), LONGEST)
        _left, _top, right, bottom = self.draw.textbbox((0, 0), text, font)
        width, height = round(right) + 4, round(bottom) + 4
        x = max(0, min(place[0], self.image.width - width))
        y = place[1] - height if place[1] >= height else place[1]
        y = max(0, min(y, self.image.height - height))
        self.draw.rectangle((x, y, x + width, y + height), fill=colour)
        ink = "black" if sum(colour) / 3 > LIGHT else "white"
        self.draw.text((x + 2, y + 2), text, ink, font)


def colour(number: int) -> tuple[int, int, int]:
    """Return an RGB colour for a number; colours repeat after seven.

    >>> colour(0), colour(7) == colour(0)
    ((0, 114, 178), True)
    """
    return COLOURS[number % len(COLOURS)]


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import font_manager

    from souron.utils import fonts

    file = fonts.shipped() or Path(font_manager.findfont(fonts.families()[-1]))
    return ImageFont.truetype(str(file), size)


def _border(inside: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels inside that lie at most ``width`` from the edge of an area."""
    core = np.pad(inside, width)
    for axis in (0, 1):
        for step in (-width, width):
            core = core & np.roll(core, step, axis)
    return inside & ~core[width:-width, width:-width]


def _within(inside: np.ndarray) -> tuple[int, int]:
    """Return a pixel (x, y) inside, near the centroid of the area."""
    rows, columns = inside.nonzero()
    far = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(far.argmin())
    return int(columns[nearest]), int(rows[nearest])


class Found(NamedTuple):
    """Names and scores of the marks on an image, in order."""

    names: tuple[str, ...]
    scores: tuple[float, ...]  # () where there are none

    def chosen(self, least: float, shown: Collection[str] | None) -> list[int]:
        """Return the indices of marks with at least that score, and a name among ``shown``."""
        return [
            i
            for i, name in enumerate(self.names)
            if (not self.scores or self.scores[i] >= least) and (shown is None or name in shown)
        ]

    @property
    def counts(self) -> dict[str, int]:
        """Count of each name, in order of occurrence."""
        counted: dict[str, int] = {}
        for name in self.names:
            counted[name] = counted.get(name, 0) + 1
        return counted

    def colour(self, name: str) -> tuple[int, int, int]:
        """Return the colour of a name."""
        return colour(list(self.counts).index(name))

    def words(self, number: int, called: Callable[[str], str] = str) -> str:
        """Return name and score: ``cat 93%``; ``called`` gives the name as it is shown."""
        name = called(self.names[number])
        return f"{name} {self.scores[number]:.0%}" if self.scores else name


def found(names: Sequence[str], scores: Sequence[float], count: int) -> Found:
    """Validate names and scores, a name for each mark and a score in 0..1 for each or for none.

    Raises UserError.

    >>> marks = found(["cat", "dog", "cat"], [0.93, 0.4, 0.8], count=3)
    >>> marks.words(0), marks.chosen(0.5, shown=None), marks.counts
    ('cat 93%', [0, 2], {'cat': 2, 'dog': 1})
    """
    if len(names) != count:
        raise files.wrong(
            _("{names} names for {count} things").format(names=len(names), count=count), _("a name for each")
        )
    given = tuple(float(score) for score in scores)
    if given and (len(given) != count or not all(0 <= score <= 1 for score in given)):
        raise files.wrong(
            _("{scores} scores for {count} things, from {low:g} to {high:g}").format(
                scores=len(given), count=count, low=min(given), high=max(given)
            ),
            _("a score in 0..1 for each, or none"),
        )
    return Found(tuple(map(str, names)), given)
