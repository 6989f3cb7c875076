"""``data.yaml`` with a text file of boxes beside each image, as written by YOLO tools.

    data.yaml                  path, train, val, test, names: see ``yolo``
    images/train/1.jpg         labels/train/1.txt        or train/images/1.jpg, train/labels/1.txt
    1.txt                      one line per box: class, centre x, centre y, width, height; the class
                               from 0, the others as fractions of the image's width and height

A line with six numbers or more after its class is an outline (x, y, x, y, ...), which is replaced
by its bounding box. The format: https://docs.ultralytics.com/datasets/detect/
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from souron.data.dataset import Dataset, Skipped
from souron.data.formats.yolo import NAME, classes_of, folders_of, part_of, read_yaml, trouble
from souron.data.readers.box_annotations import Box, BoxedImage, files_below, gather, is_image, many, number, short
from souron.data.readers.settings import Reading
from souron.kinds import files
from souron.kinds.codecs.limits import readable
from souron.utils.messages import UserError, _

DEFAULT = Reading()


def describes(path: Path) -> bool:
    """Return whether a path is a ``data.yaml``, or a folder with one, with a folder of labels
    beside the images."""
    file = path / NAME if path.is_dir() else path
    if file.suffix.lower() not in (".yaml", ".yml") or not file.is_file():
        return False
    try:
        folders = folders_of(read_yaml(file), file)
    except UserError:
        return False
    return any(
        (file.parent / place / "labels").is_dir() or (file.parent / _labels(place)).is_dir()
        for place in folders
        if "images" in place.parts or (file.parent / place / "images").is_dir()
    )


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of the parts named in the file, or in that of a folder, with their boxes.

    Raises UserError if the file cannot be read, if classes are counted from 1, and if no image has
    a box.
    """
    path = path / NAME if path.is_dir() else path
    about = read_yaml(path)
    posed = "kpt_shape" in about  # keypoints follow each box, see ``yolo_pose``
    listed, skipped, classes = written(path, about, lambda numbers: box(numbers[:5] if posed else numbers))
    cases = gather(path, path.parent, listed, skipped, classes, reading, True)
    return replace(cases, name=readable(path.absolute().parent.name))


def written(
    path: Path, about: dict[Any, Any], of: Callable[[Sequence[float]], Box | str]
) -> tuple[list[BoxedImage], list[Skipped], tuple[str, ...]]:
    """Read the files of a data set whose ``data.yaml`` is ``about``: its images with their boxes,
    faults, and the names of classes. ``of`` converts the numbers of a line to a box, or returns the
    fault. Raises UserError as ``load`` does."""
    folders, names = folders_of(about, path), classes_of(about, path)
    skipped: list[Skipped] = []
    below = files_below(path.parent, skipped)
    skipped = [some for some in skipped if part_of(PurePosixPath(some.file), folders)[0]]
    listed, without, used = [], [], set()
    for file, place in below.items():
        part = part_of(PurePosixPath(file), folders)[0]
        if not part or "labels" in PurePosixPath(file).parts:
            continue
        if not is_image(file):
            skipped.append(Skipped(file, "not an image", _("not an image")))
            continue
        label = _labels(PurePosixPath(file)).with_suffix(".txt").as_posix()
        boxes: list[Box] = []
        if label in below:
            used.add(label)
            boxes = list(_boxes(below[label], label, skipped, of))
        else:
            without.append(file)
        listed.append(BoxedImage(place, file, boxes, part))
    roots = {_labels(place / "x").parent for place in folders} | {
        _labels(place / "images" / "x").parent for place in folders
    }
    for label in sorted(below.keys() - used):
        lies = PurePosixPath(label)
        of_boxes = lies.suffix == ".txt" and "labels" in lies.parts and lies.name != "classes.txt"
        if of_boxes and any(root in lies.parents for root in roots):
            skipped.append(Skipped(label, "missing", _("no image has this name")))
    skipped += many(without, "no label file", _("{count} images without a file of boxes, which stay"))
    order = list(names)
    _check_counting(path, listed, order)
    numbered = [
        item._replace(
            boxes=[
                one._replace(label=order.index(str(one.label)) if str(one.label) in order else -1) for one in item.boxes
            ]
        )
        for item in listed
    ]
    return numbered, skipped, tuple(names.values())


def _labels(file: PurePosixPath) -> PurePosixPath:
    """Return the path of an image's label file: the last ``images`` in its path becomes
    ``labels``."""
    parts = list(file.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return PurePosixPath(*parts)


def _boxes(path: Path, file: str, skipped: list[Skipped], of: Callable[[Sequence[float]], Box | str]) -> Iterator[Box]:
    """Yield the boxes in a file; invalid lines are reported."""
    try:
        lines = files.words(path).splitlines()
    except UserError as error:
        if error.code != "empty file":  # an empty file means no objects
            why = error.found.removeprefix(f"{readable(path)}: ")
            skipped.append(Skipped(file, error.code, why))
        return
    named = _("{file}, line {n}")  # looked up once: a file may have 200,000 lines
    for count, line in enumerate(lines, 1):
        if not line.split():
            continue
        where = named.format(file=file, n=count)
        box = of([number(word) for word in line.split()])
        if isinstance(box, Box):
            yield box._replace(name=where)
        else:
            skipped.append(Skipped(where, "unreadable", box.format(line=short(line))))


def box(numbers: Sequence[float]) -> Box | str:
    """Convert the numbers of a line to a box, or return the fault."""
    name, *values = numbers
    outline = len(values) >= 6 and len(values) % 2 == 0
    if name != name // 1 or (len(values) != 4 and not outline):
        return _("not a class and four shares: {line}")
    if outline:
        across, down = values[::2], values[1::2]
        return Box(int(name), (min(across), min(down), max(across), max(down)))
    return Box(int(name), edges(values))


def edges(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Convert centre, width and height to left, top, right, bottom."""
    x, y, wide, high = values
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def _check_counting(path: Path, listed: list[BoxedImage], order: list[str]) -> None:
    """Raise UserError if classes are counted from 1, since each box would get the next class's
    name."""
    used = {box.label for item in listed for box in item.boxes}
    if used and min(used) == 1 and max(used) == len(order) and order[:1] == ["0"]:
        why = _("classes go from 1 to {last}, the names from 0").format(last=len(order))
        raise trouble(path, "off by one", why, _("classes from 0 to {last}").format(last=len(order) - 1))
