"""Build cases from images with a mask for each object: the code that several file formats share.

Every fault is reported: what could not be used is listed in ``Dataset.skipped`` with the name of
its file and the number of its object. A mask that extends beyond its image is clipped; one without
a pixel is dropped. An image without objects is kept as a negative example. Crowd regions get the
label -1 - label: they are excluded from training and evaluation.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import check_memory, natural
from souron.data.readers.box_annotations import NEAR, SIDE, as_dataset
from souron.data.readers.outlines import Corners, Fault, Piece
from souron.data.readers.settings import Reading
from souron.data.targets.instances import Instances
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.codecs.image import Letterbox
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

MOST_OBJECTS = 5000  # of an image
HALF = 128  # of 255: a pixel belongs to an object that covers half of it


class Marked(NamedTuple):
    """An object as annotated in its file."""

    label: int
    name: str  # used in fault messages
    piece: Piece  # of the image
    crowd: bool = False


Marks = Callable[[tuple[int, int], list[Skipped]], Iterator[Marked]]


class Outlined(NamedTuple):
    """An image that should become a case, with its objects."""

    path: Path
    file: str  # its name in ``Dataset``
    marks: Marks  # for the image's width and height; reports faults; raises UserError
    part: str = ""
    size: tuple[int, int] | None = None  # width and height according to the annotation file


Read = tuple[Tensor, Instances, list[Skipped]]


def gather(
    source: Path,
    root: Path,
    listed: Sequence[Outlined],
    skipped: Sequence[Skipped],
    classes: Sequence[str],
    reading: Reading,
) -> Dataset:
    """Read the listed images, which must lie under ``root``, and letterbox them into squares with
    their objects. Raises UserError if no image can be used or none has an object, and if memory
    does not suffice."""
    side, told = reading.side or SIDE, list(skipped)
    listed = sorted(listed, key=lambda item: natural(item.file))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        looks = [look for look in pool.map(lambda item: _look(item, root), listed) if look]
        channels = 1 if looks and all(look.grey for look in looks) else 3
        check_memory(len(listed), channels, side)
        image = torch.empty(len(listed), channels, side, side, dtype=torch.uint8)
        kept: list[Outlined] = []
        target: list[Instances] = []
        room = psutil.virtual_memory().available // 2  # bytes
        readings = pool.map(lambda item: _read(item, root, side, channels, len(classes)), listed)
        for done, (item, found) in enumerate(zip(listed, readings, strict=True)):
            if isinstance(found, Skipped):
                told.append(found)
            else:
                pixels, objects, notes = found
                image[len(kept)] = pixels
                kept.append(item)
                target.append(objects)
                told += notes
                room -= objects.bits.numel()
                if room < 0:
                    raise _no_memory(side)
            if reading.progress and done % 64 == 0:
                reading.progress(done, len(listed))
    _check(source, kept, target, told)
    return as_dataset(source, kept, image, target, told, classes, reading)


def cut(lines: Sequence[Corners], size: tuple[int, int]) -> Skipped | None:
    """Return a note on outlines that extend beyond their image by more than rounding, without a
    file name; None if there are none."""
    if not lines:
        return None
    every = np.concatenate(lines)
    edges = np.concatenate([every.min(0), every.max(0)])
    if (abs(edges.clip(0, size * 2) - edges) <= NEAR * np.array(size * 2)).all():
        return None
    said = ", ".join(f"{edge:g}" for edge in edges.round(1))
    low, high = edges[:2], edges[2:]
    if (high <= 0).any() or (low >= size).any():
        return Skipped("", "outside", _("outside of its image: {edges}").format(edges=said))
    return Skipped("", "cut", _("cut at the edge of its image: {edges}").format(edges=said))


def _look(item: Outlined, root: Path) -> limits.Look | None:
    try:
        return image_codec.look(item.path, root)
    except UserError:
        return None


def _read(item: Outlined, root: Path, side: int, channels: int, labels: int) -> Skipped | Read:
    """Return pixels (C, side, side), the objects in these pixels, and the faults found; or the
    reason why the image is skipped."""
    try:
        image = image_codec.rounded(image_codec.read(item.path, root))
    except UserError as trouble:
        why = trouble.found.removeprefix(f"{readable(item.path)}: ")
        return Skipped(item.file, trouble.code, why)
    if item.size is not None and item.size != image.size:
        why = _("the image has {here} pixels, its objects are for one of {there}").format(
            here="{} x {}".format(*image.size), there="{} x {}".format(*item.size)
        )
        return Skipped(item.file, "size", why)
    pixels, place = image_codec.letterbox(image, side, channels)
    rows: dict[tuple[bytes, tuple[float, ...]], None] = {}
    notes: list[Skipped] = []
    twice = 0
    try:
        for one in item.marks(image.size, notes):
            piece = one.piece.tight()
            fault = _fault(one, piece, labels)
            small = None if fault else reduced(piece, image.size, place, side)
            if small is None:
                fault = fault or ("too small", _("nothing is left of it in {side} x {side} pixels").format(side=side))
                notes.append(Skipped(one.name, *fault))
                continue
            high, wide = piece.inside.shape
            left, top = piece.left, piece.top
            [edges] = place.within(np.array([[left, top, left + wide, top + high]], float))
            label = float(-1 - one.label if one.crowd else one.label)
            key = np.packbits(small, axis=1).tobytes(), (label, *edges.tolist())
            twice += key in rows
            rows[key] = None
            if len(rows) > MOST_OBJECTS:
                why = _("more than {count} objects").format(count=MOST_OBJECTS)
                return Skipped(item.file, "too many", why)
    except UserError as trouble:
        return Skipped(item.file, trouble.code, trouble.found)
    if twice:
        why = _("{count} objects are duplicates").format(count=twice)
        notes.append(Skipped(item.file, "duplicate", why))
    bits = np.frombuffer(b"".join(bits for bits, _row in rows), np.uint8).copy()
    box = torch.tensor([row for _bits, row in rows], dtype=torch.float32).reshape(-1, 5)
    masks = torch.from_numpy(bits.reshape(-1, side, (side + 7) // 8))
    return pixels, Instances(box, masks), notes


def _fault(one: Marked, piece: Piece, labels: int) -> tuple[str, str] | None:
    if not 0 <= one.label < labels:
        return "class", _("class {number}, where there are {count}").format(number=one.label, count=labels)
    if not piece.inside.size:
        return "no area", _("an object without a pixel")
    return None


def reduced(piece: Piece, size: tuple[int, int], place: Letterbox, side: int) -> np.ndarray | None:
    """Downscale a mask to the square, (side, side) bool: the pixels that an object covers at least
    by half, or, if there are none, those that it covers most; None if it covers almost nothing."""
    whole = np.zeros((side, side), dtype=bool)
    starts, boxes = [], []
    for first, length, full, scale in zip(
        (piece.left, piece.top), piece.inside.shape[::-1], size, place[:2], strict=True
    ):
        count = max(1, round(full * scale))
        low, high = floor(first * count / full), ceil((first + length) * count / full)
        step = full / count  # image pixels per pixel of the square
        starts.append((low, high))
        boxes.append((low * step, high * step, floor(low * step), min(full, ceil(high * step))))
    (left, right), (top, bottom) = starts
    (x, x_end, x_from, x_to), (y, y_end, y_from, y_to) = boxes
    around = np.zeros((y_to - y_from, x_to - x_from), dtype=np.uint8)
    high, wide = piece.inside.shape
    around[piece.top - y_from :, piece.left - x_from :][:high, :wide] = piece.inside * np.uint8(255)
    window = (x - x_from, y - y_from, min(x_end - x_from, x_to - x_from), min(y_end - y_from, y_to - y_from))
    small = np.asarray(Image.fromarray(around).resize((right - left, bottom - top), Image.Resampling.BOX, window))
    if not small.any():
        return None
    here = whole[place.top + top : place.top + bottom, place.left + left : place.left + right]
    here[:] = small >= min(HALF, int(small.max()) // 2 + 1)
    return whole


def _check(source: Path, kept: Sequence[Outlined], target: Sequence[Instances], told: Sequence[Skipped]) -> None:
    if any(len(objects.box) for objects in target):
        return
    found = (
        _("no image of {folder} has a mask of an object that can be used")
        if kept
        else _("no image that can be used in {folder}")
    ).format(folder=readable(source))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    raise UserError(
        "no masks" if kept else "no image",
        "; ".join([found, *lost]),
        expected=_("images with a mask for each object: COCO, YOLO, or images/ and masks/"),
        exit=3,
    )


def _no_memory(side: int) -> UserError:
    return UserError(
        "memory",
        _("the masks of all objects do not fit into memory at {side} x {side} pixels").format(side=side),
        expected=_("a smaller side"),
        fix=f"imgsz={max(32, side // 2)}",
        exit=4,
    )


__all__ = ["Fault", "Marked", "Outlined", "cut", "gather", "reduced"]
