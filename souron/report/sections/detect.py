"""Report sections of object detectors."""

from collections.abc import Mapping, Sequence
from functools import partial

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
from souron.report.blocks import Block, Cell, Group, Plot, Section, Table, pictures, sections
from souron.report.page import figure, figures, filled, grouped, joined, plot, spread
from souron.report.steps import steps
from souron.utils import plotting, units
from souron.utils.messages import _, listed

FEW_IMAGES = 200  # with fewer, intervals of average precision are too narrow (by simulation)
SHOWN, WORST, SIDE_BY_SIDE = 6, 10, 4  # images
FIGURES = ("AP", "AP50")
PANE = 384  # pixels a side of an image in the report
LEAST_CURVES, MOST_CURVES = 1, 12  # labels in one plot


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for a detector."""
    result, test = record.details, record.test
    assert isinstance(result, DetectionResult) and test is not None
    constant = _("always the mean box of the most frequent label")
    text = _(
        "Test images: on the left with their true boxes, on the right with the boxes that were found with a score of "
        "at least {conf}. The threshold was chosen on validation images, where F1 is largest."
    )
    explained = [
        _(
            "Average precision as COCO computes it: AP50 counts a box that overlaps its object by half, AP is the "
            "mean over overlaps from 0.50 to 0.95."
        )
        + " "
        + _(
            "AP small, medium and large sort objects by the area of their boxes (under 32² pixels, under 96², larger) "
            "in the images as the system sees them, {side} pixels a side; COCO takes mask areas in the original "
            "images. They compare with figures at the same side only."
        ).format(side=test.side)
    ]
    coco = _("The twelve figures of COCO's evaluator")
    mistakes = _("Test images with the most missed objects, false boxes and wrong labels: on the left the true boxes.")
    return sections(
        ("found", _("Found boxes"), found_of(test, result, text)),
        ("precision", _("Average precision"), [*explained, *precision(record, result, constant, FIGURES, coco)]),
        ("curves", _("Precision and recall"), curves(result)),
        ("froc", _("Sensitivity and false positives (FROC)"), free_response(result)),
        ("confusion", _("Confusion matrix"), confusion(test, result)),
        ("worst", _("The most mistakes"), worst(test, result, mistakes)),
        ("steps", _("How it finds them"), steps(record, test, partial(objects_in, test))),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    text = _(
        "The same test images: on the left with their true boxes, then as each system in the order of the table found "
        "them."
    )
    return sections(("side_by_side", _("Side by side"), side_by_side(record, text)))


def side_by_side(record: ComparisonRecord, text: str) -> list[Block]:
    """Show some test images with their true objects and the detections of each system."""
    test, found = record.test, record.details
    if test is None or not test.images:
        return []
    rows = spread(len(test), SIDE_BY_SIDE)
    drawn = [_drawn(test, row, {name: boxes[row] for name, boxes in found.items()}, test.file[row]) for row in rows]
    return pictures(text, drawn)


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


def found_of(test: Dataset, result: DetectionResult, text: str) -> list[Block]:
    rows = spread(len(test), SHOWN) if test.images else []
    return pictures(text.format(conf=f"{result.conf:.2f}"), [_beside_truth(test, row, result) for row in rows])


def worst(test: Dataset, result: DetectionResult, text: str) -> list[Block]:
    """Show the images with the most missed objects, false positives and wrong labels."""
    if not test.images:
        return []
    mistakes = []
    for row, found in enumerate(result.found):
        table = detection.confusion([found], test.only([row]), result.conf)
        mistakes.append(int(table.sum() - np.trace(table)))
    order = sorted(range(len(mistakes)), key=lambda row: -mistakes[row])[:WORST]
    return pictures(text, [_beside_truth(test, row, result) for row in order if mistakes[row]])


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


def precision(
    record: RunRecord, result: DetectionResult, constant: str, names: Sequence[str], coco: str
) -> list[Block]:
    """Tabulate average precision by label and beside baselines.

    The baselines are the constant answer, which ``constant`` describes, and the untrained network.
    ``names`` are those of metrics, the first two for each label; ``coco`` is a heading.
    """
    called = {"": record.system, "constant": constant, "untrained": _("the same network untrained")}
    every = {"": record.measures, **result.baselines}
    of_evaluator = [(name, units.UNKNOWN if np.isnan(value) else f"{value:.3f}") for name, value in result.coco.items()]
    return [
        *figures([_("system")], [([called[name]], measures) for name, measures in every.items()], names),
        *grouped(record),
        Group(_("Label by label"), [_by_label(result.labels, names)]),
        Group(coco, [Table([], of_evaluator)], "folded"),
    ]


def curves(result: DetectionResult, overlap: str = "") -> list[Block]:
    there = [one for one in result.labels if one.objects and len(one.recall)]
    there = sorted(there, key=lambda one: -one.objects)[:MOST_CURVES]
    if len(there) < LEAST_CURVES:
        return []
    words = "; ".join(f"{one.name}: {one.ap50.value:.2f}" for one in there if one.ap50)
    text = overlap or _(
        "A lower threshold finds more and is wrong more often; at an overlap of 0.5. The ring is the score of {conf}."
    )
    alt = _("AP50 of each label: {figures}").format(figures=words)
    return [plot(precision_recall(there), alt, text.format(conf=f"{result.conf:.2f}"))]


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


def free_response(result: DetectionResult) -> list[Block]:
    """Show the FROC by each rule of a hit; [] without an object in the test images."""
    if not result.froc:
        return []
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
    caption = _(
        "How many of the objects are found, and how many boxes per image then hold none. Of several boxes for one "
        "object the highest score counts, and the others are not counted."
    )
    text = _(
        "CPM: the mean sensitivity at these seven numbers of false positives, as in LUNA16. AFROC: how often an object "
        "scores higher than the highest false positive of an image without objects; AFROC1: of any image. The "
        "intervals draw patients, or groups of images, with replacement."
    )
    return [
        plot(free_response_curves({names[rule]: one[0] for rule, one in result.froc.items()}), words, caption),
        Table((_("sensitivity"), *rules), rows, right=rules),
        Cell(text, style="faint"),
    ]


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


def confusion(test: Dataset, result: DetectionResult) -> list[Block]:
    names = [*test.classes, _("background")]
    matrix = torch.from_numpy(result.confusion)
    objects, wrong = result.confusion[:-1], result.confusion[:-1, :-1]
    right = int(np.trace(wrong))
    alt = _("which labels are detected as which; the last row are boxes without an object")
    text = _(
        "Of {objects} objects {right} were found with their label, {mistaken} with another "
        "one, {missed} were missed; {alarms} boxes hold no object."
    ).format(
        objects=units.whole(int(objects.sum())),
        right=units.whole(right),
        mistaken=units.whole(int(wrong.sum()) - right),
        missed=units.whole(int(result.confusion[:-1, -1].sum())),
        alarms=units.whole(int(result.confusion[-1].sum())),
    )
    return [text, plot(plots.confusion(matrix, names), alt)]


def _by_label(labels: Sequence[OfLabel], names: Sequence[str]) -> Table:
    heads = [head for name in names[:2] for head in (registry.metric(name).title, _("95 % interval"))]
    count = _("figures") if names[0].startswith("OKS") else _("objects")
    columns = [count, *heads, _("recall"), _("precision")]
    rows = []
    for one in labels:
        recall, precise = one.at or (0.0, 0.0)
        rows.append(
            [
                one.name,
                Cell(units.whole(one.objects), one.objects),
                *figure("AP", one.ap),
                *figure("AP50", one.ap50),
                units.percent(recall) if one.objects else units.UNKNOWN,
                units.percent(precise) if one.at else units.UNKNOWN,
            ]
        )
    return Table([_("label"), *columns], rows, right=columns)
