"""A folder of images: a sub-folder for each class, optionally inside train, val and test.

    photos/cat/1.jpg  photos/dog/2.jpg     or photos/train/cat/1.jpg  photos/test/...

Unusable files are skipped and reported by name; only a folder without any usable data is rejected.
Each frame of a DICOM file is a case, named ``file.dcm#3`` if there are several; frames of one
patient, or else of one file, are a group.
"""

import difflib
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor

from souron.data import cache
from souron.data.case_table import CLEANED
from souron.data.dataset import Dataset, Skipped
from souron.data.patients import groups
from souron.data.readers.decoding import Listed, reader
from souron.data.readers.settings import Reading
from souron.kinds.codecs import dicom, limits
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
SIDE = 64  # pixels, if the images have no common small size
MOST_FILES = 1_000_000
LOOKED_AT = 2000  # headers read to determine the size and the colours
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
JUNK = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
}
NAMED = SUFFIXES | set(limits.DICOM)  # DICOM files often have no suffix, or a number for one


def describes(path: Path) -> bool:
    return path.is_dir()


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images under a folder, labelled by their class folder; if ``fewest_classes`` is 1, a
    folder without class folders is one class, if it is 0 such a folder has no labels.

    Without a ``side``, images keep their size if all have the same size of at most 64 pixels, else
    they are scaled to 64. The result is grey (one channel) if all images are, else RGB. Without a
    ``group``, the PatientID of DICOM files takes precedence over names. Raises UserError if the
    folder is missing, has no image or only one class, or does not fit into memory.
    """
    if not path.is_dir():
        raise missing(path)
    skipped: list[Skipped] = []
    files = sorted(walk(path, skipped), key=lambda file: natural(file[1]))
    listed = labelled(files, skipped)
    if not listed and reading.fewest_classes < 2:
        skipped = [skip for skip in skipped if skip.code != "no label"]
        label = readable(path.absolute().name) if reading.fewest_classes else ""
        listed = [Listed(place, file, label) for place, file in files if _has_suffix(file)]
    return gather(path, path, listed, skipped, reading)


def missing(path: Path) -> UserError:
    """Return the error for a missing path, with the names in the last existing folder that are most
    similar."""
    place = next((above for above in path.absolute().parents if above.is_dir()), Path("/"))
    wanted = path.absolute().relative_to(place).parts[0]
    names = sorted(readable(found.name) for found in place.iterdir())
    near = difflib.get_close_matches(readable(wanted), names, 3, 0.4)
    return UserError(
        "missing",
        _("there is no {path}").format(path=readable(path)),
        expected=", ".join(readable(place / name) for name in near) or _("a folder with a sub-folder for each class"),
        exit=3,
    )


def natural(name: str) -> list[str | int]:
    """Return a sort key for natural order: ``2.png`` before ``10.png``."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def walk(folder: Path, skipped: list[Skipped]) -> Iterator[tuple[Path, str]]:
    """Yield every file with its name relative to ``folder``, except hidden ones and known junk."""
    count, waiting = 0, [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            why = error.strerror or str(error)
            skipped.append(Skipped(_relative(here, folder), "unreadable", why))
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(".") or entry.name.lower() in JUNK:
                continue
            if here == folder and CLEANED.fullmatch(entry.name):
                continue  # written by souron, of these files
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif path.is_dir():
                # following a link within the folder would give each of its images twice
                skipped.append(_linked(path, folder))
            else:
                count += 1
                yield path, _relative(path, folder)
        if count > MOST_FILES:
            raise UserError(
                "too many files",
                _("more than {count} files in {folder}").format(count=MOST_FILES, folder=readable(folder)),
                expected=_("a folder that holds one data set"),
                exit=3,
            )


def _relative(path: Path, folder: Path) -> str:
    return readable(path.relative_to(folder).as_posix())


def _linked(path: Path, folder: Path) -> Skipped:
    target = Path(os.path.realpath(path))
    if target.is_relative_to(os.path.realpath(folder)):
        return Skipped(_relative(path, folder), "duplicate", _("a link within the folder"))
    return Skipped(_relative(path, folder), "outside", _("leads out of the folder"))


def labelled(files: Sequence[tuple[Path, str]], skipped: list[Skipped]) -> list[Listed]:
    """Return the files with class and part, inferred from their folders."""
    places = [PurePosixPath(file).parts for _path, file in files]
    above, has_parts = _layout([p for p in places if _has_suffix(p[-1])] or places)
    listed = []
    for (path, file), place in zip(files, places, strict=True):
        place = place[above:]
        part = PARTS.get(place[0].lower(), "") if has_parts else ""
        place = place[1:] if part else place
        if len(place) > 1 and (part or not has_parts):
            listed.append(Listed(path, file, label=place[0], part=part))
        elif _has_suffix(file):
            skipped.append(Skipped(file, "no label", _("not in a class folder")))
        else:
            skipped.append(Skipped(file, "not an image", _("not an image")))
    return listed


def _has_suffix(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in NAMED


def _layout(places: Sequence[tuple[str, ...]]) -> tuple[int, bool]:
    """Return the number of folders above the classes or parts, and whether there are parts."""
    above = 0
    while places:
        folders = {place[above] for place in places if len(place) > above + 1}
        parts = {PARTS.get(folder.lower()) for folder in folders}
        training = [p for p in places if PARTS.get(p[above].lower()) == "train"]
        if (
            training
            and all(len(place) > above + 2 for place in training)  # not so in a class "train"
            and (len(parts - {None}) > 1 or None not in parts)
        ):
            return above, True
        if len(folders) > 1 or any(len(place) < above + 3 for place in places):
            return above, False
        above += 1
    return 0, False


def gather(source: Path, root: Path, listed: Sequence[Listed], skipped: Sequence[Skipped], reading: Reading) -> Dataset:
    """Read the listed files, which must lie under ``root``, into a ``Dataset``, in their order."""
    group, window, progress, large = reading.group, reading.window, reading.progress, reading.large
    dicom.Window.parse(window)
    listed = [item.printable() for item in listed]
    image: Any = torch.empty(0)
    failed = list(skipped)
    kept: list[Listed] = []
    known: list[dicom.Known] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        if listed:
            seen = _look(listed, root, pool)
            side, channels = reading.side or seen.side, seen.channels
            count = sum(seen.frames)
            if large != "refuse" and cache.needed(count, channels, side, seen.deep):
                job = _job(source, root, listed, seen, side, window)
                done = cache.decoded(job, progress) if large == "decode" else cache.sketch(job)
                image, failed = done.image, failed + done.skipped
                for place, _row, file, frame, told, _digest in done.kept:
                    kept.append(listed[place]._replace(file=file, frame=frame))
                    known.append(dicom.Known(*told))
            else:
                check_memory(count, channels, side, seen.deep)
                kind = torch.float32 if seen.deep else torch.uint8
                image = torch.empty(count, channels, side, side, dtype=kind)
                decode = reader(root, side, channels, window)
                files = list(zip(listed, seen.frames, strict=True))
                for start in range(0, len(files), 64):
                    some = files[start : start + 64]
                    for item, pixels, about in chain.from_iterable(pool.map(decode, some)):
                        if isinstance(pixels, Skipped):
                            failed.append(pixels)
                            continue
                        if pixels.is_floating_point() and not image.is_floating_point():
                            check_memory(count, channels, side, deep=True)
                            image = image.float()
                        image[len(kept)] = pixels
                        kept.append(item)
                        known.append(about)
                    if progress:
                        progress(start + len(some), len(files))
    _check_classes(source, kept, failed, reading.fewest_classes)
    labels = sorted({item.label for item in kept}, key=natural)
    number = {label: i for i, label in enumerate(labels)}
    found, how = [item.group for item in kept], _("a column of the table")
    if not any(found) and group is None and len({about.group for about in known} - {""}) > 1:
        found, how = [about.group for about in known], _("PatientID of the DICOM files")
    question = ""
    if not any(found):
        names, classes = [item.file for item in kept], [item.label for item in kept]
        found, how, question = groups(names, classes, group)
    if group != "none" and any(item.frame for item in kept):  # frames of a file stay together
        found = [name or item.file.rpartition("#")[0] for name, item in zip(found, kept, strict=True)]
        how = how or _("the DICOM files with several frames")
    return Dataset(
        name=readable(source.absolute().name),
        input=image[: len(kept)] if isinstance(image, Tensor) else image,
        target=torch.tensor([number[item.label] for item in kept]) if any(labels) else None,
        classes=tuple(labels) if any(labels) else (),
        file=[item.file for item in kept],
        group=found if any(found) else (),
        grouped=how if any(found) else "",
        question=question,
        part=[item.part for item in kept] if any(item.part for item in kept) else (),
        skipped=tuple(failed),
        source=readable(source),
        columns=_columns(kept, known),
    )


def _columns(kept: Sequence[Listed], known: Sequence[dicom.Known]) -> dict[str, list[str]]:
    """Return the columns from DICOM headers, if any has a value, and those of the table, which take
    precedence."""
    rows = zip(*(about.columns for about in known), strict=True)
    told = {name: list(row) for name, row in zip(dicom.COLUMNS, rows, strict=True) if any(row)}
    own = dict.fromkeys(name for item in kept for name in item.columns)
    return told | {name: [item.columns.get(name, "") for item in kept] for name in own}


class Looked(NamedTuple):
    channels: int
    side: int  # pixels
    deep: bool  # levels finer than 8 bits were found
    frames: list[int]  # of each listed file


def _look(listed: Sequence[Listed], root: Path, pool: ThreadPoolExecutor) -> Looked:
    """Examine the headers of at most ``LOOKED_AT`` files spread over all, and of every file that
    may be DICOM by its name, since only its header gives the number of frames."""

    def header(item: Listed) -> limits.Look | None:
        try:
            return image_codec.look(item.path, root)
        except UserError:
            return None

    step = -(-len(listed) // LOOKED_AT)
    rows = [i for i, item in enumerate(listed) if i % step == 0 or item.path.suffix.lower() not in SUFFIXES]
    looks = dict(zip(rows, pool.map(header, [listed[i] for i in rows]), strict=True))
    seen = [look for look in looks.values() if look]
    sizes = {look.size for look in seen}
    own = min(sizes.pop()) if len(sizes) == 1 and max(max(s) for s in sizes) <= SIDE else SIDE
    frames = [1] * len(listed)
    for row, look in looks.items():
        if look and not listed[row].frame:
            frames[row] = look.frames
    channels = 1 if seen and all(look.grey for look in seen) else 3
    return Looked(channels, own, any(look.deep for look in seen), frames)


def check_memory(count: int, channels: int, side: int, deep: bool = False) -> None:
    """Raise UserError if the images need more than half of the free memory; the other half is for
    the copy of the training part."""
    free, each = psutil.virtual_memory().available // 2, channels * (4 if deep else 1)  # bytes
    if count * each * side * side > free:
        fits = int((free / (count * each)) ** 0.5)
        raise UserError(
            "memory",
            _("{count} images of {side} x {side} pixels need {need} MB, {free} MB may be used").format(
                count=count, side=side, need=count * each * side**2 // 10**6, free=free // 10**6
            ),
            expected=_("at most {side} pixels a side").format(side=fits),
            fix=f"imgsz={fits}",
            exit=4,
        )


def _job(source: Path, root: Path, listed: Sequence[Listed], seen: Looked, side: int, window: str | None) -> cache.Job:
    files = tuple(
        cache.Listing(item.path, item.file, item.frame, frames)
        for item, frames in zip(listed, seen.frames, strict=True)
    )
    return cache.Job(source, root, files, side, seen.channels, window, seen.deep)


def _check_classes(source: Path, kept: Sequence[Listed], skipped: Sequence[Skipped], fewest: int) -> None:
    count = Counter(item.label for item in kept)
    if len(count) >= max(fewest, 1):
        return
    lost = [f"{some.file}: {some.reason}" for some in skipped[:3]]
    if not count:
        found = _("no image that can be used in {folder}").format(folder=readable(source))
        code, found = "no image", "; ".join([found, *lost])
    else:
        [(label, number)] = count.items()
        code = "one class"
        found = _("1 class, {label!r}, with {number} images in {folder}").format(
            label=label, number=number, folder=readable(source)
        )
    fix = _("one sub-folder for each class: {folder}/CLASS/PICTURE").format(
        folder=readable(source if source.is_dir() else source.parent)
    )
    if tables := sorted(source.glob("*.csv")):  # they may name the classes
        fix = f"souron data {shlex.quote(readable(tables[0]))}"
    raise UserError(
        code, found, expected=_("at least two class folders with images, or two labels in a CSV"), fix=fix, exit=3
    )
