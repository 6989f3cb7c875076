"""Pictures with boxes, as files of several forms name them -> cases: what these formats share.

Every fault is told, none is passed over in silence: what could not be used stands in
``Dataset.skipped`` by the name of its file and the number of its box. A box that leaves its picture
is cut at the edge; one without an area, with an edge that is no number, or wholly outside is left
out. A picture without objects stays: it says where nothing is. Crowd regions get the label
-1 - label: they are neither learnt nor counted.
"""

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Skipped
from souron.data.formats.folder import SUFFIXES, check_memory, natural, walk
from souron.data.patients import groups
from souron.data.reading import Reading
from souron.kinds.codecs import image as pictures
from souron.kinds.codecs import limits
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

SIDE = 128  # pixels, where nobody says otherwise
NEAR = 1e-3  # of a side: an edge that is so little outside was rounded
NAMED = 5  # files in a note about many
LONGEST = 200  # letters of a note


class Box(NamedTuple):
    label: int
    edges: Any  # left, top, right, bottom; or what else a file says of an object
    crowd: bool = False
    name: str = ""  # of it in a fault, where it has one


class Pictured(NamedTuple):
    """A picture that should become a case, with its boxes."""

    path: Path
    file: str  # its name in ``Dataset``
    boxes: Sequence[Box]
    part: str = ""
    size: tuple[int, int] | None = None  # width and height, as the boxes' file says


def gather(
    source: Path,
    root: Path,
    listed: Sequence[Pictured],
    skipped: Sequence[Skipped],
    classes: Sequence[str],
    reading: Reading,
    relative: bool = False,
) -> Dataset:
    """Read the listed pictures, which must lie under ``root``, whole into squares, their boxes
    moved along. ``relative``: edges are shares of the picture's width and height, else pixels.
    Raises UserError where no picture can be used or none has a box, and for want of memory."""
    side, told = reading.side or SIDE, list(skipped)
    listed = sorted(listed, key=lambda item: natural(item.file))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        looks = list(pool.map(lambda item: _look(item, root), listed))
        seen = [look for look in looks if look is not None]
        channels = 1 if seen and all(look.grey for look in seen) else 3
        check_memory(len(listed), channels, side)
        image = torch.empty(len(listed), channels, side, side, dtype=torch.uint8)
        kept: list[Pictured] = []
        target: list[Tensor] = []

        def read(item: Pictured) -> Any:
            return _read(item, root, side, channels, relative, len(classes))

        for done, (item, found) in enumerate(zip(listed, pool.map(read, listed), strict=True)):
            if isinstance(found, Skipped):
                told.append(found)
            else:
                pixels, boxes, notes = found
                image[len(kept)] = pixels
                kept.append(item)
                target.append(boxes)
                told += notes
            if reading.progress and done % 64 == 0:
                reading.progress(done, len(listed))
    _check(source, kept, target, told)
    pairs = list(zip(kept, target, strict=True))
    empty = [item.file for item, boxes in pairs if not len(boxes)]
    told += many(empty, "no object", _("{count} pictures without objects, which stay"))
    crowds = [item.file for item, boxes in pairs if (boxes[:, 0] < 0).any()]
    told += many(crowds, "crowd", _("{count} pictures with regions neither learnt nor counted"))
    names = [item.file for item in kept]
    group, how, question = groups(names, [""] * len(names), reading.group)
    return Dataset(
        name=readable(source.absolute().name),
        input=image[: len(kept)],
        target=ListColumn(target),
        classes=tuple(classes),
        file=names,
        group=group if any(group) else (),
        grouped=how if any(group) else "",
        question=question,
        part=[item.part for item in kept] if any(item.part for item in kept) else (),
        skipped=tuple(told),
        source=readable(source),
    )


def files_below(folder: Path, skipped: list[Skipped]) -> dict[str, Path]:
    """Name relative to the folder -> file, of all that lie below."""
    return {file: path for path, file in walk(folder, skipped)}


def is_picture(file: str) -> bool:
    return Path(file).suffix.lower() in SUFFIXES


def many(names: Sequence[str], code: str, what: str) -> list[Skipped]:
    """One note about all these files; ``what`` has a field for their count."""
    if not names:
        return []
    few = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return [Skipped(few, code, what.format(count=len(names)))]


def number(text: Any) -> float:
    """What a text says, not a number where it says none; a truth value is none."""
    try:
        return math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def short(thing: Any) -> str:
    return " ".join(str(thing).split())[:LONGEST]


def _look(item: Pictured, root: Path) -> limits.Look | None:
    try:
        return pictures.look(item.path, root)
    except UserError:
        return None


def _read(
    item: Pictured, root: Path, side: int, channels: int, relative: bool, labels: int
) -> Skipped | tuple[Tensor, Tensor, list[Skipped]]:
    """Pixels (C, side, side), boxes (n, 5) in their pixels, and what was wrong with some."""
    try:
        picture = pictures.rounded(pictures.read(item.path, root))
    except UserError as trouble:
        why = trouble.found.removeprefix(f"{readable(item.path)}: ")
        return Skipped(item.file, trouble.code, why)
    if item.size is not None and item.size != picture.size:
        why = _("the picture has {here} pixels, its boxes are for one of {there}").format(
            here="{} x {}".format(*picture.size), there="{} x {}".format(*item.size)
        )
        return Skipped(item.file, "size", why)
    pixels, place = pictures.letterbox(picture, side, channels)
    size = np.array(picture.size * 2, dtype=float)
    rows, notes = [], []
    for count, box in enumerate(item.boxes, 1):
        edges = np.array([number(edge) for edge in box.edges]) * (size if relative else 1.0)
        fault, edges = _fault(edges, size)
        if not 0 <= box.label < labels:
            fault = (
                "class",
                _("class {number}, where there are {count}").format(number=box.label, count=labels),
            )
            edges = None
        if fault is not None:
            notes.append(Skipped(_("{file}, box {n}").format(file=item.file, n=count), *fault))
        if edges is not None:
            there = place.within(edges[None])[0].tolist()
            rows.append((-1 - box.label if box.crowd else box.label, *there))
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    twice = len(boxes) - len(boxes.unique(dim=0)) if len(boxes) else 0
    if twice:
        boxes = torch.tensor(list(dict.fromkeys(rows)), dtype=torch.float32)
        why = _("{count} boxes are there twice").format(count=twice)
        notes.append(Skipped(item.file, "duplicate", why))
    return pixels, boxes, notes


def _fault(edges: Any, size: Any) -> tuple[tuple[str, str] | None, Any]:
    """What is wrong with a box (4,) in pixels, if anything, and what is left of it: nothing, or
    what lies within the picture."""
    if not np.isfinite(edges).all():
        return ("no number", _("an edge that is no number")), None
    if (edges[2:] <= edges[:2]).any():
        return ("no area", _("a box without an area")), None
    cut = edges.clip(0, size)
    said = ", ".join(f"{edge:g}" for edge in edges.round(1))
    if (cut[2:] <= cut[:2]).any():
        return ("outside", _("a box outside of its picture: {edges}").format(edges=said)), None
    if (abs(cut - edges) > NEAR * size).any():
        return ("cut", _("a box cut at the edge of its picture: {edges}").format(edges=said)), cut
    return None, cut


def _check(
    source: Path, kept: Sequence[Pictured], target: Iterable[Tensor], told: Sequence[Skipped]
) -> None:
    if any(len(boxes) for boxes in target):
        return
    found = (
        _("no picture of {folder} has a box that can be used")
        if kept
        else _("no picture that can be used in {folder}")
    ).format(folder=readable(source))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    raise UserError(
        "no boxes" if kept else "no image",
        "; ".join([found, *lost]),
        expected=_("pictures with boxes around objects: YOLO, COCO or VOC"),
        exit=3,
    )
