"""Answers about many images as one COCO file, to be corrected by people and used for training."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from souron.kinds import files
from souron.kinds.codecs.limits import readable
from souron.utils.files import free
from souron.utils.messages import UserError, _


@dataclass
class Annotations:
    """Images with the boxes or masks found in them."""

    classes: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, answer: Any, file: Path) -> None:
        """Add an answer. Raises UserError unless it holds boxes or masks of objects."""
        if not hasattr(answer, "as_coco"):
            raise UserError(
                "option",
                _("COCO's files hold no {kind}").format(kind=type(answer).__name__.lower()),
                expected=_("boxes, or masks of objects"),
                fix="to=json",
            )
        image = len(self.images) + 1
        found = answer.as_coco(image)
        wide, high = answer.picture.size
        self.classes = list(answer.classes)
        self.images.append({"id": image, "file_name": readable(file.name), "width": wide, "height": high})
        for place, one in enumerate(found):
            wide, high = one["bbox"][2:]
            area = int(answer.inside(place).sum()) if "segmentation" in one else wide * high
            more = {"id": len(self.annotations) + 1, "iscrowd": 0, "area": area}
            self.annotations.append({**more, **one})

    def write(self, folder: Path) -> Path:
        """Write ``annotations.json``, or a similar unused name, and return its path.

        Raises UserError.
        """
        categories = [{"id": n, "name": name} for n, name in enumerate(self.classes, 1)]
        about = {"images": self.images, "categories": categories, "annotations": self.annotations}
        folder.mkdir(parents=True, exist_ok=True)
        path = free(folder, "annotations", ".json")
        files.write(path, json.dumps(about, ensure_ascii=False).encode())
        return path
