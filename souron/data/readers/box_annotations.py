"""Build cases from images with bounding boxes: the code that several file formats share.

Every fault is reported: what could not be used is listed in ``Dataset.skipped`` with the name of
its file and the number of its box. A box that extends beyond its image is clipped to it. A box
without area, with a non-finite edge or entirely outside the image is dropped. An image without
objects is kept as a negative example. Crowd regions get the label -1 - label: they are excluded
from training and evaluation. In data with keypoints, a keypoint with invalid values is treated as
not labelled, and reported.
"""

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Skipped
from souron.data.formats.folder import SUFFIXES, check_memory, natural, walk
from souron.data.patients import groups
from souron.data.readers.settings import Reading
from souron.data.targets.boxes import boxes_of
from souron.data.targets.poses import SEEN, Figures, Skeleton, area_of
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _, listed

SIDE = 128  # pixels, the default
NEAR = 1e-3  # of a side: an edge that lies outside by no more than this was rounded
NAMED = 5  # files listed in a note about many
LONGEST = 200  # characters of a note


class Box(NamedTuple):
    label: int
    edges: Any  # left, top, right, bottom; or another description of an object in the file
    crowd: bool = False
    name: str = ""  # used in fault messages, if given
    points: Sequence[Any] = ()  # x, y and visibility of each, flattened
    area: float = math.nan  # square pixels of the object's mask, if the file gives it


class BoxedImage(NamedTuple):
    """An image that should become a case, with its boxes."""

    path: Path
    file: str  # its name in ``Dataset``
    boxes: Sequence[Box]
    part: str = ""
    size: tuple[int, int] | None = None  # width and height according to the annotation file


def gather(
    source: Path,
    root: Path,
    listed: Sequence[BoxedImage],
    skipped: Sequence[Skipped],
    classes: Sequence[str],
    reading: Reading,
    relative: bool = False,
    skeleton: Skeleton | None = None,
) -> Dataset:
    """Read the listed images, which must lie under ``root``, and letterbox them into squares
    together with their boxes. With ``relative``, edges are fractions of the image's width and
    height, else pixels. With a ``skeleton``, each box is a figure with keypoints. Raises UserError
    if no image can be used or none has a box, and if memory does not suffice."""
    side, told = reading.side or SIDE, list(skipped)
    listed = sorted(listed, key=lambda item: natural(item.file))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        looks = list(pool.map(lambda item: _look(item, root), listed))
        seen = [look for look in looks if look is not None]
        channels = 1 if seen and all(look.grey for look in seen) else 3
        check_memory(len(listed), channels, side)
        image = torch.empty(len(listed), channels, side, side, dtype=torch.uint8)
        kept: list[BoxedImage] = []
        target: list[Any] = []

        def read(item: BoxedImage) -> Any:
            return _read(item, root, side, channels, relative, len(classes), skeleton)

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
    return as_dataset(source, kept, image, target, told, classes, reading)


def as_dataset(
    source: Path,
    kept: Sequence[Any],
    image: Tensor,
    target: Sequence[Any],
    told: list[Skipped],
    classes: Sequence[str],
    reading: Reading,
) -> Dataset:
    """Build a data set from the images in ``kept``, each with a ``file`` and a ``part``, and their
    objects. Images without objects and images with crowd regions are added to the notes in
    ``told``."""
    pairs = list(zip(kept, boxes_of(target), strict=True))
    empty = [item.file for item, boxes in pairs if not len(boxes)]
    told += many(empty, "no object", _("{count} images without objects, which stay"))
    crowds = [item.file for item, boxes in pairs if (boxes[:, 0] < 0).any()]
    told += many(crowds, "crowd", _("{count} images with regions ignored in training and testing"))
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
    """Map the name relative to the folder to the path, for all files below it."""
    return {file: path for path, file in walk(folder, skipped)}


def is_image(file: str) -> bool:
    return Path(file).suffix.lower() in SUFFIXES


def many(names: Sequence[str], code: str, what: str) -> list[Skipped]:
    """Return one note about all these files; ``what`` has a field for their count."""
    if not names:
        return []
    few = listed(names, NAMED)
    return [Skipped(few, code, what.format(count=len(names)))]


def number(text: Any) -> float:
    """Convert a value to a float; NaN if it is not a number or is a boolean."""
    try:
        return math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def short(thing: Any) -> str:
    return " ".join(str(thing).split())[:LONGEST]


def _look(item: BoxedImage, root: Path) -> limits.Look | None:
    try:
        return image_codec.look(item.path, root)
    except UserError:
        return None


def _read(
    item: BoxedImage, root: Path, side: int, channels: int, relative: bool, labels: int, skeleton: Skeleton | None
) -> Skipped | tuple[Tensor, Tensor | Figures, list[Skipped]]:
    """Return the pixels (C, side, side), the boxes (n, 5) in these pixels or the figures, and the
    faults found; or the reason why the image is skipped."""
    try:
        image = image_codec.rounded(image_codec.read(item.path, root))
    except UserError as trouble:
        why = trouble.found.removeprefix(f"{readable(item.path)}: ")
        return Skipped(item.file, trouble.code, why)
    if item.size is not None and item.size != image.size:
        why = _("the image has {here} pixels, its boxes are for one of {there}").format(
            here="{} x {}".format(*image.size), there="{} x {}".format(*item.size)
        )
        return Skipped(item.file, "size", why)
    pixels, place = image_codec.letterbox(image, side, channels)
    size = np.array(image.size * 2, dtype=float)
    ends = size.tolist()
    used: list[tuple[int, Box, list[float]]] = []
    notes = []
    for count, box in enumerate(item.boxes, 1):
        edges = [number(edge) for edge in box.edges]
        if relative:
            edges = [edge * end for edge, end in zip(edges, ends, strict=True)]
        fault, cut = _fault(edges, ends)
        if not 0 <= box.label < labels:
            fault = ("class", _("class {number}, where there are {count}").format(number=box.label, count=labels))
            cut = None
        if fault is not None:
            notes.append(Skipped(_("{file}, box {n}").format(file=item.file, n=count), *fault))
        if cut is not None:
            used.append((count, box, cut))
    there = place.within(np.array([cut for _count, _box, cut in used]).reshape(-1, 4)).tolist()
    rows = []
    for (count, box, _cut), edges in zip(used, there, strict=True):
        row = (-1 - box.label if box.crowd else box.label, *edges)
        if skeleton is not None:
            points, faults = _points(box, size, relative, skeleton)
            name = _("{file}, box {n}").format(file=item.file, n=count)
            notes += [Skipped(name, *one) for one in faults]
            points[:, :2] = place.within(points[:, [0, 1, 0, 1]])[:, :2]
            row = (*row, box.area * place.wide * place.high, *points.flatten().tolist())
        rows.append(row)
    once = list(dict.fromkeys(rows))
    if len(once) < len(rows):
        why = _("{count} boxes are duplicates").format(count=len(rows) - len(once))
        notes.append(Skipped(item.file, "duplicate", why))
        rows = once
    columns = 5 if skeleton is None else 6 + 3 * len(skeleton.names)
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, columns)
    return pixels, table if skeleton is None else _figures(table, skeleton), notes


def _figures(table: Tensor, skeleton: Skeleton) -> Figures:
    """Build figures from rows with a box, an area and points; a missing area is the box's area."""
    box, area, point = table[:, :5], table[:, 5], table[:, 6:]
    area = area.where((area > 0) & area.isfinite(), area_of(box))
    return Figures(box, point.unflatten(1, (-1, 3)), area, skeleton)


def _points(
    box: Box, size: Any, relative: bool, skeleton: Skeleton
) -> tuple[NDArray[np.float64], list[tuple[str, str]]]:
    """Return a figure's points (K, 3) in pixels, with invalid ones set to not labelled, and their
    faults."""
    names, told = skeleton.names, box.points
    points = np.zeros((len(names), 3))
    if len(told) != 3 * len(names):
        if not len(told) and box.crowd:
            return points, []
        why = _("{count} numbers of points, where {names} points have three each").format(
            count=len(told), names=len(names)
        )
        return points, [("points", why)]
    points[:] = np.array([number(value) for value in told]).reshape(-1, 3)
    if relative:
        points[:, :2] *= size[:2]
    place, known = points[:, :2], points[:, 2]
    marked = ~np.isin(known, (0.0,))
    near = place.clip(0, size[:2])
    faults = (
        ("number", _("no numbers: {points}"), marked & ~np.isfinite(place).all(1)),
        ("visibility", _("neither 0 nor 1 nor 2 is stated for: {points}"), ~np.isin(known, range(SEEN + 1))),
        ("outside", _("marked outside of the image: {points}"), marked & (abs(near - place) > NEAR * size[:2]).any(1)),
    )
    found = []
    for code, why, wrong in faults:
        if wrong.any():
            said = ", ".join(name for name, bad in zip(names, wrong, strict=True) if bad)
            found.append((code, why.format(points=short(said))))
            points[wrong] = 0.0
    points[:, :2] = np.where(points[:, 2:] > 0, near, 0.0)
    return points, found


def _fault(edges: list[float], ends: list[float]) -> tuple[tuple[str, str] | None, list[float] | None]:
    """Return the fault of a box (left, top, right, bottom) in pixels, or None, and the box clipped
    to the image; None if nothing of it can be used. Works on plain numbers for speed: an image may
    have 200,000 boxes."""
    if not all(map(math.isfinite, edges)):
        return ("no number", _("an edge that is no number")), None
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        return ("no area", _("a box without an area")), None
    cut = [min(max(edge, 0.0), end) for edge, end in zip(edges, ends, strict=True)]
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        why = _("a box outside of its image: {edges}").format(edges=_in_words(edges))
        return ("outside", why), None
    if any(abs(a - b) > NEAR * end for a, b, end in zip(cut, edges, ends, strict=True)):
        why = _("a box cut at the edge of its image: {edges}").format(edges=_in_words(edges))
        return ("cut", why), cut
    return None, cut


def _in_words(edges: Sequence[float]) -> str:
    return ", ".join(f"{round(edge, 1):g}" for edge in edges)


def _check(source: Path, kept: Sequence[BoxedImage], target: Iterable[Any], told: Sequence[Skipped]) -> None:
    if any(len(boxes) for boxes in boxes_of(target)):
        return
    found = (
        _("no image of {folder} has a box that can be used") if kept else _("no image that can be used in {folder}")
    ).format(folder=readable(source))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    raise UserError(
        "no boxes" if kept else "no image",
        "; ".join([found, *lost]),
        expected=_("images with boxes around objects: YOLO, COCO or VOC"),
        exit=3,
    )
