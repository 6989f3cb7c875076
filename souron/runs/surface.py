"""``souron surface``: extract a surface in millimetres from a volume, as files and a page."""

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from souron.data import load
from souron.kinds import surface as surfaces
from souron.kinds.volume import Volume
from souron.report import surface as report
from souron.utils import files
from souron.utils.messages import UserError, _

PROJECT = Path("runs/surface")
BONE = 226.0  # Hounsfield units
MOST_TURNED = 150_000  # triangles in the interactive view of a page
PARTS = ("largest", "all")
WRITTEN = (".stl", ".ply", ".glb")


@dataclass
class SurfaceRecord:
    """The surface of a volume and its measures."""

    name: str
    folder: Path
    volume: dict[str, Any]  # from ``Volume.as_json``
    level: float
    part: str
    parts: int
    whole: float  # ml of all parts
    lost: float  # share outside of the largest part
    triangles_before: int
    before: float  # ml of the selected part
    triangles: int
    millilitres: float
    moved: float  # largest displacement in mm by the reduction of triangles
    open_edges: int
    notes: tuple[str, ...]
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)

    @property
    def orientation(self) -> str:
        return str(self.volume["orientation"])

    def as_json(self) -> dict[str, Any]:
        return {
            "volume": self.volume, "level": self.level, "part": self.part, "parts": self.parts,
            "millilitres": {"whole": self.whole, "before": self.before, "after": self.millilitres},
            "lost": self.lost, "triangles": {"before": self.triangles_before,
                                             "after": self.triangles},
            "moved": self.moved, "open_edges": self.open_edges, "notes": list(self.notes),
            "seconds": self.seconds, "files": self.files,
        }  # fmt: skip


def surface(
    source: str | Path,
    level: float = BONE,
    part: Literal["largest", "all"] = "largest",
    faces: int | None = None,
    out: str | Path | None = None,
    **reading: Any,
) -> SurfaceRecord:
    """Extract the isosurface of a volume at ``level``, into a folder. Raises UserError.

    ``source``: a folder with a DICOM series, a NIfTI or NRRD file, or the name of a volume data
    set.
    ``faces``: maximum number of triangles. ``reading`` are options of ``Volume.read``: ``series``,
    ``resample``, ``spacing``.
    """
    began = time.perf_counter()
    if part not in PARTS:
        raise UserError("option", f"part={part}", expected="part=largest, part=all")
    if faces is not None and faces < 4:
        raise UserError("option", f"faces={faces}", expected=_("4 triangles or more"))
    volume = read(source, **reading)
    whole, parts = surfaces.surface(volume, level)
    chosen = surfaces.chosen(whole, parts, part)
    made, moved = chosen, 0.0
    if faces is not None:
        made, moved = surfaces.fewer(chosen, faces, volume.spacing)
    mesh = made.mesh()
    turned = surfaces.fewer(made, MOST_TURNED, volume.spacing)[0].mesh()
    notes = list(volume.notes)
    if faces is not None and len(made.faces) > faces:
        notes.append(
            _("Fewer than {count} triangles would move the surface by more than a voxel.").format(
                count=f"{len(made.faces):,}"
            )
        )
    name = Path(volume.file).resolve().name.partition(".")[0] if volume.file else volume.series
    name = str(source) if str(source) in load.names() else name or "volume"
    folder = Path(out) if out else files.new_folder(PROJECT, name)
    record = SurfaceRecord(
        name, folder, volume.as_json(), level, part, len(parts.millilitres),
        float(parts.millilitres.sum()), parts.lost, len(chosen.faces), chosen.millilitres,
        len(made.faces), made.millilitres, moved, made.open_edges, tuple(notes),
    )  # fmt: skip
    for suffix in WRITTEN:
        mesh.save(folder / f"surface{suffix}")
        record.files.append(folder / f"surface{suffix}")
    picture = report.sides(made)
    with files.atomically(folder / "sides.png") as beside:
        beside.write_bytes(picture)
    record.files.append(folder / "sides.png")
    record.seconds = time.perf_counter() - began
    record.files.append(report.write(record, volume, parts.voxels(part), turned, picture))
    return record


def read(
    source: str | Path,
    series: str | None = None,
    resample: bool = False,
    spacing: Sequence[float] | None = None,
) -> Volume:
    """Read a volume by its data set's name or its path. Raises UserError."""
    if isinstance(source, str) and source in load.names():
        module = importlib.import_module(f"souron.data.sets.{source}")
        if not hasattr(module, "volume"):
            raise UserError(
                "data",
                _("the data set {name} is no volume").format(name=source),
                expected=_("a folder with a DICOM series, a NIfTI or NRRD file, or head_ct"),
                fix="souron surface head_ct",
                exit=3,
            )
        return module.volume()
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(
            "missing",
            _("{path}: there is no such file").format(path=source),
            expected=_("a folder with a DICOM series, a NIfTI or NRRD file, or head_ct"),
            fix="souron surface head_ct",
            exit=3,
        )
    return Volume.read(path, series=series or "", resample=resample, spacing=tuple(spacing or ()))
