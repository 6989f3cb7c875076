"""Page of ``souron surface``: slices in three planes beside the surface, in one offline file.

NiiVue (BSD-2-Clause) draws the slices and the rotating surface. The page contains it, the volume,
the mask and the triangles; nothing is loaded from the network.
"""

import base64
import json
import math
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from souron.kinds import rendering
from souron.kinds.codecs import nifti
from souron.kinds.mesh import Mesh, ply
from souron.kinds.surface import Shape
from souron.kinds.volume import Volume
from souron.report import page
from souron.report.page import Fact
from souron.utils import plotting, units
from souron.utils.messages import N_, _

if TYPE_CHECKING:
    from souron.runs.surface import SurfaceRecord

STATIC = Path(__file__).parent / "static"
MOST_VOXELS = 8_000_000  # in a page
SIDE = 420  # pixels a side of one view
WINDOWS = {  # name -> centre, width
    N_("soft tissue"): (40, 400),
    N_("bone"): (500, 2000),
    N_("brain"): (40, 80),
    N_("lung"): (-600, 1500),
}
SIDES = {
    "front": N_("from the front"), "right": N_("from the right"), "above": N_("from above"),
    "back": N_("from the back"), "left": N_("from the left"), "below": N_("from below"),
}  # fmt: skip


def sides(shape: Shape) -> bytes:
    """Render the surface from six sides of the patient as a PNG."""
    figure = plotting.new_figure(9, 6.4)
    axes = figure.subplots(2, 3)
    for axis, (name, told) in zip(axes.flat, SIDES.items(), strict=True):
        view = rendering.VIEWS[name]
        axis.imshow(rendering.render(shape.vertices, shape.faces, view, SIDE))
        axis.set_title(_(told), fontsize=10, color=plotting.INK)
        axis.set_axis_off()
    return plotting.as_png(figure)


def shown(volume: Volume, mask: np.ndarray) -> tuple[Volume, np.ndarray, int]:
    """Subsample a volume and its mask for the page.

    Return every ``n``-th voxel along each axis of both, and ``n``.
    """
    step = max(1, math.ceil((volume.values.size / MOST_VOXELS) ** (1 / 3)))
    values = volume.values[::step, ::step, ::step]
    affine = volume.affine @ np.diag([step, step, step, 1])
    return Volume(values, affine), mask[::step, ::step, ::step], step


@lru_cache
def script(name: str) -> Markup:
    text = (STATIC / name).read_text(encoding="utf-8")
    assert "</script" not in text.lower()
    return Markup(text)


def write(
    record: "SurfaceRecord", volume: Volume, mask: np.ndarray, drawn: Mesh, picture: bytes
) -> Path:
    """Write ``surface.html`` into the record's folder; return its path.

    ``mask`` (slices, rows, columns) bool; ``drawn``: the surface to show on the page; ``picture``:
    the PNG of ``sides``.
    """
    small, inside, step = shown(volume, mask)
    notes = list(record.notes)
    if step > 1:
        notes.append(_("The page shows one voxel in {n} along each axis; the surface was made of "
                       "all.").format(n=step))  # fmt: skip
    if len(drawn.faces) < record.triangles:
        notes.append(
            _("The page turns {few} of the {many} triangles; the files have all.").format(
                few=units.whole(len(drawn.faces)), many=units.whole(record.triangles)
            )
        )
    about = told([(236, 226, 204)])
    text = page.page(
        "surface.html",
        title=_("Surface of {name}").format(name=record.name),
        eyebrow=_("surface"),
        contents=[
            ("slices", _("Slices and surface")),
            ("sides", _("From six sides")),
            ("files", _("Files")),
            ("how", _("How it was made")),
        ],
        headline=headline(record),
        facts=facts(record),
        notes=notes,
        windows=windows(_first(record.level)),
        sides=page.plot(picture, _("The surface from six sides")),
        files=[(file.name, units.size(file.stat().st_size)) for file in record.files],
        rows=rows(record),
        about=about,
        volume=encoded(nifti.written(small.values, small.affine, True)),
        mask=encoded(nifti.written(inside.astype(np.uint8), small.affine, True)),
        meshes=[encoded(ply(turned(drawn.vertices), drawn.faces))],
        labels=[],
        niivue=script("niivue.js"),
        viewer=script("surface.js"),
        nonce=secrets.token_urlsafe(16),
    )
    return page.write(record.folder / "surface.html", text)


def turned(vertices: np.ndarray) -> np.ndarray:
    """Convert coordinates from (left, back, head) to NiiVue's (right, front, head)."""
    return vertices * np.array([-1, -1, 1], np.float32)


def told(meshes: Sequence[tuple[int, ...]], labels: Sequence[tuple[int, ...]] = ()) -> Markup:
    """Return the viewer's settings as JSON.

    These are its texts, the colours of the surfaces and, where the mask has several labels, the
    colours of the labels from 1 on.
    """
    about = {
        "place": _("{left} mm left, {back} mm back, {head} mm up: {value}"),
        "failed": _("The slices cannot be drawn here (WebGL 2 is needed):"),
        "meshes": meshes,
        "labels": labels,
    }
    return Markup(json.dumps(about).replace("<", "\\u003c"))


def encoded(raw: bytes) -> Markup:
    return Markup(base64.b64encode(raw).decode())


def windows(first: str) -> list[tuple[str, str, bool]]:
    """Return the name and ``centre,width`` of each window, and whether it is selected at first."""
    return [
        (_("{name} ({centre}, {width})").format(name=_(name), centre=c, width=w), f"{c},{w}",
         name == first)
        for name, (c, w) in WINDOWS.items()
    ]  # fmt: skip


def _first(level: float) -> str:
    """Return the window selected at first, by the surface's level: bone for a level of bone."""
    return "bone" if level >= 150 else "lung" if level < -300 else "soft tissue"


def headline(record: "SurfaceRecord") -> str:
    if record.part == "all":
        return _("{count} parts, {volume} ml in total, at {level:g}.").format(
            count=units.whole(record.parts), volume=_ml(record.millilitres), level=record.level
        )
    return _("The largest of {count} parts at {level:g}: {volume} ml. The others are {lost} of the "
             "whole and were left out.").format(
        count=units.whole(record.parts), level=record.level, volume=_ml(record.millilitres),
        lost=units.percent(record.lost),
    )  # fmt: skip


def _ml(amount: float) -> str:
    return f"{amount:,.1f}" if amount >= 10 else f"{amount:.3g}"


def facts(record: "SurfaceRecord") -> list[Fact]:
    closed = _("closed") if not record.open_edges else ""
    wrong = "" if closed else _("{count} edges are open").format(count=record.open_edges)
    return [
        Fact(_("volume"), _("{amount} ml").format(amount=_ml(record.millilitres))),
        Fact(_("triangles"), units.whole(record.triangles), closed, wrong),
        Fact(_("parts"), units.whole(record.parts)),
        Fact(_("spacing"), " × ".join(f"{s:.4g}" for s in record.volume["spacing"]) + " mm"),
        Fact(_("size"), " × ".join(map(str, record.volume["size"])), record.volume["orientation"]),
    ]


def rows(record: "SurfaceRecord") -> list[tuple[str, str]]:
    """Return the rows of the page's table, which the command line prints too."""
    told = [
        (_("series"), record.volume["series"]),
        (_("size"), " x ".join(map(str, record.volume["size"])) + f", {record.orientation}"),
        (_("spacing"), " x ".join(f"{s:.4g}" for s in record.volume["spacing"]) + " mm"),
        (_("level"), f"{record.level:g}"),
        (_("parts"), units.whole(record.parts)),
        (_("whole"), _("{amount} ml").format(amount=_ml(record.whole))),
        (
            _("largest part"),
            _("{amount} ml, {lost} less").format(
                amount=_ml(record.whole * (1 - record.lost)), lost=units.percent(record.lost)
            ),
        ),
        (_("marching cubes"), _amount(record.before, record.triangles_before)),
    ]
    if record.moved:
        told.append((
            _("fewer triangles"),
            _amount(record.millilitres, record.triangles)
            + ", "
            + _("moved by {distance:.2g} mm at most, the volume by {change:+.2f} %").format(
                distance=record.moved, change=100 * (record.millilitres / record.before - 1)
            ),
        ))  # fmt: skip
    told.append((
        _("closed"),
        _("no: {count} edges are open").format(count=record.open_edges)
        if record.open_edges
        else _("yes: every edge has two triangles"),
    ))  # fmt: skip
    told += [(_("note"), note) for note in record.notes]
    return [(name, text) for name, text in told if text]


def _amount(millilitres: float, triangles: int) -> str:
    return _("{amount} ml, {count} triangles").format(
        amount=_ml(millilitres), count=units.whole(triangles)
    )
