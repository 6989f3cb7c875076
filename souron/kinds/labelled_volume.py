"""Labelled volumes: which voxels of a volume belong to what."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from souron.kinds import files, overlay
from souron.kinds.codecs import nifti
from souron.kinds.kind import Kind
from souron.kinds.picture import html
from souron.kinds.volume import SUFFIXES, Volume
from souron.utils.messages import _

MOST_CLASSES = 256  # it is saved as bytes


@dataclass(frozen=True, eq=False)
class LabelledVolume(Kind):
    """A class for every voxel of a volume. A class without a name is ground and is not told."""

    widget = "labelled_volume"
    suffix = ".nii.gz"
    kept = True

    volume: Volume
    area: Any  # (slices, rows, columns) whole numbers
    names: Sequence[str]  # of each class

    def __post_init__(self) -> None:
        area = np.asarray(self.area)
        if area.shape != self.volume.values.shape:
            raise files.wrong(
                _("classes in the shape {shape}").format(shape=area.shape),
                _("{shape}, as the volume").format(shape=self.volume.values.shape),
            )
        whole = area.dtype.kind in "iu" and len(self.names) <= MOST_CLASSES
        if not whole or area.min() < 0 or area.max() >= len(self.names):
            raise files.wrong(
                _("classes from {low:g} to {high:g}").format(low=area.min(), high=area.max()),
                _("0..{most}, one for each name, at most {count}").format(
                    most=len(self.names) - 1, count=MOST_CLASSES
                ),
            )
        object.__setattr__(self, "area", area.astype(np.uint8))

    @property
    def voxels(self) -> list[int]:
        """Of each class."""
        counted: list[int] = np.bincount(self.area.ravel(), minlength=len(self.names)).tolist()
        return counted

    def drawn(self, number: int) -> Image.Image:
        """One slice, from 0, with the areas of every named class."""
        canvas = overlay.Canvas(self.volume.picture(number))
        area = self.area[number]
        for label in np.unique(area).tolist():
            if self.names[label]:
                canvas.area(area == label, self.names[label], overlay.colour(label - 1))
        return canvas.image

    @property
    def fullest(self) -> int:
        """The slice with most of what was found."""
        named = np.array([bool(name) for name in self.names])
        return int(named[self.area].sum((1, 2)).argmax())

    @property
    def columns(self) -> list[str]:
        return [_("label"), _("voxels"), _("millilitres")]

    def rows(self) -> list[list[Any]]:
        """What ``columns`` names of each class that has a name."""
        return [
            [name, count, round(count * self.volume.voxel, 3)]
            for name, count in zip(self.names, self.voxels, strict=True)
            if name
        ]

    def save(self, path: Path) -> None:
        """The numbers of the classes as a NIfTI file, each voxel where the volume has it."""
        if not path.name.lower().endswith(SUFFIXES):
            files.ending(path, SUFFIXES)
        folded = path.suffix.lower() == ".gz"
        files.write(path, nifti.written(self.area, self.volume.affine, folded))

    def as_json(self) -> dict[str, Any]:
        return {
            "series": self.volume.series,
            "spacing": [round(step, 5) for step in self.volume.spacing],
            "labels": [
                {"name": name, "voxels": count, "millilitres": amount}
                for name, count, amount in self.rows()
            ],
        }

    def __str__(self) -> str:
        told = ", ".join(
            _("{name} {amount} ml").format(name=name, amount=f"{amount:.4g}")
            for name, count, amount in self.rows()
            if count
        )
        return told or _("nothing found")

    def _repr_html_(self) -> str:
        """The fullest slice."""
        words = escape(str(self))
        return html(self.drawn(self.fullest), str(self)) + f"<p>{words}</p>" + self.table()

    def table(self) -> str:
        """HTML."""
        return files.html_table(self.columns, self.rows(), "")
