"""Poses: figures in an image, each with a box and named points."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.boxes import Boxes, counted, save_located
from souron.kinds.finding import Finding
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture, html
from souron.utils.messages import N_, _

MARKED = 2  # flag of a visible point in COCO's files


@dataclass(frozen=True, eq=False)
class Poses(Finding):
    """A box around each figure, and the positions of its points."""

    widget = "poses"
    noun = N_("poses")
    suffix = ".png"

    picture: Picture
    box: Any  # (N, 4): left, top, right, bottom in the image's pixels
    labels: Sequence[str]  # label of each figure
    point: Any  # (N, K, 2): x from the left and y from the top, in the image's pixels
    names: Sequence[str]  # names of the K points
    scores: Sequence[float] = ()  # score of each figure in 0..1; () where there are none
    sure: Any = ()  # (N, K) in 0..1: score of each point; () where not known
    skeleton: Sequence[tuple[int, int]] = ()  # numbers of points that a line joins
    classes: Sequence[str] = ()  # all possible labels, in the order of their numbers
    boxes: Boxes = field(init=False)

    def __post_init__(self) -> None:
        boxes = Boxes(self.picture, self.box, self.labels, self.scores, self.classes)
        count, points = len(boxes.box), len(self.names)
        flat = files.rows_of(np.asarray(self.point, np.float32).reshape(-1, 2), 2)
        sure = np.asarray(self.sure, np.float32).reshape(-1)
        if len(flat) != count * points or len(sure) not in (0, len(flat)):
            raise files.wrong(
                _("{count} points for {figures} figures").format(count=len(flat), figures=count),
                _("{count} for each").format(count=points),
            )
        if not all(0 <= end < points for line in self.skeleton for end in line):
            raise files.wrong(_("lines between points that are not there"), f"0..{points - 1}")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "box", boxes.box)
        object.__setattr__(self, "point", flat.reshape(count, points, 2))
        object.__setattr__(self, "sure", sure.reshape(count, points) if len(sure) else ())

    @property
    def found(self) -> overlay.Found:
        return self.boxes.found

    def drawn(self, least: float = 0.0, shown: Collection[str] | None = None) -> Image.Image:
        """Return the image with the figures of score ``least`` or more and labels ``shown``."""
        canvas = overlay.Canvas(self.picture)
        for i in self.found.chosen(least, shown):
            name = self.found.names[i]
            canvas.bones(self.point[i].tolist(), self.skeleton)
            canvas.box(self.box[i].tolist(), self.found.words(i), self.found.colour(name))
        return canvas.image

    @property
    def columns(self) -> list[str]:
        return [_("figure"), _("point"), "x", "y", _("score")]

    def rows(self, least: float = 0.0, shown: Collection[str] | None = None) -> list[list[Any]]:
        """Return a row of ``columns`` for each point of those figures."""
        return [
            [
                f"{i + 1} {self.found.words(i, self.called)}",
                name,
                *(round(at, 1) for at in place),
                "" if sure is None else f"{sure:.0%}",
            ]
            for i in self.found.chosen(least, shown)
            for name, place, sure in self._points(i)
        ]

    def _points(self, figure: int) -> list[tuple[str, list[float], float | None]]:
        """Return name, position and score of each point of a figure."""
        sure = self.sure[figure].tolist() if len(self.sure) else [None] * len(self.names)
        return list(zip(self.names, self.point[figure].tolist(), sure, strict=True))

    def save(self, path: Path) -> None:
        """Save the image with the figures drawn, or their numbers; see ``save_located``. Raises UserError."""
        save_located(self, path)

    def as_coco(self, image: int = 1) -> list[dict[str, Any]]:
        """Return COCO's results of the image with that number, with x, y and 2 of each point."""
        return [
            {
                **told,
                "keypoints": [
                    value for _name, (x, y), _sure in self._points(i) for value in (round(x, 2), round(y, 2), MARKED)
                ],
            }
            for i, told in enumerate(self.boxes.as_coco(image))
        ]

    def as_yolo(self) -> list[str]:
        """Return a line for each figure, all relative to the image's size.

        A line holds label number, centre, width and height, x, y and score of each point, then the
        figure's score.
        """
        wide, high = self.picture.size
        made = []
        for i, line in enumerate(self.boxes.as_yolo()):
            box, _gap, score = line.rpartition(" ")
            points = [
                f"{x / wide:.6f} {y / high:.6f} {1.0 if sure is None else sure:.4f}"
                for _name, (x, y), sure in self._points(i)
            ]
            made.append(" ".join([box, *points, score]))
        return made

    def as_table(self) -> list[list[Any]]:
        """Return the header, and a row for each point."""
        return [["figure", "label", "score", "point", "x", "y", "point score"]] + [
            [
                i,
                label,
                round(self.found.scores[i], 4) if self.found.scores else "",
                name,
                round(x, 2),
                round(y, 2),
                "" if sure is None else round(sure, 4),
            ]
            for i, label in enumerate(self.found.names)
            for name, (x, y), sure in self._points(i)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return boxes as ``Boxes`` does, and points as ``Points`` does.

        Each point has the index of its figure in ``boxes``.
        """
        return {
            **self.boxes.as_json(),
            "points": [
                {
                    "figure": i,
                    "name": name,
                    "score": None if sure is None else round(sure, 4),
                    "x": round(x, 2),
                    "y": round(y, 2),
                }
                for i in range(len(self.box))
                for name, (x, y), sure in self._points(i)
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
