"""Read COCO's JSON as semantic segmentation: the class of every pixel, from the areas of objects.

    {"annotations": [{"id", "image_id", "category_id", "segmentation": outlines or runs}]}

Where areas overlap, the smaller one is on top. Pixels outside of all areas are background.
Otherwise as ``coco``. The format: https://cocodataset.org/#format-data
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import coco, masks
from souron.data.formats.masks import Numbers, Pair
from souron.data.readers import outlines
from souron.data.readers.box_annotations import BoxedImage
from souron.data.readers.settings import Reading
from souron.utils.messages import UserError, _

DEFAULT = Reading()
MOST_CLASSES = masks.UNKNOWN - 1  # beside the background


def describes(path: Path) -> bool:
    return coco.describes(path)


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of all parts and the class of every pixel. Raises UserError if a file is not
    such JSON, if there are too many categories, and if no image can be used."""
    root, listed, told, classes, _categories = coco.written(path, "segmentation")
    pairs = [Pair(item.file, item.path, item.file, partial(_drawn, item, told), item.part) for item in listed]
    if len(classes) > MOST_CLASSES:
        raise UserError(
            "too many classes",
            _("{count} classes, where {most} fit a map").format(count=len(classes) + 1, most=MOST_CLASSES + 1),
            exit=3,
        )
    cases = masks.gather(path, root, pairs, told, reading, ("background", *classes))
    faults = sorted(cases.skipped, key=lambda some: (some.file, some.code, some.reason))
    return replace(cases, skipped=tuple(faults))


def _drawn(item: BoxedImage, told: list[Skipped], size: tuple[int, int]) -> Numbers:
    """Return the class of every pixel of an image; larger areas are painted first. Raises UserError
    if the areas are for an image of another size."""
    if item.size not in (None, size):
        why = _("the image has {here} pixels, its mask {there}").format(
            here="{} x {}".format(*size), there="{} x {}".format(*item.size)
        )
        raise masks.fault(item.file, "size", why)
    found = []
    for box in item.boxes:
        try:
            inside = outlines.area(box.edges, *size)
        except outlines.Fault as fault:
            told.append(Skipped(box.name, fault.code, str(fault)))
            continue
        found.append((box.label + 1, inside))
    numbers = np.zeros(size[::-1], dtype=np.uint8)
    for label, inside in sorted(found, key=lambda pair: -int(pair[1].sum())):
        numbers[inside] = label
    return numbers, ()
