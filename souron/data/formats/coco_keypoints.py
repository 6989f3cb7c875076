"""COCO's JSON with keypoints: images, categories and figures in one file for each part.

    annotations/person_keypoints_train.json train/1.jpg or as ``coco`` takes them
    {"images": [...], "categories": [{"id", "name", "keypoints": ["nose", ...],
                                      "skeleton": [[16, 14], ...]}],
     "annotations": [{"id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints",
                      "keypoints": [x, y, visibility, ...]}]}

Visibility is 0 (not labelled), 1 (hidden) or 2 (visible); the skeleton counts keypoints from 1. All
categories with figures must have the same keypoints. ``sigmas`` beside ``keypoints``, an extension
of COCO's format, gives the tolerance of each keypoint. The format:
https://cocodataset.org/#format-data
"""

from pathlib import Path
from typing import Any

from souron.data.dataset import Dataset
from souron.data.formats import coco
from souron.data.readers.box_annotations import gather, number, short
from souron.data.readers.settings import Reading
from souron.data.targets.poses import Skeleton, sides_swapped
from souron.kinds.codecs.limits import readable
from souron.utils.messages import _

refines = "coco"  # reads the same files as ``coco``, with more of their content
DEFAULT = Reading()
MOST_POINTS, MOST_LINES = 1000, 10_000
LONGEST = 200  # characters of a name
BEGINNING = 1_000_000  # bytes examined at the beginning and the end of a file


def describes(path: Path) -> bool:
    """Return whether a path is COCO's JSON with keypoints."""
    return coco.describes(path) and any(map(_speaks_of_points, coco._files(path)))


def load(path: Path, reading: Reading = DEFAULT) -> Dataset:
    """Read the images of all parts with their figures. Raises UserError if a file is not such JSON,
    if categories have different keypoints, and if no image has a figure."""
    listing = coco.written(path, "bbox")
    told = [entry for entry in listing.categories if entry.get("keypoints")]
    bones = {_skeleton(entry, path) for entry in told}
    if len({each.names for each in bones}) != 1:
        why = _("its categories have different points") if bones else _("no category says how its points are called")
        raise coco._trouble(path, "points", why)
    skeleton = max(bones, key=lambda each: (len(each.lines), each.sigmas))
    return gather(path, listing.root, listing.listed, listing.told, listing.classes, reading, skeleton=skeleton)


def _skeleton(entry: dict[str, Any], path: Path) -> Skeleton:
    told = entry["keypoints"]
    if not isinstance(told, list) or len(told) > MOST_POINTS:
        raise coco._trouble(path, "points", _("no list of names: {what}").format(what=short(told)))
    names = tuple(readable(str(name))[:LONGEST] for name in told)
    if len(set(names)) < len(names):
        raise coco._trouble(path, "points", _("two points have one name"))
    lines = entry.get("skeleton")
    sigmas = entry.get("sigmas")
    numbers = [number(each) for each in sigmas] if isinstance(sigmas, list) else []
    return Skeleton(
        names,
        _lines(lines if isinstance(lines, list) else [], len(names), path),
        sides_swapped(names),
        tuple(numbers) if len(numbers) == len(names) and all(each > 0 for each in numbers) else (),
    )


def _lines(told: list[Any], count: int, path: Path) -> tuple[tuple[int, int], ...]:
    for line in told[:MOST_LINES]:
        whole = isinstance(line, list) and len(line) == 2 and all(type(end) is int for end in line)
        if not whole or not all(1 <= end <= count for end in line):
            why = _("a line of the skeleton joins {what}, of points 1 to {count}").format(what=short(line), count=count)
            raise coco._trouble(path, "points", why)
    return tuple((start - 1, end - 1) for start, end in told[:MOST_LINES])


def _speaks_of_points(path: Path) -> bool:
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            seen = stream.read(BEGINNING)
            stream.seek(max(0, size - BEGINNING))
            return b'"keypoints"' in seen + stream.read(BEGINNING)
    except OSError:
        return False
