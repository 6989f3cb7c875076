"""Labelled volumes: a class for every voxel."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy
from PIL import Image

from souron.kinds import files
from souron.kinds.codecs import axes, nifti, segmentation
from souron.kinds.finding import Finding
from souron.kinds.graphics import isosurface as surfaces
from souron.kinds.graphics import overlay
from souron.kinds.graphics.isosurface import Shape
from souron.kinds.picture import Picture, html
from souron.kinds.volume import SUFFIXES, Volume, window_of
from souron.utils.messages import N_, UserError, _

MOST_CLASSES = 256  # it is saved as bytes
PANE = 360  # pixels of a plane's longer side
GAP = 6  # between planes
FORMS = {"nifti": ".nii.gz", "dicom": ".dcm"}


@dataclass(frozen=True, eq=False)
class LabelledVolume(Finding):
    """A class for every voxel of a volume; classes without a name are background."""

    widget = "labelled_volume"
    noun = N_("labelled volume")
    suffix = ".nii.gz"
    kept = True

    volume: Volume
    area: Any  # (slices, rows, columns) integers
    names: Sequence[str]  # name of each class
    form: Literal["nifti", "dicom"] = "nifti"  # default file format
    meshed: bool = False  # True: save a surface of each label beside it
    paged: bool = False  # True: save a page with slices and surfaces
    beside: dict[str, Any] = field(default_factory=dict, init=False)  # "meshes" and "page" there

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
                _("0..{most}, one for each name, at most {count}").format(most=len(self.names) - 1, count=MOST_CLASSES),
            )
        object.__setattr__(self, "area", area.astype(np.uint8))
        object.__setattr__(self, "suffix", FORMS[self.form])

    @property
    def voxels(self) -> list[int]:
        """Number of voxels of each class."""
        counted: list[int] = np.bincount(self.area.ravel(), minlength=len(self.names)).tolist()
        return counted

    def drawn(self, number: int) -> Image.Image:
        """Return one slice, counted from 0, with the areas of every named class."""
        canvas = overlay.Canvas(self.volume.picture(number))
        area = self.area[number]
        for label in np.unique(area).tolist():
            if self.names[label]:
                canvas.area(area == label, self.names[label], overlay.colour(label - 1))
        return canvas.image

    def planes(self) -> Image.Image:
        """Return axial, coronal and sagittal planes through the middle of the named voxels.

        As radiologists view them: the patient upright, millimetres to scale in all directions.
        """
        order, flipped = axes.upright(self.volume.affine)
        values, affine = axes.turned(self.volume.values, self.volume.affine, order, flipped)
        area, _affine = axes.turned(self.area, self.volume.affine, order, flipped)
        there = np.array([bool(name) for name in self.names])[area]
        through = [
            round(float(np.average(np.arange(count), weights=there.sum(others)))) if there.any() else count // 2
            for count, others in zip(area.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
        ]
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        window = window_of(values)
        panes = [
            self._pane(_cut(values, axis, k), _cut(area, axis, k), np.delete(steps, axis), window)
            for axis, k in enumerate(through)
        ]
        wide = sum(pane.width for pane in panes) + GAP * (len(panes) - 1)
        whole = Image.new("RGB", (wide, max(pane.height for pane in panes)))
        left = 0
        for pane in panes:
            whole.paste(pane, (left, 0))
            left += pane.width + GAP
        return whole

    def _pane(self, values: np.ndarray, area: np.ndarray, steps: Any, window: tuple[float, float]) -> Image.Image:
        """Draw one plane (rows, columns) with ``steps`` millimetres between its pixels."""
        size = np.multiply(values.shape, steps)
        high, wide = np.maximum(1, np.round(size * (PANE / size.max()))).astype(int).tolist()
        shown = ((values - window[0]) / window[1] + 0.5).clip(0, 1) * 255
        grey = Image.fromarray(shown.astype(np.uint8)).resize((wide, high))
        canvas = overlay.Canvas(Picture(grey))
        numbers = Image.fromarray(np.ascontiguousarray(area))
        inside = np.asarray(numbers.resize((wide, high), Image.Resampling.NEAREST))
        for label in np.unique(inside).tolist():
            if self.names[label]:
                canvas.area(inside == label, self.names[label], overlay.colour(label - 1))
        return canvas.image

    @property
    def fullest(self) -> int:
        """Slice with the most named voxels."""
        named = np.array([bool(name) for name in self.names])
        return int(named[self.area].sum((1, 2)).argmax())

    @property
    def columns(self) -> list[str]:
        return [_("label"), _("voxels"), _("millilitres")]

    def rows(self) -> list[list[Any]]:
        """Return a row of ``columns`` for each class that has a name."""
        return [
            [name, count, round(count * self.volume.voxel, 3)]
            for name, count in zip(self.names, self.voxels, strict=True)
            if name
        ]

    def surface(self, label: int) -> Shape:
        """Return the surface around the voxels of a class, along their faces, never smoothed.

        Raises UserError where the class has no voxel.
        """
        inside = self.area == label
        cut = (slice(0, 1),) * 3
        if inside.any():
            [cut] = scipy.ndimage.find_objects(inside.astype(np.uint8))
        affine = self.volume.affine.copy()
        affine[:3, 3] = self.volume.placed([[part.start - 1 for part in cut]])[0]
        around = np.pad(inside[cut].astype(np.int16), 1)
        return surfaces.surface(Volume(around, affine), 0.5)[0]

    def save(self, path: Path) -> None:
        """Save the class numbers as a NIfTI file, each voxel where the volume has it.

        With ``.dcm`` as a DICOM segmentation that refers to the series which was read. The
        surfaces, if requested, are saved beside it, ``ct-liver.stl``. Raises UserError.
        """
        name = path.name.lower()
        if name.endswith(FORMS["dicom"]):
            self._save_segmentation(path)
        elif name.endswith(SUFFIXES):
            folded = path.suffix.lower() == ".gz"
            files.write(path, nifti.written(self.area, self.volume.affine, folded))
        else:
            files.ending(path, (*SUFFIXES, FORMS["dicom"]))
        if self.meshed:
            self.beside["meshes"] = self._meshes(path)

    def _save_segmentation(self, path: Path) -> None:
        if not self.volume.uid:
            raise UserError(
                "no reference",
                _("no DICOM series was read, to which a segmentation could refer"),
                expected=_("a folder with a DICOM series"),
                fix="to=nifti",
                exit=3,
            )
        segmentation.write(path, self.area, self.names, self.volume.affine, Path(self.volume.file), self.volume.uid)

    def _meshes(self, path: Path) -> list[dict[str, Any]]:
        """Save the surface of each label that was found."""
        made = []
        for label, (name, count) in enumerate(zip(self.names, self.voxels, strict=True)):
            if name and count:
                shape = self.surface(label)
                letters = re.sub(r"[^\w\-]+", "-", name).strip("-") or str(label)
                file = path.with_name(f"{path.name.partition('.')[0]}-{letters}.stl")
                if file.exists():
                    file = file.with_name(f"{file.stem}-{label}.stl")
                shape.mesh().save(file)
                made.append(
                    {
                        "name": name,
                        "file": str(file),
                        "triangles": len(shape.faces),
                        "millilitres": round(shape.millilitres, 3),
                    }
                )
        return made

    def as_json(self) -> dict[str, Any]:
        return {
            "series": self.volume.series,
            "spacing": [round(step, 5) for step in self.volume.spacing],
            "labels": [{"name": name, "voxels": count, "millilitres": amount} for name, count, amount in self.rows()],
            "meshes": [],
            **({"notes": list(self.notes)} if self.notes else {}),
            **self.beside,
            **super().as_json(),
        }

    @property
    def notes(self) -> Sequence[str]:
        """Changes made to the values of the volume's file."""
        return self.volume.notes

    @property
    def also(self) -> list[str]:
        """Files beside the one that was saved."""
        meshes = [mesh["file"] for mesh in self.beside.get("meshes", [])]
        return [*meshes, *filter(None, [self.beside.get("page")])]

    def __str__(self) -> str:
        told = ", ".join(
            _("{name} {amount} ml").format(name=self.called(name), amount=f"{amount:.4g}")
            for name, count, amount in self.rows()
            if count
        )
        return "\n".join([told or _("nothing found"), *self.notes])

    def _repr_html_(self) -> str:
        """Return three planes with the findings."""
        words = escape(str(self))
        return html(self.planes(), str(self)) + f"<p>{words}</p>" + self.table()

    def table(self) -> str:
        """Return the rows as an HTML table."""
        return files.html_table(self.columns, [[self.called(name), *rest] for name, *rest in self.rows()], "")


def _cut(values: np.ndarray, axis: int, number: int) -> np.ndarray:
    """Return one plane (rows, columns), the head or the front on top."""
    plane = values.take(number, axis)
    return plane if axis == 0 else plane[::-1]
