"""A class for every voxel of a volume: a tensor (N, D, H, W) of integers."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional

from souron.data.dataset import Dataset, digests
from souron.data.quality.findings import MOST_NAMED, TINY, Finding, copies, of_rows, tiny_class, together
from souron.data.quality.orientation import mirrored
from souron.data.target import Target
from souron.data.targets.classes_of_pixels import Areas, pixels_of, tinted
from souron.kinds.codecs.grid import upright
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.volume import Volume, window_of
from souron.utils.messages import N_, _


class Voxels(Areas):
    """A class for every voxel, (N, D, H, W)."""

    counted = N_("voxels")
    unit = N_("{least} to {most} voxels each")
    every_class = True

    @classmethod
    def holds(cls, cases: Dataset) -> bool:
        return cases.volumes and isinstance(cases.target, Tensor) and cases.target.ndim == 4

    def counts(self) -> list[int]:
        return pixels_of(self.cases.target.flatten(2), len(self.cases.classes))

    def rows(self, count: int) -> dict[int, list[int]]:
        return Target.rows(self, count)

    def of_class(self, label: int) -> Iterator[int]:
        yield from (self.cases.target == label).flatten(1).any(1).nonzero().flatten().tolist()

    def words(self, row: int) -> str:
        labels = self.cases.target[row].unique().tolist()
        names = [self.cases.classes[label] for label in labels if label]
        return ", ".join(names) or self.cases.classes[0]

    def image(self, row: int) -> Tensor:
        """Return the slice with most labelled voxels."""
        return self._slice(row, self.cases.target[row] > 0)

    def examples(self, label: int, rows: list[int]) -> Tensor:
        """Return the slices with most voxels of a class."""
        return torch.stack([self._slice(row, self.cases.target[row] == label) for row in rows])

    def _slice(self, row: int, inside: Tensor) -> Tensor:
        """Return a slice with its labels in colour, padded to a square, (3, side, side)."""
        number = int(inside.sum((1, 2)).argmax())
        shown = tinted(self._grey(row, number)[None], self.cases.target[row, number])
        side = max(shown.shape[1:])
        down, right = (side - count for count in shown.shape[1:])
        return functional.pad(shown, (right // 2, right - right // 2, down // 2, down - down // 2))

    def _grey(self, row: int, number: int) -> Tensor:
        """Return a slice in grey, (H, W) uint8."""
        volume = self.cases.input[row, 0].numpy()
        centre, width = window_of(volume)
        grey = ((volume[number] - centre) / width + 0.5).clip(0, 1) * 255
        return torch.from_numpy(grey.round().astype(np.uint8))

    def pixels(self) -> Tensor:
        middle = self.cases.input.shape[2] // 2
        return torch.stack([self._grey(row, middle)[None] for row in range(len(self.cases))])

    def drawn(self, row: int) -> tuple[Image, str]:
        """Return the volume with its labels in three planes, and a description."""
        slices, rows, columns = self.cases.spacing[row]
        affine = upright((columns, rows, slices))
        volume = Volume(self.cases.input[row, 0].numpy(), affine)
        names = ["", *self.cases.classes[1:]]
        shown = LabelledVolume(volume, self.cases.target[row].numpy(), names)
        return shown.planes(), self.words(row)

    def findings(self) -> Iterator[Finding]:
        """Find duplicates, mirrored volumes, and labels that few volumes show."""
        cases = self.cases
        yield from copies(
            cases,
            together(list(digests(cases.input))),
            (
                _("{count} volumes occur more than once, identical to the voxel"),
                _("1 volume occurs more than once, identical to the voxel"),
            ),
            (
                _("{count} volumes are in more than one of train, val and test"),
                _("1 volume is in more than one of train, val and test"),
            ),
        )
        yield from of_rows(
            cases,
            "flipped orientation",
            "warning",
            [(row,) for row, _axis in mirrored(cases.target, len(cases.classes))],
            _("{count} volumes fit the others better when they are mirrored"),
            _("look at them: the file may say left where right is (a flipped affine)"),
            one=_("1 volume fits the others better when it is mirrored"),
        )
        yield from self._rare()

    def _rare(self) -> Iterator[Finding]:
        """Find labels that few volumes show."""
        classes, least = self.cases.classes, min(TINY, len(self.cases))
        there = torch.stack([self.cases.target == label for label in range(len(classes))])
        counts = there.flatten(2).any(2).sum(1).tolist()
        pairs = zip(classes[1:], counts[1:], strict=True)
        few = [name for name, count in pairs if count < least]
        if few:
            message = _("labels that fewer than {few} volumes show: {names}")
            yield tiny_class(
                message.format(few=least, names=", ".join(few[:MOST_NAMED])),
                _("more volumes with them, or leave them out"),
            )
