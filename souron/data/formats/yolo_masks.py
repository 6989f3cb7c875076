"""``data.yaml`` with a text file of outlines beside each image, as written by YOLO tools.

    data.yaml, images/, labels/        see ``yolo_boxes``
    1.txt                              one line per object: class x y x y x y ..., the class from 0,
                                       the corners as fractions of the image's width and height

Outlines are filled by the even-odd rule, evaluated at pixel centres: an object of several parts, or
with a hole, is one outline that connects them and returns along the same path. The format:
https://docs.ultralytics.com/datasets/segment/
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import yolo_boxes
from souron.data.formats.yolo import NAME, read_yaml
from souron.data.readers import object_masks, outlines
from souron.data.readers.box_annotations import Box, BoxedImage
from souron.data.readers.object_masks import Marked, Outlined
from souron.data.readers.settings import Reading
from souron.kinds.codecs.limits import readable
from souron.utils.messages import _

DEFAULT = Reading()


def describes(path: Path) -> bool:
    return yolo_boxes.describes(path)


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of the parts named in the file, or in that of a folder, with the masks of
    their objects.

    Raises UserError if the file cannot be read, if classes are counted from 1, and if no image has
    a mask.
    """
    path = path / NAME if path.is_dir() else path
    listed, skipped, classes = yolo_boxes.written(path, read_yaml(path), _outline)
    items = [Outlined(item.path, item.file, partial(_marks, item), item.part) for item in listed]
    cases = object_masks.gather(path, path.parent, items, skipped, classes, reading)
    return replace(cases, name=readable(path.absolute().parent.name))


def _outline(numbers: Sequence[float]) -> Box | str:
    """Convert the numbers of a line to an outline, or return the fault."""
    name, *values = numbers
    if name != name // 1:
        return _("no number of a class: {line}")
    if len(values) == 4:
        return _("a box, not an outline: {line}")
    if len(values) < 6 or len(values) % 2:
        return _("not a class and at least three corners: {line}")
    return Box(int(name), values)


def _marks(item: BoxedImage, size: tuple[int, int], told: list[Skipped]) -> Iterator[Marked]:
    for box in item.boxes:
        try:
            lines = outlines.corners([list(box.edges)])
        except outlines.Fault as fault:
            told.append(Skipped(box.name, fault.code, str(fault)))
            continue
        pixels = [line * np.array(size, float) for line in lines]
        note = object_masks.cut(pixels, size)
        if note is not None:
            told.append(Skipped(box.name, note.code, note.reason))
        if note is None or note.code == "cut":
            yield Marked(box.label, box.name, outlines.filled(pixels, *size))
