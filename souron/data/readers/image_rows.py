"""Images with metadata in ``metadata.jsonl``: shared by the formats of captions and questions.

    metadata.jsonl             one {"file_name": "a/1.jpg", "text": "..."} per line, as in Hugging
    a/1.jpg                    Face's imagefolder; ``metadata.csv`` and ``.json`` as well
    train/metadata.jsonl       or one for each part: train, val, test
    train/1.jpg

https://huggingface.co/docs/datasets/image_dataset
"""

import posixpath
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import PARTS, gather, missing, natural
from souron.data.patients import COLUMN
from souron.data.readers.box_annotations import files_below, is_image
from souron.data.readers.decoding import Listed
from souron.data.readers.settings import Reading
from souron.data.readers.text_files import RECORDS, Faults, Located, columns, keys, name_of, records, table
from souron.data.texts import shown
from souron.kinds.codecs.limits import check_file, readable
from souron.utils.messages import UserError, _

NAME = "metadata"
SUFFIXES = (*RECORDS, ".csv")
FILE = ("filename", "file", "image", "imagefile", "ファイル", "画像")
MOST_LETTERS = 200  # of a file's name in a message
MOST_LOOKED_AT = 500  # entries of a folder, examined to determine its content


@dataclass
class Row:
    """The content of one metadata line about an image."""

    file: str  # relative to the folder
    values: Mapping[str, Any]  # by name, normalised by ``name_of``
    place: str  # "train/metadata.jsonl:3"
    part: str


@dataclass
class Found:
    """The files below a folder, the metadata of its images, and the faults."""

    folder: Path
    below: dict[str, Path]  # name relative to the folder -> file
    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def images(self) -> list[str]:
        return sorted((file for file in self.below if is_image(file)), key=natural)


def is_metadata(path: Path, wanted: Sequence[str]) -> bool:
    """Return whether the file is metadata that names images and has one of these columns."""
    if path.stem.lower() != NAME or path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    names = {*map(name_of, keys(path)), *map(name_of, columns(path))}
    return bool(names & set(FILE)) and bool(names & set(wanted))


def has_metadata(path: Path, wanted: Sequence[str]) -> bool:
    """Return whether the file is such metadata, or there is one in the folder or directly
    below it."""
    if not path.is_dir():
        return is_metadata(path, wanted)
    places = (path, *(path / part for part in PARTS))
    named = (place / f"{NAME}{suffix}" for place in places for suffix in SUFFIXES)
    return any(is_metadata(file, wanted) for file in chain(named, entries(path)))


def entries(folder: Path) -> Iterator[Path]:
    """Yield the first files in a folder and in the folders directly below it."""
    count, waiting = 0, [folder]
    for place in waiting:
        try:
            inside = sorted(place.iterdir())
        except OSError:
            continue
        for each in inside:
            count += 1
            if count > MOST_LOOKED_AT:
                return
            if each.is_dir() and place == folder and not each.is_symlink():
                waiting.append(each)
            elif each.is_file():
                yield each


def look(path: Path) -> Found:
    """Collect the files in a folder, or beside a metadata file. Raises UserError if it is
    missing."""
    if not path.exists():
        raise missing(path)
    folder = path if path.is_dir() else path.parent
    found = Found(folder, {})
    found.below = files_below(folder, found.skipped)
    own = [name for name in found.below if _is_named(name)]
    if not path.is_dir():
        own = [readable(path.name)]
    for name in sorted(own, key=natural):
        found.rows += _rows(folder, name, found)
    return found


def _is_named(file: str) -> bool:
    place = PurePosixPath(file)
    return place.stem.lower() == NAME and place.suffix.lower() in SUFFIXES


def _rows(folder: Path, name: str, found: Found) -> Iterator[Row]:
    """Yield the lines of a file whose images exist; the others are reported."""
    faults, here = Faults(), posixpath.dirname(name)
    for one in _lines(found.below[name], folder, faults):
        values = {name_of(str(key)): value for key, value in one.thing.items()}
        place = posixpath.join(here, one.place)
        given = next((values[key] for key in FILE if values.get(key)), None)
        if isinstance(given, dict):  # as written by the viewer of Hugging Face's hub
            given = given.get("path")
        if not isinstance(given, str):
            faults.add(one.place, "no file", _("no image is named: file_name"))
            continue
        file = posixpath.normpath(posixpath.join(here, unicodedata.normalize("NFC", given)))
        file = file if file in found.below else file.replace("\\", "/")
        if posixpath.isabs(given) or file.startswith("../") or file == "..":
            faults.add(one.place, "outside", _("leads out of the folder: {file}").format(file=shown(given)))
        elif file not in found.below:
            faults.add(one.place, "missing", _("there is no image {file}").format(file=shown(given)))
        elif not is_image(file):
            faults.add(one.place, "not an image", _("not an image: {file}").format(file=shown(given)))
        else:
            yield Row(file, values, place, one.part or part_of(file))
    told = faults.told()
    found.skipped += [
        replace(skip, file=posixpath.join(here, skip.file)) if skip.file != "…" else skip for skip in told
    ]


def _lines(path: Path, folder: Path, faults: Faults) -> Iterator[Located]:
    """Yield the file's records or rows; a file that is not readable text is reported."""
    try:
        check_file(path, folder, otherwise="unreadable")
        yield from table(path, faults) if path.suffix.lower() == ".csv" else records(path, faults)
    except UserError as trouble:
        faults.add(readable(path.name), trouble.code, trouble.found)


def part_of(file: str) -> str:
    """Return the part train, val or test if the first folder is named so, else ""."""
    first, slash, _rest = file.partition("/")
    return PARTS.get(first.lower(), "") if slash else ""


def group_of(values: Mapping[str, Any]) -> str:
    given = next((values[key] for key in COLUMN if values.get(key)), "")
    return str(given)[:MOST_LETTERS] if isinstance(given, str | int) else ""


def read(
    path: Path,
    listed: Sequence[Listed],
    skipped: Sequence[Skipped],
    reading: Reading,
    nothing: Callable[[str], UserError],
) -> Dataset:
    """Decode the images, without a target. ``nothing`` creates the error for a folder without a
    usable image from the first reason. Raises UserError."""
    folder = path if path.is_dir() else path.parent
    if not listed:
        raise nothing(next((f"{skip.file}: {skip.reason}" for skip in skipped), ""))
    cases = gather(folder, folder, listed, skipped, replace(reading, fewest_classes=0))
    if not len(cases):
        raise nothing(next((f"{skip.file}: {skip.reason}" for skip in cases.skipped), ""))
    return replace(cases, target=None, classes=())
