"""``souron surface``: from a CT series to a surface in millimetres."""

from typing import Annotated

from typer import Argument, Option

from souron.cli import console
from souron.cli.app import command
from souron.cli.console import print_json, screen, show
from souron.utils import hardware, units
from souron.utils.messages import N_, UserError, _


@command(
    "surface",
    N_("Extract a surface from a CT or MR volume, in mm: STL, PLY, GLB."),
    "souron surface series/\nsouron surface head_ct faces=200000\n"
    "souron surface ct.nii.gz level=-200 part=all out=skin\n"
    "souron surface series/ series=2 resample=true",
    group="use",
)
def surface(
    volume: Annotated[
        str,
        Argument(
            metavar="FILE|FOLDER",
            help=N_("a folder with a DICOM series, a NIfTI or NRRD file, or head_ct"),
        ),
    ],
    level: Annotated[
        float, Option(metavar="HU", help=N_("grey value at the surface (default 226: bone)"))
    ] = 226,
    part: Annotated[
        str, Option(metavar="largest|all", help=N_("the largest part (default), or all"))
    ] = "largest",
    faces: Annotated[
        int | None,
        Option(min=4, metavar="N", help=N_("at most this many triangles, where possible")),
    ] = None,
    series: Annotated[
        str | None, Option(metavar="N|UID", help=N_("which series, where a folder has several"))
    ] = None,
    resample: Annotated[
        bool,
        Option("--resample", help=N_("resample unevenly spaced slices onto an even grid")),
    ] = False,
    spacing: Annotated[
        str | None,
        Option(metavar="X,Y,Z", help=N_("millimetres between voxels, where the file has none")),
    ] = None,
    out: Annotated[
        str | None, Option(metavar="FOLDER", help=N_("where the files go (default runs/surface)"))
    ] = None,
    open: Annotated[bool, Option("--open", help=N_("open the page in the browser"))] = False,
) -> None:  # fmt: skip
    hardware.calm_allocator()
    hardware.share_cores()
    with screen.err.status(_("making the surface")):
        from souron.report import surface as report
        from souron.runs import surface as runs_surface

        record = runs_surface.surface(
            volume, level, part, faces, out, series=series, resample=resample,  # type: ignore[arg-type]
            spacing=steps(spacing),
        )  # fmt: skip
    if screen.json:
        print_json(record.as_json())
    else:
        show(console.pairs([
            *report.rows(record), (_("seconds"), units.seconds(record.seconds)),
            *((_("file"), str(file)) for file in record.files),
        ]))  # fmt: skip
    if open:
        import webbrowser

        webbrowser.open(record.files[-1].absolute().as_uri())


def steps(text: str | None) -> tuple[float, ...] | None:
    """Parse a spacing such as ``"0.7,0.7,1.5"``, mm. Raises UserError."""
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(
            "value",
            _("{name}={value} is not understood").format(name="spacing", value=text),
            expected="spacing=0.7,0.7,1.5",
        ) from error
    return x, y, z
