"""Read COCO's JSON as instance segmentation: outlines, or run-length encoded masks.

    {"annotations": [{"id", "image_id", "category_id", "iscrowd", "segmentation":
        [[x, y, x, y, ...], ...]              an outline for each part, in pixels
        {"size": [h, w], "counts": [...]}     lengths of runs, column by column
        {"size": [h, w], "counts": "..."}     the same, packed into characters}]}

The box around an object is computed from its pixels, not taken from the file. Otherwise as
``coco``. The format: https://cocodataset.org/#format-data
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import coco
from souron.data.readers import object_masks, outlines
from souron.data.readers.box_annotations import Box, BoxedImage
from souron.data.readers.object_masks import Marked, Outlined
from souron.data.readers.settings import Reading

DEFAULT = Reading()


def describes(path: Path) -> bool:
    return coco.describes(path)


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of all parts with the masks of their objects. Raises UserError if a file is
    not such JSON, if two categories have the same number, and if no image has a mask."""
    root, listed, told, classes, _categories = coco.written(path, "segmentation")
    items = [Outlined(item.path, item.file, partial(_marks, item), item.part, item.size) for item in listed]
    return object_masks.gather(path, root, items, told, classes, reading)


def _marks(item: BoxedImage, size: tuple[int, int], told: list[Skipped]) -> Iterator[Marked]:
    for box in item.boxes:
        found = _marked(box, size, told)
        if found is not None:
            yield found


def _marked(box: Box, size: tuple[int, int], told: list[Skipped]) -> Marked | None:
    try:
        if isinstance(box.edges, list):
            lines = outlines.corners(box.edges)
            note = object_masks.cut(lines, size)
            if note is not None:
                told.append(Skipped(box.name, note.code, note.reason))
                if note.code == "outside":
                    return None
            piece = outlines.filled(lines, *size)
        else:
            piece = outlines.piece(box.edges, *size)
    except outlines.Fault as fault:
        told.append(Skipped(box.name, fault.code, str(fault)))
        return None
    return Marked(box.label, box.name, piece, box.crowd)
