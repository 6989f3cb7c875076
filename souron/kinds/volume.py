"""Volumes: grey values in space, such as a computed tomography in Hounsfield units.

A folder of DICOM slices, NIfTI (.nii, .nii.gz) and NRRD are read; NIfTI is written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.codecs import grid, limits, nifti, nrrd, series
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture, html
from souron.kinds.signature import Choice
from souron.utils.messages import N_, UserError, _

SUFFIXES = (".nii", ".nii.gz")
TOWARDS = ("RL", "AP", "IS")  # right to left, front to back, feet to head
WINDOW = (40.0, 400.0)  # centre and width, of soft tissue
AIR = -200  # HU; a volume with values below it is taken for a CT


@dataclass(frozen=True, eq=False)
class Volume(Kind):
    """Grey values on a grid whose position in the patient is known.

    ``affine`` maps (slice, row, column, 1) to the centre of that voxel in millimetres towards the
    patient's left, back and head: DICOM's own axes.
    """

    widget = "volume"
    noun = N_("volume")
    suffix = ".nii.gz"
    formats = (".nii", ".gz", ".nrrd")
    kept = True
    folders = True

    values: Any  # (slices, rows, columns) int16 or float32; Hounsfield units where it is a CT
    affine: Any  # (4, 4)
    file: str = ""
    series: str = ""
    notes: Sequence[str] = ()  # changes made to the file's own values
    uid: str = ""  # UID of the DICOM series in ``file``

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        affine = np.asarray(self.affine, np.float64)
        if values.ndim != 3 or not values.size or values.dtype.kind not in "iuf":
            raise files.wrong(_("values in the shape {shape}").format(shape=values.shape), _("three dimensions"))
        if values.size > grid.MOST_VOXELS:
            grid.check_size(Path(self.file), values.shape)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise files.wrong(_("numbers that are not finite"), _("grey values"))
        if not _places(affine):
            raise files.wrong(_("a matrix that places no volume"), _("(4, 4), three directions in millimetres"))
        object.__setattr__(self, "values", grid.stored(values))
        object.__setattr__(self, "affine", affine)

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        series: Annotated[str, Choice(N_("which series, where a folder has several"), metavar="N|UID")] = "",
        resample: Annotated[bool, Choice(N_("resample unevenly spaced slices onto an even grid"))] = False,
        spacing: Annotated[
            tuple[float, ...], Choice(N_("millimetres between voxels, where the file has none"), metavar="X,Y,Z")
        ] = (),
        **how: Any,
    ) -> Self:
        """Read a folder with DICOM slices, a NIfTI or an NRRD file. Raises UserError.

        ``series``: which one of a folder, by its number in the message or its UID. ``resample``:
        slices at uneven positions are resampled onto an even grid. ``spacing``: millimetres between
        columns, rows and slices, where a file has no positions of its voxels.
        """
        found = _folder(path, series or None, resample) if path.is_dir() else _file(path, spacing)
        try:
            return cls(found.values, found.affine, str(path), found.series, found.notes, found.uid)
        except UserError as trouble:
            raise limits.trouble(path, trouble.code, trouble.found, trouble.expected) from trouble

    @classmethod
    def look(cls, path: Path) -> grid.Placed:
        """Return the voxels' geometry from the headers of a file. Raises UserError."""
        if path.is_dir():
            with _told(path):
                return series.look(path)
        limits.check_file(path, most=grid.MOST_BYTES, otherwise="unreadable")
        with _told(path):
            with path.open("rb") as stream:
                begins = stream.read(nrrd.MOST_HEAD)
            if nrrd.is_nrrd(begins[:16]):
                return nrrd.look(path, begins)
            head = nifti.unfolded(begins, nifti.HEAD)
            if nifti.is_nifti(head):
                return nifti.look(path, head)
        raise _no_volume(path, begins)

    @property
    def spacing(self) -> list[float]:
        """Millimetres between columns, rows and slices."""
        return grid.spacing_of(self.affine)

    @property
    def size(self) -> list[int]:
        """Number of columns, rows, slices."""
        return list(self.values.shape[::-1])

    @property
    def orientation(self) -> str:
        """Directions of columns, rows and slices: ``LPS`` to left, back (posterior) and head."""
        directions = (self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)).T[::-1]
        axes = np.abs(directions).argmax(1)
        return "".join(TOWARDS[axis][int(way[axis] > 0)] for axis, way in zip(axes, directions, strict=True))

    @property
    def voxel(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def placed(self, voxels: Any) -> np.ndarray:
        """Convert (N, 3) slices, rows and columns to (N, 3) millimetres."""
        return np.asarray(voxels) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def picture(self, number: int, window: tuple[float, float] = WINDOW) -> Picture:
        """Return one slice, counted from 0, as grey values of a window (centre, width)."""
        shown = (self.values[number] - window[0]) / window[1] + 0.5
        return Picture(Image.fromarray((shown.clip(0, 1) * 255).astype(np.uint8)), self.file)

    def save(self, path: Path) -> None:
        if not path.name.lower().endswith(SUFFIXES):
            files.ending(path, SUFFIXES)
        folded = path.suffix.lower() == ".gz"
        files.write(path, nifti.written(self.values, self.affine, folded))

    def as_json(self) -> dict[str, Any]:
        return {
            "series": self.series,
            "spacing": [round(step, 5) for step in self.spacing],
            "size": self.size,
            "orientation": self.orientation,
        }

    def __str__(self) -> str:
        return _("volume of {size} voxels, {spacing} mm, {orientation}").format(
            size=" x ".join(map(str, self.size)),
            spacing=" x ".join(f"{step:.4g}" for step in self.spacing),
            orientation=self.orientation,
        )

    def _repr_html_(self) -> str:
        middle = self.picture(len(self.values) // 2)
        return html(middle.image, str(self)) + f"<p>{escape(str(self))}</p>"


def window_of(values: Any) -> tuple[float, float]:
    """Return centre and width of a display window.

    Soft tissue for a CT, else most of the values.

    >>> import numpy as np
    >>> window_of(np.array([[[-1000.0, 300.0]]])), window_of(np.array([[[0.0]], [[1.0]], [[2.0]]]))
    ((40.0, 400.0), (1.005, 1.97))
    """
    if values.min() < AIR:
        return WINDOW
    low, high = np.percentile(values[::2, ::2, ::2], (1, 99.5))
    return float(low + high) / 2, max(1e-6, float(high - low))


def _places(affine: np.ndarray) -> bool:
    """Return whether a matrix is a valid affine: three directions, no two nearly parallel."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return False
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not 1e-3 <= steps.min() <= steps.max() <= 1000:
        return False
    apart = abs(np.linalg.det(affine[:3, :3] / steps)) > 0.1
    near = np.abs(affine[:3, 3]).max() <= grid.FARTHEST
    return bool(apart and near and np.array_equal(affine[3], [0, 0, 0, 1]))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Convert errors of readers to UserError."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except OSError as error:
        raise limits.trouble(path, "unreadable", error.strerror or str(error)) from error
    except Exception as error:  # nibabel's own errors, and those from damaged files
        raise limits.trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=error)) from error


def _folder(path: Path, chosen: str | None, resample: bool) -> grid.Grid:
    with _told(path):
        return series.read(path, chosen, resample)


def _file(path: Path, steps: Sequence[float | str]) -> grid.Grid:
    spacing = _spacing(steps) if steps else None
    raw = files.content(path, grid.MOST_BYTES)
    with _told(path):
        if nrrd.is_nrrd(raw[:16]):
            return nrrd.read(path, raw, spacing)
        if nifti.is_nifti(nifti.unfolded(raw, nifti.HEAD)):
            return nifti.read(path, raw, spacing)
    raise _no_volume(path, raw)


def _spacing(steps: Sequence[float | str]) -> tuple[float, ...]:
    """Parse a spacing. Raises UserError."""
    try:
        spacing = tuple(float(step) for step in steps)
    except ValueError:
        spacing = ()
    if len(spacing) != 3 or not all(0 < step <= 1000 for step in spacing):
        raise files.wrong(_("a spacing of {spacing}").format(spacing=",".join(map(str, steps))), "spacing=0.7,0.7,1")
    return spacing


def _no_volume(path: Path, raw: bytes) -> UserError:
    if raw[128:132] == b"DICM":
        return limits.trouble(path, "not a volume", _("a single DICOM file"), _("the folder of the series"))
    return limits.trouble(path, "not a volume", _("not a volume that is read here"), "NIfTI, NRRD, DICOM")
