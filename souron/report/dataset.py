"""Overview of a data set: ``data.html`` and ``data.png``."""

from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from souron import registry
from souron.data import recordings, targets, texts, transforms, voices
from souron.data.dataset import Dataset
from souron.data.targets import Target
from souron.kinds.codecs import image
from souron.report import plots
from souron.report.page import (
    Fact,
    Plot,
    Tile,
    page,
    picture_size,
    plot,
    shape_of,
    tile,
    write,
)
from souron.report.pieces import pieces_page
from souron.report.recordings import recordings_page
from souron.report.texts import texts_page
from souron.utils import files, units
from souron.utils.messages import _

MOST_CLASSES = 30  # the largest are shown
MOST_MEASURED = 2000  # files whose image size is read
SHOWN = 12  # of each class
EXAMPLES = 3  # images shown at each step of preparation and augmentation


def data_page(cases: Dataset, folder: Path) -> Path:
    """Write ``data.html`` and, except for texts, ``data.png`` into ``folder``.

    Return the path of the page. Raises UserError.
    """
    if texts.holds(cases):
        return texts_page(cases, folder)
    if (cases.has_captions or cases.has_picture_questions) and not cases.classes:
        cases = replace(cases, classes=(cases.name,))  # nothing says of what sort they are
    if voices.holds(cases):
        return pieces_page(cases, folder)
    if recordings.holds(cases):
        return recordings_page(cases, folder)
    target = targets.of(cases)
    counts, rows = target.counts(), target.rows(SHOWN)
    largest = sorted(sorted(rows, key=lambda k: -counts[k])[:MOST_CLASSES])
    chosen = {cases.classes[k]: target.examples(k, rows[k]) for k in largest}
    sizes = [counts[k] for k in largest]
    with files.atomically(folder / "data.png") as beside:
        title, counted = cases.name, _(target.counted)
        beside.write_bytes(plots.overview(chosen, sizes, target.pixels(), title, counted))

    followed = list(range(EXAMPLES)) if target.every_class else [rows[k][0] for k in largest]
    followed = list(dict.fromkeys(followed))[: min(EXAMPLES, len(cases))]
    marked = [_marked(cases, i) for i in followed]
    augmentation = [_augmented(cases, i) for i in followed] if cases.augment else []
    headings = {
        "classes": _(target.heading),
        "sizes": _("Sizes and pixel values"),
        "preparation": _("Preparation, step by step"),
        "augmentation": _("Augmentation, step by step"),
        "parts": _("Parts and groups"),
        "skipped": _("Skipped files"),
    }
    parts = _parts(cases)
    preparation = [_prepared(cases, i) for i in followed] if cases.pictures else []
    there = {
        "preparation": preparation, "augmentation": augmentation, "parts": parts,
        "skipped": cases.skipped,
    }  # fmt: skip
    text = page(
        "data.html",
        title=cases.name,
        eyebrow=_("data"),
        facts=[
            Fact(_("cases"), units.whole(len(cases))),
            Fact(headings["classes"], units.whole(target.number), _uneven(target, sizes)),
            Fact(*shape_of(cases)),
            Fact(_("files skipped"), units.whole(len(cases.skipped))),
        ],
        contents=[(name, title) for name, title in headings.items() if there.get(name, True)],
        headings=headings,
        classes=plot(
            plots.classes(chosen, sizes, _(target.counted)),
            "; ".join(f"{cases.classes[k]} {counts[k]}" for k in largest),
        ),
        classes_caption=_("Of {all} classes, the {count} largest.").format(
            all=len(cases.classes), count=len(largest)
        )
        if len(largest) < len(cases.classes)
        else "",
        sizes=_sizes(cases),
        marked=list(filter(None, marked)),
        pixels=plot(plots.pixels(target.pixels()), _("how often each pixel value occurs")),
        preparation=preparation,
        augmentation=augmentation,
        parts=parts,
        skipped=cases.skipped,
    )
    return write(folder / "data.html", text)


def _marked(cases: Dataset, row: int) -> Plot | None:
    """Return an image with its target drawn on it; None where the target cannot be drawn."""
    drawn = targets.of(cases).drawn(row)
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
    if cases.pictures:
        facts = [(_("images as souron uses them"), picture_size(cases))]
    else:
        facts = [(_("volumes as souron uses them"), shape_of(cases)[1])]
    every = max(1, len(cases) // MOST_MEASURED)
    sizes = []
    for row in range(0, len(cases), every) if cases.pictures else ():
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
                _("from {least} to {most} pixels, median {middle}").format(
                    least=least, most=most, middle=middle
                ),
            ),
        )
    some = cases.input[::every].float()
    facts.append((_("mean of all pixels"), f"{some.mean().item():.1f}"))
    facts.append((_("standard deviation"), f"{some.std().item():.1f}"))
    if cases.spacing and cases.volumes:
        steps = np.array(cases.spacing)
        ends = [
            f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g}–{high:.3g}"
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
    name, pixels = targets.of(cases).words(row), cases.input[row]
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
        _("normalised: {low} to {high}").format(
            low=f"{normal.min().item():.1f}", high=f"{normal.max().item():.1f}"
        ),
        name,
    )
    return [*steps, tile(plots.signed(normal), name, lines)]


def _normalised(cases: Dataset, pixels: Tensor) -> Tensor:
    seen = registry.load_task("classify").spec(cases)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (seen.mean, seen.std))
    return (pixels / 255 - mean) / std


def _augmented(cases: Dataset, row: int) -> list[Tile]:
    name, pixels = targets.of(cases).words(row), cases.input[row]
    told = transforms.what()
    return [
        tile(pixels, name, (_("as it is"), name)),
        *(
            tile(picture, step, (step, told.get(step, "")))
            for step, picture in transforms.steps(pixels, cases.augment)
        ),
    ]


def _parts(cases: Dataset) -> list[tuple[str, str]]:
    facts = [
        (part, _("{count} cases").format(count=units.whole(list(cases.part).count(part))))
        for part in sorted(set(cases.part) - {""})
    ]
    if cases.group:
        facts.append((_("groups, kept together"), units.whole(len(set(cases.group)))))
    return facts
