"""Segments: panoptic segmentation of an image into things (instances) and stuff."""

import io
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.boxes import counted, save_marked
from souron.kinds.finding import Finding
from souron.kinds.graphics import overlay
from souron.kinds.graphics.contour import runs
from souron.kinds.picture import Picture, html
from souron.utils.messages import N_, _

MOST = 255  # segments
DARK = 3  # divisor that darkens the colours of stuff
COCO, PIXELS = ".coco.json", ".coco.png"


@dataclass(frozen=True, eq=False)
class Segments(Finding):
    """A segment number for every pixel, 0 for none, and label and type of every segment.

    The type is thing or stuff.
    """

    widget = "segments"
    noun = N_("segments")
    suffix = ".png"

    picture: Picture
    ids: Any  # (H, W) integers: 0, or one more than a segment's index in ``names``
    names: Sequence[str]  # label of each segment
    things: Sequence[bool]  # for each segment, True for a thing
    scores: Sequence[float] = ()  # score of each segment in 0..1; () where there are none
    classes: Sequence[str] = ()  # all possible labels, in the order of their numbers
    found: overlay.Found = field(init=False)

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids)
        width, height = self.picture.size
        if ids.shape != (height, width):
            raise files.wrong(
                _("a map of segments in the shape {shape}").format(shape=ids.shape),
                _("{height} rows of {width}, as the image").format(height=height, width=width),
            )
        count = len(self.names)
        whole = ids.dtype.kind in "iu" and count <= MOST and len(self.things) == count
        if not whole or ids.min() < 0 or ids.max() > count:
            raise files.wrong(
                _("segments from {low:g} to {high:g}").format(low=ids.min(), high=ids.max()),
                _("0..{most}, one for each name, at most {count}").format(most=count, count=MOST),
            )
        object.__setattr__(self, "ids", ids.astype(np.uint8))
        object.__setattr__(self, "found", overlay.found(self.names, self.scores, count))

    def inside(self, place: int) -> np.ndarray:
        """Return the pixels of a segment, (H, W) bool."""
        return self.ids == place + 1

    def drawn(self, least: float = 0.0, shown: Collection[str] | None = None) -> Image.Image:
        """Return the image with the segments of at least the score ``least`` and names ``shown``.

        Each thing has a colour of its own, stuff a dark one of its class.
        """
        canvas = overlay.Canvas(self.picture)
        for i in sorted(self.found.chosen(least, shown), key=lambda i: bool(self.things[i])):
            canvas.area(self.inside(i), self.found.words(i), self.colour(i))
        return canvas.image

    def colour(self, place: int) -> tuple[int, int, int]:
        """Return the colour of a segment.

        Things take colours in turn, so that touching ones of a class differ; stuff has that of its
        class, equal in every image.
        """
        if self.things[place]:
            return overlay.colour(sum(map(bool, self.things[:place])))
        names = [*self.classes, *self.found.counts]
        red, green, blue = overlay.colour(names.index(self.found.names[place]))
        return red // DARK, green // DARK, blue // DARK

    @property
    def columns(self) -> list[str]:
        return [_("label"), _("thing"), _("pixels"), _("share")]

    def rows(self, least: float = 0.0, shown: Collection[str] | None = None) -> list[list[Any]]:
        """Return a row of ``columns`` for each of those segments."""
        made = []
        for i in self.found.chosen(least, shown):
            pixels = int(self.inside(i).sum())
            share = f"{pixels / math.prod(self.picture.size):.1%}"
            made.append([self.found.words(i, self.called), _("yes") if self.things[i] else _("no"), pixels, share])
        return made

    def save(self, path: Path) -> None:
        """Save the image with the segments drawn, or their data.

        Data are written as ``.json`` or in COCO's panoptic format. The latter is two files,
        ``.coco.png`` with the ids and ``.coco.json`` with their labels: the name of either writes
        both. Raises UserError.
        """
        name = path.name
        for end in (COCO, PIXELS):
            if name.lower().endswith(end):
                stem = name[: -len(end)]
                pixels = path.with_name(stem + PIXELS)
                told = json.dumps(self.as_coco(pixels.name), ensure_ascii=False, indent=1)
                files.write(pixels, self._pixels())
                files.write(path.with_name(stem + COCO), told.encode())
                return
        save_marked(self, path)

    def _pixels(self) -> bytes:
        """Return a PNG with the id as R + 256 G + 65536 B."""
        colours = np.zeros((*self.ids.shape, 3), np.uint8)
        colours[..., 0] = self.ids
        stream = io.BytesIO()
        Image.fromarray(colours).save(stream, "PNG")
        return stream.getvalue()

    def as_coco(self, file: str, image: int = 1) -> dict[str, Any]:
        """Return COCO's panoptic format of the image with that number.

        Categories count from 1; ``file`` is the one that holds the ids.
        """
        classes = list(self.classes) or list(self.found.counts)
        isthing = dict.fromkeys(classes, 1)
        isthing |= {name: int(thing) for name, thing in zip(self.found.names, self.things, strict=True)}
        if len(isthing) > len(classes):
            raise files.wrong(
                _("labels without a number: {labels}").format(labels=counted(self.found.names)),
                _("segments whose labels are among the classes of a model"),
            )
        width, height = self.picture.size
        return {
            "images": [{"id": image, "file_name": Path(self.picture.file).name, "width": width, "height": height}],
            "categories": [{"id": n + 1, "name": name, "isthing": isthing[name]} for n, name in enumerate(classes)],
            "annotations": [
                {
                    "image_id": image,
                    "file_name": file,
                    "segments_info": [
                        {
                            "id": i + 1,
                            "category_id": classes.index(name) + 1,
                            "area": int(self.inside(i).sum()),
                            "bbox": _box(self.inside(i)),
                            "iscrowd": 0,
                        }
                        for i, name in enumerate(self.found.names)
                        if self.inside(i).any()
                    ],
                }
            ],
        }

    def as_json(self) -> dict[str, Any]:
        """Return each segment's mask as run lengths in COCO's format, see ``Mask.as_json``."""
        return {
            **self.picture.as_json(),
            "segments": [
                {
                    "label": name,
                    "thing": bool(self.things[i]),
                    "score": self.found.scores[i] if self.found.scores else None,
                    "pixels": int(self.inside(i).sum()),
                    "rle": {"size": list(self.ids.shape), "counts": runs(self.inside(i))},
                }
                for i, name in enumerate(self.found.names)
            ],
            **super().as_json(),
        }

    def __str__(self) -> str:
        return counted([*map(self.called, self.found.names)])

    @property
    def scored(self) -> str:
        """Return the text of the answer with the highest and the lowest score of each name."""
        return counted([*map(self.called, self.found.names)], self.found.scores)

    def _repr_html_(self) -> str:
        return html(self.drawn(), str(self)) + files.html_table(self.columns, self.rows(), "")


def _box(inside: np.ndarray) -> list[int]:
    """Return left, top, width, height."""
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
