"""A class for every pixel: label maps, a tensor (N, H, W) of integers; ``UNKNOWN`` counts as
nothing."""

import torch
from PIL.Image import Image
from torch import Tensor

from souron.data.dataset import Dataset
from souron.data.target import Target
from souron.kinds.graphics import overlay
from souron.kinds.mask import Mask
from souron.kinds.picture import Picture
from souron.metrics.segmentation import UNKNOWN
from souron.utils.messages import N_


class Areas(Target):
    """A class for every pixel, (N, H, W)."""

    counted = N_("pixels")
    unit = N_("{least} to {most} pixels each")
    one_class = False

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        areas = cases.target
        return isinstance(areas, Tensor) and areas.ndim == 3 and not areas.is_floating_point()

    def counts(self) -> list[int]:
        return pixels_of(self.cases.target, len(self.cases.classes))

    def rows(self, count: int) -> dict[int, list[int]]:
        each = pixels_of_each(self.cases.target, len(self.cases.classes))
        found = {label: each[:, label].nonzero().flatten()[:count].tolist() for label in range(len(self.cases.classes))}
        return {label: rows for label, rows in found.items() if rows}

    def words(self, row: int) -> str:
        there = pixels_of_each(self.cases.target[row][None], len(self.cases.classes))[0, 1:]
        names = [self.cases.classes[label + 1] for label in there.nonzero().flatten().tolist()]
        return ", ".join(names) or self.cases.classes[0]

    def image(self, row: int) -> Tensor:
        return tinted(self.cases.input[row], self.cases.target[row])

    def drawn(self, row: int) -> tuple[Image, str]:
        area = self.cases.target[row]
        known = area.where(area != UNKNOWN, torch.zeros_like(area))
        names = ["", *self.cases.classes[1:]]
        shown = Mask(Picture.of(self.cases.input[row]), known.numpy(), names)
        return shown.drawn(), self.words(row)


def tinted(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Tint the pixels of an image (C, H, W) by their classes (H, W); 0 means none."""
    place = (numbers.long() - 1).clamp(min=0) % len(overlay.COLOURS)
    colours = torch.tensor(overlay.COLOURS)[place]
    plain = pixels.float().round().clamp(0, 255).byte().expand(3, -1, -1)
    mixed = (plain.int() + colours.permute(2, 0, 1)) // 2
    return torch.where((numbers > 0) & (numbers != UNKNOWN), mixed.byte(), plain)


def pixels_of_each(target: Tensor, classes: int) -> Tensor:
    """Count the pixels of each class in each of the label maps (N, H, W); return (N, classes)."""
    counted = []
    for some in target.split(256):
        place = torch.arange(len(some))[:, None, None] * (UNKNOWN + 1) + some
        count = place.flatten().bincount(minlength=len(some) * (UNKNOWN + 1))
        counted.append(count.view(len(some), UNKNOWN + 1)[:, :classes])
    return torch.cat(counted)


def pixels_of(target: Tensor, classes: int) -> list[int]:
    """Count the pixels of each class in label maps (N, H, W)."""
    return pixels_of_each(target, classes).sum(0).tolist()
