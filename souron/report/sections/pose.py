"""Report sections of pose estimators: those of detectors, and the error of each keypoint."""

import torch
from PIL import Image

from souron import registry
from souron.blocks.boxes import pasted
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision import poses
from souron.evaluation.vision.detection import DetectionResult
from souron.report import plots
from souron.report.blocks import Block, Gallery, Section, Table, Tile, sections
from souron.report.page import bare, filled, tile
from souron.report.sections import detect
from souron.report.steps import LOOKED_AT
from souron.utils import units
from souron.utils.messages import _

FIGURES = ("OKS AP", "OKS AP50", "box AP", "box AP50")
ERROR, NEAR = "mean radial error in pixels", "within 1/50 of the side"  # names of the metrics
TILE = 192  # pixels a side of a heat map


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, DetectionResult) and test is not None
    constant = _("always the mean box of the most frequent label, with the mean pose in it")
    text = _(
        "Test images: on the left with their true figures, on the right with those that were found with a score of at "
        "least {conf}. The threshold was chosen on validation images, where F1 is largest."
    )
    explained = _(
        "Average precision as COCO computes it, with the similarity of poses (OKS) in place of the overlap: OKS AP50 "
        "counts a figure whose points are similar by half, OKS AP is the mean over similarities from 0.50 to 0.95. Box "
        "AP is the usual one of the boxes."
    )
    coco = _("The twelve figures of COCO's evaluator, of boxes")
    mistakes = _(
        "Test images with the most missed figures, false figures and wrong labels: on the left the true figures."
    )
    similar = _(
        "A lower threshold finds more and is wrong more often; at a similarity of 0.5. The ring is the score of {conf}."
    )
    precision = detect.precision(record, result, constant, FIGURES, coco)
    return sections(
        ("found", _("Found figures"), detect.found_of(test, result, text)),
        ("precision", _("Average precision"), [explained, *precision]),
        ("points", _("Point by point"), _points(test, result)),
        ("curves", _("Precision and recall"), detect.curves(result, similar)),
        ("maps", _("How it finds the points"), _maps(record, test)),
        ("worst", _("The most mistakes"), detect.worst(test, result, mistakes)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    text = _(
        "The same test images: on the left with their true figures, then as each system in the order of the table "
        "found them."
    )
    return sections(("side_by_side", _("Side by side"), detect.side_by_side(record, text)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its OKS AP50 is {value} (95 % interval {interval})."
    )
    return filled(record, text, "OKS AP50")


def notes(record: RunRecord) -> list[str]:
    """Warn of figures no better than a constant answer, drawn people, absent labels, few images."""
    result = record.details
    if not isinstance(result, DetectionResult):
        return []
    text = _("No better than always answering one mean pose (OKS AP50 {value}).")
    told = detect.no_better(record, text, "OKS AP50")
    if "(drawn)" in (record.test.name if record.test is not None else ""):
        told.append(_("The figures are synthetic: no number here holds for photographs of people."))
    return [*told, *detect.absent(result), *detect.few_images(record)]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    return detect.use(record)


def _points(test: Dataset, result: DetectionResult) -> list[Block]:
    columns = [_("figures"), _("mean error"), _("95 % interval"), _("near"), _("95 % interval"), _("largest")]
    rows = [
        [
            one.name,
            units.whole(one.marked),
            *bare(ERROR, one.error),
            *bare(NEAR, one.near),
            registry.metric(ERROR).text(one.worst) if one.marked else units.UNKNOWN,
        ]
        for one in poses.by_point(result.found, test)
    ]
    text = _(
        "Of the figures that were found (OKS of 0.5 or more): the mean error of each point, and how many are within a "
        "tenth of the square root of the figure's area."
    )
    return [text, Table([_("point"), *columns], rows, right=columns)] if rows else []


@torch.inference_mode()
def _maps(record: RunRecord, test: Dataset) -> list[Block]:
    """Show the heat map of each keypoint for the most confident detection.

    The image is the one with the most annotated figures among the first test images.
    """
    model = record.model
    if not test.images or model is None or not hasattr(model, "maps"):
        return []
    few = range(min(len(test), LOOKED_AT))
    row = max(few, key=lambda row: int((test.target[row].box[:, 0] >= 0).sum()))
    [batch] = model.loader(test.only([row])).once()
    found = model.eval().maps(batch.image)
    if not found or not len(found[0][0]):
        return []
    box, maps = (part[0].float().cpu() for part in found[0])
    edges = box[None, 1:5].expand(len(maps), -1)
    heat = pasted(maps, edges, test.side, test.side)
    names = test.target[row].skeleton.names
    tiles = [_heat(test, row, each, box, name) for each, name in zip(heat, names, strict=True)]
    text = _(
        "First the box of a figure is found ({label}, {score}), then in it a heat map of each point: bright is where "
        "the point likely is. The brightest position is the answer."
    )
    return [text.format(label=test.classes[int(box[0])], score=f"{box[5]:.0%}"), Gallery(tiles)]


def _heat(test: Dataset, row: int, heat: torch.Tensor, box: torch.Tensor, name: str) -> Tile:
    bright = (heat / heat.max().clamp(min=1e-12)).sqrt()
    shown = plots.overlay(test.input[row], bright)
    left, top, right, bottom = (box[1:5] * shown.width / test.side).tolist()
    half = max(right - left, bottom - top) * 0.55
    x, y = (left + right) / 2, (top + bottom) / 2
    window = (round(x - half), round(y - half), round(x + half), round(y + half))
    shown = shown.crop(window).resize((TILE, TILE), Image.Resampling.LANCZOS)
    return tile(shown, f"{test.file[row]}: {name}", (name,))
