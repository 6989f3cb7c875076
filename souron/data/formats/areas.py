"""COCO's JSON read for the class of every pixel: the areas of objects, not their boxes.

    {"annotations": [{"id", "image_id", "category_id", "segmentation": outlines or runs}]}

Where areas overlap, the smaller one lies above. What no area covers is background. Else as
``coco``. The form: https://cocodataset.org/#format-data
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from souron.data import outlines
from souron.data.boxed import Pictured, files_below
from souron.data.dataset import Dataset, Skipped
from souron.data.formats import coco, masks
from souron.data.formats.masks import Numbers, Pair
from souron.data.reading import Reading
from souron.utils.messages import UserError, _

DEFAULT = Reading()
MOST_CLASSES = masks.UNKNOWN - 1  # beside the background


class Thing(NamedTuple):
    label: int
    written: Any  # see ``outlines``


def describes(path: Path) -> bool:
    return coco.describes(path)


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """The pictures of all parts and the class of every pixel. Raises UserError where a file is no
    such JSON, where there are too many categories, and where no picture can be used."""
    told: list[Skipped] = []
    sources = [file for file in coco._files(path) if coco._begins_like_one(file)]
    root = path if path.is_dir() else coco._root(path)
    below = files_below(root, told)
    told = [some for some in told if some.code != "unreadable"]
    classes: list[str] = []
    pairs: list[Pair] = []
    for source in sources:
        about = coco._parsed(source)
        label = coco._categories(about, source, classes)
        # a box that says where its annotation stands: what ``coco`` checks is checked here too
        written = [entry if isinstance(entry, dict) else {} for entry in about["annotations"]]
        placed = [{**entry, "bbox": [n, 0, 1, 1]} for n, entry in enumerate(written)]
        about = {**about, "annotations": placed}
        for item in coco._pictures(about, source, root, below, label, told):
            draw = partial(_drawn, item, written, told)
            pairs.append(Pair(item.file, item.path, item.file, draw, item.part))
    if len(classes) > MOST_CLASSES:
        raise UserError(
            "too many classes",
            _("{count} classes, where {most} fit a map").format(
                count=len(classes) + 1, most=MOST_CLASSES + 1
            ),
            exit=3,
        )
    cases = masks.gather(path, root, pairs, told, reading, ("background", *classes))
    faults = sorted(cases.skipped, key=lambda some: (some.file, some.code, some.reason))
    return replace(cases, skipped=tuple(faults))


def _drawn(
    item: Pictured, written: Sequence[Any], told: list[Skipped], size: tuple[int, int]
) -> Numbers:
    """The class of every pixel of a picture, the largest areas first. Raises UserError where the
    file's areas are for a picture of another size."""
    if item.size not in (None, size):
        why = _("the picture has {here} pixels, its mask {there}").format(
            here="{} x {}".format(*size), there="{} x {}".format(*item.size)
        )
        raise masks.fault(item.file, "size", why)
    found = []
    for box in item.boxes:
        entry = written[int(box.edges[0])]
        try:
            inside = outlines.area(entry.get("segmentation"), *size)
        except ValueError:
            name = _("{file}, annotation {n}").format(file=item.file, n=entry.get("id", "?"))
            told.append(Skipped(name, "unreadable", _("neither an outline nor runs of pixels")))
            continue
        found.append((box.label + 1, inside))
    numbers = np.zeros(size[::-1], dtype=np.uint8)
    for label, inside in sorted(found, key=lambda pair: -int(pair[1].sum())):
        numbers[inside] = label
    return numbers, ()
