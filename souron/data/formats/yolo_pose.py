"""``data.yaml`` with a text file of poses beside each image, as written by YOLO tools.

    data.yaml                  path, train, val, test, names: see ``yolo``
      kpt_shape: [17, 3]       keypoints of a figure, and values of each: x, y, visibility; or x, y
      flip_idx: [0, 2, 1, ...] the keypoint that each becomes when mirrored
      kpt_names: {0: [...]}    their names, optional
    images/train/1.jpg         labels/train/1.txt        or train/images/1.jpg, train/labels/1.txt
    1.txt                      one line per figure: class, centre x, centre y, width, height, then
                               x, y and visibility (0 not labelled, 1 hidden, 2 visible) of each
                               keypoint, as fractions of the image's width and height

Without visibility, a keypoint is labelled unless it is at 0, 0. Seventeen keypoints without names
are COCO's. The format: https://docs.ultralytics.com/datasets/pose/
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from souron.data.dataset import Dataset
from souron.data.formats import yolo_boxes
from souron.data.formats.yolo import LONGEST, NAME, read_yaml, trouble
from souron.data.readers.box_annotations import Box, gather
from souron.data.readers.settings import Reading
from souron.data.targets.poses import COCO_LINES, SEEN, Skeleton, sides_swapped
from souron.kinds.codecs.limits import readable
from souron.metrics.poses import COCO
from souron.utils.messages import UserError, _

refines = "yolo_boxes"  # reads the same files, with more of their content
DEFAULT = Reading()
MOST_POINTS = 1000


def describes(path: Path) -> bool:
    """Return whether a path is a ``data.yaml`` of boxes with a ``kpt_shape``."""
    file = path / NAME if path.is_dir() else path
    try:
        return yolo_boxes.describes(path) and "kpt_shape" in read_yaml(file)
    except UserError:
        return False


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of the parts named in the file, or in that of a folder, with their figures.

    Raises UserError if the file cannot be read or is inconsistent, and if no image has a figure.
    """
    path = path / NAME if path.is_dir() else path
    about = read_yaml(path)
    count, width = _shape(about, path)
    names = _names(about, path, count)
    lines = COCO_LINES if names == COCO else ()
    skeleton = Skeleton(names, lines, _swap(about, path, names))

    def figure(numbers: Any) -> Box | str:
        name, *values = numbers
        if name != name // 1 or len(values) != 4 + count * width:
            return _("not a class, four shares and {count} numbers of points: {{line}}").format(count=count * width)
        points = [values[at : at + width] for at in range(4, len(values), width)]
        if width == 2:
            points = [[x, y, SEEN if x or y else 0] for x, y in points]
        return Box(int(name), yolo_boxes.edges(values[:4]), points=[at for each in points for at in each])

    listed, skipped, classes = yolo_boxes.written(path, about, figure)
    cases = gather(path, path.parent, listed, skipped, classes, reading, True, skeleton)
    return replace(cases, name=readable(path.absolute().parent.name))


def _shape(about: dict[Any, Any], path: Path) -> tuple[int, int]:
    told = about.get("kpt_shape")
    if (
        not isinstance(told, list)
        or len(told) != 2
        or not all(type(each) is int for each in told)
        or not 1 <= told[0] <= MOST_POINTS
        or told[1] not in (2, 3)
    ):
        why = _("kpt_shape is {what}").format(what=str(told)[:LONGEST])
        raise trouble(path, "points", why, "kpt_shape: [17, 3]")
    return told[0], told[1]


def _names(about: dict[Any, Any], path: Path, count: int) -> tuple[str, ...]:
    told = about.get("kpt_names")
    if isinstance(told, dict):  # for each class: all have the same keypoints
        told = next(iter(told.values()), None)
    if told is None:
        return COCO if count == len(COCO) else tuple(map(str, range(count)))
    if not isinstance(told, list) or len({str(name) for name in told}) != count:
        why = _("kpt_names are not {count} different names").format(count=count)
        raise trouble(path, "points", why)
    return tuple(readable(str(name))[:LONGEST] for name in told)


def _swap(about: dict[Any, Any], path: Path, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return ``flip_idx``, or the permutation inferred from the names."""
    told = about.get("flip_idx")
    if told is None:
        return sides_swapped(names)
    whole = isinstance(told, list) and all(type(each) is int for each in told)
    if not whole or sorted(told) != list(range(len(names))):
        why = _("flip_idx is not each of the numbers 0 to {last} once").format(last=len(names) - 1)
        raise trouble(path, "points", why)
    return tuple(told)
