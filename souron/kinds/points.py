"""Points: named positions in an image, such as joints or landmarks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from souron.kinds import files
from souron.kinds.boxes import save_marked
from souron.kinds.finding import Finding
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture, html
from souron.utils.messages import N_, _


@dataclass(frozen=True, eq=False)
class Points(Finding):
    """A position for each name, and lines between some of them."""

    widget = "points"
    noun = N_("points")
    suffix = ".png"

    picture: Picture
    point: Any  # (N, 2): x from the left and y from the top, in the image's pixels
    names: Sequence[str]  # name of each point
    scores: Sequence[float] = ()  # score of each point in 0..1; () where there are none
    skeleton: Sequence[tuple[int, int]] = ()  # numbers of points that a line joins
    spacing: float = 0.0  # millimetres per pixel; 0 where it is not known
    found: overlay.Found = field(init=False)

    def __post_init__(self) -> None:
        point = files.rows_of(self.point, 2)
        object.__setattr__(self, "point", point)
        object.__setattr__(self, "found", overlay.found(self.names, self.scores, len(point)))
        if not all(0 <= end < len(point) for line in self.skeleton for end in line):
            raise files.wrong(_("lines between points that are not there"), f"0..{len(point) - 1}")

    def drawn(self, least: float = 0.0, shown: Collection[str] | None = None) -> Image.Image:
        """Return the image with the points of at least the score ``least`` and names ``shown``."""
        canvas = overlay.Canvas(self.picture)
        chosen = self.found.chosen(least, shown)
        for start, end in self.skeleton:
            if start in chosen and end in chosen:
                canvas.line_to(self.point[start], self.point[end], overlay.colour(0))
        for i in chosen:
            name = self.found.names[i]
            canvas.dot(self.point[i].tolist(), self.found.words(i), self.found.colour(name))
        return canvas.image

    @property
    def columns(self) -> list[str]:
        return [_("label"), "x", "y", *(["x mm", "y mm"] if self.spacing else [])]

    def rows(self, least: float = 0.0, shown: Collection[str] | None = None) -> list[list[Any]]:
        """Return a row of ``columns`` for each of those points."""
        return [
            [self.found.words(i, self.called), *(round(edge, 1) for edge in self._places(i))]
            for i in self.found.chosen(least, shown)
        ]

    def _places(self, number: int) -> list[float]:
        """Return x and y in pixels, and in millimetres where they are known."""
        pixels: list[float] = self.point[number].tolist()
        return [*pixels, *(self.spacing * at for at in pixels)] if self.spacing else pixels

    def save(self, path: Path) -> None:
        """Save the image with the points drawn, or their numbers as ``.json``."""
        save_marked(self, path)

    def as_json(self) -> dict[str, Any]:
        return {
            **self.picture.as_json(),
            "points": [
                {
                    "name": name,
                    "score": self.found.scores[i] if self.found.scores else None,
                    "x": round(float(self.point[i][0]), 2),
                    "y": round(float(self.point[i][1]), 2),
                    **({"mm": [round(at, 2) for at in mm]} if (mm := self._places(i)[2:]) else {}),
                }
                for i, name in enumerate(self.found.names)
            ],
            **super().as_json(),
        }

    def __str__(self) -> str:
        rows = (f"{name} {x:g} {y:g}" for name, x, y, *_mm in self.rows())
        return ", ".join(rows) or _("nothing found")

    def _repr_html_(self) -> str:
        return html(self.drawn(), str(self)) + files.html_table(self.columns, self.rows(), "")
