"""Report sections of semantic segmentation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.segmentation import UNKNOWN, SegmentationResult
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.report import plots
from souron.report.blocks import Block, Group, Plot, Section, Table, pictures, sections
from souron.report.page import figure, figures, filled, grouped, joined, plot, spread
from souron.report.steps import steps
from souron.utils import units
from souron.utils.messages import _, listed

SHOWN, WORST, SIDE_BY_SIDE = 6, 6, 4  # images
PANE = 384  # pixels of the longer side of an image in the report
FIGURES = ("mIoU", "object IoU", "boundary IoU", "pixel accuracy")


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for semantic segmentation."""
    result, test = record.details, record.test
    assert isinstance(result, SegmentationResult) and test is not None
    return sections(
        ("found", _("Found areas"), _found(test, result)),
        ("overlap", _("Intersection over union"), _overlap(record, result)),
        ("confusion", _("Confusion matrix"), _confusion(test, result)),
        ("worst", _("The least overlap"), _worst(test, result)),
        ("steps", _("How it finds them"), steps(record, test, lambda row: len(test.target[row].unique()))),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    test, found = record.test, record.details
    if test is None or not test.images:
        return []
    rows = spread(len(test), SIDE_BY_SIDE)
    images = [_drawn(test, row, {name: maps[row] for name, maps in found.items()}) for row in rows]
    text = _(
        "The same test images: on the left with their true areas, then as each system in the order of the table found "
        "them."
    )
    return sections(("side_by_side", _("Side by side"), pictures(text, images)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its mean IoU is {value} (95 % interval {interval})."
    )
    return filled(record, text, "mIoU")


def notes(record: RunRecord) -> list[str]:
    """Warn of figures no better than a constant answer, and of classes without a test pixel."""
    result = record.details
    if not isinstance(result, SegmentationResult):
        return []
    told = []
    constant = result.baselines.get("constant", {}).get("mIoU")
    measure = record.measures.get("mIoU")
    if measure and constant and measure.low <= constant.value:
        told.append(
            _("No better than predicting {label} for every pixel (mIoU {value}).").format(
                label=result.labels[result.constant].name, value=registry.metric("mIoU").text(constant.value)
            )
        )
    absent = [one.name for one in result.labels if not one.pixels]
    if absent:
        told.append(
            _("Classes without a pixel in the test images, which no figure counts: {labels}.").format(
                labels=listed(absent, 12)
            )
        )
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    labels = record.test.classes[1:] if record.test is not None else ()
    text = _("Segmenting the areas of {labels} in images like those of {data}.").format(
        data=record.data, labels=listed(labels, 20)
    )
    return text, 'model("picture.png").save(Path("areas.png"))'


def _found(test: Dataset, result: SegmentationResult) -> list[Block]:
    rows = spread(len(test), SHOWN) if test.images and len(test) else []
    text = _("Test images: on the left with their true areas, on the right with those that were found.")
    return pictures(text, [_drawn(test, row, {_("found"): result.found[row]}) for row in rows])


def _worst(test: Dataset, result: SegmentationResult) -> list[Block]:
    """Show the images with the lowest mean IoU."""
    order = [row for row in np.argsort(result.each).tolist() if result.each[row] < 1][:WORST] if test.images else []
    text = _("Test images with the lowest mean IoU, each by itself: on the left with their true areas.")
    return pictures(text, [_drawn(test, row, {_("found"): result.found[row]}) for row in order])


def _drawn(test: Dataset, row: int, found: Mapping[str, Any]) -> Plot:
    """Show a test image with its true areas and, beside it, those of each system."""
    true = np.asarray(test.target[row])
    panes = [_pane(test, row, true), *(_pane(test, row, np.asarray(one)) for one in found.values())]
    said = [f"{name}: {_words(test, np.asarray(one))}" for name, one in found.items()]
    told = _("{file}: true: {boxes}").format(file=test.file[row], boxes=_words(test, true))
    return joined(panes, "; ".join([told, *said]))


def _pane(test: Dataset, row: int, area: np.ndarray) -> Image.Image:
    canvas = overlay.Canvas(Picture.of(test.input[row]))
    for label in np.unique(area).tolist():
        if 0 < label < len(test.classes):
            canvas.area(area == label, test.classes[label], overlay.colour(label - 1))
    scale = PANE / max(canvas.image.size)
    size = (round(canvas.image.width * scale), round(canvas.image.height * scale))
    return canvas.image.resize(size, Image.Resampling.LANCZOS)


def _words(test: Dataset, area: np.ndarray) -> str:
    there = np.unique(area).tolist()
    names = [test.classes[label] for label in there if 0 < label < min(UNKNOWN, len(test.classes))]
    return ", ".join(names) or _("nothing")


def _overlap(record: RunRecord, result: SegmentationResult) -> list[Block]:
    """Tabulate IoU by class and beside baselines: the constant answer and the untrained network."""
    names = {
        "": record.system,
        "constant": _("every pixel {label}").format(label=result.labels[result.constant].name),
        "untrained": _("the same network untrained"),
    }
    every = {"": record.measures, **result.baselines}
    text = _(
        "The IoU of a class: the correctly predicted pixels of it, as a share of those that are of it or were "
        "predicted as it, over all test images together. mIoU is the mean over the classes, object IoU that of objects "
        "of any class against the background, boundary IoU counts only pixels near the edge of an area."
    )
    columns = [
        _("pictures"), _("pixels"), "IoU", _("95 % interval"), _("boundary IoU"), _("recall"), _("precision")
    ]  # fmt: skip
    labels = [
        [
            one.name,
            units.whole(one.pictures),
            units.whole(one.pixels),
            *figure("mIoU", one.iou),
            *(
                units.UNKNOWN if share is None else units.percent(share)
                for share in (one.edge, one.recall, one.precision)
            ),
        ]
        for one in result.labels
    ]
    return [
        text,
        *figures([_("system")], [([names[name]], measures) for name, measures in every.items()], FIGURES),
        *grouped(record),
        Group(_("Class by class"), [Table([_("class"), *columns], labels, right=columns)]),
    ]


def _confusion(test: Dataset, result: SegmentationResult) -> list[Block]:
    table = result.confusion
    total, objects = int(table.sum()), int(table[1:].sum())
    right = int(np.trace(table[1:, 1:]))
    alt = _("which classes are predicted as which, in pixels")
    text = _(
        "Of {objects} pixels of objects {right} got their class, {mistaken} another one and "
        "{missed} were predicted as background; {alarms} pixels of the background were "
        "predicted as objects. {share} of all pixels are background."
    ).format(
        objects=units.whole(objects),
        right=units.whole(right),
        mistaken=units.whole(int(table[1:, 1:].sum()) - right),
        missed=units.whole(int(table[1:, 0].sum())),
        alarms=units.whole(int(table[0, 1:].sum())),
        share=units.percent((total - objects) / max(total, 1)),
    )
    return [text, plot(plots.confusion(torch.from_numpy(table), test.classes), alt)]
