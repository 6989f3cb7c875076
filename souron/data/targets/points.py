"""Landmarks: a tensor (N, K, 2), the positions of K points in pixels of each image, x and y; NaN
where a landmark is not marked."""

from collections.abc import Iterator

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from souron.data.dataset import Dataset
from souron.data.target import Target
from souron.kinds.picture import Picture
from souron.kinds.points import Points
from souron.utils.messages import N_, _

AROUND = 4  # the fraction 1 / AROUND of the side is shown around a landmark


class Landmarks(Target):
    """The positions (N, K, 2) of landmarks."""

    heading = N_("Landmarks")
    one_class = False
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        points = cases.target
        return isinstance(points, Tensor) and points.ndim == 3 and points.is_floating_point()

    def counts(self) -> list[int]:
        return self.cases.target.isfinite().all(2).sum(0).tolist()

    def of_class(self, label: int) -> Iterator[int]:
        yield from self.cases.target[:, label].isfinite().all(1).nonzero().flatten().tolist()

    def words(self, row: int) -> str:
        count = int(self.cases.target[row].isfinite().all(1).sum())
        return _("{count} landmarks").format(count=count)

    def examples(self, label: int, rows: list[int]) -> Tensor:
        """Return crops around the landmark."""
        cases = self.cases
        half = max(4, cases.side // AROUND // 2)
        wide = functional.pad(cases.input[rows].float(), (half,) * 4, mode="replicate")
        places = cases.target[rows, label].floor().long().clamp(0, cases.side - 1).tolist()
        around = [
            pixels[:, y : y + 2 * half + 1, x : x + 2 * half + 1] for pixels, (x, y) in zip(wide, places, strict=True)
        ]
        return torch.stack(around).round().byte()

    def drawn(self, row: int) -> tuple[Image, str]:
        """Return the image with each landmark marked by its number, and a legend."""
        point = self.cases.target[row]
        there = point.isfinite().all(1)
        numbers = there.nonzero().flatten().tolist()
        names = {str(k + 1): self.cases.classes[k] for k in numbers}
        shown = Points(Picture.of(self.cases.input[row]), point[there].numpy(), list(names))
        return shown.drawn(), ", ".join(f"{number} {name}" for number, name in names.items())
