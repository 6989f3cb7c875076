"""A folder of images with ``landmarks.csv``: the positions of landmarks, in pixels of each image.

    file,sella_x,sella_y,nasion_x,nasion_y        one row per image, or
    file,name,x,y                                 one row per landmark of an image

x is measured to the right from the left edge, y down from the top edge. Further columns may be
``mm`` (millimetres per pixel), ``group`` or ``patient``, and ``part`` (train, val, test). An empty
position means that the landmark is not marked. Files are relative to the CSV, which may have
another name if its path is given.

Every fault is reported, see ``Dataset.skipped``.
"""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.csv_table import COLUMNS, find, key_of, part_of, text_of, unreadable, value_of
from souron.data.formats.folder import check_memory, missing, natural
from souron.data.patients import groups
from souron.data.readers.box_annotations import NEAR, SIDE, files_below, is_image, many, number, short
from souron.data.readers.settings import Reading
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
NAME = "landmarks.csv"
NAMES = {  # of columns, normalised by ``key_of``
    "file": COLUMNS["file"],
    "group": COLUMNS["group"],
    "part": COLUMNS["part"],
    "spacing": ("mm", "spacing", "pixelspacing", "mmperpixel", "mmperpx", "画素間隔"),
    "name": ("name", "landmark", "point", "label", "ランドマーク", "計測点", "特徴点"),
    "x": ("x",),
    "y": ("y",),
}
PAIR = re.compile(r"(.*\S)[\s_\-]+([xyXY])$")
MOST = 500  # landmarks
BEGINNING = 65_536  # bytes of a CSV examined for its header
MILLIMETRES = (1e-4, 100.0)  # per pixel


@dataclass
class Listed:
    """An image, with its landmarks as text from the CSV."""

    path: Path
    file: str
    group: str = ""
    part: str = ""
    spacing: str = ""
    places: dict[str, tuple[str, str]] = field(default_factory=dict)


def describes(path: Path) -> bool:
    """Return whether a path is a folder with a ``landmarks.csv``, or a CSV with such a header."""
    if path.is_dir():
        return (path / NAME).is_file()
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            first = stream.readline(BEGINNING).decode("utf-8-sig", "replace")
        header = next(csv.reader([first], delimiter=_separator(first)), [])
    except (OSError, csv.Error):
        return False
    return "file" in _columns(header) and bool(_pairs(header) or _is_long(header))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images that the CSV lists, in the order of their names.

    Raises UserError if the CSV cannot be read or lacks a column, and if no usable image has a
    landmark.
    """
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise missing(path)
    told: list[Skipped] = []
    listed, names, by_column = _listing(path, reading.group, told)
    told += many(_unlisted(path, listed), "unlisted", _("{count} images that no line names"))
    return _gather(path, sorted(listed, key=lambda item: natural(item.file)), names, told, reading, by_column)


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _columns(header: Sequence[str], group: str | None = None) -> dict[str, int]:
    """Map our name to the index of the column."""
    keys = [key_of(name) for name in header]
    found = {}
    for ours, aliases in NAMES.items():
        place = next((keys.index(alias) for alias in aliases if alias in keys), None)
        if place is not None:
            found[ours] = place
    if group is not None:  # another column, a pattern for the files' names, or none
        found.pop("group", None)
        if key_of(group) in keys:
            found["group"] = keys.index(key_of(group))
    return found


def _pairs(header: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Map each landmark to the indices of its two columns."""
    axes: dict[str, dict[str, int]] = {}
    for place, name in enumerate(header):
        if match := PAIR.fullmatch(unicodedata.normalize("NFC", name.strip())):
            axes.setdefault(short(match[1]), {}).setdefault(match[2].lower(), place)
    return {name: (both["x"], both["y"]) for name, both in axes.items() if len(both) == 2}


def _is_long(header: Sequence[str]) -> bool:
    return {"name", "x", "y"} <= _columns(header).keys()


def _listing(path: Path, group: str | None, told: list[Skipped]) -> tuple[list[Listed], list[str], bool]:
    """Return the images, the landmarks' names in order, and whether a column holds the groups."""
    text = text_of(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text.partition("\n")[0]))
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise unreadable(path, str(error)) from error
    header = rows[0] if rows else []
    columns, pairs = _columns(header, group), _pairs(header)
    if "file" not in columns or not (pairs or _is_long(header)):
        raise UserError(
            "columns",
            _("{path} has the columns: {names}").format(path=readable(path), names=short(",".join(header))),
            expected="file,NAME_x,NAME_y,...[,mm,group,part]; file,name,x,y[,mm,group,part]",
            fix=_("name the columns in the first line"),
            exit=3,
        )
    names: dict[str, None] = dict.fromkeys(pairs)
    listed: dict[str, Listed] = {}
    for line, cells in enumerate(rows[1:], 2):
        row = [*cells, *[""] * (len(header) - len(cells))]

        def of(name: str, row: list[str] = row) -> str:
            return value_of(row[columns[name]]) if name in columns else ""

        if not of("file"):
            where = _("{file}, line {n}").format(file=path.name, n=line)
            told.append(Skipped(where, "no file", _("no image is named")))
            continue
        place = find(path.parent, of("file"))
        file = readable(Path(os.path.relpath(place, path.parent)).as_posix())
        known = file in listed
        if known and pairs:
            told.append(Skipped(file, "duplicate", _("listed before")))
            continue
        item = listed.setdefault(file, Listed(place, file))
        item.group, item.spacing = item.group or of("group"), item.spacing or of("spacing")
        item.part = item.part or part_of(of("part"), path)
        if pairs:
            item.places = {name: (value_of(row[x]), value_of(row[y])) for name, (x, y) in pairs.items()}
        elif name := short(of("name")):
            names[name] = None
            if name in item.places:
                told.append(Skipped(_of(file, name), "duplicate", _("marked before")))
            else:
                item.places[name] = (of("x"), of("y"))
    if len(names) > MOST:
        raise UserError(
            "columns",
            _("{path} names {count} landmarks").format(path=readable(path), count=len(names)),
            expected=_("at most {count}").format(count=MOST),
            exit=3,
        )
    return list(listed.values()), list(names), "group" in columns


def _of(file: str, name: str) -> str:
    return _("{file}, landmark {name}").format(file=file, name=name)


def _unlisted(path: Path, listed: Sequence[Listed]) -> list[str]:
    named = {item.file for item in listed}
    below = files_below(path.parent, [])
    return sorted(file for file in below if is_image(file) and file not in named)


def _gather(
    source: Path,
    listed: Sequence[Listed],
    names: Sequence[str],
    skipped: Sequence[Skipped],
    reading: Reading,
    by_column: bool,
) -> Dataset:
    """Read the listed images and letterbox them into squares together with their landmarks."""
    side, told, root = reading.side or SIDE, list(skipped), source.parent
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, limits.quiet:
        looks = list(pool.map(lambda item: _look(item.path, root), listed))
        seen = [look for look in looks if look is not None]
        channels = 1 if seen and all(look.grey for look in seen) else 3
        check_memory(len(listed), channels, side)
        image = torch.empty(len(listed), channels, side, side, dtype=torch.uint8)
        kept: list[Listed] = []
        points: list[Tensor] = []
        spacing: list[float] = []

        def read(item: Listed) -> Any:
            return _read(item, root, side, channels, names)

        for done, (item, found) in enumerate(zip(listed, pool.map(read, listed), strict=True)):
            if isinstance(found, Skipped):
                told.append(found)
            else:
                pixels, there, millimetres, notes = found
                told += notes
                if there.isfinite().any():
                    image[len(kept)] = pixels
                    kept.append(item)
                    points.append(there)
                    spacing.append(millimetres)
                else:
                    told.append(Skipped(item.file, "no point", _("no landmark that can be used")))
            if reading.progress and done % 64 == 0:
                reading.progress(done, len(listed))
    if not kept:
        raise _nothing(source, told)
    target = torch.stack(points)
    marked = target.isfinite().all(2).any(0)
    told += [
        Skipped(name, "never marked", _("a landmark that no image has, which is left out"))
        for name, there in zip(names, marked.tolist(), strict=True)
        if not there
    ]
    unknown = [item.file for item, each in zip(kept, spacing, strict=True) if not each]
    if 0 < len(unknown) < len(kept):
        told += many(
            unknown, "no spacing", _("{count} images without millimetres per pixel: all distances are given in pixels")
        )
    files, group = [item.file for item in kept], [item.group for item in kept]
    how, question = _("a column of the table"), ""
    if not any(group):
        wish = None if by_column else reading.group
        group, how, question = groups(files, [""] * len(files), wish)
    return Dataset(
        name=readable(source.absolute().parent.name),
        input=image[: len(kept)],
        target=target[:, marked],
        classes=tuple(name for name, there in zip(names, marked.tolist(), strict=True) if there),
        file=files,
        group=group if any(group) else (),
        grouped=how if any(group) else "",
        question=question,
        part=[item.part for item in kept] if any(item.part for item in kept) else (),
        skipped=tuple(told),
        augment=("shift", "brightness"),
        source=readable(root),
        spacing=() if len(unknown) == len(kept) else spacing,
    )


def _look(path: Path, root: Path) -> limits.Look | None:
    try:
        return image_codec.look(path, root)
    except UserError:
        return None


def _read(
    item: Listed, root: Path, side: int, channels: int, names: Sequence[str]
) -> Skipped | tuple[Tensor, Tensor, float, list[Skipped]]:
    """Return pixels (C, side, side), landmarks (K, 2) in these pixels, millimetres per pixel or 0,
    and the faults found; or the reason why the image is skipped."""
    try:
        image = image_codec.rounded(image_codec.read(item.path, root))
    except UserError as trouble:
        why = trouble.found.removeprefix(f"{readable(item.path)}: ")
        return Skipped(item.file, trouble.code, why)
    pixels, place = image_codec.letterbox(image, side, channels)
    notes = list(_faults(item.file, item.places, image.size))
    bad = {fault.file for fault in notes}
    points = np.full((len(names), 2), np.nan)
    for k, name in enumerate(names):
        x, y = (number(text) for text in item.places.get(name, ("", "")))
        if _of(item.file, name) not in bad and np.isfinite([x, y]).all():
            points[k] = np.clip([x, y], 0, image.size)
    there = place.within(np.concatenate([points, points], 1))[:, :2]
    spacing = number(item.spacing) if item.spacing else 0.0
    if item.spacing and not MILLIMETRES[0] <= spacing <= MILLIMETRES[1]:
        why = _("not millimetres per pixel: {text}").format(text=short(item.spacing))
        notes.append(Skipped(item.file, "spacing", why))
        spacing = 0.0
    scale = (place.wide * place.high) ** 0.5
    return pixels, torch.from_numpy(there).float(), spacing / scale, notes


def _faults(file: str, places: Mapping[str, tuple[str, str]], size: tuple[int, int]) -> Iterator[Skipped]:
    """Yield the faults of landmarks that are marked but cannot be used."""
    for name, texts in places.items():
        if not any(texts):
            continue
        x, y = (number(text) for text in texts)
        said = ", ".join(map(short, texts))
        if not np.isfinite([x, y]).all():
            why = _("a position that is not a number: {place}").format(place=said)
            yield Skipped(_of(file, name), "no number", why)
        elif not all(-NEAR * far <= at <= far * (1 + NEAR) for at, far in zip((x, y), size, strict=True)):
            why = _("outside of its image of {width} x {height} pixels: {place}").format(
                width=size[0], height=size[1], place=said
            )
            yield Skipped(_of(file, name), "outside", why)


def _nothing(source: Path, told: Sequence[Skipped]) -> UserError:
    found = _("no image that {path} names can be used").format(path=readable(source))
    lost = [f"{some.file}: {some.reason}" for some in told[:3]]
    return UserError(
        "no points", "; ".join([found, *lost]), expected=_("a folder of images with a landmarks.csv"), exit=3
    )
