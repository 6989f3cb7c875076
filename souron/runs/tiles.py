"""Run a detector or a segmenter on an image of any size, tile by tile.

Akyon, Altinuc, Temizel: Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection
(2022). https://arxiv.org/abs/2202.06934

Tiles overlap. A box belongs to the tile in whose core its centre lies: the cores cover the image
once, so that an object that fits into the overlap is whole where it counts. A box cut by a tile's
edge is replaced by a whole one of its label; the rest is non-maximum suppression. Of a class mask
each tile writes its core; masks of objects are merged, see ``stitching``. One tile is in memory at
a time, however large the image. Tiles of a slide that hold nothing but glass are left out.
"""

import csv
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from souron.blocks.boxes import local_maxima
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import slides
from souron.kinds.kind import Kind
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.metrics.detection import overlaps
from souron.runs.events import Event
from souron.runs.stitching import Stitched
from souron.utils import files
from souron.utils.messages import UserError, _

OVERLAP = 0.25  # of a tile's side
FEWEST_PIXELS = 32  # a side of a tile
SHOWN = 2048  # longer side of the overview in pixels
SOUGHT = 1024  # longer side in pixels of the overview in which tissue is sought
UNSEEN = 255  # in a class map: not looked at
MOST_BOXES = 500_000
MOST_DRAWN = 1000  # boxes in the overview, the highest-scoring
CUT = 1.5  # distance to a tile's edge, in pixels, below which a box may be cut
WHOLE = 0.6  # share of a cut box's area within a whole one that replaces it


class Tile(NamedTuple):
    """A window of the image and its core: left, top, right, bottom."""

    window: tuple[int, int, int, int]
    core: tuple[int, int, int, int]


@dataclass
class TilesRecord:
    """The objects found in a large image, which no check compares with the training data."""

    folder: Path
    size: tuple[int, int]  # width and height, pixels
    tiles: int = 0
    seconds: float = 0.0
    boxes: list[dict[str, Any]] = field(default_factory=list)  # including those of object masks
    areas: list[dict[str, Any]] = field(default_factory=list)  # of classes: label, pixels, share
    broken: str = ""
    microns: float = 0.0  # µm a pixel, of a slide that says so
    glass: int = 0  # tiles left out, since they show no tissue

    def as_json(self) -> dict[str, Any]:
        kind = {"areas": self.areas} if self.areas else {"boxes": self.boxes}
        broken = {"broken": self.broken} if self.broken else {}
        microns = {"microns_per_pixel": self.microns} if self.microns else {}
        return {
            "width": self.size[0],
            "height": self.size[1],
            **microns,
            "tiles": self.tiles,
            "familiar": None,
            **({"tiles_of_glass": self.glass} if self.glass else {}),
            **kind,
            **broken,
            "saved": str(self.folder),
        }


def grid(size: tuple[int, int], tile: int, overlap: float = OVERLAP) -> list[Tile]:
    """Return the tiles of an image of that width and height, row by row."""
    columns, rows = (_axis(length, tile, overlap) for length in size)
    return [
        Tile((left[0], top[0], left[1], top[1]), (left[2], top[2], left[3], top[3])) for top in rows for left in columns
    ]


def _axis(length: int, tile: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Return for each tile along a side the start and end of its window and of its core."""
    step = max(1, round(tile * (1 - overlap)))
    starts = [*range(0, max(length - tile, 0), step), max(length - tile, 0)]
    ends = [min(start + tile, length) for start in starts]
    borders = [(end + after) // 2 for end, after in zip(ends, starts[1:], strict=False)]
    cores = zip([0, *borders], [*borders, length], strict=True)
    return [(s, e, *core) for s, e, core in zip(starts, ends, cores, strict=True)]


def tiling(
    look: Callable[[Picture], Kind],
    path: Path,
    folder: Path,
    *,
    tile: int,
    overlap: float = OVERLAP,
    iou: float = 0.7,
    microns: float = 0.0,
    glass: bool = False,
) -> Iterator[Event]:
    """Run ``look`` on each tile: it returns ``Boxes``, or a ``Mask`` of classes or objects.

    ``tile`` is the side in pixels, ``overlap`` a share of it. ``microns`` is the resolution at
    which a slide is read, in µm a pixel; 0 its own. All results are in pixels of that size. Tiles
    of a slide without tissue are left out unless ``glass``. The last event carries a
    ``TilesRecord``; Ctrl-C ends it, keeping the results so far. Raises UserError.
    """
    check(tile, overlap)
    with slides.opened(path) as opened:
        slide = slides.scaled(opened, microns) if microns else opened
        every = grid(slide.size, tile, overlap)
        tiles = every if glass or not slide.microns else with_tissue(every, slide)
        record = TilesRecord(folder, slide.size, microns=slide.microns, glass=len(every) - len(tiles))
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        kept: _Boxes | _Areas | _Objects | None = None
        try:
            for one in tiles:
                left, top, right, bottom = one.window
                region = slide.region(left, top, right - left, bottom - top)
                answer = look(Picture(region, str(path)))
                if kept is None:
                    kept = _store(answer, slide.size, folder, path.name)
                kept.add(answer, one)
                record.tiles += 1
                record.seconds = time.perf_counter() - begun
                done = record.tiles / len(tiles)
                yield Event(
                    "watch",
                    done,
                    record.seconds * (1 / done - 1),
                    _("tile {number} of {count}").format(number=record.tiles, count=len(tiles)),
                )
        except KeyboardInterrupt:
            record.broken = _("stopped after {count} tiles").format(count=record.tiles)
        except OSError as error:
            raise files.cannot_write(folder / "answer", error) from error
        if kept is not None:
            if isinstance(kept, _Areas):
                kept.leave_out(set(every) - set(tiles))
            kept.finish(record, slide, iou)
    yield Event("done", 1.0, record=record, folder=folder)


def with_tissue(tiles: Sequence[Tile], slide: slides.Slide) -> list[Tile]:
    """Return the tiles that show tissue in an overview of the slide; all where it shows none."""
    found = slides.tissue(slide.overview(SOUGHT))
    scale = np.array(2 * found.shape[::-1]) / np.array(2 * slide.size)
    kept = []
    for one in tiles:
        left, top, right, bottom = one.window * scale
        seen = found[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
        kept += [one] if seen.any() else []
    return kept or list(tiles)


def check(tile: int, overlap: float) -> None:
    if tile < FEWEST_PIXELS or not 0 <= overlap <= 0.9:
        raise UserError(
            "value",
            f"tile={tile} overlap={overlap:g}",
            expected=_("tile={least} or more, overlap 0..0.9").format(least=FEWEST_PIXELS),
        )


def _store(answer: Kind, size: tuple[int, int], folder: Path, name: str) -> "_Boxes | _Areas | _Objects":
    if isinstance(answer, Boxes):
        return _Boxes(answer.classes)
    if isinstance(answer, Mask) and answer.area.ndim == 2:
        return _Areas(answer.names, size, folder)
    if isinstance(answer, Mask) and answer.classes:
        return _Objects(answer.classes, size, folder, name)
    raise UserError(
        "option",
        _("a {kind} cannot be put together from tiles").format(kind=type(answer).__name__.lower()),
        expected=_("a detector or a segmenter"),
    )


class _Boxes:
    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.rows: list[np.ndarray] = []  # (n, 7): label, edges, score, whether it is cut
        self.count = 0

    def add(self, answer: Any, tile: Tile) -> None:
        if not len(answer.box):
            return
        left, top, right, bottom = tile.window
        box = np.asarray(answer.box, float) + np.array([left, top, left, top])
        middle = (box[:, :2] + box[:, 2:]) / 2
        low, high = np.array(tile.core[:2]), np.array(tile.core[2:])
        own = ((middle >= low) & (middle < high)).all(1)
        window, core = np.array(tile.window), np.array(tile.core)
        inner = window != core  # edges of the window inside the image
        cut = ((abs(box - [left, top, right, bottom]) < CUT) & inner).any(1)
        labels = [self.classes.index(name) for name in answer.found.names]
        rows = np.column_stack([labels, box, answer.found.scores, cut])[own]
        self.count += len(rows)
        if self.count > MOST_BOXES:
            raise UserError(
                "too many",
                _("more than {count} boxes").format(count=MOST_BOXES),
                expected=_("a larger conf"),
                fix="conf=0.5",
            )
        self.rows.append(rows)

    def finish(self, record: TilesRecord, slide: slides.Slide, iou: float) -> None:
        rows = np.concatenate([np.zeros((0, 7)), *self.rows])
        rows = merged(rows, iou)
        record.boxes = [
            {"label": self.classes[int(label)], "score": round(score, 4), "xyxy": [round(edge, 1) for edge in edges]}
            for label, *edges, score, _cut in rows.tolist()
        ]
        with (record.folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["label", "left", "top", "right", "bottom", "score"])
            table.writerows([b["label"], *b["xyxy"], b["score"]] for b in record.boxes)
        small = slide.overview(SHOWN)
        scale = small.width / slide.size[0]
        few = rows[:MOST_DRAWN]
        names = [self.classes[int(label)] for label in few[:, 0]]
        drawn = Boxes(Picture(small), few[:, 1:5] * scale, names, few[:, 5].tolist(), self.classes)
        drawn.save(record.folder / "overview.png")


def merged(rows: np.ndarray, iou: float) -> np.ndarray:
    """Merge boxes (n, 7): drop cut boxes mostly within a whole one, then suppress non-maxima.

    Of two boxes that overlap by more than ``iou`` the lower-scoring is dropped; sorted by score.
    """
    cut = rows[:, 6] > 0
    whole, doubtful = rows[~cut], rows[cut]
    # ``overlaps`` with crowds gives shares of the box's own area
    held = []
    for row in doubtful:
        near = whole[(whole[:, 0] == row[0]) & _touch(whole, row)]
        if not len(near):
            held.append(False)
            continue
        share = overlaps(row[None, 1:5], near[:, 1:5], np.ones(len(near), bool))
        held.append(bool((share >= WHOLE).any()))
    rows = np.concatenate([whole, doubtful[~np.array(held, bool)]])
    table = torch.from_numpy(rows)
    return rows[local_maxima(table[:, 1:5], table[:, 5], table[:, 0].long(), iou).numpy()]


def _touch(rows: np.ndarray, row: np.ndarray) -> Any:
    return ((rows[:, 1:3] < row[3:5]) & (rows[:, 3:5] > row[1:3])).all(1)


class _Areas:
    """A class map as large as the image, in a file."""

    def __init__(self, names: Sequence[str], size: tuple[int, int], folder: Path) -> None:
        self.names = list(names)
        shape = (size[1], size[0])
        self.area = np.lib.format.open_memmap(folder / "mask.npy", "w+", np.uint8, shape)

    def add(self, answer: Any, tile: Tile) -> None:
        (left, top, _right, _bottom), (a, b, c, d) = tile
        self.area[b:d, a:c] = answer.area[b - top : d - top, a - left : c - left]

    def leave_out(self, tiles: Collection[Tile]) -> None:
        """Mark the cores of tiles as not looked at."""
        for one in tiles:
            left, top, right, bottom = one.core
            self.area[top:bottom, left:right] = UNSEEN

    def finish(self, record: TilesRecord, slide: slides.Slide, iou: float) -> None:
        self.area.flush()
        counts = np.zeros(256, np.int64)
        for begin in range(0, len(self.area), 1024):
            counts += np.bincount(self.area[begin : begin + 1024].ravel(), minlength=256)
        counts = counts[:UNSEEN]
        record.areas = [
            {"label": name, "pixels": int(count), "share": count / counts.sum()}
            | ({"mm2": count * record.microns**2 / 1e6} if record.microns else {})
            for name, count in zip(self.names, counts, strict=False)
            if name
        ]
        small = slide.overview(SHOWN)
        rows, columns = (
            np.linspace(0, length, side, endpoint=False).astype(int)
            for length, side in zip(self.area.shape, small.size[::-1], strict=True)
        )
        area = np.ascontiguousarray(self.area[rows][:, columns])
        area[area == UNSEEN] = len(self.names)
        canvas = Mask(Picture(small), area, [*self.names, ""]).drawn()
        Picture(canvas).save(record.folder / "overview.png")


class _Objects:
    """A mask for each object, in a COCO file."""

    def __init__(self, classes: Sequence[str], size: tuple[int, int], folder: Path, name: str) -> None:
        scale = min(1.0, SHOWN / max(size))
        small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        self.stitched = Stitched(classes, size, small, name, folder)

    def add(self, answer: Any, tile: Tile) -> None:
        self.stitched.add(answer, tile.window, tile.core)

    def finish(self, record: TilesRecord, slide: slides.Slide, iou: float) -> None:
        self.stitched.close()
        record.boxes = self.stitched.found
        drawn = self.stitched.drawn(slide.overview(SHOWN))
        Picture(drawn).save(record.folder / "overview.png")
