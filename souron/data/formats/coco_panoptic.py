"""COCO's panoptic format: a JSON file, and for each image a PNG whose colours are segments.

    annotations/panoptic_train.json annotations/panoptic_train/1.png train/1.jpg
    {"images": [{"id", "file_name", "width", "height"}],
     "categories": [{"id", "name", "isthing"}],
     "annotations": [{"image_id", "file_name",
                      "segments_info": [{"id", "category_id", "iscrowd"}]}]}

The segment of a pixel is R + 256 G + 65536 B; 0 is void. Crowd regions are kept, but excluded from
training and evaluation. The file of a single part may be given. The format:
https://cocodataset.org/#format-data

Every fault is reported: what could not be used is listed in ``Dataset.skipped``. Pixels of a
segment that cannot be used are void.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn, Skipped
from souron.data.formats import coco
from souron.data.formats.folder import check_memory, natural
from souron.data.patients import groups
from souron.data.readers.box_annotations import NAMED, SIDE, files_below, many, number, short
from souron.data.readers.settings import Reading
from souron.data.targets.panoptic import MOST, Panoptic, divided
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _, listed

DEFAULT = Reading()
MOST_CLASSES = 10_000
MOST_SEGMENTS = 10_000  # listed for an image, of which ``MOST`` are kept
LARGEST = 256**3  # of ids
MOST_PIXELS = 25_000_000  # of a label map, which takes 20 bytes each while it is read


class Listed(NamedTuple):
    """An image that should become a case, with its label map and the segments listed in
    the file."""

    file: str  # the image's name in ``Dataset``
    image: Path
    map_file: str
    map: Path
    segments: dict[int, tuple[int, bool]]  # id -> (label, crowd region)
    part: str
    size: tuple[int, int] | None  # width and height according to the JSON file


class Read(NamedTuple):
    pixels: Tensor  # (C, side, side)
    segments: Panoptic
    notes: list[Skipped]


def describes(path: Path) -> bool:
    """Return whether a path is COCO's JSON, or a folder with such a file; ``load`` checks for
    segments."""
    return any(map(coco._kind, coco._files(path)))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of all parts with their segments; among the classes, stuff comes before
    things. Raises UserError if no file is such JSON, if a category lacks ``isthing``, if two
    categories have the same number, and if no image has segments."""
    told: list[Skipped] = []
    root = path if path.is_dir() else coco._root(path)
    below = files_below(root, told)
    told = [some for some in told if some.code != "unreadable"]
    parsed = [(file, coco._parsed(file)) for file in coco._files(path) if coco._kind(file)]
    parsed = [(file, about) for file, about in parsed if _has_segments(about)]
    thing: dict[str, bool] = {}
    for source, about in parsed:
        _things(about, source, thing)
    classes = sorted(thing, key=lambda name: thing[name])  # stuff first
    if len(classes) > MOST_CLASSES:
        raise _wrong(path, "too many classes", str(len(classes)))
    listed: list[Listed] = []
    for source, about in parsed:
        names: list[str] = list(classes)
        label = coco._categories(about, source, names)
        listed += _listed(about, source, root, below, label, told)
    return _gather(path, root, listed, told, classes, [thing[name] for name in classes], reading)


def _has_segments(about: dict[str, Any]) -> bool:
    return any(
        isinstance(entry, dict) and isinstance(entry.get("segments_info"), list) for entry in about["annotations"]
    )


def _things(about: dict[str, Any], source: Path, thing: dict[str, bool]) -> None:
    """Enter each category's name into ``thing``: True for a thing, False for stuff."""
    named: list[str] = []
    coco._categories(about, source, named)
    said: dict[str, bool] = {}
    for entry in about["categories"]:
        if not isinstance(entry, dict):
            continue
        name = readable(short(entry.get("name", "")))
        if entry.get("isthing") not in (0, 1):
            why = _("category {name} does not say whether it is a thing (isthing 0 or 1)")
            raise _wrong(source, "things", why.format(name=name))
        flag = bool(entry["isthing"])
        if said.setdefault(name, flag) != flag or thing.get(name, flag) != flag:
            why = _("category {name} is a thing in one place and stuff in another")
            raise _wrong(source, "things", why.format(name=name))
    for name in named:
        thing.setdefault(name, said[name])


def _listed(
    about: dict[str, Any], source: Path, root: Path, below: dict[str, Path], label: dict[Any, int], told: list[Skipped]
) -> Iterator[Listed]:
    where = readable(source.relative_to(root).as_posix() if source.is_relative_to(root) else source)
    part = coco._part(source, root)
    entries: dict[str, dict[str, Any]] = {}
    for entry in about["images"]:
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            entries.setdefault(coco._key(entry.get("id")), entry)
        else:
            told.append(Skipped(where, "unreadable", _("an image without a name")))
    seen: set[str] = set()
    named = coco.by_name(below)
    maps = [
        _map(entry["file_name"], source, root, below, named)
        for entry in about["annotations"]
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    ]
    beside = {file: below[file] for file in below.keys() - set(maps)}
    named_beside = coco.by_name(beside)
    for place, entry in enumerate(about["annotations"], 1):
        name = _("{file}, annotation {n}").format(file=where, n=place)
        written = entry.get("file_name") if isinstance(entry, dict) else None
        segments = entry.get("segments_info") if isinstance(entry, dict) else None
        if not isinstance(written, str) or not isinstance(segments, list):
            told.append(Skipped(name, "unreadable", _("no file_name or no segments_info")))
            continue
        if len(segments) > MOST_SEGMENTS:
            told.append(Skipped(name, "too many", _("{count} segments").format(count=len(segments))))
            continue
        key = coco._key(entry.get("image_id"))
        if key not in entries:
            told.append(
                Skipped(
                    name, "missing", _("no image has the number {number}").format(number=short(entry.get("image_id")))
                )
            )
            continue
        if key in seen:
            told.append(Skipped(name, "duplicate", _("its image has segments already")))
            continue
        seen.add(key)
        shown = entries[key]
        map_file = _map(written, source, root, below, named)
        file = coco._place(shown["file_name"], source, root, beside, named_beside, part)
        missing = [
            readable(wanted) for wanted, found in ((shown["file_name"], file), (written, map_file)) if found is None
        ]
        if missing or file is None or map_file is None:
            told += [Skipped(lost, "missing", _("there is no such file")) for lost in missing]
            continue
        sizes = [number(shown.get(name)) for name in ("width", "height")]
        size = (int(sizes[0]), int(sizes[1])) if all(0 < size < LARGEST for size in sizes) else None
        known = _segments(segments, map_file, label, told)
        yield Listed(file, below[file], map_file, below[map_file], known, part, size)
    for key, entry in entries.items():
        if key not in seen:
            lost = readable(entry["file_name"])
            told.append(Skipped(lost, "no segments", _("the file says nothing of this image")))


def _map(name: str, source: Path, root: Path, below: dict[str, Path], named: Mapping[str, list[str]]) -> str | None:
    """Find a label map, relative to the root: in the folder named like the JSON file, or beside it,
    or a unique file of that name."""
    name = readable(name.replace("\\", "/"))
    here = source.parent.relative_to(root).as_posix() if source.is_relative_to(root) else "."
    stem = name.rpartition("/")[2]
    for wanted in (f"{here}/{source.stem}/{name}", f"{here}/{name}", name):
        if wanted.removeprefix("./") in below:
            return wanted.removeprefix("./")
    ends = named.get(stem, [])
    own = [file for file in ends if source.stem in file.split("/")[:-1]] or ends
    return own[0] if len(own) == 1 else None


def _segments(
    written: Sequence[Any], file: str, label: dict[Any, int], told: list[Skipped]
) -> dict[int, tuple[int, bool]]:
    found: dict[int, tuple[int, bool]] = {}
    for place, entry in enumerate(written, 1):
        value = number(entry.get("id")) if isinstance(entry, dict) else float("nan")
        shown = place if value != value else f"{value:.15g}"
        name = _("{file}, segment {n}").format(file=file, n=shown)
        if not (0 < value < LARGEST) or value != int(value):
            told.append(Skipped(name, "unreadable", _("no number of a segment")))
        elif int(value) in found:
            told.append(Skipped(name, "duplicate", _("the number is there twice")))
        elif coco._key(entry.get("category_id")) not in label:
            told.append(
                Skipped(
                    name,
                    "class",
                    _("no category has the number {number}").format(number=short(entry.get("category_id"))),
                )
            )
        else:
            crowd = entry.get("iscrowd") in (1, True)
            found[int(value)] = label[coco._key(entry.get("category_id"))], crowd
    return found


def _gather(
    path: Path,
    root: Path,
    listed: Sequence[Listed],
    told: list[Skipped],
    classes: Sequence[str],
    thing: Sequence[bool],
    reading: Reading,
) -> Dataset:
    """Read the listed images, which must lie under ``root``, and letterbox them into squares with
    their segments."""
    side = reading.side or SIDE
    listed = sorted(listed, key=lambda item: natural(item.file))
    kept: list[Listed] = []
    found: list[Read] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        looks = [look for look in pool.map(lambda item: _look(item, root), listed) if look]
        channels = 1 if looks and all(look.grey for look in looks) else 3
        check_memory(len(listed), channels + 1, side)
        read = pool.map(lambda item: _read(item, root, side, channels, thing), listed)
        for done, (item, one) in enumerate(zip(listed, read, strict=True)):
            if isinstance(one, Skipped):
                told.append(one)
            else:
                kept.append(item)
                found.append(one)
                told += one.notes
            if reading.progress and done % 64 == 0:
                reading.progress(done, len(listed))
    if not any(len(one.segments.label) for one in found):
        raise _nothing(path, told)
    crowds = [item.file for item, one in zip(kept, found, strict=True) if (one.segments.label < 0).any()]
    told += many(crowds, "crowd", _("{count} images with regions ignored in training and testing"))
    names = [item.file for item in kept]
    group, how, question = groups(names, [""] * len(names), reading.group)
    return Dataset(
        name=readable(path.absolute().name),
        input=torch.stack([one.pixels for one in found]),
        target=ListColumn([one.segments for one in found]),
        classes=tuple(classes),
        file=names,
        group=group if any(group) else (),
        grouped=how if any(group) else "",
        question=question,
        part=[item.part for item in kept] if any(item.part for item in kept) else (),
        skipped=tuple(told),
        source=readable(path),
    )


def _look(item: Listed, root: Path) -> limits.Look | None:
    try:
        return image_codec.look(item.image, root)
    except UserError:
        return None


def _read(item: Listed, root: Path, side: int, channels: int, thing: Sequence[bool]) -> Read | Skipped:
    try:
        image = image_codec.rounded(image_codec.read(item.image, root))
    except UserError as trouble:
        return _skipped(item.file, item.image, trouble)
    try:
        ids = _ids(item.map, root)
    except UserError as trouble:
        return _skipped(item.map_file, item.map, trouble)
    for size in (item.size, (ids.shape[1], ids.shape[0])):
        if size is not None and size != image.size:
            why = _("the image has {here} pixels, its segments are for one of {there}").format(
                here="{} x {}".format(*image.size), there="{} x {}".format(*size)
            )
            return Skipped(item.map_file, "size", why)
    rows, notes = _numbered(ids, item)
    pixels, place = image_codec.letterbox(image, side, channels)
    wide, high = (round(count * scale) for count, scale in zip(image.size, place[:2], strict=True))
    small = Image.fromarray(rows.numbers).resize((wide, high), Image.Resampling.NEAREST)
    whole = torch.zeros(side, side, dtype=torch.uint8)
    inside = torch.from_numpy(np.array(small))
    whole[place.top : place.top + high, place.left : place.left + wide] = inside
    labels = [-1 - label if crowd else label for label, crowd in rows.segments]
    segments = divided(labels, [thing[label] for label, _crowd in rows.segments], whole)
    left = segments.compact()
    if len(left.label) < len(labels):
        why = _("{count} segments without a pixel in an image of {side} a side").format(
            count=len(labels) - len(left.label), side=side
        )
        notes.append(Skipped(item.map_file, "small", why))
    return Read(pixels, left, notes)


class Rows(NamedTuple):
    numbers: np.ndarray  # (H, W) uint8: 0, or a segment's index plus one
    segments: list[tuple[int, bool]]


def _numbered(ids: np.ndarray, item: Listed) -> tuple[Rows, list[Skipped]]:
    """Renumber ids as indices of the segments that are both listed and present, and report the
    others."""
    there, place, pixels = np.unique(ids, return_inverse=True, return_counts=True)
    size = dict(zip(there.tolist(), pixels.tolist(), strict=True))
    notes = [
        Skipped(_("{file}, segment {n}").format(file=item.map_file, n=value), "missing", _("no pixel has its colour"))
        for value in item.segments
        if value not in size
    ]
    strange = [value for value in size if value and value not in item.segments]
    if strange:
        few = listed(list(map(str, strange)), NAMED)
        why = _("pixels of segments that are not listed, which are void: {ids}").format(ids=few)
        notes.append(Skipped(item.map_file, "unknown", why))
    kept = sorted((v for v in size if v in item.segments), key=lambda value: -size[value])
    if len(kept) > MOST:
        why = _("{count} segments, of which the {most} largest are kept").format(count=len(kept), most=MOST)
        notes.append(Skipped(item.map_file, "too many", why))
    kept = sorted(kept[:MOST])
    number_of = {value: row + 1 for row, value in enumerate(kept)}
    table = np.array([number_of.get(value, 0) for value in there.tolist()], dtype=np.uint8)
    rows = table[place].reshape(ids.shape)
    return Rows(rows, [item.segments[value] for value in kept]), notes


def _ids(path: Path, root: Path) -> np.ndarray:
    """Read the ids of a label map, R + 256 G + 65536 B, (H, W) int32. Raises UserError."""
    with image_codec.opened(path, root, MOST_PIXELS) as file:
        if not isinstance(file, Image.Image) or file.format != "PNG":
            raise _wrong(path, "lossy", _("colours that may have been changed: PNG is needed"))
        if file.mode not in ("RGB", "RGBA"):
            why = _("an image in mode {mode}, where colours are segments").format(mode=file.mode)
            raise _wrong(path, "colours", why)
        red, green, blue = np.asarray(file, dtype=np.int32).transpose(2, 0, 1)[:3]
    return red + 256 * green + 65536 * blue


def _skipped(file: str, path: Path, trouble: UserError) -> Skipped:
    return Skipped(file, trouble.code, trouble.found.removeprefix(f"{readable(path)}: "))


def _wrong(path: Path, code: str, why: str) -> UserError:
    return UserError(code, f"{readable(path)}: {why}", expected=_("COCO's panoptic JSON and PNG"), exit=3)


def _nothing(path: Path, told: Sequence[Skipped]) -> UserError:
    found = _("no image of {folder} has segments that can be used").format(folder=readable(path))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    return UserError("no segments", "; ".join([found, *lost]), expected=_("COCO's panoptic JSON and PNG"), exit=3)
