"""Report sections of object detectors."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset
from souron.data.targets.boxes import boxes_of
from souron.data.targets.instances import Instances
from souron.data.targets.poses import Figures
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision import detection
from souron.evaluation.vision.detection import DetectionResult, Found, OfLabel
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.metrics.froc import RATES, Froc
from souron.report import plots
from souron.report.page import Plot, Section, figure, filled, joined, plot, section, spread
from souron.report.parts import Table
from souron.report.steps import steps
from souron.utils import plotting, units
from souron.utils.messages import _, listed

FEW_IMAGES = 200  # with fewer, intervals of average precision are too narrow (by simulation)
TEMPLATE = "detect.html"
SHOWN, WORST, SIDE_BY_SIDE = 6, 10, 4  # images
FIGURES = ("AP", "AP50")
PANE = 384  # pixels a side of an image in the report
LEAST_CURVES, MOST_CURVES = 1, 12  # labels in one plot


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for a detector."""
    result, test = record.details, record.test
    assert isinstance(result, DetectionResult) and test is not None
    constant = _("always the mean box of the most frequent label")
    parts = (
        ("found", _("Found boxes"), found_of(test, result)),
        ("precision", _("Average precision"), precision(record, result, constant, FIGURES)),
        ("curves", _("Precision and recall"), curves(result)),
        ("froc", _("Sensitivity and false positives (FROC)"), free_response(result)),
        ("confusion", _("Confusion matrix"), confusion(test, result)),
        ("worst", _("The most mistakes"), worst(test, result)),
    )
    said = [one for name, title, part in parts for one in section(name, title, TEMPLATE, part)]
    return [*said, *steps(record, test, partial(objects_in, test))]


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    return section("side_by_side", _("Side by side"), TEMPLATE, side_by_side(record))


def side_by_side(record: ComparisonRecord) -> list[Plot]:
    """Show some test images with their true objects and the detections of each system."""
    test, found = record.test, record.details
    if test is None or not test.images:
        return []
    return [
        _drawn(test, row, {name: boxes[row] for name, boxes in found.items()}, test.file[row])
        for row in spread(len(test), SIDE_BY_SIDE)
    ]


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its AP50 is {value} (95 % interval {interval})."
    )
    return filled(record, text, "AP50")


def notes(record: RunRecord) -> list[str]:
    """Warn of figures no better than a constant answer, absent labels, and few test images."""
    result = record.details
    if not isinstance(result, DetectionResult):
        return []
    text = _("No better than always answering one mean box (AP50 {value}).")
    return [*no_better(record, text, "AP50"), *absent(result), *few_images(record)]


def few_images(record: RunRecord) -> list[str]:
    """Warn where average precision is measured on few test images, where it is biased upwards."""
    count = record.parts.get("test", 0)
    if not 0 < count < FEW_IMAGES:
        return []
    return [
        _(
            "Average precision of {count} test images: on fewer than {least} it is read about 0.4 "
            "standard deviations too high, and its interval holds the truth in 88 %, not in 95 %."
        ).format(count=count, least=FEW_IMAGES)
    ]


def no_better(record: RunRecord, text: str, name: str) -> list[str]:
    """Warn where a metric is not distinguishable from that of the constant answer."""
    constant = record.details.baselines.get("constant", {}).get(name)
    measure = record.measures.get(name)
    if not measure or not constant or measure.low > constant.value:
        return []
    return [text.format(value=registry.metric(name).text(constant.value))]


def absent(result: DetectionResult) -> list[str]:
    """Warn of labels without an object in the test images."""
    names = [one.name for one in result.labels if not one.objects]
    if not names:
        return []
    text = _("Labels without an object in the test images, which no figure counts: {labels}.")
    return [text.format(labels=listed(names, 12))]


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    labels = record.test.classes if record.test is not None else ()
    text = _("Finding {labels} in images like those of {data}.").format(data=record.data, labels=listed(labels, 20))
    return text, 'model("picture.png").save(Path("found.png"))'


def found_of(test: Dataset, result: DetectionResult) -> dict[str, Any] | None:
    if not test.images:
        return None
    return {
        "conf": f"{result.conf:.2f}",
        "pictures": [_beside_truth(test, row, result) for row in spread(len(test), SHOWN)],
    }


def worst(test: Dataset, result: DetectionResult) -> dict[str, Any] | None:
    """Show the images with the most missed objects, false positives and wrong labels."""
    if not test.images:
        return None
    mistakes = []
    for row, found in enumerate(result.found):
        table = detection.confusion([found], test.only([row]), result.conf)
        mistakes.append(int(table.sum() - np.trace(table)))
    order = sorted(range(len(mistakes)), key=lambda row: -mistakes[row])[:WORST]
    images = [_beside_truth(test, row, result) for row in order if mistakes[row]]
    return {"pictures": images} if images else None


def objects_in(test: Dataset, row: int) -> int:
    [box] = boxes_of([test.target[row]])
    return int((box[:, 0] >= 0).sum())


def _beside_truth(test: Dataset, row: int, result: DetectionResult) -> Plot:
    return _drawn(test, row, {_("found"): result.found[row]}, test.file[row])


def _drawn(test: Dataset, row: int, found: Mapping[str, Found], file: str) -> Plot:
    """Show a test image with its true objects and, beside it, the detections of each system."""
    true = _without_crowds(test.target[row])
    panes = [_pane(test, row, true)] + [_pane(test, row, boxes) for boxes in found.values()]
    said = [f"{name}: {_words(test, boxes)}" for name, boxes in found.items()]
    words = "; ".join([_("{file}: true: {boxes}").format(file=file, boxes=_words(test, true)), *said])
    return joined(panes, words)


def _without_crowds(objects: Found) -> Found:
    if isinstance(objects, torch.Tensor):
        return objects[objects[:, 0] >= 0]
    return objects.of(objects.box[:, 0] >= 0)


def _pane(test: Dataset, row: int, objects: Found) -> Image.Image:
    canvas = overlay.Canvas(Picture.of(test.input[row]))
    masks = objects.masks(test.side).numpy() if isinstance(objects, Instances) else None
    if isinstance(objects, Figures):
        for points in objects.point.tolist():
            marked = [point[:2] if point[2] > 0 else None for point in points]
            canvas.bones(marked, objects.skeleton.lines)
    [boxes] = boxes_of([objects])
    for place, (label, *corners_and_score) in enumerate(boxes.tolist()):
        name, colour = test.classes[int(label)], overlay.colour(int(label))
        if len(corners_and_score) > 4:
            name = f"{name} {corners_and_score[4]:.0%}"
        if masks is None:
            canvas.box(corners_and_score[:4], name, colour)
        else:
            canvas.area(masks[place], name, colour)
    return canvas.image.resize((PANE, PANE), Image.Resampling.LANCZOS)


def _words(test: Dataset, objects: Found) -> str:
    [boxes] = boxes_of([objects])
    names = [test.classes[int(label)] for label in boxes[:, 0].tolist()]
    return ", ".join(names) or _("nothing")


def precision(record: RunRecord, result: DetectionResult, constant: str, figures: Sequence[str]) -> dict[str, Any]:
    """Tabulate average precision by label and beside baselines.

    The baselines are the constant answer, which ``constant`` describes, and the untrained network.
    ``figures`` are names of metrics.
    """
    names = {"": record.system, "constant": constant, "untrained": _("the same network untrained")}
    every = {"": record.measures, **result.baselines}
    assert record.test is not None
    return {
        "side": record.test.side,
        "labels": [_label(one) for one in result.labels],
        "systems": [
            {"name": names[name], "figures": [figure(m, measures.get(m)) for m in figures]}
            for name, measures in every.items()
        ],
        "groups": record.measures[next(iter(record.measures))].groups if record.measures else None,
        "coco": [(name, units.UNKNOWN if np.isnan(value) else f"{value:.3f}") for name, value in result.coco.items()],
    }


def _label(one: OfLabel) -> dict[str, Any]:
    at = one.at or (0.0, 0.0)
    return {
        "name": one.name,
        "objects": one.objects,
        "figures": [figure("AP", one.ap), figure("AP50", one.ap50)],
        "recall": units.percent(at[0]) if one.objects else units.UNKNOWN,
        "precision": units.percent(at[1]) if one.at else units.UNKNOWN,
    }


def curves(result: DetectionResult) -> dict[str, Any] | None:
    there = [one for one in result.labels if one.objects and len(one.recall)]
    there = sorted(there, key=lambda one: -one.objects)[:MOST_CURVES]
    if len(there) < LEAST_CURVES:
        return None
    words = "; ".join(f"{one.name}: {one.ap50.value:.2f}" for one in there if one.ap50)
    image = plot(precision_recall(there), _("AP50 of each label: {figures}").format(figures=words))
    return {"picture": image, "conf": f"{result.conf:.2f}"}


def precision_recall(labels: Sequence[OfLabel]) -> bytes:
    """Plot precision against recall over score thresholds; a ring marks the chosen threshold."""
    figure: Figure = plotting.new_figure(6.4, 4.6)
    axes = figure.subplots()
    plotting.style_axes(axes, _("recall"), _("precision"))
    for index, one in enumerate(labels):
        best = np.maximum.accumulate(one.precision[::-1])[::-1]
        recall = np.concatenate([[0.0], one.recall])
        axes.plot(
            recall,
            np.concatenate([best[:1], best]),
            **plotting.line_style(index),
            linewidth=1.8,
            label=plotting.label(one.name, 24),
        )
        if one.at is not None:
            axes.plot(*one.at, "o", markersize=7, fillstyle="none", color=plotting.INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    plotting.add_legend(figure, axes, 3)
    return plotting.as_png(figure)


def free_response(result: DetectionResult) -> dict[str, Any] | None:
    """Show the FROC by each rule of a hit; None without an object in the test images."""
    if not result.froc:
        return None
    names = {"overlap": _("overlap of 0.5 or more"), "centre": _("centre in the object's box")}
    columns = []
    for rule, (curve, sensitivity, alarms) in result.froc.items():
        shown = [*curve.sensitivity, curve.mean, sensitivity]
        cells = [f"{units.percent(one.value)} ({units.interval('share', one.low, one.high)})" for one in shown]
        area = f"{curve.area.value:.3f} ({units.ends(f'{curve.area.low:.3f}', f'{curve.area.high:.3f}')})"
        false = f"{units.measure('', alarms.value)} ({units.interval('', alarms.low, alarms.high)})"
        columns.append((names[rule], [*cells[:-1], area, cells[-1], false]))
    area_name = "AFROC" if next(iter(result.froc.values()))[0].without else "AFROC1"
    figures = [
        *(_("{rate} false positives per image").format(rate=f"{rate:g}") for rate in RATES),
        _("mean of these (CPM)"),
        area_name,
        _("sensitivity at the score of {conf}").format(conf=f"{result.conf:.2f}"),
        _("false positives per image there"),
    ]
    rows = [(name, *(cells[row] for _rule, cells in columns)) for row, name in enumerate(figures)]
    rules = [name for name, _cells in columns]
    words = _("sensitivity against false positives per image")
    return {
        "picture": plot(free_response_curves({names[rule]: one[0] for rule, one in result.froc.items()}), words),
        "table": Table((_("sensitivity"), *rules), rows, right=rules),
    }


def free_response_curves(curves: Mapping[str, Froc]) -> bytes:
    """Plot sensitivity against false positives per image, with intervals at 1/8 to 8."""
    figure: Figure = plotting.new_figure(6.4, 4.2)
    axes = figure.subplots()
    plotting.style_axes(axes, _("false positives per image"), _("sensitivity"))
    for index, (name, one) in enumerate(curves.items()):
        style = plotting.line_style(index)
        rates = np.geomspace(RATES[0], RATES[-1], 400)
        axes.plot(rates, np.interp(rates, *one.curve), **style, linewidth=1.8, label=plotting.label(name, 40))
        places = [rate * 1.02**index for rate in RATES]
        ends = [each.low for each in one.sensitivity], [each.high for each in one.sensitivity]
        axes.vlines(places, *ends, color=style["color"], linewidth=1.2, alpha=0.6)
    axes.set_xscale("log", base=2)
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylim(-0.02, 1.02)
    plotting.add_legend(figure, axes, 2)
    return plotting.as_png(figure)


def confusion(test: Dataset, result: DetectionResult) -> dict[str, Any]:
    names = [*test.classes, _("background")]
    matrix = torch.from_numpy(result.confusion)
    objects, wrong = result.confusion[:-1], result.confusion[:-1, :-1]
    right = int(np.trace(wrong))
    return {
        "picture": plot(
            plots.confusion(matrix, names),
            _("which labels are detected as which; the last row are boxes without an object"),
        ),
        "text": _(
            "Of {objects} objects {right} were found with their label, {mistaken} with another "
            "one, {missed} were missed; {alarms} boxes hold no object."
        ).format(
            objects=units.whole(int(objects.sum())),
            right=units.whole(right),
            mistaken=units.whole(int(wrong.sum()) - right),
            missed=units.whole(int(result.confusion[:-1, -1].sum())),
            alarms=units.whole(int(result.confusion[-1].sum())),
        ),
    }
