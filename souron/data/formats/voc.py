"""Pascal VOC's XML: a file with the boxes of each image.

    Annotations/1.xml  JPEGImages/1.jpg  ImageSets/Main/train.txt        or both in one folder
    <annotation><filename>1.jpg</filename><size><width>..</width><height>..</height></size>
      <object><name>cat</name><difficult>0</difficult>
        <bndbox><xmin>..</xmin><ymin>..</ymin><xmax>..</xmax><ymax>..</ymax></bndbox></object>

Pixels are counted from 1, and the last one is inside of the box; if any edge is 0, the files are
assumed to count from 0, which is reported. Objects marked as difficult are excluded from training
and evaluation, as in VOC. The format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import PARTS, natural
from souron.data.readers.box_annotations import Box, BoxedImage, files_below, gather, is_image, number, short
from souron.data.readers.settings import Reading
from souron.kinds import files
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
MOST_BYTES = 5_000_000  # of one file
MOST_SIDE = 10_000_000  # pixels
EDGES = ("xmin", "ymin", "xmax", "ymax")


def describes(path: Path) -> bool:
    """Return whether the first XML file in a folder or its sub-folders is a VOC annotation."""
    if not path.is_dir():
        return False
    for pattern in ("*.xml", "*/*.xml"):
        first = next(path.glob(pattern), None)
        if first is not None:
            try:
                return b"<annotation" in files.content(first, MOST_BYTES)[:4096]
            except UserError:
                return False
    return False


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images with their boxes, the classes sorted by name. Raises UserError if no image
    has a box."""
    listed, told, classes = written(path)
    return gather(path, path, listed, told, classes, reading)


def written(path: Path) -> tuple[list[BoxedImage], list[Skipped], list[str]]:
    """Read the files of a data set: its images with their boxes in pixels, faults, and the names of classes."""
    told: list[Skipped] = []
    below = files_below(path, told)
    trees = {}
    for file in sorted((name for name in below if name.lower().endswith(".xml")), key=natural):
        try:
            trees[file] = _parsed(below[file])
        except UserError as error:
            why = error.found.removeprefix(f"{readable(below[file])}: ")
            told.append(Skipped(file, error.code, why))
    objects = {file: tree.findall("object") for file, tree in trees.items()}
    every = [thing for things in objects.values() for thing in things]
    classes = sorted({_text(thing, "name") for thing in every} - {""}, key=natural)
    first = 1.0
    if any(number(_text(thing, f"bndbox/{edge}")) == 0 for thing in every for edge in EDGES[:2]):
        first = 0.0
        why = _("an edge is at pixel 0: pixels are taken to be counted from 0, not from 1")
        told.append(Skipped(readable(path.name), "counting", why))
    images: dict[str, str] = {}  # stem -> file
    for file in filter(is_image, below):
        images.setdefault(PurePosixPath(file).stem, file)
    parts, listed, used = _parts(below, told), [], set()
    for file, tree in trees.items():
        stem = PurePosixPath(file).stem
        named = PurePosixPath(_text(tree, "filename").replace("\\", "/")).stem
        found = images.get(stem) or images.get(named)
        if found is None:
            told.append(Skipped(file, "missing", _("no image has this name")))
            continue
        if found in used:
            told.append(Skipped(file, "duplicate", _("the image has another file of boxes")))
            continue
        used.add(found)
        boxes = _boxes(objects[file], file, classes, first, told)
        sizes = [number(_text(tree, f"size/{name}")) for name in ("width", "height")]
        known = all(0 < value <= MOST_SIDE for value in sizes)
        size = (int(sizes[0]), int(sizes[1])) if known else None
        part = parts.get(stem, "") or PARTS.get(PurePosixPath(file).parts[0].lower(), "")
        listed.append(BoxedImage(below[found], found, boxes, part, size))
    for file in sorted(set(images.values()) - used, key=natural):
        told.append(Skipped(file, "no label file", _("no file of boxes has this name")))
    return listed, told, classes


def _parsed(path: Path) -> ElementTree.Element:
    """Parse a file, rejecting XML entities, which could expand without bound. Raises UserError."""
    raw = files.content(path, MOST_BYTES)
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise _trouble(path, "unreadable", _("more than a list of boxes"))
    try:
        tree = ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        why = _("not XML: {why}").format(why=short(error))
        raise _trouble(path, "unreadable", why) from error
    if tree.tag != "annotation":
        raise _trouble(path, "unreadable", _("more than a list of boxes"))
    return tree


def _boxes(
    objects: Sequence[ElementTree.Element], file: str, classes: Sequence[str], first: float, told: list[Skipped]
) -> list[Box]:
    found = []
    for count, thing in enumerate(objects, 1):
        name = _text(thing, "name")
        if not name:
            where = _("{file}, box {n}").format(file=file, n=count)
            told.append(Skipped(where, "class", _("a box without a name")))
            continue
        left, top, right, bottom = (number(_text(thing, f"bndbox/{edge}")) for edge in EDGES)
        edges = (left - first, top - first, right, bottom)
        difficult = _text(thing, "difficult") == "1"
        found.append(Box(classes.index(name), edges, difficult))
    return found


def _parts(below: dict[str, Path], told: list[Skipped]) -> dict[str, str]:
    """Map the stem of each image listed in ``ImageSets/Main`` to its part."""
    found: dict[str, str] = {}
    for file, path in below.items():
        place = PurePosixPath(file)
        part = PARTS.get(place.stem.lower())
        if part is None or place.suffix != ".txt" or "ImageSets" not in place.parts:
            continue
        try:
            lines = files.words(path).splitlines()
        except UserError as error:
            told.append(Skipped(file, error.code, error.found))
            continue
        for line in lines:
            stem = (line.split() or [""])[0]
            if stem and found.setdefault(stem, part) != part:
                why = _("named for {one} and for {other}").format(one=found[stem], other=part)
                told.append(Skipped(readable(stem), "leak", why))
    return found


def _text(tree: ElementTree.Element, path: str) -> str:
    return readable(short(tree.findtext(path) or ""))


def _trouble(path: Path, code: str, why: str) -> UserError:
    return UserError(code, f"{readable(path)}: {why}", expected=_("a VOC file"), exit=3)
