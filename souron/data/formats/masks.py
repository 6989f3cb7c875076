"""A folder of images beside a folder of masks: a class number for every pixel.

    images/1.jpg  masks/1.png                  or with parts, in either order:
    train/images/1.jpg  train/masks/1.png      images/train/1.jpg  masks/train/1.png
    classes.txt                                one name per line, of class 0, 1, ...; optional

A mask is a losslessly compressed image whose values are class numbers: grey, or with a palette, of
which the indices count and not the colours. 0 is the background, 255 is unlabelled, unless all
masks contain only 0 and 255: then 255 is the second class. Names are read from ``classes.txt``, or
from the metadata of a mask saved by souron. A mask has the name of its image, optionally with
``_mask`` appended.

Every fault is reported: what could not be used is listed in ``Dataset.skipped``. A pixel whose
number is not a class is unlabelled.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import PARTS, check_memory, natural
from souron.data.patients import groups
from souron.data.readers.box_annotations import SIDE, files_below, is_image, many
from souron.data.readers.settings import Reading
from souron.kinds import files
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.codecs.limits import printable, readable
from souron.kinds.mask import NAMES
from souron.utils.messages import UserError, _

DEFAULT = Reading()
IMAGES = ("images", "image", "imgs", "jpegimages", "pngimages")
MASKS = ("masks", "mask", "segmentationclass", "pedmasks")
ENDS = ("_mask", "-mask", "_gt", "_label")  # appended to the image's name
CLASSES = "classes.txt"
UNKNOWN = 255
LONGEST = 100  # characters of a class's name


Numbers = tuple[np.ndarray, tuple[str, ...]]  # (H, W) uint8, and the classes' names, if it has any


class Pair(NamedTuple):
    """An image that should become a case, and its mask."""

    file: str  # the image's name in ``Dataset``
    image: Path
    mask_file: str
    numbers: Callable[[tuple[int, int]], Numbers]  # for the image's width and height; raises
    # UserError
    part: str = ""
    mask: Path = Path()  # if it is a separate file


class Read(NamedTuple):
    pixels: Tensor  # (C, side, side)
    numbers: Tensor  # (side, side) uint8
    inside: Tensor  # (side, side) bool: pixels covered by the image
    values: frozenset[int]  # of the original mask
    names: tuple[str, ...]  # of classes, from the metadata of the mask's file


def describes(path: Path) -> bool:
    """Return whether a folder, or one of its sub-folders, has both a folder of images and one of
    masks."""
    if not path.is_dir():
        return False
    return any(_both(place) for place in (path, *_folders(path)))


def _both(folder: Path) -> bool:
    names = {place.name.lower() for place in _folders(folder)}
    return bool(names & set(IMAGES)) and bool(names & set(MASKS))


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return []


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images, letterboxed into squares, and the class of every pixel, ``UNKNOWN`` outside
    of them. Raises UserError if no image has a usable mask, and if memory does not suffice.
    """
    told: list[Skipped] = []
    return gather(path, path, pairs_of(path, told), told, reading)


def gather(
    path: Path, root: Path, pairs: Sequence[Pair], told: list[Skipped], reading: Reading, classes: tuple[str, ...] = ()
) -> Dataset:
    """Read the images, which must lie under ``root``, with their masks. Without ``classes``, they
    are read from the masks or a file. Raises UserError as ``load`` does."""
    side = reading.side or SIDE
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        looks = [look for look in pool.map(lambda pair: _look(pair, root), pairs) if look]
        channels = 1 if looks and all(look.grey for look in looks) else 3
        check_memory(len(pairs), channels + 2, side)
        kept: list[Pair] = []
        found: list[Read] = []
        for done, (pair, one) in enumerate(
            zip(pairs, pool.map(lambda pair: _read(pair, root, side, channels), pairs), strict=True)
        ):
            if isinstance(one, Skipped):
                told.append(one)
            else:
                kept.append(pair)
                found.append(one)
            if reading.progress and done % 64 == 0:
                reading.progress(done, len(pairs))
    if not kept:
        raise _nothing(path, told)
    two = False
    if not classes:
        classes, two = _classes(path, kept, found, told)
    target = torch.stack([_known(one, len(classes), two) for one in found])
    if not two:
        told += _out_of_range(kept, found, len(classes))
    empty = [pair.file for pair, mask in zip(kept, target, strict=True) if not ((mask > 0) & (mask != UNKNOWN)).any()]
    told += many(empty, "no object", _("{count} images without objects, which stay"))
    names = [pair.file for pair in kept]
    group, how, question = groups(names, [""] * len(names), reading.group)
    return Dataset(
        name=readable(path.absolute().name),
        input=torch.stack([one.pixels for one in found]),
        target=target,
        classes=classes,
        file=names,
        group=group if any(group) else (),
        grouped=how if any(group) else "",
        question=question,
        part=[pair.part for pair in kept] if any(pair.part for pair in kept) else (),
        skipped=tuple(told),
        source=readable(path),
    )


def pairs_of(root: Path, told: list[Skipped]) -> list[Pair]:
    """Pair images and masks with the same relative path, apart from the folder that tells their
    role."""
    below = files_below(root, told)
    seen: dict[str, dict[str, str]] = {"picture": {}, "mask": {}}
    for file in sorted(below, key=natural):
        role, key = _key(PurePosixPath(file))
        if not role:
            if is_image(file):
                told.append(Skipped(file, "no mask", _("neither among the images nor the masks")))
        elif not is_image(file):
            if PurePosixPath(file).name != CLASSES:
                told.append(Skipped(file, "not an image", _("not an image")))
        elif key in seen[role]:
            why = _("another file has its name: {file}").format(file=seen[role][key])
            told.append(Skipped(file, "duplicate", why))
        else:
            seen[role][key] = file
    pairs, used = [], set()
    for key, file in seen["picture"].items():
        place = next((key + end for end in ("", *ENDS) if key + end in seen["mask"]), None)
        if place is None:
            told.append(Skipped(file, "no mask", _("no mask has this name")))
            continue
        mask = seen["mask"][place]
        used.add(mask)
        numbers = partial(_numbers, below[mask], mask, root)
        pairs.append(Pair(file, below[file], mask, numbers, _part(file), below[mask]))
    for file in seen["mask"].values():
        if file not in used:
            told.append(Skipped(file, "missing", _("no image has this name")))
    return pairs


def _key(file: PurePosixPath) -> tuple[str, str]:
    """Return the role of a file ("picture", "mask" or ""), from the last folder with such a name,
    and its path without that folder and the suffix."""
    parts = list(file.parts)
    for place in range(len(parts) - 2, -1, -1):
        for role, names in (("picture", IMAGES), ("mask", MASKS)):
            if parts[place].lower() in names:
                rest = PurePosixPath(*parts[:place], *parts[place + 1 :])
                return role, rest.with_suffix("").as_posix()
    return "", ""


def _part(file: str) -> str:
    folders = PurePosixPath(file).parts[:-1]
    return next((PARTS[name.lower()] for name in folders if name.lower() in PARTS), "")


def _look(pair: Pair, root: Path) -> limits.Look | None:
    try:
        return image_codec.look(pair.image, root)
    except UserError:
        return None


def _read(pair: Pair, root: Path, side: int, channels: int) -> Read | Skipped:
    try:
        image = image_codec.rounded(image_codec.read(pair.image, root))
    except UserError as trouble:
        return skipped(pair.file, pair.image, trouble)
    try:
        numbers, names = pair.numbers(image.size)
    except UserError as trouble:
        return skipped(pair.mask_file, Path(pair.mask_file), trouble)
    pixels, place = image_codec.letterbox(image, side, channels)
    wide, high = (round(count * scale) for count, scale in zip(image.size, place[:2], strict=True))
    small = Image.fromarray(numbers).resize((wide, high), Image.Resampling.NEAREST)
    whole = np.full((side, side), UNKNOWN, dtype=np.uint8)
    inside = np.zeros((side, side), dtype=bool)
    here = slice(place.top, place.top + high), slice(place.left, place.left + wide)
    whole[here], inside[here] = np.asarray(small), True
    values = frozenset(np.flatnonzero(np.bincount(numbers.ravel(), minlength=256)).tolist())
    return Read(pixels, torch.from_numpy(whole), torch.from_numpy(inside), values, names)


def _numbers(path: Path, name: str, root: Path, size: tuple[int, int]) -> Numbers:
    """Read the class numbers of a mask's file, with the names in its metadata."""
    return numbers_in(path, name, root, size, UNKNOWN)


def numbers_in(
    path: Path, name: str, root: Path, size: tuple[int, int], most: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the whole numbers (H, W), 0 to ``most``, of the mask for an image of that width and
    height, and the names in its metadata. Raises UserError."""
    try:
        numbers, names = _opened(path, name, root, most)
    except UserError as trouble:
        why = trouble.found.removeprefix(f"{readable(path)}: ")
        raise fault(name, trouble.code, why) from trouble
    if numbers.shape != size[::-1]:
        why = _("the image has {here} pixels, its mask {there}").format(
            here="{} x {}".format(*size), there="{1} x {0}".format(*numbers.shape)
        )
        raise fault(name, "size", why)
    return numbers, names


def _opened(path: Path, name: str, root: Path, most: int) -> Numbers:
    with image_codec.opened(path, root) as file:
        if not isinstance(file, Image.Image) or file.format in ("JPEG", "WEBP"):
            raise fault(name, "lossy", _("a mask that may have lost its numbers: PNG is needed"))
        numbers = np.asarray(file)
        text = getattr(file, "text", {}).get(NAMES, "") if file.format == "PNG" else ""
    if numbers.ndim == 3:
        numbers, clear = numbers[..., :3], numbers.shape[2] in (2, 4)
        if clear and numbers.shape[2] == 2:
            numbers = numbers[..., :1]
        if (numbers != numbers[..., :1]).any():
            raise fault(name, "colours", _("a mask in colours, not in class numbers"))
        numbers = numbers[..., 0]
    if numbers.dtype.kind not in "iub" or numbers.min() < 0 or numbers.max() > most:
        why = _("numbers from {low} to {high}, not whole ones from 0 to {most}").format(
            low=numbers.min(), high=numbers.max(), most=most
        )
        raise fault(name, "class", why)
    names = tuple(_name(name) for name in str(text).split("\n")) if text else ()
    kind = np.uint8 if most <= UNKNOWN else np.uint16
    return np.ascontiguousarray(numbers.astype(kind)), names[:most]


def _classes(
    path: Path, kept: Sequence[Pair], found: Sequence[Read], told: list[Skipped]
) -> tuple[tuple[str, ...], bool]:
    """Return the names of the classes, and whether 255 is the second of two."""
    values = frozenset().union(*(one.values for one in found))
    two = values <= {0, UNKNOWN} and UNKNOWN in values
    names = listed(path, told)
    if not names:
        written = Counter(one.names for one in found if one.names)
        names = written.most_common(1)[0][0] if written else ()
        other = [pair.mask_file for pair, one in zip(kept, found, strict=True) if one.names and one.names != names]
        told += many(other, "names", _("{count} masks with other names of classes in their text"))
        names = ("background", *names[1:]) if names and not names[0] else names
    if two and len(names) in (0, 2):
        why = _("the masks contain only 0 and 255: 255 is taken as the second class")
        told.append(Skipped(readable(path.absolute().name), "two classes", why))
        return names or ("background", "foreground"), True
    if not names:
        most = max(values - {UNKNOWN}, default=0)
        names = ("background", *(str(number) for number in range(1, most + 1)))
    return names, False


def listed(path: Path, told: list[Skipped]) -> tuple[str, ...]:
    """Read the names in ``classes.txt``; () if there is none, or if it has a fault."""
    file = path / CLASSES
    if not file.is_file():
        return ()
    try:
        limits.check_file(file, path)
        names = [_name(line) for line in files.words(file).splitlines()]
    except UserError as error:
        why = error.found.removeprefix(f"{readable(file)}: ")
        told.append(Skipped(CLASSES, error.code, why))
        return ()
    while names and not names[-1]:
        names.pop()
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not all(names) or len(names) > UNKNOWN:
        why = _("not a name a line, each another, at most {count}").format(count=UNKNOWN)
        told.append(Skipped(CLASSES, "names", why))
        return ()
    return tuple(names)


def _name(text: str) -> str:
    return printable(" ".join(text.split()))[:LONGEST]


def _known(one: Read, classes: int, two: bool) -> Tensor:
    """Return a mask in which every number that is not a class is ``UNKNOWN``."""
    if two:
        return torch.where(one.inside, one.numbers // UNKNOWN, UNKNOWN).to(torch.uint8)
    return torch.where(one.numbers < classes, one.numbers, UNKNOWN).to(torch.uint8)


def _out_of_range(kept: Sequence[Pair], found: Sequence[Read], classes: int) -> list[Skipped]:
    notes = []
    for pair, one in zip(kept, found, strict=True):
        wrong = sorted(number for number in one.values if classes <= number < UNKNOWN)
        if wrong:
            why = _("class {number}, where there are {count}").format(
                number=", ".join(map(str, wrong[:5])), count=classes
            )
            notes.append(Skipped(pair.mask_file, "class", why))
    return notes


def skipped(file: str, path: Path, trouble: UserError) -> Skipped:
    return Skipped(file, trouble.code, trouble.found.removeprefix(f"{readable(path)}: "))


def fault(file: str, code: str, why: str) -> UserError:
    return UserError(code, f"{readable(file)}: {why}", exit=3)


def _nothing(path: Path, told: Sequence[Any]) -> UserError:
    found = _("no image of {folder} has a mask that can be used").format(folder=readable(path))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    return UserError(
        "no masks",
        "; ".join([found, *lost]),
        expected=_("images/1.jpg beside masks/1.png: a class number for every pixel"),
        exit=3,
    )


__all__ = ["CLASSES", "Pair", "describes", "fault", "gather", "listed", "load", "numbers_in", "pairs_of"]
