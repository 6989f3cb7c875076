"""Overview of a data set: ``data.html`` and ``data.png``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.data import transforms
from souron.data.dataset import Dataset
from souron.data.target import Target, image_size, target_of
from souron.kinds.codecs import image
from souron.report import plots
from souron.report.music_overview import pieces_page
from souron.report.page import Fact, Plot, Tile, page, plot, tile, write
from souron.report.recordings import recordings_page
from souron.report.texts import texts_page
from souron.utils import files, units
from souron.utils.messages import _

MOST_CLASSES = 30  # the largest are shown
MOST_MEASURED = 2000  # files whose image size is read
SHOWN = 12  # of each class
EXAMPLES = 3  # images shown at each step of preparation and augmentation


def data_page(cases: Dataset, folder: Path) -> Path:
    """Write ``data.html`` and, for images and volumes, ``data.png`` into ``folder``.

    Return the path of the page. Raises UserError.
    """
    return LAYOUTS[target_of(cases).layout](cases, folder)


def images_page(cases: Dataset, folder: Path) -> Path:
    """Write the page and the overview of images or volumes; return the page's path."""
    target = target_of(cases)
    if target.every_class and not cases.classes:
        # nothing says of what sort they are
        target = target_of(replace(cases, classes=(cases.name,)))
    cases, counts, rows = target.cases, target.counts(), target.rows(SHOWN)
    largest = sorted(sorted(rows, key=lambda k: -counts[k])[:MOST_CLASSES])
    chosen = {cases.classes[k]: target.examples(k, rows[k]) for k in largest}
    sizes, counted = [counts[k] for k in largest], _(target.counted)
    with files.atomically(folder / "data.png") as beside:
        beside.write_bytes(plots.overview(chosen, sizes, target.pixels(), cases.name, counted))

    followed = list(range(EXAMPLES)) if target.every_class else [rows[k][0] for k in largest]
    followed = list(dict.fromkeys(followed))[: min(EXAMPLES, len(cases))]
    parts = {
        "preparation": [_prepared(cases, i) for i in followed] if cases.images else [],
        "augmentation": [_augmented(cases, i) for i in followed] if cases.augment else [],
        "parts": _parts(cases),
        "skipped": cases.skipped,
    }
    headings = _headings(target)
    drawn = plot(plots.classes(chosen, sizes, counted), "; ".join(f"{cases.classes[k]} {counts[k]}" for k in largest))
    text = page(
        "data.html",
        title=cases.name,
        eyebrow=_("data"),
        facts=[
            Fact(_("cases"), units.whole(len(cases))),
            Fact(headings["classes"], units.whole(target.number), _uneven(target, sizes)),
            Fact(*target.shape()),
            Fact(_("files skipped"), units.whole(len(cases.skipped))),
        ],
        contents=[(name, title) for name, title in headings.items() if parts.get(name, True)],
        headings=headings,
        classes=drawn,
        classes_caption=_caption(len(largest), len(cases.classes)),
        sizes=_sizes(cases),
        marked=list(filter(None, [_marked(cases, i) for i in followed])),
        pixels=plot(plots.pixels(target.pixels()), _("how often each pixel value occurs")),
        **parts,
    )
    return write(folder / "data.html", text)


LAYOUTS: dict[str, Callable[[Dataset, Path], Path]] = {  # by ``Target.layout``
    "images": images_page,
    "texts": texts_page,
    "pieces": pieces_page,
    "recordings": recordings_page,
}


def _headings(target: Target) -> dict[str, str]:
    """Return the titles of the parts of the page, by name."""
    return {
        "classes": _(target.heading),
        "sizes": _("Sizes and pixel values"),
        "preparation": _("Preparation, step by step"),
        "augmentation": _("Augmentation, step by step"),
        "parts": _("Parts and groups"),
        "skipped": _("Skipped files"),
    }


def _caption(shown: int, classes: int) -> str:
    """Say that the largest classes only are shown; "" if all are."""
    if shown == classes:
        return ""
    return _("Of {all} classes, the {count} largest.").format(all=classes, count=shown)


def _marked(cases: Dataset, row: int) -> Plot | None:
    """Return an image with its target drawn on it; None where the target cannot be drawn."""
    drawn = target_of(cases).drawn(row)
    return drawn and plot(image.png(drawn[0]), f"{cases.file[row]}: {drawn[1]}")


def _uneven(target: Target, counts: list[int]) -> str:
    return _(target.unit).format(least=units.whole(min(counts)), most=units.whole(max(counts)))


def _file(cases: Dataset, row: int) -> tuple[Path, Path] | None:
    """Return the case's file and the folder that must contain it; None if it has no file."""
    source = Path(cases.source)
    folder = source.parent if source.is_file() else source
    path, _frame = image.case_file(folder, cases.file[row])
    return (path, folder) if cases.source and path.is_file() else None


def _sizes(cases: Dataset) -> list[tuple[str, str]]:
    if cases.images:
        facts = [(_("images as souron uses them"), image_size(cases))]
    else:
        facts = [(_("volumes as souron uses them"), target_of(cases).shape()[1])]
    every = max(1, len(cases) // MOST_MEASURED)
    sizes = []
    for row in range(0, len(cases), every) if cases.images else ():
        file = _file(cases, row)
        if file is not None:
            sizes.append(image.look(*file).size)
    if sizes:
        wide, high = zip(*sizes, strict=True)
        found = [(min(wide), min(high)), (median(wide), median(high)), (max(wide), max(high))]
        least, middle, most = (f"{w:.0f} × {h:.0f}" for w, h in found)
        facts.insert(
            0,
            (
                _("files, width × height"),
                _("from {least} to {most} pixels, median {middle}").format(least=least, most=most, middle=middle),
            ),
        )
    some = cases.input[::every].float()
    facts.append((_("mean of all pixels"), f"{some.mean().item():.1f}"))
    facts.append((_("standard deviation"), f"{some.std().item():.1f}"))
    if cases.spacing and cases.volumes:
        steps = np.array(cases.spacing)
        ends = [
            f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else units.ends(f"{low:.3g}", f"{high:.3g}")
            for low, high in zip(steps.min(0), steps.max(0), strict=True)
        ]
        facts.append((_("millimetres between slices, rows and columns"), " × ".join(ends)))
    elif cases.spacing:
        ends = sorted({f"{value:.3g}" for value in (min(cases.spacing), max(cases.spacing))})
        facts.append((_("millimetres per pixel"), "–".join(ends)))
    facts.append((_("source"), cases.source or units.UNKNOWN))
    facts.append((_("licence"), cases.licence or units.UNKNOWN))
    return facts


def _prepared(cases: Dataset, row: int) -> list[Tile]:
    """Return the image as read, resized and normalised."""
    name, pixels = target_of(cases).words(row), cases.input[row]
    steps = []
    file = _file(cases, row)
    if file is not None:
        frame = image.case_file(file[1], cases.file[row]).frame
        picture = image.rounded(image.read(*file, frame=frame))
        size = f"{picture.width} × {picture.height}"
        steps.append(tile(picture, name, (_("as read: {size}").format(size=size), name)))
    told = _("resized: {side} × {side}") if steps else _("as read: {side} × {side}")
    steps.append(tile(pixels, name, (told.format(side=cases.side), name)))
    normal = _normalised(cases, pixels)
    lines = (
        _("normalised: {low} to {high}").format(low=f"{normal.min().item():.1f}", high=f"{normal.max().item():.1f}"),
        name,
    )
    return [*steps, tile(plots.signed(normal), name, lines)]


def _normalised(cases: Dataset, pixels: Tensor) -> Tensor:
    seen = registry.load_task("classify").spec(cases)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (seen.mean, seen.std))
    return (pixels / 255 - mean) / std


def _augmented(cases: Dataset, row: int) -> list[Tile]:
    name, pixels = target_of(cases).words(row), cases.input[row]
    told = transforms.what()
    return [
        tile(pixels, name, (_("as it is"), name)),
        *(tile(picture, step, (step, told.get(step, ""))) for step, picture in transforms.steps(pixels, cases.augment)),
    ]


def _parts(cases: Dataset) -> list[tuple[str, str]]:
    facts = [
        (part, _("{count} cases").format(count=units.whole(list(cases.part).count(part))))
        for part in sorted(set(cases.part) - {""})
    ]
    if cases.group:
        facts.append((_("groups, kept together"), units.whole(len(set(cases.group)))))
    return facts
