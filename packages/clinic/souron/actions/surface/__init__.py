"""Extract a surface in millimetres from a volume, as files and a page."""

import importlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from souron.action import Action, Given
from souron.actions.surface.record import SurfaceRecord, Views
from souron.data import load
from souron.kinds.graphics import isosurface as surfaces
from souron.kinds.mesh import Mesh
from souron.kinds.signature import Choice
from souron.kinds.volume import Volume
from souron.report import viewer
from souron.runs.events import Event
from souron.utils import files
from souron.utils.messages import N_, UserError, _

BONE = 226.0  # Hounsfield units
MOST_TURNED = 150_000  # triangles in the interactive view of a page
WRITTEN = (".stl", ".ply", ".glb")


@dataclass(frozen=True)
class Options:
    level: Annotated[float, Choice(N_("grey value at the surface (default 226: bone)"), metavar="HU")] = 226.0
    part: Annotated[
        Literal["largest", "all"],
        Choice(N_("the largest part (default), or all"), among=("largest", "all"), metavar="largest|all"),
    ] = "largest"
    faces: Annotated[int, Choice(N_("at most this many triangles, where possible"), low=4)] = 0
    series: Annotated[str, Choice(N_("which series, where a folder has several"), metavar="N|UID")] = ""
    resample: Annotated[bool, Choice(N_("resample unevenly spaced slices onto an even grid"))] = False
    spacing: Annotated[str, Choice(N_("millimetres between voxels, where the file has none"), metavar="X,Y,Z")] = ""
    out: Annotated[str, Choice(N_("where the files go (default runs/surface)"), metavar="FOLDER")] = ""


class Surface(Action):
    """Extract the isosurface of a volume at ``level``.

    The volume is a folder with a DICOM series, a NIfTI or NRRD file, or the name of a volume data
    set.
    """

    title = N_("Extract a surface from a CT or MR volume, in mm: STL, PLY, GLB.")
    examples = (
        "souron surface series/",
        "souron surface head_ct faces=200000",
        "souron surface ct.nii.gz level=-200 part=all out=skin",
        "souron surface series/ series=2 resample=true",
    )
    group = "use"
    given = Given("FILE|FOLDER", N_("a folder with a DICOM series, a NIfTI or NRRD file, or head_ct"))
    reads_only = True

    def run(self, given: Sequence[str], options: Options) -> Iterator[Event]:
        began = time.perf_counter()
        [source] = given
        spacing = steps(options.spacing)
        yield Event("data", text=source)
        volume = read(source, options.series, options.resample, spacing)
        yield Event(_("making the surface"))
        record, made = extracted(source, volume, options)
        name = record.name
        record.folder = Path(options.out) if options.out else files.new_folder(self.project / "surface", name)
        record.meshes = saved(made, record)
        record.seconds = time.perf_counter() - began
        yield Event("done", 1.0, record=record, folder=record.folder)


def extracted(source: str, volume: Volume, options: Options) -> tuple[SurfaceRecord, Mesh]:
    """Return the measures of the isosurface, without a folder, and its triangles."""
    whole, parts = surfaces.surface(volume, options.level)
    chosen = surfaces.chosen(whole, parts, options.part)
    made, moved, remarks = chosen, 0.0, list(volume.notes)
    if options.faces:
        made, moved = surfaces.fewer(chosen, options.faces, volume.spacing)
        if len(made.faces) > options.faces:
            text = _("Fewer than {count} triangles would move the surface by more than a voxel.")
            remarks.append(text.format(count=f"{len(made.faces):,}"))
    turned = surfaces.fewer(made, MOST_TURNED, volume.spacing)[0].mesh()
    record = SurfaceRecord(
        name=name_of(source, volume),
        volume=volume.as_json(),
        level=options.level,
        part=options.part,
        parts=len(parts.millilitres),
        whole=float(parts.millilitres.sum()),
        lost=parts.lost,
        triangles_before=len(chosen.faces),
        before=chosen.millilitres,
        triangles=len(made.faces),
        millilitres=made.millilitres,
        moved=moved,
        open_edges=made.open_edges,
        remarks=tuple(remarks),
        views=Views(volume, parts.voxels(options.part), turned, viewer.sides(made)),
    )
    return record, made.mesh()


def saved(mesh: Mesh, record: SurfaceRecord) -> list[Path]:
    """Write the triangles in each format and the image from six sides; return the files."""
    written = [record.folder / f"surface{suffix}" for suffix in WRITTEN]
    for file in written:
        mesh.save(file)
    image = record.folder / "sides.png"
    with files.atomically(image) as beside:
        beside.write_bytes(record.views.sides)
    return [*written, image]


def name_of(source: str, volume: Volume) -> str:
    """Return a name for the folder: the data set's, the file's, or the series'."""
    if source in load.names():
        return source
    name = Path(volume.file).resolve().name.partition(".")[0] if volume.file else volume.series
    return name or "volume"


def steps(text: str) -> tuple[float, ...]:
    """Parse a spacing such as ``"0.7,0.7,1.5"``, mm; () where there is none. Raises UserError."""
    try:
        spacing = tuple(float(part) for part in text.split(",")) if text else ()
        if len(spacing) not in (0, 3):
            raise ValueError
    except ValueError as error:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="spacing", value=text),
            expected="spacing=0.7,0.7,1.5",
        ) from error
    return spacing


def read(source: str, series: str, resample: bool, spacing: Sequence[float]) -> Volume:
    """Read a volume by its data set's name or its path. Raises UserError."""
    expected = _("a folder with a DICOM series, a NIfTI or NRRD file, or head_ct")
    if source in load.names():
        module = importlib.import_module(f"souron.data.sets.{source}")
        if not hasattr(module, "volume"):
            raise UserError(
                "data",
                _("the data set {name} is no volume").format(name=source),
                expected=expected,
                fix="souron surface head_ct",
                exit=3,
            )
        return module.volume()
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(
            "missing",
            _("{path}: there is no such file").format(path=source),
            expected=expected,
            fix="souron surface head_ct",
            exit=3,
        )
    return Volume.read(path, series=series, resample=resample, spacing=tuple(spacing))
