"""Parts of pages that show slices in three planes beside a surface, in one offline file.

NiiVue (BSD-2-Clause) draws the slices and the rotating surface. The page contains it, the volume,
the mask and the triangles; nothing is loaded from the network.
"""

import base64
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from markupsafe import Markup

from souron.kinds.graphics import rendering
from souron.kinds.graphics.isosurface import Shape
from souron.kinds.volume import Volume
from souron.utils import plotting
from souron.utils.messages import N_, _

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
    "front": N_("from the front"),
    "right": N_("from the right"),
    "above": N_("from above"),
    "back": N_("from the back"),
    "left": N_("from the left"),
    "below": N_("from below"),
}


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
        (_("{name} ({centre}, {width})").format(name=_(name), centre=c, width=w), f"{c},{w}", name == first)
        for name, (c, w) in WINDOWS.items()
    ]
