"""Boxes: objects that a detector found in an image."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from souron.kinds import files
from souron.kinds.finding import Finding
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture, html
from souron.utils.messages import N_, _

EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, eq=False)
class Boxes(Finding):
    """A box around each detected object, with its label and score."""

    widget = "boxes"
    noun = N_("boxes")
    suffix = ".png"

    picture: Picture
    box: Any  # (N, 4): left, top, right, bottom in the image's pixels
    labels: Sequence[str]  # label of each box
    scores: Sequence[float] = ()  # score of each box in 0..1; () where there are none
    classes: Sequence[str] = ()  # all possible labels, in the order of their numbers
    found: overlay.Found = field(init=False)

    def __post_init__(self) -> None:
        box = files.rows_of(self.box, 4)
        if (box[:, :2] > box[:, 2:]).any():
            raise files.wrong(_("boxes whose edges make no sense"), _("left, top, right, bottom in pixels"))
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "found", overlay.found(self.labels, self.scores, len(box)))

    def drawn(self, least: float = 0.0, shown: Collection[str] | None = None) -> Image.Image:
        """Return the image with the boxes of at least the score ``least`` and labels ``shown``."""
        canvas = overlay.Canvas(self.picture)
        for i in self.found.chosen(least, shown):
            name = self.found.names[i]
            canvas.box(self.box[i].tolist(), self.found.words(i), self.found.colour(name))
        return canvas.image

    def rows(self, least: float = 0.0, shown: Collection[str] | None = None) -> list[list[Any]]:
        """Return a row of ``columns`` for each of those boxes."""
        return [
            [self.found.words(i, self.called), *(round(edge, 1) for edge in self.box[i].tolist())]
            for i in self.found.chosen(least, shown)
        ]

    @property
    def columns(self) -> list[str]:
        return [_("label"), _("left"), _("top"), _("right"), _("bottom")]

    def save(self, path: Path) -> None:
        """Save the image with the boxes drawn, or their numbers; see ``save_located``. Raises UserError."""
        save_located(self, path)

    def as_coco(self, image: int = 1) -> list[dict[str, Any]]:
        """Return COCO's results of the image with that number.

        Categories count from 1; boxes are left, top, width, height.
        """
        return [
            {
                "image_id": image,
                "category_id": number + 1,
                "score": round(score, 4),
                "bbox": [round(e, 2) for e in (left, top, right - left, bottom - top)],
            }
            for number, score, left, top, right, bottom in self._numbered()
        ]

    def as_yolo(self) -> list[str]:
        """Return a line for each box: label number, relative centre and size, score."""
        wide, high = self.picture.size
        return [
            f"{number} {(left + right) / 2 / wide:.6f} {(top + bottom) / 2 / high:.6f} "
            f"{(right - left) / wide:.6f} {(bottom - top) / high:.6f} {score:.4f}"
            for number, score, left, top, right, bottom in self._numbered()
        ]

    def as_table(self) -> list[list[Any]]:
        """Return the header, and a row for each box."""
        return [["label", *EDGES, "score"]] + [
            [
                name,
                *(round(edge, 2) for edge in self.box[i].tolist()),
                round(self.found.scores[i], 4) if self.found.scores else "",
            ]
            for i, name in enumerate(self.found.names)
        ]

    def _numbered(self) -> Iterator[tuple[int, float, float, float, float, float]]:
        """Yield label number, score and edges of each box. Raises UserError."""
        if set(self.found.names) - set(self.classes):
            raise files.wrong(
                _("labels without a number: {labels}").format(labels=counted(self.found.names)),
                _("boxes whose labels are among the classes of a model"),
            )
        for i, name in enumerate(self.found.names):
            left, top, right, bottom = self.box[i].tolist()
            score = self.found.scores[i] if self.found.scores else 1.0
            yield list(self.classes).index(name), score, left, top, right, bottom

    def as_json(self) -> dict[str, Any]:
        return {
            **self.picture.as_json(),
            "boxes": [
                {
                    "label": name,
                    "score": self.found.scores[i] if self.found.scores else None,
                    "xyxy": [round(edge, 2) for edge in self.box[i].tolist()],
                }
                for i, name in enumerate(self.found.names)
            ],
            **super().as_json(),
        }

    def __str__(self) -> str:
        return counted([*map(self.called, self.found.names)])

    @property
    def scored(self) -> str:
        """Return the text of the answer with the highest and the lowest score of each name."""
        return counted([*map(self.called, self.found.names)], self.found.scores)

    def _repr_html_(self) -> str:
        return html(self.drawn(), str(self)) + files.html_table(self.columns, self.rows(), "")


def counted(names: Sequence[str], scores: Sequence[float] = ()) -> str:
    """Count names, the most frequent first, with their highest and lowest score.

    >>> counted(["dog", "cat", "cat", "cat"])
    '3 cat, 1 dog'
    >>> counted(["dog", "cat", "cat"], [0.4, 0.93, 0.812])
    '2 cat (81-93%), 1 dog (40%)'
    """
    counts = Counter(names).most_common()
    return ", ".join(f"{count} {name}{_reach(name, names, scores)}" for name, count in counts) or _("nothing found")


def _reach(name: str, names: Sequence[str], scores: Sequence[float]) -> str:
    own = [round(100 * score) for other, score in zip(names, scores, strict=bool(scores)) if other == name]
    return f" ({'-'.join(map(str, sorted({min(own), max(own)})))}%)" if own else ""


def save_located(value: Any, path: Path) -> None:
    """Save boxes or figures: the image with them, or their numbers.

    Numbers are written as ``.csv``, ``.json``, COCO's results (``.coco.json``) or YOLO's lines
    (``.txt``). Raises UserError, also where label numbers are needed and not all labels are known.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> grey = Picture(Image.new("L", (16, 16)))
    >>> boxes = Boxes(grey, np.array([[1.0, 2.0, 9.0, 8.0]]), ["cat"], [0.9], ["cat"])
    >>> with TemporaryDirectory() as folder:
    ...     save_located(boxes, Path(folder, "boxes.csv"))
    ...     print(Path(folder, "boxes.csv").read_text("utf-8-sig"))
    label,left,top,right,bottom,score
    cat,1.0,2.0,9.0,8.0,0.9
    <BLANKLINE>
    """
    name = path.name.lower()
    if name.endswith(".coco.json"):
        files.write(path, json.dumps(value.as_coco(), indent=1).encode())
    elif name.endswith(".csv"):
        files.write(path, files.separated(value.as_table()))
    elif name.endswith(".txt"):
        files.write(path, "".join(f"{line}\n" for line in value.as_yolo()).encode())
    else:
        save_marked(value, path, (".csv", ".txt"))


def save_marked(value: Any, path: Path, others: Collection[str] = ()) -> None:
    """Save a finding: the image with marks drawn on it, or its numbers as ``.json``.

    ``others`` are further endings that its kind writes itself. Raises UserError for an unknown
    ending.

    >>> from souron.utils.messages import UserError
    >>> try:
    ...     save_marked(None, Path("photo.docx"))
    ... except UserError as error:
    ...     print(error.expected)
    .png, .jpg, .jpeg, .webp, .json
    """
    if files.ending(path, (".png", ".jpg", ".jpeg", ".webp", ".json", *others)) == ".json":
        told = json.dumps(value.as_json(), ensure_ascii=False, indent=1)
        files.write(path, told.encode())
    else:
        Picture(value.drawn()).save(path)
