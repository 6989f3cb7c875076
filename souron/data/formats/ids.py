"""A folder of images beside a folder of instance masks in which every object has its own number.

    images/1.tif    masks/1.tif, or with parts: see ``masks``
    classes.txt     the class name of the objects; optional

The usual format for cells: 0 is the background, and all pixels of one number are one object; the
number has no other meaning. Up to 65 535 objects, 16 bits per pixel. There is one class, except in
masks saved by souron, whose metadata names the class of each number. Objects that touch stay
separate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import scipy
from PIL.Image import Image

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import masks
from souron.data.formats.folder import natural
from souron.data.formats.masks import Pair
from souron.data.readers import object_masks
from souron.data.readers.object_masks import Marked, Outlined
from souron.data.readers.outlines import Piece
from souron.data.readers.settings import Reading
from souron.data.targets.boxes import boxes_of
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.limits import printable, readable
from souron.kinds.mask import NAMES
from souron.utils.messages import UserError, _

DEFAULT = Reading()
MOST = 65_535  # the largest number
OBJECT = "object"  # the default class name


def describes(path: Path) -> bool:
    return masks.describes(path)


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images with the masks of their objects. Raises UserError if no image has a usable
    mask, and if memory does not suffice."""
    told: list[Skipped] = []
    pairs = masks.pairs_of(path, told)
    named = [_named(pair.mask, path) for pair in pairs]
    every = sorted({name for names in named for name in names if name}, key=natural)
    classes = tuple(every) or masks.listed(path, told)[-1:] or (OBJECT,)
    items = [
        Outlined(pair.image, pair.file, partial(_marks, pair, path, names, classes), pair.part)
        for pair, names in zip(pairs, named, strict=True)
    ]
    cases = object_masks.gather(path, path, items, told, classes, reading)
    if len(cases) > 1 and all(len(box) <= 1 for box in boxes_of(cases.target)):
        why = _("no mask has more than one number: all of its pixels are taken for one object")
        note = Skipped(readable(path.absolute().name), "one object", why)
        cases = replace(cases, skipped=(*cases.skipped, note))
    return cases


def _named(path: Path, root: Path) -> tuple[str, ...]:
    """Return the name of each number according to the metadata of the mask's file; () if it has
    none."""
    try:
        with image_codec.opened(path, root) as file:
            text = file.info.get(NAMES, "") if isinstance(file, Image) else ""
    except UserError:  # reported when it is read
        return ()
    lines = str(text).split("\n")[: MOST + 1] if text else []
    return tuple(printable(" ".join(line.split()))[: masks.LONGEST] for line in lines)


def _marks(
    pair: Pair, root: Path, names: Sequence[str], classes: Sequence[str], size: tuple[int, int], told: list[Skipped]
) -> Iterator[Marked]:
    numbers, _names = masks.numbers_in(pair.mask, pair.mask_file, root, size, MOST)
    for number, place in enumerate(scipy.ndimage.find_objects(numbers), 1):
        if place is None:
            continue
        name = _("{file}, number {n}").format(file=pair.mask_file, n=number)
        label = 0
        if names:
            label = classes.index(names[number]) if number < len(names) and names[number] else -1
        inside = numbers[place] == number
        yield Marked(label, name, Piece(place[1].start, place[0].start, inside))
