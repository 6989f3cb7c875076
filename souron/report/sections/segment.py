"""Report sections of semantic segmentation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.segmentation import UNKNOWN, OfLabel, SegmentationResult
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.report import plots
from souron.report.page import Plot, Section, figure, filled, joined, plot, section, spread
from souron.report.steps import steps
from souron.utils import units
from souron.utils.messages import _, listed

TEMPLATE = "segment.html"
SHOWN, WORST, SIDE_BY_SIDE = 6, 6, 4  # images
PANE = 384  # pixels of the longer side of an image in the report
FIGURES = ("mIoU", "object IoU", "boundary IoU", "pixel accuracy")


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for semantic segmentation."""
    result, test = record.details, record.test
    assert isinstance(result, SegmentationResult) and test is not None
    parts = (
        ("found", _("Found areas"), _found(test, result)),
        ("overlap", _("Intersection over union"), _overlap(record, result)),
        ("confusion", _("Confusion matrix"), _confusion(test, result)),
        ("worst", _("The least overlap"), _worst(test, result)),
    )
    said = [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]
    return [*said, *steps(record, test, lambda row: len(test.target[row].unique()))]


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    test, found = record.test, record.details
    if test is None or not test.images:
        return []
    images = [
        _drawn(test, row, {name: maps[row] for name, maps in found.items()}) for row in spread(len(test), SIDE_BY_SIDE)
    ]
    return section("side_by_side", _("Side by side"), TEMPLATE, images)


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


def _found(test: Dataset, result: SegmentationResult) -> dict[str, Any] | None:
    if not test.images or not len(test):
        return None
    rows = spread(len(test), SHOWN)
    return {"pictures": [_drawn(test, row, {_("found"): result.found[row]}) for row in rows]}


def _worst(test: Dataset, result: SegmentationResult) -> dict[str, Any] | None:
    """Show the images with the lowest mean IoU."""
    order = [row for row in np.argsort(result.each).tolist() if result.each[row] < 1][:WORST]
    if not test.images or not order:
        return None
    return {"pictures": [_drawn(test, row, {_("found"): result.found[row]}) for row in order]}


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


def _overlap(record: RunRecord, result: SegmentationResult) -> dict[str, Any]:
    """Tabulate IoU by class and beside baselines: the constant answer and the untrained network."""
    names = {
        "": record.system,
        "constant": _("every pixel {label}").format(label=result.labels[result.constant].name),
        "untrained": _("the same network untrained"),
    }
    every = {"": record.measures, **result.baselines}
    return {
        "systems": [
            {"name": names[name], "figures": [figure(m, measures.get(m)) for m in FIGURES]}
            for name, measures in every.items()
        ],
        "labels": [_label(one) for one in result.labels],
        "groups": record.measures[next(iter(record.measures))].groups if record.measures else None,
    }


def _label(one: OfLabel) -> dict[str, Any]:
    return {
        "name": one.name,
        "pixels": one.pixels,
        "pictures": one.pictures,
        "figures": [figure("mIoU", one.iou)],
        "shares": [
            units.UNKNOWN if share is None else units.percent(share) for share in (one.edge, one.recall, one.precision)
        ],
    }


def _confusion(test: Dataset, result: SegmentationResult) -> dict[str, Any]:
    table = result.confusion
    total, objects = int(table.sum()), int(table[1:].sum())
    right = int(np.trace(table[1:, 1:]))
    return {
        "picture": plot(
            plots.confusion(torch.from_numpy(table), test.classes), _("which classes are predicted as which, in pixels")
        ),
        "text": _(
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
        ),
    }
