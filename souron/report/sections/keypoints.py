"""Report sections of landmark detection."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from souron import registry
from souron.data.dataset import Dataset
from souron.evaluation.record import ComparisonRecord, RunRecord
from souron.evaluation.vision.keypoints import KeypointResult, Maps
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.metrics import keypoints
from souron.report import plots
from souron.report.blocks import Block, Cell, Gallery, Group, Plot, Section, Table, Tile, pictures, sections
from souron.report.page import bare, figures, filled, joined, plot, spread, tile
from souron.utils import plotting, units
from souron.utils.messages import _, listed

SHOWN, WORST, SIDE_BY_SIDE = 4, 4, 3  # images
PANE = 512  # pixels a side of an image in the report
TRUE, FOUND = overlay.colour(0), overlay.colour(1)
MOST_LISTED = 30  # landmarks in a text


def run(record: RunRecord) -> list[Section]:
    """Return the sections of a run's report for landmark detection."""
    result, test = record.details, record.test
    assert isinstance(result, KeypointResult) and test is not None
    return sections(
        ("found", _("Found landmarks"), _found(test, result)),
        ("landmarks", _("Landmark by landmark"), _landmarks(record, result)),
        ("success", _("Success rates"), _success(record, result)),
        ("maps", _("Where it looks"), _maps(test, result.maps)),
        ("worst", _("The largest errors"), _worst(test, result)),
    )


def comparison(record: ComparisonRecord) -> list[Section]:
    """Return the same test images with the result of each system, side by side."""
    test, found = record.test, record.details
    if test is None or not test.images:
        return []
    rows = spread(len(test), SIDE_BY_SIDE)
    images = [_drawn(test, row, {name: points[row] for name, points in found.items()}) for row in rows]
    text = _(
        "The same test images as each system in the order of the table sees them: a ring where a landmark is, a dot "
        "where it was found."
    )
    return sections(("side_by_side", _("Side by side"), pictures(text, images)))


def headline(record: RunRecord) -> str:
    """Return the headline of a run's report."""
    name = next((n for n in (keypoints.MEAN, keypoints.PIXELS) if n in record.measures), "")
    text = _(
        "{system} was trained on {train} images of {data} in {time}. On {test} unseen test "
        "images its landmarks are {value} off on average (95 % interval {interval})."
    )
    return filled(record, text, name)


def notes(record: RunRecord) -> list[str]:
    """Warn of figures no better than mean positions, synthetic images, and absent landmarks."""
    result = record.details
    if not isinstance(result, KeypointResult):
        return []
    told = []
    name = keypoints.MEAN if keypoints.MEAN in record.measures else keypoints.PIXELS
    constant, measure = result.baselines["constant"].get(name), record.measures.get(name)
    if measure and constant and measure.high >= constant.value:
        told.append(
            _("No better than always answering each landmark's mean position ({value}).").format(
                value=registry.metric(name).text(constant.value)
            )
        )
    if "synthetic" in (record.test.name if record.test is not None else ""):
        told.append(_("The films are synthetic: no figure here holds for films of patients."))
    absent = [one.name for one in result.landmarks if not one.marked]
    if absent:
        told.append(
            _("Landmarks that no test image has, which no figure counts: {names}.").format(
                names=listed(absent, MOST_LISTED)
            )
        )
    return told


def use(record: RunRecord) -> tuple[str, str]:
    """Return the purpose of the model and the Python line that uses it, for the model card."""
    names = record.test.classes if record.test is not None else ()
    text = _("Finding {names} in images like those of {data}.").format(
        data=record.data, names=listed(names, MOST_LISTED)
    )
    return text, 'model("picture.png").save(Path("found.png"))'


def _found(test: Dataset, result: KeypointResult) -> list[Block]:
    if not test.images:
        return []
    images = [_drawn(test, row, {"": result.found[row]}) for row in spread(len(test), SHOWN)]
    numbers = Table([], [(str(k), name) for k, name in enumerate(test.classes, 1)])
    text = _("Test images: a ring where a landmark is, a dot where it was found, a line between them.")
    return [*pictures(text, images), Group(_("The landmarks by their numbers"), [numbers], "folded")]


def _worst(test: Dataset, result: KeypointResult) -> list[Block]:
    """Show the images with the largest error of a single landmark."""
    if not test.images:
        return []
    largest = np.nan_to_num(result.error, nan=-1).max(1)
    shown = []
    for row in np.argsort(-largest)[:WORST].tolist():
        k = int(np.nan_to_num(result.error[row], nan=-1).argmax())
        far = units.measure(_unit(result), float(largest[row]))
        line = _("{file}: {name} {far} off").format(file=test.file[row], name=_name(test, k), far=far)
        shown.append(replace(_drawn(test, row, {"": result.found[row]}), caption=line))
    return [_("Test images with the largest error of one landmark."), *shown]


def _name(test: Dataset, number: int) -> str:
    return f"{number + 1} {test.classes[number]}"


def _unit(result: KeypointResult) -> str:
    return "mm" if result.millimetres else "px"


def _drawn(test: Dataset, row: int, found: Mapping[str, Any]) -> Plot:
    """Show a test image with true and predicted landmarks, one pane for each system."""
    true = np.asarray(test.target[row])
    panes = [_pane(test, row, true, points) for points in found.values()]
    error = {name: keypoints.mean(keypoints.errors(points[None], true[None]))[0] for name, points in found.items()}
    said = "; ".join(
        _("{name} {far} off on average").format(name=name, far=units.measure("px", far)).strip()
        for name, far in error.items()
    )
    return joined(panes, f"{test.file[row]}: {said}")


def _pane(test: Dataset, row: int, true: Any, found: Any) -> Image.Image:
    """Draw a ring at each true landmark, a dot at the prediction, and a line between them."""
    canvas = overlay.Canvas(Picture.of(test.input[row]))
    draw, scale, reach = canvas.draw, canvas.scale, 2 * canvas.line
    for k, (said, there) in enumerate(zip(found, true, strict=False), 1):
        x, y = said * scale
        if np.isfinite(there).all():
            a, b = there * scale
            draw.line((x, y, a, b), fill=FOUND, width=max(1, canvas.line // 2))
            ring = (a - reach, b - reach, a + reach, b + reach)
            draw.ellipse(ring, outline=TRUE, width=canvas.line)
        dot = reach // 2
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=FOUND)
        draw.text((x + reach + 1, y - 2 * reach), str(k), fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0))
    return canvas.image.resize((PANE, PANE), Image.Resampling.LANCZOS)


def _landmarks(record: RunRecord, result: KeypointResult) -> list[Block]:
    """Tabulate errors by landmark, beside mean positions and the untrained network."""
    first = keypoints.MEAN if result.millimetres else keypoints.PIXELS
    second = f"within {keypoints.WITHIN[0]:g} mm" if result.millimetres else keypoints.NEAR
    names = _names(record)
    systems = [([names[name]], said) for name, said in {"": record.measures, **result.baselines}.items()]
    groups = record.measures[first].groups if first in record.measures else None
    text = _("The intervals count {groups} groups (patients).").format(groups=groups)
    heads = [head for name in (first, second) for head in (registry.metric(name).title, _("95 % interval"))]
    columns = [_("pictures"), *heads, _("largest")]
    landmarks = [
        [
            str(k),
            one.name,
            Cell(units.whole(one.marked), one.marked),
            *bare(first, one.error),
            *bare(second, one.near),
            registry.metric(first).text(one.worst) if one.marked else units.UNKNOWN,
        ]
        for k, one in enumerate(result.landmarks, 1)
    ]
    return [
        _("The radial error is the distance between a landmark and the position where it was found."),
        *figures([_("system")], systems, (first, second), cells=bare),
        *([Cell(text, style="faint")] if groups else []),
        Table([_("number"), _("landmark"), *columns], landmarks, right=[_("number"), *columns]),
    ]


def _names(record: RunRecord) -> dict[str, str]:
    return {
        "": record.system,
        "constant": _("always each landmark's mean position"),
        "untrained": _("the same network untrained"),
    }


def _success(record: RunRecord, result: KeypointResult) -> list[Block]:
    names = [f"within {far:g} mm" for far in keypoints.WITHIN] if result.millimetres else []
    rates = {name: record.measures[name] for name in (*names, keypoints.NEAR) if name in record.measures}
    lines = {"": result.error, **result.baseline_errors}
    drawn = success_curve({_names(record)[name]: error for name, error in lines.items()}, _unit(result))
    alt = "; ".join(
        f"{registry.metric(name).title} {registry.metric(name).text(measure.value)}" for name, measure in rates.items()
    )
    columns = [_("value"), _("95 % interval")]
    rows = [(registry.metric(name).title, *bare(name, measure)) for name, measure in rates.items()]
    return [
        plot(drawn, alt, _("The share of all landmarks whose radial error is at most this large.")),
        Table([_("success rate"), *columns], rows, right=columns),
    ]


def success_curve(errors: Mapping[str, Any], unit: str) -> bytes:
    """Plot the share of landmarks found within each distance."""
    from matplotlib.ticker import PercentFormatter

    figure = plotting.new_figure(6.4, 4.2)
    axes = figure.subplots()
    plotting.style_axes(axes, _("radial error, {unit}").format(unit=unit), _("share of landmarks"))
    first = next(iter(errors.values()))
    end = max(6.0, 1.2 * float(np.nanquantile(first, 0.99)))
    far = np.linspace(0, end, 300)
    for index, (name, error) in enumerate(errors.items()):
        axes.plot(
            far,
            keypoints.curve(error, far),
            **plotting.line_style(index),
            linewidth=1.8,
            label=plotting.label(name, 40),
        )
    for mark in keypoints.WITHIN if unit == "mm" else ():
        axes.axvline(mark, color=plotting.GRID, linewidth=1.2, zorder=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.02)
    plotting.add_legend(figure, axes, 1)
    return plotting.as_png(figure)


def _maps(test: Dataset, maps: Maps | None) -> list[Block]:
    if maps is None or not test.images:
        return []
    image, file = test.input[maps.row], test.file[maps.row]
    tiles = [_heat(image, heat, _name(test, k), file) for k, heat in zip(maps.landmarks, maps.chance, strict=True)]
    text = _(
        "How likely each position is for a landmark, of one test image: for the landmarks that are found best, then "
        "for those found worst. Bright is likely."
    )
    return [text, Gallery(tiles)]


def _heat(image: Any, heat: Any, name: str, file: str) -> Tile:
    chance = torch.from_numpy(heat)
    shown = plots.overlay(image, (chance / chance.max().clamp(min=1e-12)).sqrt())
    shown = shown.resize((256, 256), Image.Resampling.LANCZOS)
    most = _("peak {share}").format(share=units.percent(float(chance.max())))
    return tile(shown, f"{file}: {name}", (name, most))
