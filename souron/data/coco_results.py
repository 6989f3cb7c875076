"""COCO's JSON of true boxes, and the result files of several detectors.

    instances.json                                 {"images": [...], "annotations": [...], "categories": [...]}
    yolo.json, detr.json                           [{"image_id", "category_id", "bbox", "score"}, ...]

https://cocodataset.org/#format-results. Boxes are left, top, width and height in pixels. An image
without results is one in which a detector found nothing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from souron.data.predictions import Predictions
from souron.kinds import files
from souron.kinds.codecs.limits import readable, trouble
from souron.metrics import detection
from souron.metrics.detection import Array
from souron.utils.messages import UserError, _

MOST_BYTES = 100_000_000
FIGURES = ("AP", "AP50", "AP75")


def read(truth: Path, results: Sequence[Path]) -> Predictions:
    """Match each detector's boxes with the true ones. Raises UserError.

    The methods, named as their files, hold pseudo-values (1, images, 3) of ``FIGURES``, whose means
    are COCO's average precisions (``metrics.detection.scores``).
    """
    about = files.parsed(truth, MOST_BYTES)
    lists = ("images", "annotations", "categories")
    if not isinstance(about, dict) or not all(isinstance(about.get(name), list) for name in lists):
        raise trouble(truth, "unreadable", _("it is no COCO file of true boxes"), ", ".join(lists))
    images = _numbered(truth, about["images"])
    categories = _numbered(truth, about["categories"])
    boxes = _boxes(truth, about["annotations"], images, categories, "")
    methods: dict[str, Any] = {}
    for path in results:
        entries = files.parsed(path, MOST_BYTES)
        if not isinstance(entries, list):
            raise trouble(path, "unreadable", _("it is no COCO file of results"), "image_id, category_id, bbox, score")
        found = _boxes(path, entries, images, categories, "score")
        scores = detection.scores(detection.match(boxes, found, len(categories), sizes=False))
        if not scores:
            raise trouble(truth, "no boxes", _("there is no box to be found"))
        methods[readable(path.stem)] = np.stack([scores[name] for name in FIGURES], 1)[None]
    if len(methods) < len(results):
        raise UserError("methods", _("two files have the same name"), fix=_("rename one"))
    taken = {readable(truth.name): "truth"} | {readable(path.name): "boxes" for path in results}
    return Predictions(tuple(images), "boxes", methods, taken=taken)


def _numbered(path: Path, entries: Sequence[Any]) -> dict[str, int]:
    """Return the places of images or categories by their ids. Raises UserError."""
    ids = [str(one.get("id")) if isinstance(one, dict) else "" for one in entries]
    twice = [one for one, count in Counter(ids).items() if count > 1 or one in ("", "None")]
    if twice or not ids:
        raise trouble(
            path, "duplicates", _("an id is missing or there twice: {names}").format(names=", ".join(twice[:5]))
        )
    return {one: place for place, one in enumerate(ids)}


def _boxes(
    path: Path, entries: Sequence[Any], images: Mapping[str, int], categories: Mapping[str, int], score: str
) -> list[Array]:
    """Return label, left, top, right, bottom and, where named, the score of each image's boxes, (n, 5 or 6)."""
    rows: list[list[list[float]]] = [[] for _image in images]
    for number, entry in enumerate(entries, 1):
        try:
            image, label = images[str(entry["image_id"])], categories[str(entry["category_id"])]
            left, top, width, height = map(float, entry["bbox"])
            more = [float(entry[score])] if score else []
        except (KeyError, TypeError, ValueError) as error:
            raise trouble(
                path,
                "broken row",
                _("entry {number} has no known image, category, box and score").format(number=number),
                "image_id, category_id, bbox, score",
            ) from error
        if not all(map(math.isfinite, (left, top, width, height, *more))):
            raise trouble(path, "numbers", _("entry {number} holds numbers that are not finite").format(number=number))
        crowd = not score and bool(entry.get("iscrowd"))
        rows[image].append([-1 - label if crowd else label, left, top, left + width, top + height, *more])
    return [np.array(one, np.float64).reshape(-1, 6 if score else 5) for one in rows]
