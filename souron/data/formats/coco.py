"""COCO's JSON: images, categories and boxes in one file for each part.

    annotations/instances_train.json   train/1.jpg   or train/_annotations.coco.json beside them
    {"images": [{"id", "file_name", "width", "height"}], "categories": [{"id", "name"}],
     "annotations": [{"id", "image_id", "category_id", "bbox": [left, top, width, height],
                      "iscrowd"}]}

The file of a single part may be given; an image may also name its part, as ``"part": "val"``.
The format: https://cocodataset.org/#format-data
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.folder import PARTS
from souron.data.readers.box_annotations import Box, BoxedImage, files_below, gather, number, short
from souron.data.readers.settings import Reading
from souron.kinds import files
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()
BEGINNING = 4096  # bytes examined at the beginning
MOST_BYTES = 2_000_000_000


def describes(path: Path) -> bool:
    """Return whether a path is a JSON file that begins like COCO's, or a folder with such
    a file."""
    return any(map(_begins_like_one, _files(path)))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of all parts with their boxes. Raises UserError if a file is not such JSON,
    if two categories have the same number, and if no image has a box."""
    read = written(path, "bbox")
    return gather(path, read.root, read.listed, read.told, read.classes, reading)


def sources(path: Path) -> list[Path]:
    """List the files of boxes or outlines that ``load`` reads."""
    return [file for file in _files(path) if _begins_like_one(file)]


def parsed(path: Path) -> dict[str, Any]:
    """Parse a file. Raises UserError unless it holds lists of images, annotations and categories."""
    return _parsed(path)


def located(about: Mapping[str, Any], source: Path, root: Path, below: dict[str, Path]) -> dict[str, int]:
    """Map the name of each image that a file describes, relative to ``root``, to its position in the list of images.

    Images that ``load`` leaves out, such as the second with the same number, are left out. ``below``: name -> path of
    all files below the root.
    """
    part, named = _part(source, root), by_name(below)
    found: dict[str, int] = {}
    seen = set()
    for position, entry in enumerate(about["images"]):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            continue
        if (number_of := key(entry.get("id"))) in seen:
            continue
        seen.add(number_of)
        file = _place(entry["file_name"], source, root, below, named, part)
        if file is not None:
            found.setdefault(file, position)
    return found


def key(thing: Any) -> str:
    """Return the number of an image or a category such that 1, 1.0 and "1" are equal."""
    return str(_key(thing))


class Written(NamedTuple):
    """The content of a data set's files."""

    root: Path
    listed: list[BoxedImage]
    told: list[Skipped]
    classes: list[str]
    categories: list[dict[str, Any]]  # unchanged from the files


def written(path: Path, what: str) -> Written:
    """Read the images of all parts, with the entry ``what`` of their annotations as the ``edges``
    of boxes: for "bbox" left, top, right and bottom, for any other entry its value in the file.
    Raises UserError as ``load`` does."""
    told: list[Skipped] = []
    root = path if path.is_dir() else _root(path)
    below = files_below(root, told)
    told = [some for some in told if some.code != "unreadable"]
    classes: list[str] = []
    listed: list[BoxedImage] = []
    categories: list[dict[str, Any]] = []
    for source in sources(path):
        about = _parsed(source)
        categories += [entry for entry in about["categories"] if isinstance(entry, dict)]
        label = _categories(about, source, classes)
        listed += _images(about, source, root, below, label, told, what)
    return Written(root, listed, told, classes, categories)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    return sorted({*path.glob("*.json"), *path.glob("annotations/*.json"), *path.glob("*/*.json")})


def _begins_like_one(path: Path) -> bool:
    """Return whether it is a file of boxes or outlines."""
    return _kind(path) == "instances"


def _kind(path: Path) -> str:
    """Return "instances", "panoptic" if segments are stored in separate images, or "". Examines the
    beginning of the file, and all of a small one."""
    try:
        with path.open("rb") as stream:
            begins = stream.read(BEGINNING)
            rest = stream.read() if path.stat().st_size < 1_000_000 else b""
    except OSError:
        return ""
    words = (b'"images"', b'"annotations"', b'"categories"')
    if not begins.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return ""
    if not any(word in begins for word in words):
        return ""
    if rest and b'"annotations"' not in begins + rest:
        return ""
    segments = b'"segments_info"' in begins + rest or path.stem.lower().startswith("panoptic")
    return "panoptic" if segments else "instances"


def _root(path: Path) -> Path:
    """Return the root folder of a single file's images: the folder above ``annotations``."""
    return path.parent.parent if path.parent.name == "annotations" else path.parent


def _parsed(path: Path) -> dict[str, Any]:
    about = files.parsed(path, MOST_BYTES)
    for name in ("images", "annotations", "categories"):
        if not isinstance(about, dict) or not isinstance(about.get(name), list):
            raise _trouble(path, "unreadable", _("it has no list of {name}").format(name=name))
    return about


def _categories(about: dict[str, Any], path: Path, classes: list[str]) -> dict[Any, int]:
    """Map the number of each category to that of its class; new names are appended to
    ``classes``."""
    label: dict[Any, int] = {}
    place = {name: i for i, name in enumerate(classes)}
    named = [entry for entry in about["categories"] if isinstance(entry, dict)]
    for entry in sorted(named, key=lambda entry: (number(entry.get("id")), str(entry))):
        key = _key(entry.get("id"))
        if key in label:
            why = _("two categories have the number {number}").format(number=entry.get("id"))
            raise _trouble(path, "duplicate", why)
        label[key] = place.setdefault(readable(short(entry.get("name", ""))), len(place))
    classes[:] = place
    return label


def _images(
    about: dict[str, Any],
    source: Path,
    root: Path,
    below: dict[str, Path],
    label: dict[Any, int],
    told: list[Skipped],
    what: str,
) -> Iterator[BoxedImage]:
    where = readable(source.relative_to(root).as_posix() if source.is_relative_to(root) else source)
    part = _part(source, root)
    entries: dict[Any, dict[str, Any]] = {}
    for entry in about["images"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            told.append(Skipped(where, "unreadable", _("an image without a name")))
        elif _key(entry.get("id")) in entries:
            why = _("the number {number} is another image's").format(number=entry.get("id"))
            told.append(Skipped(readable(entry["file_name"]), "duplicate", why))
        else:
            entries[_key(entry.get("id"))] = entry
    boxes = _boxes(about["annotations"], where, label, entries.keys(), told, what)
    named = by_name(below)
    for key, entry in entries.items():
        file = _place(entry["file_name"], source, root, below, named, part)
        if file is None:
            told.append(Skipped(readable(entry["file_name"]), "missing", _("there is no such file")))
            continue
        sizes = [number(entry.get(name)) for name in ("width", "height")]
        known = all(0 < size < 1e9 for size in sizes)
        size = (int(sizes[0]), int(sizes[1])) if known else None
        own = PARTS.get(str(entry.get("part", "")).lower(), part)
        yield BoxedImage(below[file], file, boxes.get(key, []), own, size)


def _boxes(
    annotations: Sequence[Any], where: str, label: dict[Any, int], known: Any, told: list[Skipped], what: str
) -> dict[Any, list[Box]]:
    """Map the number of each image to its boxes."""
    found: dict[Any, list[Box]] = {}
    seen: dict[Any, Any] = {}
    named = _("{file}, annotation {n}")
    for count, entry in enumerate(annotations, 1):
        which = entry.get("id", count) if isinstance(entry, dict) else count
        name = named.format(file=where, n=short(which))
        edges = entry.get(what) if isinstance(entry, dict) else None
        if what == "bbox" and (not isinstance(edges, list) or len(edges) != 4):
            told.append(Skipped(name, "unreadable", _("no box: {what}").format(what=short(edges))))
            continue
        if not isinstance(edges, list | dict) or not edges:
            code = "no mask" if isinstance(entry, dict) and not edges else "unreadable"
            told.append(Skipped(name, code, _("no mask: {what}").format(what=short(edges))))
            continue
        image, category = _key(entry.get("image_id")), _key(entry.get("category_id"))
        if image not in known:
            told.append(
                Skipped(
                    name, "missing", _("no image has the number {number}").format(number=short(entry.get("image_id")))
                )
            )
            continue
        if category not in label:
            told.append(
                Skipped(
                    name,
                    "class",
                    _("no category has the number {number}").format(number=short(entry.get("category_id"))),
                )
            )
            continue
        same = (image, category, hash(str(edges)), hash(str(entry.get("keypoints"))))
        if "id" in entry and _key(entry["id"]) in seen:
            told.append(Skipped(name, "duplicate", _("the number is there twice")))
            if seen[_key(entry["id"])] == same:
                continue
        seen[_key(entry.get("id"))] = same
        if what == "bbox":
            left, top, wide, high = map(number, edges)
            edges = (left, top, left + wide, top + high)
        crowd = entry.get("iscrowd") in (1, True)
        points = entry.get("keypoints")
        found.setdefault(image, []).append(
            Box(
                label[category],
                edges,
                crowd,
                name,
                points if isinstance(points, list) else (),
                number(entry.get("area")),
            )
        )
    return found


def _key(thing: Any) -> str:
    """Normalise a key: 1, 1.0 and "1" are equal."""
    value = number(thing)
    return f"{value:g}" if value == value and abs(value) < 1e5 else str(thing)


def _part(source: Path, root: Path) -> str:
    """Infer the part from the name of the file or its folder: ``instances_val2017.json``,
    ``valid/...json``."""
    for name in (source.stem.lower(), source.parent.name.lower()):
        if source.parent == root and name == source.parent.name.lower():
            continue
        for word, part in PARTS.items():
            if word in name:
                return part
    return ""


def _place(
    name: str, source: Path, root: Path, below: dict[str, Path], named: Mapping[str, list[str]], part: str
) -> str | None:
    """Find an image, relative to the root: beside the JSON file, or in a folder whose name begins
    like the part's."""
    name = name.replace("\\", "/")
    beside = source.parent.relative_to(root).as_posix() if source.is_relative_to(root) else "."
    stem = Path(name).name
    wanted = [name, f"{beside}/{name}".removeprefix("./"), f"images/{name}", f"images/{stem}"]
    for file in wanted:
        if readable(file) in below:
            return readable(file)
    ends = named.get(readable(stem), [])
    of_part = [file for file in ends if part and PARTS.get(_word(file)) == part]
    chosen = of_part or ends
    return chosen[0] if len(chosen) == 1 else None


def by_name(files: Iterable[str]) -> Mapping[str, list[str]]:
    """Map the name of a file, without its folders, to the paths with that name."""
    found = defaultdict(list)
    for file in files:
        found[file.rpartition("/")[2]].append(file)
    return found


def _word(file: str) -> str:
    """Return the folder of a file without trailing digits: ``val2017`` -> ``val``."""
    return Path(file).parent.name.lower().rstrip("0123456789")


def _trouble(path: Path, code: str, why: str) -> UserError:
    return UserError(code, f"{readable(path)}: {why}", expected=_("COCO's JSON"), exit=3)
