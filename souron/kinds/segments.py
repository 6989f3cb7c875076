"""Segments: a picture divided into things, each by itself, and stuff."""

import io
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.kinds import files, overlay
from souron.kinds.boxes import counted, save_marked
from souron.kinds.contour import runs
from souron.kinds.finding import Finding
from souron.kinds.picture import Picture, html
from souron.utils.messages import _

MOST = 255  # segments
DARK = 3  # of what part of a colour stuff has
COCO, PIXELS = ".coco.json", ".coco.png"


@dataclass(frozen=True, eq=False)
class Segments(Finding):
    """Of every pixel which segment it is of, 0 where it is of none; of every segment what it is,
    and whether it is a thing or stuff."""

    widget = "segments"
    suffix = ".png"

    picture: Picture
    ids: Any  # (H, W) whole numbers: 0, or one more than a segment's place in ``names``
    names: Sequence[str]  # of each segment
    things: Sequence[bool]  # of each segment
    scores: Sequence[float] = ()  # of each segment in 0..1; () where there are none
    classes: Sequence[str] = ()  # every label that a segment may have, in the order of numbers
    found: overlay.Found = field(init=False)

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids)
        width, height = self.picture.size
        if ids.shape != (height, width):
            raise files.wrong(
                _("a map of segments in the shape {shape}").format(shape=ids.shape),
                _("{height} rows of {width}, as the picture").format(height=height, width=width),
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
        """(H, W) bool: the pixels of a segment."""
        return self.ids == place + 1

    def drawn(self, least: float = 0.0, shown: Collection[str] | None = None) -> Image.Image:
        """The picture with the segments of that score or a better one, of the names ``shown``: each
        thing in a colour of its own, stuff in a dark one of its class."""
        canvas = overlay.Canvas(self.picture)
        for i in sorted(self.found.chosen(least, shown), key=lambda i: bool(self.things[i])):
            canvas.area(self.inside(i), self.found.words(i), self.colour(i))
        return canvas.image

    def colour(self, place: int) -> tuple[int, int, int]:
        """Things take colours one after the other, so that two of a class that touch differ; stuff
        has that of its class, the same in every picture."""
        if self.things[place]:
            return overlay.colour(sum(map(bool, self.things[:place])))
        names = [*self.classes, *self.found.counts]
        red, green, blue = overlay.colour(names.index(self.found.names[place]))
        return red // DARK, green // DARK, blue // DARK

    @property
    def columns(self) -> list[str]:
        return [_("label"), _("thing"), _("pixels"), _("share")]

    def rows(self, least: float = 0.0, shown: Collection[str] | None = None) -> list[list[Any]]:
        """What ``columns`` names of each of those segments."""
        made = []
        for i in self.found.chosen(least, shown):
            pixels = int(self.inside(i).sum())
            share = f"{pixels / math.prod(self.picture.size):.1%}"
            made.append(
                [self.found.words(i), _("yes") if self.things[i] else _("no"), pixels, share]
            )
        return made

    def save(self, path: Path) -> None:
        """A picture with the segments drawn; what they are as ``.json``; COCO's panoptic form as
        two files, ``.coco.png`` with the ids and ``.coco.json`` with what they are: the name of
        either writes both. Raises UserError."""
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
        """A PNG whose red is the id, and green and blue the rest of it: R + 256 G + 65536 B."""
        colours = np.zeros((*self.ids.shape, 3), np.uint8)
        colours[..., 0] = self.ids
        stream = io.BytesIO()
        Image.fromarray(colours).save(stream, "PNG")
        return stream.getvalue()

    def as_coco(self, file: str, picture: int = 1) -> dict[str, Any]:
        """COCO's panoptic form of the picture of that number: categories from 1, and the file that
        holds the ids."""
        classes = list(self.classes) or list(self.found.counts)
        isthing = dict.fromkeys(classes, 1)
        isthing |= {
            name: int(thing) for name, thing in zip(self.found.names, self.things, strict=True)
        }
        if len(isthing) > len(classes):
            raise files.wrong(
                _("labels without a number: {labels}").format(labels=counted(self.found.names)),
                _("segments whose labels are among the classes of a model"),
            )
        width, height = self.picture.size
        return {
            "images": [{"id": picture, "file_name": Path(self.picture.file).name, "width": width,
                        "height": height}],
            "categories": [
                {"id": n + 1, "name": name, "isthing": isthing[name]}
                for n, name in enumerate(classes)
            ],
            "annotations": [{
                "image_id": picture, "file_name": file,
                "segments_info": [
                    {"id": i + 1, "category_id": classes.index(name) + 1,
                     "area": int(self.inside(i).sum()), "bbox": _box(self.inside(i)), "iscrowd": 0}
                    for i, name in enumerate(self.found.names) if self.inside(i).any()
                ],
            }],
        }  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Each segment's mask as COCO's files have it, see ``Mask.as_json``."""
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
        return counted(self.found.names)

    def _repr_html_(self) -> str:
        return html(self.drawn(), str(self)) + files.html_table(self.columns, self.rows(), "")


def _box(inside: np.ndarray) -> list[int]:
    """Left, top, width, height."""
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1),
            int(rows[-1] - rows[0] + 1)]  # fmt: skip
