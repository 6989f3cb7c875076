"""Page of a labelled volume: slices in three planes beside surfaces, in one offline file."""

import secrets
from pathlib import Path

import numpy as np
from markupsafe import Markup

from souron.kinds.codecs import image, nifti
from souron.kinds.finding import guess, notice, unlike
from souron.kinds.graphics import isosurface, overlay
from souron.kinds.labelled_volume import LabelledVolume
from souron.kinds.mesh import ply
from souron.kinds.volume import AIR, Volume, window_of
from souron.report import page, viewer
from souron.utils.messages import _

MOST_TRIANGLES = 200_000  # over all surfaces
MOST_LABELS = 64  # that get a surface


def write_beside(labelled: LabelledVolume, path: Path) -> None:
    """Write the page beside the file of the labels, if the caller asked for a page."""
    if labelled.paged:
        page_file = path.with_name(f"{path.name.partition('.')[0]}.html")
        labelled.beside["page"] = str(write(labelled, page_file))


def write(labelled: LabelledVolume, path: Path) -> Path:
    """Write one offline HTML file; return its path. Raises UserError."""
    return page.write(path, text(labelled))


def text(labelled: LabelledVolume) -> str:
    """Return the page's HTML, in the reader's language."""
    small, area, step = viewer.shown(labelled.volume, labelled.area)
    said, warning = str(labelled), unlike(labelled)
    notes = [guess(said) if warning else notice(labelled), *labelled.volume.notes]
    if step > 1:
        notes.append(_("The page shows one voxel in {n} along each axis; the millilitres are of all.").format(n=step))
    shown = LabelledVolume(small, area, labelled.names).named(labelled.japanese)
    there = [k for k, count in enumerate(shown.voxels) if count and labelled.names[k]][:MOST_LABELS]
    meshes = []
    for label in there:
        shape = shown.surface(label)
        made = isosurface.fewer(shape, MOST_TRIANGLES // len(there), small.spacing)[0]
        meshes.append(viewer.encoded(ply(viewer.turned(made.mesh().vertices), made.faces)))
    numbers = _numbers(len(labelled.names), there)
    colours = [overlay.colour(label - 1) for label in there]
    amounts = {name: amount for name, _count, amount in labelled.rows()}
    name = Path(labelled.volume.file).name or labelled.volume.series or _("volume")
    return page.page(
        "labelled.html",
        title=_("What was found in {name}").format(name=name),
        eyebrow=_("labelled volume"),
        contents=[("slices", _("Slices and surfaces")), ("planes", _("Three planes")), ("labels", _("Labels"))],
        headline=warning or said,
        notes=[*filter(None, notes)],
        windows=_windows(labelled.volume),
        labels=[
            (
                labelled.names[label],
                "#{:02x}{:02x}{:02x}".format(*colour),
                _("{amount} ml").format(amount=f"{amounts[labelled.names[label]]:.4g}"),
            )
            for label, colour in zip(there, colours, strict=True)
        ],
        planes=page.plot(image.png(labelled.planes()), said),
        table=Markup(labelled.table()),
        about=viewer.told(colours, colours),
        volume=viewer.encoded(nifti.written(small.values, small.affine, True)),
        mask=viewer.encoded(nifti.written(numbers[area], small.affine, True)),
        meshes=meshes,
        niivue=viewer.script("niivue.js"),
        viewer=viewer.script("surface.js"),
        nonce=secrets.token_urlsafe(16),
    )


def _numbers(classes: int, there: list[int]) -> np.ndarray:
    """Return the mask value of each class on the page; 0 for classes that are not shown."""
    number = np.zeros(classes, np.uint8)
    number[there] = np.arange(1, len(there) + 1)
    return number


def _windows(volume: Volume) -> list[tuple[str, str, bool]]:
    """Return the display windows of a CT; for other volumes, first one that fits the values."""
    if volume.values.min() < AIR:
        return viewer.windows("soft tissue")
    centre, width = window_of(volume.values)
    return [(_("all"), f"{centre:g},{width:g}", True), *viewer.windows("")]
