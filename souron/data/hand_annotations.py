"""Boxes and outlines that a person draws on the images of a folder, read and written as COCO's JSON.

    folder = hand_annotations.opened(Path("photos"))
    shown = folder.image("1.jpg")
    folder.save("1.jpg", shown["version"], added=[{"class": "cat", "box": [10, 20, 30, 40]}])

A folder that already has COCO's JSON is continued in these files; boxes and outlines of YOLO, and boxes
of VOC, are taken over into a new ``annotations.json``. Fields and entries that are not understood stay
as they are. Before the first change of a file that somebody else wrote, it is copied to
``annotations.json.bak``. Coordinates are pixels of the upright image.

Each image has a version, a digest of what is stored of it. A change names the version that it began
with, and is refused where the image was changed meanwhile.
"""

import hashlib
import json
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.data.formats import coco, voc, yolo, yolo_boxes
from souron.data.formats.folder import NAMED, natural
from souron.data.readers import outlines
from souron.data.readers.box_annotations import Box, BoxedImage, files_below, number, short
from souron.kinds import files
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs.limits import readable
from souron.kinds.graphics import contour
from souron.utils.files import free
from souron.utils.messages import UserError, _

NAME = "annotations.json"
COPY = ".bak"  # not .json, so that no reader takes a copy for a further file
MOST_BYTES = 200_000_000  # of a file
FRESH = 1.0  # seconds for which the list of a folder's files is kept
MOST_OPEN = 4  # folders in memory
MOST_CHANGES = 20_000  # of an image at once
MOST_CLASSES = 1000
LONGEST_NAME = 200  # characters of a class
LEAST = 0.01  # pixels, of a side
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height
LEAST_PART = 0.02  # of the largest part of a mask; smaller ones are noise

PLAIN = {"id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd"}
SHAPES = ("box", "outlines")

Mark = dict[str, Any]  # {"class": str, "box": [left, top, width, height]} or {"outlines": [[[x, y], ...], ...]}


@dataclass
class Source:
    """One file of COCO's JSON: its content, and where the images in it are."""

    path: Path
    about: dict[str, Any]
    entries: dict[str, int]  # image -> position in about["images"]
    stamp: tuple[int, ...] | None  # of the file that was read or written; None before it is written
    foreign: bool = True  # whether somebody else wrote it: it is copied before it is changed
    of: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # number of an image -> its annotations

    def __post_init__(self) -> None:
        for entry in self.about["annotations"]:
            if isinstance(entry, dict):
                self.of.setdefault(coco.key(entry.get("image_id")), []).append(entry)

    def entry(self, file: str) -> dict[str, Any] | None:
        return self.about["images"][self.entries[file]] if file in self.entries else None

    def annotations(self, file: str) -> list[dict[str, Any]]:
        entry = self.entry(file)
        return [] if entry is None else self.of.get(coco.key(entry.get("id")), [])

    def names(self) -> dict[str, str]:
        """Map the number of each category to its name."""
        named = [entry for entry in self.about["categories"] if isinstance(entry, dict)]
        return {coco.key(entry.get("id")): class_name(entry.get("name", "")) for entry in named}

    def category(self, name: str) -> Any:
        """Return the number of a class, which is added where it is new."""
        for entry in self.about["categories"]:
            if isinstance(entry, dict) and class_name(entry.get("name", "")) == name:
                return entry.get("id")
        new = {"id": unused(self.about["categories"]), "name": name}
        self.about["categories"].append(new)
        return new["id"]


class Folder:
    """The annotations of a folder's images. Use ``opened``, so that all users of a folder share one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        self.sources: list[Source] = []
        self.taken_over = ""  # "YOLO" or "VOC", where their labels were read
        self._below: dict[str, Path] = {}  # name -> path of all files, as of
        self._walked = 0.0

    def files(self) -> list[str]:
        """List the images in their natural order, relative to the folder."""
        with self.lock:
            self._refresh()
            return self._files()

    def states(self) -> dict[str, int]:
        """Map each image to the number of its annotations; -1 where nobody has looked at it yet."""
        with self.lock:
            self._refresh()
            counts = {
                file: len(source.annotations(file)) for source in reversed(self.sources) for file in source.entries
            }
            return {file: counts.get(file, -1) for file in self._files()}

    def classes(self) -> list[str]:
        """List the classes in the order of their numbers."""
        with self.lock:
            self._refresh()
            return self._classes()

    def notes(self) -> list[str]:
        """Return what a person should know of the files: entries that belong to nothing, labels taken over."""
        with self.lock:
            self._refresh()
            return self._notes()

    def path_for_training(self) -> Path:
        """Return what a reader should be given: the folder, or the file where YOLO's labels would come first."""
        with self.lock:
            self._refresh()
            written = [source.path for source in self.sources if source.stamp is not None]
            return written[0] if written and yolo_boxes.describes(self.root) else self.root

    def image(self, file: str, most: int | None = None) -> dict[str, Any]:
        """Return an image's size, version and annotations, at most ``most`` of them, and their "count".

        Each of "marks" has a "class" ("" where its category does not exist) and "box", "outlines", or both are
        missing where neither can be read; "fixed" is true where the shape cannot be drawn anew, as that of a mask in
        run lengths, whose box is given. "more" is the entry in the file as JSON where it has further fields, to be
        handed back where a deleted one is restored. Raises UserError where there is no such image or it cannot be read.
        """
        with self.lock:
            self._refresh()
            path = self.path(file)
            width, height = size_of(path, self.root)
            source = self._source(file)
            names = source.names()
            entry, marks = source.entry(file) or {}, source.annotations(file)
            stated = [number(entry.get(name)) for name in ("width", "height")]
            return {
                "file": file,
                "width": width,
                "height": height,
                "version": self._version(source, file),
                "looked": file in source.entries,
                "other_size": stated if all(0 < v < math.inf for v in stated) and stated != [width, height] else None,
                "count": len(marks),
                "marks": [as_mark(one, names, (width, height)) for one in marks[:most]],
                "classes": self._classes(),
            }

    def path(self, file: str) -> Path:
        """Return the path of an image of this folder. Raises UserError where there is none."""
        path = self._below.get(file)
        if path is None or not path.is_file() or not is_image(file):
            raise UserError(
                "missing",
                _("there is no image {file} in this folder any more").format(file=file[:200]),
                expected=_("one of the images in the list; put it back to continue with it"),
                exit=3,
            )
        return path

    def save(
        self,
        file: str,
        version: str,
        changed: Sequence[Mark] = (),
        deleted: Sequence[int] = (),
        added: Sequence[Mark] = (),
        looked: bool = True,
    ) -> str:
        """Change the annotations of an image, write them, and return the new version.

        ``changed``: marks with their "place" in ``image``'s list, with a new "class", "box" or "outlines"; ``deleted``:
        places; ``added``: new marks, which are appended. With ``looked=False`` an image without annotations counts as
        one that nobody has looked at. Boxes and outlines are clipped to the image.

        Raises UserError: "changed" where the image has another version than ``version``, "numbers" where a shape is
        none, "missing" where the image is gone. Nothing is written then.
        """
        with self.lock:
            self._refresh()
            size = size_of(self.path(file), self.root)
            source = self._source(file)
            if self._version(source, file) != version:
                raise UserError(
                    "changed",
                    _("{file} was changed elsewhere, in another tab or by another program").format(file=file[:200]),
                    expected=_("the annotations as this page showed them"),
                    exit=3,
                )
            before = source.annotations(file)
            _check_places(changed, deleted, added, len(before))
            shapes = [as_shape(mark, size) for mark in (*changed, *added)]  # all are checked before any is used
            given = {class_of(mark) for mark in (*changed, *added) if mark.get("class")}
            if not all(map(_complete, added)):
                raise files.wrong(_("an annotation without a class or a shape"), _("a class, and a box or outlines"))
            if len({*self._classes(), *given}) > MOST_CLASSES:
                raise files.wrong(_("too many classes"), _("at most {count}").format(count=MOST_CLASSES))
            with self._changing(source):
                entry = self._entry(source, file, size)
                after: dict[int, dict[str, Any]] = {place: dict(one) for place, one in enumerate(before)}
                for mark, shape in zip(changed, shapes, strict=False):
                    if mark.get("class"):
                        after[mark["place"]]["category_id"] = source.category(class_of(mark))
                    after[mark["place"]] |= shape
                for place in deleted:
                    del after[place]
                fresh = self._new(source, entry["id"], added, shapes[len(changed) :])
                instead = {id(one): after.get(place) for place, one in enumerate(before)}
                rest = (instead.get(id(one), one) for one in source.about["annotations"])
                source.about["annotations"] = [*(one for one in rest if one is not None), *fresh]
                source.of[coco.key(entry["id"])] = [*after.values(), *fresh]
                if not looked and not after and not fresh:
                    self._forget(source, file)
                self._write(source)
            return self._version(source, file)

    def add_class(self, name: str) -> None:
        """Add a class. Raises UserError where its name is empty or too long, or where there are too many."""
        with self.lock:
            self._refresh()
            name = class_of({"class": name})
            if name in self._classes():
                return
            if len(self._classes()) >= MOST_CLASSES:
                raise files.wrong(_("too many classes"), _("at most {count}").format(count=MOST_CLASSES))
            source = self._own()
            source.category(name)
            self._write(source)

    def rename_class(self, name: str, new: str) -> None:
        """Give a class another name. Raises UserError where there is no such class, or the new name is taken."""
        with self.lock:
            self._refresh()
            new = class_of({"class": new})
            if name not in self._classes() or new in self._classes():
                raise UserError(
                    "class",
                    _("{name} cannot become {new}").format(name=name[:LONGEST_NAME], new=new),
                    expected=_("a class that is there, and a name that no other class has"),
                )
            for source in self.sources:
                named = [entry for entry in source.about["categories"] if isinstance(entry, dict)]
                mine = [entry for entry in named if class_name(entry.get("name", "")) == name]
                for entry in mine:
                    entry["name"] = new
                if mine:
                    self._write(source)

    def remove_class(self, name: str) -> None:
        """Remove a class that no annotation has. Raises UserError otherwise."""
        with self.lock:
            self._refresh()
            for source in self.sources:
                keys = {number_of for number_of, one in source.names().items() if one == name}
                used = sum(coco.key(one.get("category_id")) in keys for marks in source.of.values() for one in marks)
                if used:
                    raise UserError(
                        "class",
                        _("{count} annotations are of the class {name}").format(count=used, name=name[:LONGEST_NAME]),
                        expected=_("a class without annotations"),
                    )
            for source in self.sources:
                about = source.about
                kept = [
                    entry
                    for entry in about["categories"]
                    if not isinstance(entry, dict) or class_name(entry.get("name", "")) != name
                ]
                if len(kept) < len(about["categories"]):
                    about["categories"] = kept
                    self._write(source)

    def _files(self) -> list[str]:
        return sorted(filter(is_image, self._below), key=natural)

    def _classes(self) -> list[str]:
        found: dict[str, None] = {}
        for source in self.sources:
            named = [entry for entry in source.about["categories"] if isinstance(entry, dict)]
            for entry in sorted(named, key=lambda entry: (number(entry.get("id")), str(entry))):
                found.setdefault(class_name(entry.get("name", "")))
        return [name for name in found if name]

    def _notes(self) -> list[str]:
        notes = []
        if self.taken_over:
            notes.append(
                _(
                    "The {format} labels of this folder are shown. The first change writes all of them to {name}; "
                    "the files that were there stay as they are."
                ).format(format=self.taken_over, name=NAME)
            )
        lost = nameless = 0
        for source in self.sources:
            known = {coco.key(one.get("id")) for one in source.about["images"] if isinstance(one, dict)}
            lost += sum(len(marks) for number_of, marks in source.of.items() if number_of not in known)
            lost += sum(not isinstance(one, dict) for one in source.about["annotations"])
            names = source.names()
            nameless += sum(
                coco.key(one.get("category_id")) not in names for marks in source.of.values() for one in marks
            )
        if lost:
            notes.append(
                _("{count} annotations belong to no image of the file; they stay in it as they are.").format(count=lost)
            )
        if nameless:
            notes.append(
                _("{count} annotations are of a class that the file does not name; give them one.").format(
                    count=nameless
                )
            )
        gone = sum(isinstance(one, dict) for source in self.sources for one in source.about["images"]) - sum(
            len(source.entries) for source in self.sources
        )
        if gone:
            notes.append(
                _("{count} images of the file are not in this folder; their annotations stay.").format(count=gone)
            )
        return notes

    def _refresh(self) -> None:
        """Read the files anew that were changed by somebody else."""
        if not self.root.is_dir():
            raise UserError(
                "missing", _("there is no folder {path}").format(path=readable(self.root)), exit=3,
                expected=_("a folder with images"),
            )  # fmt: skip
        if not self._below or time.monotonic() - self._walked > FRESH:
            self._walked, below = time.monotonic(), files_below(self.root, [])
        else:
            below = self._below
        paths = [path for path in coco.sources(self.root) if path.resolve().is_relative_to(self.root.resolve())]
        same_images = below.keys() == self._below.keys()
        self._below = below
        if not paths:
            if not self.sources or any(source.stamp for source in self.sources) or not same_images:
                self.sources = self._take_over()
            return
        known = {source.path: source for source in self.sources if source.stamp is not None}
        self.taken_over = ""
        sources = []
        for path in sorted(paths, key=lambda path: (path != self.root / NAME, str(path))):
            old = known.get(path)
            if old is not None and old.stamp == stamp(path):
                if not same_images:
                    old.entries = coco.located(old.about, path, self.root, below)
                sources.append(old)
                continue
            now = stamp(path)
            if path.stat().st_size > MOST_BYTES:
                raise UserError(
                    "too large",
                    _("{path} is too large to be edited here").format(path=readable(path.name)),
                    expected=_("at most {most} MB").format(most=MOST_BYTES // 10**6),
                    exit=3,
                )
            about = coco.parsed(path)
            sources.append(Source(path, about, coco.located(about, path, self.root, below), now))
        self.sources = sources

    def _take_over(self) -> list[Source]:
        """Return what YOLO's or VOC's files say as a file that is not written yet."""
        about: dict[str, Any] = {"images": [], "categories": [], "annotations": []}
        listed: Sequence[BoxedImage] = ()
        classes: Sequence[str] = ()
        self.taken_over = ""
        if yolo_boxes.describes(self.root):
            path = self.root / yolo.NAME
            listed, _skipped, classes = yolo_boxes.written(path, yolo.read_yaml(path), _line)
            self.taken_over = "YOLO"
        elif voc.describes(self.root):
            listed, _skipped, classes = voc.written(self.root)
            self.taken_over = "VOC"
        about["categories"] = [{"id": n, "name": name} for n, name in enumerate(classes, 1)]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            sizes = list(pool.map(self._size, listed))
        entries: dict[str, int] = {}
        for item, size in zip(listed, sizes, strict=True):
            if size is None:
                continue
            entry: dict[str, Any] = {"id": len(entries) + 1, "file_name": item.file}
            entry |= {"width": size[0], "height": size[1]} | ({"part": item.part} if item.part else {})
            entries[item.file] = len(entries)
            about["images"].append(entry)
            about["annotations"] += self._taken(item, size, entry["id"], len(about["annotations"]), len(classes))
        return [Source(free(self.root, "annotations", ".json"), about, entries, None)]

    def _size(self, item: BoxedImage) -> tuple[int, int] | None:
        try:
            return size_of(item.path, self.root)
        except UserError:
            return None

    def _taken(
        self, item: BoxedImage, size: tuple[int, int], image: int, count: int, classes: int
    ) -> list[dict[str, Any]]:
        scale = np.array(size if self.taken_over == "YOLO" else (1, 1), float)
        found: list[dict[str, Any]] = []
        for box in item.boxes:
            values = np.array(list(box.edges), float).reshape(-1, 2) * scale
            if not 0 <= box.label < classes:
                continue
            mark: Mark = {"box": [*values[0].tolist(), *(values[-1] - values[0]).tolist()]}
            if len(values) > 2:
                mark = {"outlines": [values.tolist()]}
            try:
                shape = as_shape(mark, size)
            except UserError:
                continue
            one = {"id": count + len(found) + 1, "image_id": image, "category_id": box.label + 1}
            found.append({**one, "iscrowd": int(box.crowd), **shape})
        return found

    def _source(self, file: str) -> Source:
        """Return the file that describes an image, or in which it will be described."""
        return next((source for source in self.sources if file in source.entries), None) or self._own(file)

    def _own(self, file: str = "") -> Source:
        """Return the file for new entries: that of the same folder, else the first one."""
        beside = (self.root / file).parent
        return next((source for source in self.sources if file and source.path.parent == beside), self.sources[0])

    def _entry(self, source: Source, file: str, size: tuple[int, int]) -> dict[str, Any]:
        entry = source.entry(file)
        if entry is None:
            path = self.root / file
            near = path.relative_to(source.path.parent) if path.is_relative_to(source.path.parent) else Path(file)
            entry = {"id": unused(source.about["images"]), "file_name": near.as_posix()}
            source.entries[file] = len(source.about["images"])
            source.about["images"].append(entry)
        if not all(number(entry.get(name)) > 0 for name in ("width", "height")):
            entry |= {"width": size[0], "height": size[1]}
        return entry

    def _forget(self, source: Source, file: str) -> None:
        entry = source.about["images"].pop(source.entries[file])
        source.of.pop(coco.key(entry.get("id")), None)
        source.entries = coco.located(source.about, source.path, self.root, self._below)

    def _new(
        self, source: Source, image: Any, added: Sequence[Mark], shapes: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return the entries of new annotations, with the fields that they had before they were deleted."""
        entries = [one for one in source.about["annotations"] if isinstance(one, dict)]
        used = {coco.key(one.get("id")) for one in entries} if added else set()
        free_number, fresh = unused(entries), []
        for mark, shape in zip(added, shapes, strict=True):
            more = _parsed(mark.get("more"))
            number_of = more.get("id")
            if not isinstance(number_of, int | str) or isinstance(number_of, bool) or coco.key(number_of) in used:
                number_of, free_number = free_number, free_number + 1
            used.add(coco.key(number_of))
            new = {"id": number_of, "image_id": image, "category_id": 0, "iscrowd": 0} | more
            new |= {"id": number_of, "image_id": image, **shape}
            if mark.get("class"):
                new["category_id"] = source.category(class_of(mark))
            fresh.append(new)
        return fresh

    def _version(self, source: Source, file: str) -> str:
        written = json.dumps([source.entry(file), source.annotations(file)], sort_keys=True, default=str)
        return hashlib.sha256(written.encode()).hexdigest()[:20]

    @contextmanager
    def _changing(self, source: Source) -> Iterator[None]:
        """Forget what is in memory of a file where a change of it fails: it is read again."""
        try:
            yield
        except BaseException:
            self.sources = [one for one in self.sources if one is not source]
            raise

    def _write(self, source: Source) -> None:
        """Write a file, after a copy of the one that somebody else wrote."""
        with self._changing(source):
            if source.path.is_file() and (source.foreign or source.stamp is None):
                keep_copy(source.path)
            try:
                raw = json.dumps(source.about, ensure_ascii=False).encode()
            except UnicodeEncodeError:  # half a character, which JSON can only escape
                raw = json.dumps(source.about).encode()
            files.write(source.path, raw)
        source.stamp, source.foreign = stamp(source.path), False


_folders: OrderedDict[Path, Folder] = OrderedDict()  # most recently used last
_guard = threading.Lock()


def opened(path: Path) -> Folder:
    """Return the annotations of a folder, or of the one that a file of COCO's JSON describes.

    Raises UserError where there is none.
    """
    root = path.resolve()
    if root.is_file() and coco.describes(root):
        root = root.parent.parent if root.parent.name == "annotations" else root.parent
    if not root.is_dir():
        raise UserError(
            "missing",
            _("there is no folder {path}").format(path=readable(path)),
            expected=_("a folder with images"),
            exit=3,
        )
    with _guard:
        folder = _folders.setdefault(root, Folder(root))
        _folders.move_to_end(root)
        while len(_folders) > MOST_OPEN:
            _folders.popitem(last=False)
    return folder


def is_image(file: str) -> bool:
    return Path(file).suffix.lower() in NAMED


def stamp(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size, about.st_ino


def keep_copy(path: Path) -> None:
    """Copy a file beside itself as ``.bak``, unless the same content was kept before."""
    raw = path.read_bytes()
    kept = path.parent.glob(f"{path.name}*{COPY}")
    if not any(one.stat().st_size == len(raw) and one.read_bytes() == raw for one in kept):
        files.write(free(path.parent, path.name, COPY), raw)


def unused(entries: Sequence[Any]) -> int:
    """Return a number above that of all entries."""
    numbers = [number(one.get("id")) for one in entries if isinstance(one, dict)]
    return int(max((value for value in numbers if 0 <= value < 2**53), default=0)) + 1


def class_name(value: Any) -> str:
    """Return a class's name as the reader of COCO's files shows it."""
    return readable(short(value).encode("utf-8", "replace").decode())


def class_of(mark: Mark) -> str:
    """Return the class that a mark names. Raises UserError."""
    given = str(mark.get("class") or "")
    name = class_name(given)
    if not name or len(given) > LONGEST_NAME or not name.isprintable():
        raise UserError(
            "class",
            _("{name} is no name of a class").format(name=repr(name[:LONGEST_NAME])),
            expected=_("1 to {most} characters").format(most=LONGEST_NAME),
        )
    return name


def size_of(path: Path, root: Path) -> tuple[int, int]:
    """Return width and height of the upright image from its header. Raises UserError."""
    with image_codec.opened(path, root) as file:
        if not isinstance(file, Image.Image):
            return file.look().size
        width, height = file.size
        return (height, width) if file.getexif().get(ORIENTATION) in TURNED else (width, height)


def as_mark(entry: Mapping[str, Any], names: Mapping[str, str], size: tuple[int, int]) -> Mark:
    """Return an annotation of COCO's JSON as ``Folder.image`` describes it."""
    mark: Mark = {"class": names.get(coco.key(entry.get("category_id")), ""), "fixed": False}
    area = entry.get("segmentation")
    if not entry.keys() <= PLAIN or entry.get("iscrowd") or isinstance(area, dict) or not mark["class"]:
        mark["more"] = json.dumps(entry)
    if isinstance(area, list) and area:
        try:
            return mark | {"outlines": [line.tolist() for line in outlines.corners(area)]}
        except outlines.Fault:
            mark |= {"fixed": True, "more": json.dumps(entry)}
    box = entry.get("bbox")
    values = [number(value) for value in box] if isinstance(box, list) else []
    if isinstance(area, dict) and area:
        mark["fixed"] = True
        if len(values) != 4:
            values = _box_of(area, size)
    if len(values) == 4 and all(map(math.isfinite, values)):
        mark["box"] = values
    return mark


def _box_of(area: dict[str, Any], size: tuple[int, int]) -> list[float]:
    try:
        piece = outlines.piece(area, *size)
    except outlines.Fault:
        return []
    high, wide = piece.inside.shape
    return [float(piece.left), float(piece.top), float(wide), float(high)]


def as_shape(mark: Mark, size: tuple[int, int]) -> dict[str, Any]:
    """Return the fields "bbox", "segmentation" and "area" of a mark, clipped to the image's width and height.

    {} where the mark has no shape. Raises UserError "numbers" where nothing of it is inside of the image.

    >>> as_shape({"box": [-5, 2, 15, 4]}, (100, 50))
    {'bbox': [0.0, 2.0, 10.0, 4.0], 'segmentation': [], 'area': 40.0}
    >>> as_shape({"outlines": [[[0, 0], [4, 0], [0, 4]]]}, (100, 50))["area"]
    8.0
    """
    if mark.get("outlines") is not None:
        return _outlined(mark["outlines"], size)
    if mark.get("box") is None:
        return {}
    box = mark["box"]
    values = [number(value) for value in box] if isinstance(box, list | tuple) and len(box) == 4 else [math.nan]
    if not all(math.isfinite(value) for value in values):
        raise files.wrong(_("a box that is none"), _("left, top, width and height in pixels"))
    left, top, wide, high = values
    ends = [min(max(left, 0.0), size[0]), min(max(top, 0.0), size[1])]
    ends += [min(max(left + wide, 0.0), size[0]), min(max(top + high, 0.0), size[1])]
    left, top, right, bottom = (round(float(end), 2) for end in ends)
    if right - left < LEAST or bottom - top < LEAST:
        raise files.wrong(_("a box without an area, or outside of the image"), _("a box inside of the image"))
    wide, high = round(right - left, 2), round(bottom - top, 2)
    return {"bbox": [left, top, wide, high], "segmentation": [], "area": round(wide * high, 2)}


def _outlined(given: Any, size: tuple[int, int]) -> dict[str, Any]:
    expected = _("outlines of three corners or more, in pixels")
    try:
        lines = outlines.corners([[float(v) for corner in line for v in corner] for line in given])
    except (TypeError, ValueError, OverflowError) as error:
        why = str(error) if isinstance(error, outlines.Fault) else _("an outline that is no list of numbers")
        raise files.wrong(why, expected) from error
    clipped = [np.round(line.clip(0, size), 2) for line in lines]
    areas = [_area(line) for line in clipped]
    kept = [line for line, area in zip(clipped, areas, strict=True) if area > 0]
    if not kept:
        raise files.wrong(_("an outline without an area, or outside of the image"), expected)
    every = np.concatenate(kept)
    low, high = every.min(0), every.max(0)
    return {
        "bbox": np.round([*low, *(high - low)], 2).tolist(),
        "segmentation": [line.ravel().tolist() for line in kept],
        "area": round(sum(areas), 2),
    }


def _area(line: Any) -> float:
    """Return the area inside of corners (n, 2)."""
    x, y = line.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def outlines_of(mask: Any, tolerance: float = 1.0) -> list[list[list[float]]]:
    """Return outlines with few corners around the parts of a mask (H, W) bool; holes are filled.

    ``tolerance``: how far in pixels an outline may be from the mask's edge. Small parts beside a large one are left
    out.
    """
    from skimage.measure import approximate_polygon

    loops = [np.array([*loop, loop[0]], float) for loop in contour.loops(mask)]
    signed = [float(np.dot(loop[:-1, 0], loop[1:, 1]) - np.dot(loop[:-1, 1], loop[1:, 0])) / 2 for loop in loops]
    largest = max(signed, default=0.0)
    parts = [
        approximate_polygon(loop, tolerance)[:-1]
        for loop, area in sorted(zip(loops, signed, strict=True), key=lambda pair: -pair[1])
        if area > 0 and area >= LEAST_PART * largest  # a hole runs the other way round
    ]
    return [part.tolist() for part in parts if len(part) >= 3]


def _parsed(text: Any) -> dict[str, Any]:
    """Parse what ``as_mark`` handed out; {} where it is something else."""
    try:
        more = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        more = {}
    return more if isinstance(more, dict) else {}


def _complete(mark: Mark) -> bool:
    """Return whether a new mark has a class and a shape, its own or those that it had before it was deleted."""
    more = _parsed(mark.get("more"))
    shaped = any(mark.get(name) is not None for name in SHAPES) or "bbox" in more or "segmentation" in more
    return shaped and bool(mark.get("class") or "category_id" in more)


def _line(numbers: Sequence[float]) -> Box | str:
    """Convert the numbers of a line of YOLO's to a box, or to corners where it is an outline."""
    name, *values = numbers
    if len(values) >= 6 and len(values) % 2 == 0 and name == name // 1:
        return Box(int(name), values)
    return yolo_boxes.box(numbers[:5])


def _check_places(changed: Sequence[Mark], deleted: Sequence[int], added: Sequence[Mark], count: int) -> None:
    if len(changed) + len(deleted) + len(added) > MOST_CHANGES:
        raise files.wrong(_("too many changes at once"), _("at most {count}").format(count=MOST_CHANGES))
    places = [*(mark.get("place") for mark in changed), *deleted]
    if not all(type(place) is int and 0 <= place < count for place in places) or len({*places}) < len(places):
        raise files.wrong(_("a change of an annotation that is not there"), _("each annotation once"))
