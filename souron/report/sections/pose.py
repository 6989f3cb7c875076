"""Report sections of pose estimators: those of detectors, and the error of each keypoint."""

from typing import Any

import torch
from PIL import Image

from souron import registry
from souron.blocks.boxes import pasted
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision import poses
from souron.evaluation.vision.detection import DetectionResult
from souron.evaluation.vision.poses import OfPoint
from souron.report import plots
from souron.report.page import Section, Tile, figure, filled, section, tile
from souron.report.sections import detect
from souron.report.steps import LOOKED_AT
from souron.utils import units
from souron.utils.messages import _

TEMPLATE = "pose.html"
FIGURES = ("OKS AP", "OKS AP50", "box AP", "box AP50")
ERROR, NEAR = "mean radial error in pixels", "within 1/50 of the side"  # names of the metrics
TILE = 192  # pixels a side of a heat map


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report."""
    result, test = record.details, record.test
    assert isinstance(result, DetectionResult) and test is not None
    constant = _("always the mean box of the most frequent label, with the mean pose in it")
    figures = detect.precision(record, result, constant, FIGURES)
    parts = (
        ("found", _("Found figures"), TEMPLATE, detect.found_of(test, result)),
        ("precision", _("Average precision"), TEMPLATE, figures),
        ("points", _("Point by point"), TEMPLATE, _points(test, result)),
        ("curves", _("Precision and recall"), TEMPLATE, detect.curves(result)),
        ("maps", _("How it finds the points"), TEMPLATE, _maps(record, test)),
        ("worst", _("The most mistakes"), TEMPLATE, detect.worst(test, result)),
    )
    return [one for part in parts for one in section(*part)]


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    return section("side_by_side", _("Side by side"), TEMPLATE, detect.side_by_side(record))


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


def _points(test: Dataset, result: DetectionResult) -> list[dict[str, Any]]:
    return [_of(one) for one in poses.by_point(result.found, test)]


def _of(one: OfPoint) -> dict[str, Any]:
    metric = registry.metric(ERROR)
    return {
        "name": one.name,
        "marked": one.marked,
        "figures": [figure(ERROR, one.error), figure(NEAR, one.near)],
        "worst": metric.text(one.worst) if one.marked else units.UNKNOWN,
    }


@torch.inference_mode()
def _maps(record: RunRecord, test: Dataset) -> dict[str, Any] | None:
    """Show the heat map of each keypoint for the most confident detection.

    The image is the one with the most annotated figures among the first test images.
    """
    model = record.model
    if not test.images or model is None or not hasattr(model, "maps"):
        return None
    few = range(min(len(test), LOOKED_AT))
    row = max(few, key=lambda row: int((test.target[row].box[:, 0] >= 0).sum()))
    [batch] = model.loader(test.only([row])).once()
    found = model.eval().maps(batch.image)
    if not found or not len(found[0][0]):
        return None
    box, maps = (part[0].float().cpu() for part in found[0])
    edges = box[None, 1:5].expand(len(maps), -1)
    heat = pasted(maps, edges, test.side, test.side)
    names = test.target[row].skeleton.names
    tiles = [_heat(test, row, each, box, name) for each, name in zip(heat, names, strict=True)]
    return {"tiles": tiles, "label": test.classes[int(box[0])], "score": f"{box[5]:.0%}"}


def _heat(test: Dataset, row: int, heat: torch.Tensor, box: torch.Tensor, name: str) -> Tile:
    bright = (heat / heat.max().clamp(min=1e-12)).sqrt()
    shown = plots.overlay(test.input[row], bright)
    left, top, right, bottom = (box[1:5] * shown.width / test.side).tolist()
    half = max(right - left, bottom - top) * 0.55
    x, y = (left + right) / 2, (top + bottom) / 2
    window = (round(x - half), round(y - half), round(x + half), round(y + half))
    shown = shown.crop(window).resize((TILE, TILE), Image.Resampling.LANCZOS)
    return tile(shown, f"{test.file[row]}: {name}", (name,))
