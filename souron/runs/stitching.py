"""Merge the masks of objects that extend over several tiles.

Two neighbouring tiles both see the strip in which they overlap. Pieces of one label that agree on
most of their pixels in the strip are one object, and a piece cut by its tile's edge joins the one
that covers most of it. Each piece joins at most one of each other tile, so that touching objects
stay separate. Each pixel of the object is decided by the tile in whose core it lies, if that tile
saw the object. Pieces outside of the cores of all their tiles are dropped, as other tiles decide
there.

Pieces are held as bits while a later tile may still touch them; then the object is written in COCO
format and released.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from souron.kinds.graphics import contour, overlay
from souron.kinds.picture import Picture
from souron.utils.messages import UserError, _

AGREE = 0.5  # IoU in the common strip from which two pieces are one object
HELD = 0.6  # share of a cut piece's pixels in the strip whose cover makes it join
STRIP = 4_000_000  # pixels of an object processed at once
MOST_HELD = 1_000_000_000  # bytes of pieces held
MOST_OBJECTS = 500_000
MOST_NAMED = 100  # labels on the overview

Edges = tuple[int, int, int, int]  # left, top, right, bottom
Area = NDArray[np.bool_]


@dataclass(eq=False)
class Part:
    """The piece of an object in one tile."""

    label: int
    score: float
    edges: Edges  # of its pixels, in the whole image
    bits: NDArray[np.uint8]  # (height, ceil(width / 8))
    window: Edges  # of its tile
    core: Edges
    cut: bool  # whether it touches a window edge inside the image
    thing: "Thing" = field(init=False)

    @property
    def counts(self) -> bool:
        """Return whether some of it lies in the core of its tile."""
        own = common(self.core, self.edges)
        return filled(own) and bool(self.within(own).any())

    def within(self, there: Edges) -> Area:
        """Return the mask within these edges, which lie inside the image."""
        made = np.zeros((there[3] - there[1], there[2] - there[0]), dtype=bool)
        left, top, right, bottom = both = common(self.edges, there)
        if filled(both):
            own = np.unpackbits(
                self.bits[top - self.edges[1] : bottom - self.edges[1]], axis=1, count=self.edges[2] - self.edges[0]
            ).astype(bool)
            made[top - there[1] : bottom - there[1], left - there[0] : right - there[0]] = own[
                :, left - self.edges[0] : right - self.edges[0]
            ]
        return made


@dataclass(eq=False)
class Thing:
    """The pieces of one object, each from another tile."""

    parts: list[Part]

    def __post_init__(self) -> None:
        self.take(self.parts)

    def take(self, parts: Sequence[Part]) -> None:
        """Take over the pieces of another object, or its own at first."""
        for part in parts:
            part.thing = self
        self.parts = [*dict.fromkeys([*self.parts, *parts])]

    @property
    def edges(self) -> Edges:
        return hull([part.edges for part in self.parts])

    def columns(self) -> Iterator[tuple[Area, int, int]]:
        """Yield the mask in strips from left to right: (H, W), left, top."""
        left, top, right, bottom = self.edges
        wide = max(1, STRIP // (bottom - top))
        for begin in range(left, right, wide):
            there = (begin, top, min(begin + wide, right), bottom)
            made = np.logical_or.reduce([part.within(there) for part in self.parts])
            for part in self.parts:
                own = common(part.core, there)
                if filled(own):
                    made[own[1] - top : own[3] - top, own[0] - begin : own[2] - begin] = part.within(own)
            yield made, begin, top


@dataclass
class Stitched:
    """The objects of a large image, written to a COCO file as they are finished."""

    classes: Sequence[str]
    size: tuple[int, int]  # of the image, width and height
    small: tuple[int, int]  # of its overview
    name: str  # of its file
    folder: Path
    found: list[dict[str, Any]] = field(default_factory=list)  # label, score, xyxy, pixels
    things: dict[Thing, None] = field(default_factory=dict)  # objects that may still grow
    held: int = 0  # bytes

    def __post_init__(self) -> None:
        self.painted = np.zeros(self.small[::-1], np.uint8)  # colour of each pixel, from 1 on
        self.being_written = self.folder / ".objects.json.part"
        about = {
            "images": [{"id": 1, "file_name": self.name, "width": self.size[0], "height": self.size[1]}],
            "categories": [{"id": n, "name": name} for n, name in enumerate(self.classes, 1)],
        }
        self.lines = [json.dumps(about, ensure_ascii=False)[:-1] + ', "annotations": [']
        self.being_written.write_text("", encoding="utf-8")

    def add(self, answer: Any, window: Edges, core: Edges) -> None:
        """Add a ``Mask`` of objects in a tile. Tiles must come row by row."""
        self._finish([thing for thing in self.things if all(part.window[3] <= window[1] for part in thing.parts)])
        there: dict[Edges, list[Part]] = {}
        for thing in self.things:
            for part in thing.parts:
                there.setdefault(part.window, []).append(part)
        new = list(self._parts(answer, window, core))
        for other, parts in there.items():
            strip = common(window, other)
            if filled(strip):
                for _agreed, one, two in sorted(_pairs(new, parts, strip), key=lambda pair: -pair[0]):
                    self._unite(one.thing, two.thing)

    def _parts(self, answer: Any, window: Edges, core: Edges) -> Iterator[Part]:
        inner = [edge != own for edge, own in zip(window, core, strict=True)]
        left, top = window[:2]
        for place, name in enumerate(answer.found.names):
            inside = answer.inside(place)
            down, across = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
            if not len(down):
                continue
            x, y, x_end, y_end = map(int, (across[0], down[0], across[-1] + 1, down[-1] + 1))
            edges = (x + left, y + top, x_end + left, y_end + top)
            cut = any(i and e == w for i, e, w in zip(inner, edges, window, strict=True))
            score = answer.found.scores[place] if answer.found.scores else 1.0
            bits = np.packbits(inside[y:y_end, x:x_end], axis=1)
            self.held += bits.size
            if self.held > MOST_HELD:
                raise _too_many(_("the masks of the objects do not fit into memory"))
            label = list(self.classes).index(name)
            thing = Thing([Part(label, score, edges, bits, window, core, cut)])
            self.things[thing] = None
            yield thing.parts[0]

    def _unite(self, one: Thing, two: Thing) -> None:
        seen = {part.window for part in one.parts}
        if one is not two and not seen & {part.window for part in two.parts}:
            del self.things[two]
            one.take(two.parts)

    def _finish(self, things: Sequence[Thing]) -> None:
        for thing in things:
            del self.things[thing]
            self.held -= sum(part.bits.size for part in thing.parts)
            if any(part.counts for part in thing.parts):
                self._write(thing)
        self._flush()

    def _flush(self) -> None:
        with self.being_written.open("a", encoding="utf-8") as file:
            file.writelines(self.lines)
        self.lines = []

    def _write(self, thing: Thing) -> None:
        if len(self.found) >= MOST_OBJECTS:
            raise _too_many(_("more than {count} objects").format(count=MOST_OBJECTS))
        best = max(thing.parts, key=lambda part: part.score)
        pixels, seen = 0, []

        def pieces() -> Iterator[tuple[Area, int, int]]:
            nonlocal pixels
            for mask, x, y in thing.columns():
                down, across = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
                if down:
                    pixels += int(mask.sum())
                    seen.append((x + across[0], y + down[0], x + across[-1] + 1, y + down[-1] + 1))
                    self._paint(mask, x, y, best.label)
                    yield mask, x, y

        lengths = contour.runs_of(pieces(), self.size)
        left, top, right, bottom = hull(seen)
        number = len(self.found) + 1
        told = {
            "id": number,
            "image_id": 1,
            "category_id": best.label + 1,
            "iscrowd": 0,
            "score": round(best.score, 4),
            "area": pixels,
            "bbox": [left, top, right - left, bottom - top],
            "segmentation": {"size": list(self.size[::-1]), "counts": contour.letters(lengths)},
        }
        self.lines.append(("" if number == 1 else ",") + "\n" + json.dumps(told))
        self.found.append(
            {
                "label": self.classes[best.label],
                "score": told["score"],
                "xyxy": [left, top, right, bottom],
                "pixels": pixels,
            }
        )

    def _paint(self, mask: Area, left: int, top: int, label: int) -> None:
        """Paint a mask into the overview."""
        high, wide = mask.shape
        ranges = []
        for first, length, small, full in (
            (top, high, self.small[1], self.size[1]),
            (left, wide, self.small[0], self.size[0]),
        ):
            places = np.arange(ceil(first * small / full), ceil((first + length) * small / full))
            at = (places * full // small - first).clip(0, length - 1)
            ranges.append((places, at))
        (rows, own_rows), (columns, own_columns) = ranges
        if len(rows) and len(columns):
            here = self.painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            here[mask[own_rows][:, own_columns]] = label % len(overlay.COLOURS) + 1

    def close(self) -> None:
        """Write the remaining objects, sort ``found`` by score, and rename the files."""
        self._finish(list(self.things))
        self.lines.append("\n]}\n")
        self._flush()
        self.being_written.replace(self.folder / "objects.json")
        self.found.sort(key=lambda one: -one["score"])
        with (self.folder / "objects.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["label", "left", "top", "right", "bottom", "score", "pixels"])
            table.writerows([o["label"], *o["xyxy"], o["score"], o["pixels"]] for o in self.found)

    def drawn(self, overview: Image.Image) -> Image.Image:
        """Return the overview with tinted objects, the highest-scoring ones labelled."""
        pixels = np.asarray(overview.convert("RGB"))
        colours = np.array([(0, 0, 0), *overlay.COLOURS], np.uint8)[self.painted]
        there = (self.painted > 0)[..., None]
        tinted = np.where(there, pixels // 2 + colours // 2, pixels)
        canvas = overlay.Canvas(Picture(Image.fromarray(tinted)))
        scale = canvas.image.width / self.size[0]
        for one in self.found[:MOST_NAMED]:
            left, top = (round(edge * scale) for edge in one["xyxy"][:2])
            number = list(self.classes).index(one["label"])
            canvas.name((left, top), one["label"], overlay.colour(number))
        return canvas.image


def common(one: Edges, two: Edges) -> Edges:
    """Return the intersection; ``filled`` returns whether it is non-empty."""
    return (max(one[0], two[0]), max(one[1], two[1]), min(one[2], two[2]), min(one[3], two[3]))


def hull(every: Sequence[Edges]) -> Edges:
    """Return the bounding box of all edges."""
    left, top, right, bottom = zip(*every, strict=True)
    return min(left), min(top), max(right), max(bottom)


def filled(edges: Edges) -> bool:
    return edges[0] < edges[2] and edges[1] < edges[3]


def _pairs(new: Sequence[Part], old: Sequence[Part], strip: Edges) -> Iterator[tuple[float, Part, Part]]:
    """Yield the pieces of two tiles that are one object, with their agreement."""
    edges = np.array([part.edges for part in old])
    for one in new:
        left, top, right, bottom = common(one.edges, strip)
        near = (edges[:, 0] < right) & (edges[:, 2] > left)
        near &= (edges[:, 1] < bottom) & (edges[:, 3] > top)
        for place in np.flatnonzero(near).tolist():
            two = old[place]
            agreed = agreement(one, two, strip) if one.label == two.label else 0.0
            if agreed:
                yield agreed, one, two


def agreement(one: Part, two: Part, strip: Edges) -> float:
    """Return the IoU in the strip; 0 if the pieces are different objects."""
    seen = [common(part.edges, strip) for part in (one, two)]
    if not all(map(filled, seen)):
        return 0.0
    around = hull(seen)
    first, second = one.within(around), two.within(around)
    shared = int((first & second).sum())
    iou = shared / max(1, int((first | second).sum()))
    held = any(part.cut and shared >= HELD * max(1, int(mask.sum())) for part, mask in ((one, first), (two, second)))
    return iou if iou >= AGREE or held else 0.0


def _too_many(found: str) -> UserError:
    return UserError("too many", found, expected=_("a larger conf"), fix="conf=0.5")
