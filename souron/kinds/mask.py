"""Masks: segmentation of an image, by class or by object."""

import io
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from souron.kinds import files
from souron.kinds.boxes import counted
from souron.kinds.finding import Finding
from souron.kinds.graphics import contour, overlay
from souron.kinds.picture import Picture, html
from souron.utils.messages import N_, _

MOST_CLASSES = 256  # classes of a label map, which is saved as a PNG of bytes
MOST_OBJECTS = 65_536  # objects in a PNG of two bytes a pixel, the background included
NAMES = "souron:names"  # key in the PNG's text


@dataclass(frozen=True, eq=False)
class Mask(Finding):
    """A class for every pixel, or a mask for each object.

    ``area`` (H, W) holds class numbers, and ``names`` is by class; a class without a name is
    background and is not drawn. ``area`` (N, H, W) holds a mask for each object, and ``names`` is
    by object.
    """

    widget = "mask"
    noun = N_("areas")
    suffix = ".png"
    kept = True

    picture: Picture
    area: Any  # (H, W) integers, or (N, H, W) bool
    names: Sequence[str]
    scores: Sequence[float] = ()  # score of each object in 0..1; () where there are none
    classes: Sequence[str] = ()  # every label that an object may have, in the order of their
    # numbers
    found: overlay.Found = field(init=False)
    numbers: tuple[int, ...] = field(init=False)  # numbers of the classes or objects in ``found``

    def __post_init__(self) -> None:
        area = np.asarray(self.area)
        width, height = self.picture.size
        if area.shape[-2:] != (height, width) or area.ndim not in (2, 3):
            raise files.wrong(
                _("a mask in the shape {shape}").format(shape=area.shape),
                _("{height} rows of {width}, as the image").format(height=height, width=width),
            )
        object.__setattr__(self, "area", self._map(area) if area.ndim == 2 else area.astype(bool))
        if area.ndim == 2:
            there = [n for n in np.unique(self.area).tolist() if self.names[n]]
            found = overlay.found([self.names[n] for n in there], (), len(there))
        else:
            there = list(range(len(area)))
            found = overlay.found(self.names, self.scores, len(area))
        object.__setattr__(self, "found", found)
        object.__setattr__(self, "numbers", tuple(there))

    def _map(self, area: np.ndarray) -> np.ndarray:
        whole = area.dtype.kind in "iub" and len(self.names) <= MOST_CLASSES
        if not whole or area.min() < 0 or area.max() >= len(self.names):
            raise files.wrong(
                _("classes from {low:g} to {high:g}").format(low=area.min(), high=area.max()),
                _("0..{most}, one for each name, at most {count}").format(most=len(self.names) - 1, count=MOST_CLASSES),
            )
        return area.astype(np.uint8)

    def inside(self, place: int) -> np.ndarray:
        """Return the pixels of the entry of ``found`` at that index, (H, W) bool."""
        number = self.numbers[place]
        return self.area == number if self.area.ndim == 2 else self.area[number]

    def drawn(self, least: float = 0.0, shown: Collection[str] | None = None) -> Image.Image:
        """Return the image with the areas of at least the score ``least`` and names ``shown``."""
        canvas = overlay.Canvas(self.picture)
        for i in self.found.chosen(least, shown):
            name = self.found.names[i]
            canvas.area(self.inside(i), self.found.words(i), self.found.colour(name))
        return canvas.image

    @property
    def columns(self) -> list[str]:
        return [_("label"), _("pixels"), _("share")]

    def rows(self, least: float = 0.0, shown: Collection[str] | None = None) -> list[list[Any]]:
        """Return a row of ``columns`` for each of those areas."""
        made = []
        for i in self.found.chosen(least, shown):
            pixels = int(self.inside(i).sum())
            made.append([self.found.words(i, self.called), pixels, f"{pixels / math.prod(self.picture.size):.1%}"])
        return made

    def save(self, path: Path) -> None:
        """Save the class or object numbers as a PNG with a palette, or in another format.

        Objects are numbered from 1, higher scores above lower ones; more than 255 objects take two
        bytes a pixel. The names are in the PNG's text. Also as ``.json``, COCO's results
        (``.coco.json``) or YOLO's lines (``.txt``). Raises UserError, also where label numbers are
        needed and not all labels are known.
        """
        name = path.name.lower()
        if name.endswith(".coco.json"):
            files.write(path, json.dumps(self.as_coco(), indent=1).encode())
            return
        ending = files.ending(path, (".png", ".json", ".txt"))
        if ending == ".json":
            files.write(path, json.dumps(self.as_json(), ensure_ascii=False, indent=1).encode())
        elif ending == ".txt":
            files.write(path, "".join(f"{line}\n" for line in self.as_yolo()).encode())
        else:
            self._save_numbers(path)

    def _save_numbers(self, path: Path) -> None:
        numbers, names = self.area, list(self.names)
        if numbers.ndim == 3:
            numbers, names = self._stacked(), ["", *names]
        shown = Image.fromarray(numbers)
        if numbers.dtype == np.uint8:
            shown = Image.fromarray(numbers, "P")
            shown.putpalette([0, 0, 0, *(v for n in range(255) for v in overlay.colour(n))])
        about = PngImagePlugin.PngInfo()
        about.add_itxt(NAMES, "\n".join(names))
        stream = io.BytesIO()
        shown.save(stream, "PNG", pnginfo=about)
        files.write(path, stream.getvalue())

    def _stacked(self) -> np.ndarray:
        count = len(self.area)
        if count >= MOST_OBJECTS:
            raise files.wrong(
                _("{count} objects in one mask").format(count=count),
                _("at most {count}").format(count=MOST_OBJECTS - 1),
            )
        numbers = np.zeros(self.area.shape[1:], np.uint8 if count < 256 else np.uint16)
        order = np.argsort(self.found.scores, kind="stable") if self.found.scores else range(count)
        for i in order:
            numbers[self.area[i]] = i + 1
        return numbers

    def as_coco(self, image: int = 1) -> list[dict[str, Any]]:
        """Return COCO's results of the image with that number.

        Categories count from 1; masks are packed run lengths, boxes left, top, width, height.
        """
        return [
            coco_result(image, number, score, self.inside(place), self.picture.size)
            for place, number, score in self._numbered()
        ]

    def as_yolo(self) -> list[str]:
        """Return a line for each object: label number, and the corners of its outline.

        Corners are relative to the image's width and height. Scores are not part of the format;
        objects without a pixel are left out.
        """
        size = self.picture.size
        return [
            " ".join(
                [str(number), *(f"{v / full:.6f}" for corner in corners for v, full in zip(corner, size, strict=True))]
            )
            for place, number, _score in self._numbered()
            if (corners := contour.outline(self.inside(place)))
        ]

    def _numbered(self) -> Iterator[tuple[int, int, float]]:
        """Yield index in ``found``, label number and score of each. Raises UserError."""
        if set(self.found.names) - set(self.classes):
            raise files.wrong(
                _("labels without a number: {labels}").format(labels=counted(self.found.names)),
                _("masks of objects whose labels are among the classes of a model"),
            )
        for place, name in enumerate(self.found.names):
            score = self.found.scores[place] if self.found.scores else 1.0
            yield place, list(self.classes).index(name), score

    def as_json(self) -> dict[str, Any]:
        """Return each mask as run lengths in COCO's format.

        They run column by column, alternating between outside and inside.
        """
        return {
            **self.picture.as_json(),
            "masks": [
                {
                    "label": name,
                    "score": self.found.scores[i] if self.found.scores else None,
                    "pixels": int(self.inside(i).sum()),
                    "rle": {"size": list(self.area.shape[-2:]), "counts": contour.runs(self.inside(i))},
                }
                for i, name in enumerate(self.found.names)
            ],
            **super().as_json(),
        }

    def __str__(self) -> str:
        told = ", ".join(f"{row[0]} {row[2]}" for row in self.rows())
        return told or _("nothing found")

    def _repr_html_(self) -> str:
        return html(self.drawn(), str(self)) + files.html_table(self.columns, self.rows(), "")


def coco_result(
    image: int, label: int, score: float, inside: np.ndarray, size: tuple[int, int], left: int = 0, top: int = 0
) -> dict[str, Any]:
    """Return one object in the format of COCO's results, categories counted from 1.

    ``inside`` (h, w) is a window of an image of ``size``, width and height, that begins at ``left``
    and ``top``.

    >>> import numpy as np
    >>> found = coco_result(1, 0, 0.9, np.ones((2, 3), bool), size=(8, 8), left=4, top=1)
    >>> found["category_id"], found["bbox"]  # left, top, width, height
    (1, [4, 1, 3, 2])
    """
    down, across = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    edges = [0, 0, 0, 0]
    if len(down):
        first, last = (int(across[0]), int(down[0])), (int(across[-1]), int(down[-1]))
        edges = [left + first[0], top + first[1], last[0] - first[0] + 1, last[1] - first[1] + 1]
    lengths = contour.runs(inside, left, top, size)
    return {
        "image_id": image,
        "category_id": label + 1,
        "score": round(score, 4),
        "bbox": edges,
        "segmentation": {"size": list(size[::-1]), "counts": contour.letters(lengths)},
    }
