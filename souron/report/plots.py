"""Plots for reports: each function returns a PNG as bytes and touches no global state.

All are dark on white, so that they look the same on a light page, on a dark one and on paper.
Colour is never the only sign. Colours: Okabe, Ito: Color Universal Design (2008),
https://jfly.uni-koeln.de/color/.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from PIL import Image
from torch import Tensor

from souron import registry
from souron.kinds.codecs.animation import _bytes, sheet
from souron.kinds.codecs.image import as_image
from souron.stats.records import Measure, Row, Verdict
from souron.utils import fonts, units
from souron.utils.messages import _
from souron.utils.plotting import (
    COLOURS,
    FAINT,
    INK,
    MARKS,
    PAPER,
    add_legend,
    as_png,
    choose_fonts,
    label,
    line_style,
    new_figure,
    style_axes,
)

BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#b5d4ea", "#3b8bc2", "#0b4a7d"])
READABLE_CLASSES = 30  # more do not fit into one matrix
LEAST_OVERLAY = 128  # pixels a side

Curve = list[dict[str, float]]


def learning_curves(
    curves: Mapping[str, Sequence[Curve]], measure: str, against: str = "seconds", budget: float | None = None
) -> bytes:
    """Plot training losses and, where recorded, the validation measure against seconds or examples.

    ``curves``: system -> a curve for each seed. ``budget``, in the unit of ``against``, is marked.
    """
    rows = [row for seeds in curves.values() for curve in seeds for row in curve]
    losses = sorted({key for row in rows for key in row if key.startswith("loss ")})
    looked = f"val {measure}"
    has_measure = any(looked in row for row in rows)
    figure = new_figure(7.2, 2.9)
    panels = figure.subplots(1, 1 + has_measure, squeeze=False)[0]

    style_axes(panels[0], _against(against), _("training loss"))
    plots = [(panels[0], key) for key in losses] + [(panels[-1], looked)] * has_measure
    one = len(curves) == 1
    named: set[str] = set()  # labelled in the legend once: a system may have several losses
    for panel, key in plots:
        place = losses.index(key) if one and key in losses else 0
        for index, (system, seeds) in enumerate(curves.items()):
            name = key.removeprefix("loss ") if one and len(losses) > 1 else system
            for number, curve in enumerate(seeds):
                points = [(row[against], row[key]) for row in curve if key in row]
                panel.plot(
                    *zip(*points, strict=True),
                    **line_style(index + place),
                    linewidth=1.6 if number == 0 else 0.8,
                    alpha=1 if number == 0 else 0.6,
                    label=label(name) if number == 0 and name not in named else None,
                    marker="." if one else "",
                    markersize=4,
                )
            named.add(name)
    if has_measure:
        style_axes(panels[-1], _against(against), _validation(measure))
        _scale(panels[-1].yaxis, measure)
        if one:
            _mark_best(panels[-1], next(iter(curves.values()))[0], looked, against, measure)
    for panel in panels:
        panel.xaxis.set_major_locator(MaxNLocator(6))
        if against == "examples":
            panel.xaxis.set_major_formatter(FuncFormatter(lambda n, _place: units.count(n)))
        _mark_budget(panel, budget)
        panel.margins(y=0.12)
    if not one or len(losses) > 1:
        add_legend(figure, panels[0], min(len(curves) if not one else len(losses), 5))
    return as_png(figure)


def _mark_best(panel: Axes, curve: Curve, key: str, against: str, measure: str) -> None:
    """Mark the checkpoint that the run kept with a ring."""
    looks = [row for row in curve if key in row]
    best = (max if registry.metric(measure).higher_is_better else min)(looks, key=lambda row: row[key])
    panel.plot(best[against], best[key], "o", markersize=9, fillstyle="none", color=COLOURS[1])
    text = _("best: {value}").format(value=registry.metric(measure).text(best[key]))
    right = best[against] > sum(panel.get_xlim()) / 2
    panel.annotate(
        text,
        (best[against], best[key]),
        (-8 if right else 8, -14),
        textcoords="offset points",
        ha="right" if right else "left",
        color=INK,
        fontsize=8.5,
    )


def accuracy_over_seconds(curves: Mapping[str, Sequence[Curve]], measure: str, budget: float | None = None) -> bytes:
    """Plot the validation measure over training seconds: mean and range over seeds."""
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    style_axes(axes, _against("seconds"), _validation(measure))
    _scale(axes.yaxis, measure)
    ends = []
    for index, (system, seeds) in enumerate(curves.items()):
        lines = [
            [(row["seconds"], row[f"val {measure}"]) for row in curve if f"val {measure}" in row] for curve in seeds
        ]
        lines = [line for line in lines if line]
        if not lines:
            continue
        first, last = max(line[0][0] for line in lines), min(line[-1][0] for line in lines)
        grid = np.linspace(first, max(first, last), 100)
        values = np.stack([np.interp(grid, *np.array(line).T) for line in lines])
        mean, style = values.mean(0), line_style(index)
        axes.plot(grid, mean, **style, linewidth=1.9)
        axes.fill_between(grid, values.min(0), values.max(0), color=style["color"], alpha=0.14, linewidth=0)
        ends.append((float(grid[-1]), float(mean[-1]), label(system), style["color"]))
    _mark_budget(axes, budget)
    _label_ends(figure, axes, ends)
    return as_png(figure)


def _label_ends(figure: Figure, axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write names beside the ends of the lines, moved apart where they would overlap."""
    choose_fonts(figure)
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: end[1])
    heights = _apart([y for _x, y, _name, _colour in ends], (high - low) / 20, low, high)
    for (x, y, name, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            (x, y),
            (1.03, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "relpos": (0, 0.5)},
        )
    axes.set_ylim(low, high)


def _apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move rising values until they are ``gap`` apart; close ones spread around their mean."""
    piles: list[list[float]] = []  # of values that had to be moved together
    for value in values:
        piles.append([value])
        while len(piles) > 1 and _bottom(piles[-1], gap, low, high) < (
            _bottom(piles[-2], gap, low, high) + gap * len(piles[-2])
        ):
            piles[-2:] = [piles[-2] + piles[-1]]
    return [_bottom(pile, gap, low, high) + gap * k for pile in piles for k in range(len(pile))]


def _bottom(pile: Sequence[float], gap: float, low: float, high: float) -> float:
    height = gap * (len(pile) - 1)
    return max(low, min(high - height, sum(pile) / len(pile) - height / 2))


def confusion(matrix: Tensor, labels: Sequence[str]) -> bytes:
    """Plot a confusion matrix (true, predicted) with percentages of each row.

    Of many classes the most confused pairs are shown instead.
    """
    if len(labels) > READABLE_CLASSES:
        return confused_pairs(matrix, labels)
    n = len(labels)
    share = (matrix / matrix.sum(1, keepdim=True).clamp(min=1)).numpy()
    side = max(3.6, min(11.5, 1.6 + 0.52 * n))
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    style_axes(axes, _("predicted"), _("true"))
    axes.grid(visible=False)
    axes.imshow(share, cmap=BLUES, vmin=0, vmax=1)
    names = [label(name, 16 if n <= 15 else 12) for name in labels]
    small = 8.5 if n <= 12 else 7 if n <= 20 else 6.5
    upright = max(map(fonts.width, names)) * 0.075 < (side - 0.9) / n  # inches
    axes.set_xticks(range(n), names, rotation=0 if upright else 45, fontsize=small)
    if not upright:
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), names, fontsize=small)
    for i, j in matrix.nonzero().tolist():
        text = units.whole(matrix[i, j].item())
        if n <= 12:
            text += f"\n{100 * share[i, j]:.0f} %"
        axes.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            fontsize=small - 1,
            color=PAPER if share[i, j] > 0.5 else INK,
            linespacing=1.1,
        )
    return as_png(figure)


def confused_pairs(matrix: Tensor, labels: Sequence[str], most: int = 20) -> bytes:
    """Plot the most frequent confusions, with their share of the true class."""
    wrong = matrix.clone().fill_diagonal_(0)
    order = wrong.flatten().argsort(descending=True)[:most]
    pairs = [(i, j) for i, j in (divmod(k, len(labels)) for k in order.tolist()) if wrong[i, j] > 0]
    figure = new_figure(7.2, 0.9 + 0.27 * max(1, len(pairs)))
    axes = figure.subplots()
    style_axes(axes, _("cases"), "")
    counts = [int(wrong[pair]) for pair in pairs]
    axes.barh(range(len(pairs)), counts, color=COLOURS[0], height=0.66)
    names = [f"{label(labels[i], 24)} → {label(labels[j], 24)}" for i, j in pairs]
    axes.set_yticks(range(len(pairs)), names, fontsize=8)
    for place, (count, (i, _j)) in enumerate(zip(counts, pairs, strict=True)):
        share = units.percent(count / matrix[i].sum().item(), 0)
        axes.text(count, place, f" {count} ({share})", va="center", fontsize=8, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="y")
    return as_png(figure)


def balance(parts: Mapping[str, Sequence[int]], labels: Sequence[str], most: int = 40) -> bytes:
    """Plot the cases of each class in each part as bars; of many classes the largest."""
    total = [sum(counts[k] for counts in parts.values()) for k in range(len(labels))]
    order = range(len(labels))
    if len(labels) > most:
        order = sorted(order, key=lambda k: -total[k])[:most]  # type: ignore[assignment]
    figure = new_figure(7.2, 0.95 + 0.25 * len(order))
    axes = figure.subplots()
    style_axes(axes, _("cases"), "")
    left = np.zeros(len(order))
    shades = ("#0072b2", "#7fb8d8", "#d55e00")
    for (part, counts), shade in zip(parts.items(), shades, strict=False):
        widths = np.array([counts[k] for k in order])
        axes.barh(range(len(order)), widths, left=left, color=shade, height=0.7, label=part)
        left += widths
    for place, k in enumerate(order):
        axes.text(left[place], place, f" {total[k]:,}", va="center", fontsize=8, color=FAINT)
    axes.set_yticks(range(len(order)), [label(labels[k]) for k in order], fontsize=8.5)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.02)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(parts) > 1:
        add_legend(figure, axes, len(parts))
    return as_png(figure)


def histogram(values: Tensor, name: str, unit: str = "", range_: tuple[float, float] | None = None) -> bytes:
    """Plot a histogram of ``values`` (N,)."""
    figure = new_figure(7.2, 2.2)
    axes = figure.subplots()
    style_axes(axes, f"{name} ({unit})" if unit else name, _("share of the cases"))
    _draw_histogram(axes, values, range_)
    axes.grid(visible=False, axis="x")
    return as_png(figure)


def pixels(image: Tensor) -> bytes:
    """Plot a histogram of pixel values; ``image`` (N, C, H, W) in 0..255, one line per channel."""
    figure = new_figure(7.2, 2.2)
    axes = figure.subplots()
    _draw_pixels(axes, image)
    return as_png(figure)


def _draw_pixels(axes: Axes, image: Tensor) -> None:
    style_axes(axes, _("pixel value (0 black, 255 full)"), _("share of pixels"))
    some = image[:: max(1, len(image) // 2000)]
    names = (_("red"), _("green"), _("blue")) if image.shape[1] == 3 else ("",)
    hues = ("#c1272d", "#2e8b57", "#2467c9") if image.shape[1] == 3 else (COLOURS[0],)
    for channel, (name, hue) in enumerate(zip(names, hues, strict=True)):
        counts = torch.bincount(some[:, channel].flatten().long(), minlength=256)
        share = counts.view(64, 4).sum(1) / counts.sum()
        axes.stairs(share.numpy(), np.arange(65) * 4, color=hue, linewidth=1.4, label=name)
        axes.stairs(share.numpy(), np.arange(65) * 4, color=hue, alpha=0.1, fill=True)
    axes.set_xlim(0, 256)
    axes.set_xticks((0, 64, 128, 192, 255))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)


def _draw_histogram(axes: Axes, values: Tensor, range_: tuple[float, float] | None) -> None:
    counts, edges = np.histogram(values.numpy(), 40, range_)
    axes.stairs(counts / max(1, counts.sum()), edges, fill=True, color=COLOURS[0], alpha=0.85)
    axes.axvline(values.mean().item(), color=COLOURS[1], linewidth=1.2)
    axes.text(
        values.mean().item(),
        0.98,
        " " + _("mean {value}").format(value=f"{values.mean().item():.3g}"),
        transform=axes.get_xaxis_transform(),
        va="top",
        fontsize=8.5,
        color=INK,
    )
    axes.margins(y=0.25)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def intervals(rows: Sequence[Row]) -> bytes:
    """Plot each system's measure with its 95 % interval, best on top; small dots are the seeds."""
    figure = new_figure(7.2, 0.85 + 0.36 * len(rows))
    axes = figure.subplots()
    measure = rows[0].measure
    style_axes(axes, _("{measure} on the test cases").format(measure=registry.metric(measure).title), "")
    _scale(axes.xaxis, measure)
    for place, row in enumerate(rows):
        axes.plot((row.low, row.high), (place, place), color=COLOURS[0], linewidth=2)
        axes.plot(row.value, place, "o", color=COLOURS[0], markersize=7)
        axes.plot(row.seeds, [place + 0.26] * len(row.seeds), "|", color=FAINT, markersize=5)
    axes.set_yticks(range(len(rows)), [label(row.system) for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.12)
    return as_png(figure)


def complexity(rows: Sequence[Row]) -> bytes:
    """Plot the measure against parameters and against FLOPs, both on logarithmic axes."""
    return against_cost(
        rows,
        {
            _("parameters"): [max(1, row.parameters) for row in rows],
            _("FLOPs of one forward pass"): [max(1, row.flops) for row in rows],
        },
    )


def against_cost(rows: Sequence[Row], costs: Mapping[str, Sequence[float]]) -> bytes:
    """Plot the measure of each row against each cost, on logarithmic axes."""
    figure = new_figure(7.2, 3.3)
    measure = rows[0].measure
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, costs.items(), strict=True):
        style_axes(axes, name, registry.metric(measure).title if axes is panels[0] else "")
        axes.set_xscale("log")
        decades = max(values) > 20 * min(values)
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 2, 5)))
        form = units.scaled if min(values) >= 10 else "{:g}".format
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _place, form=form: form(n)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _scale(axes.yaxis, measure)
        for index, row in enumerate(rows):
            turn, place = divmod(index, len(COLOURS))
            hue, mark = COLOURS[place], MARKS[(place + turn) % len(MARKS)]
            at = values[index]
            axes.plot((at, at), (row.low, row.high), color=hue, linewidth=1.2, alpha=0.7)
            axes.plot(at, row.value, mark, color=hue, markersize=6, label=label(row.system))
        axes.margins(x=0.12, y=0.1)
    add_legend(figure, figure.axes[0], min(len(rows), 5))
    return as_png(figure)


def verdicts(pairs: Sequence[Verdict], systems: Sequence[str], measure: str) -> bytes:
    """Plot pairwise verdicts, row against column: ▲ better, ▼ worse, ≈ cannot tell.

    Each cell also shows the difference.
    """
    signs = {"better": ("▲", "#cfe3f2"), "worse": ("▼", "#fbdcc6"), "cannot tell": ("≈", "#f1f2f4")}
    cells = {}
    for pair in pairs:
        for name, other in ((pair.a, pair.b), (pair.b, pair.a)):
            turned = pair.of(name)
            cells[name, other] = (turned.verdict, turned.difference)
    n = len(systems)
    figure = new_figure(max(4.2, 1.6 + 0.86 * n), max(2.0, 0.9 + 0.56 * n))
    axes = figure.subplots()
    style_axes(axes, "", "")
    axes.grid(visible=False)
    for i, row in enumerate(systems):
        for j, column in enumerate(systems):
            if (row, column) not in cells:
                continue
            verdict, difference = cells[row, column]
            sign, shade = signs[verdict]
            axes.add_patch(_square(j, i, shade))
            axes.text(j, i - 0.16, sign, ha="center", va="center", fontsize=11, color=INK)
            text = registry.metric(measure).difference(difference).split(" ")[0]
            axes.text(j, i + 0.24, text, ha="center", va="center", fontsize=7.5, color=INK)
    names = [label(system, 14) for system in systems]
    axes.set_xticks(range(n), names, fontsize=8.5, rotation=30 if n > 4 else 0)
    if n > 4:
        for tick in axes.get_xticklabels():
            tick.set(ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(n), names, fontsize=8.5)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return as_png(figure)


def _square(x: float, y: float, shade: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, facecolor=shade, edgecolor="none")


def grid(images: Sequence[Tensor] | Tensor, captions: Sequence[str] = (), columns: int = 8) -> bytes:
    """Show images (C, H, W) uint8 in rows, each with its caption."""
    rows = math.ceil(len(images) / columns)
    columns = min(columns, len(images))
    figure = new_figure(0.95 * columns, (1.15 if captions else 0.98) * rows)
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if place < len(images):
            grey = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
            axes.imshow(as_image(images[place]), **grey)
            if captions:
                axes.set_title(label(captions[place], 13), fontsize=7, color=INK, pad=3)
    return as_png(figure)


def samples(images: Tensor, columns: int = 8, width: int = 1100) -> bytes:
    """Return a sheet of images (N, C, H, W) uint8 as a PNG, small ones enlarged.

    The factor is a whole number.
    """
    whole = sheet(images, min(columns, len(images)), gap=max(1, images.shape[-1] // 14))
    factor = max(1, width // whole.width)
    if whole.width > 2 * width:
        whole = whole.resize((width, round(whole.height * width / whole.width)))
    elif factor > 1:
        whole = whole.resize((whole.width * factor, whole.height * factor), Image.Resampling.NEAREST)
    return _bytes(whole)


def classes(chosen: Mapping[str, Tensor], counts: Sequence[int], counted: str) -> bytes:
    """Show a row for each class or group: some of its images (N, C, H, W) uint8 and its size.

    ``counted`` names the unit of the sizes.
    """
    figure = new_figure(8.6, 0.6 + 0.45 * len(chosen))
    _draw_classes(figure.subplots(1, 2, width_ratios=_CLASS_WIDTHS), chosen, counts, counted)
    return as_png(figure)


def overview(chosen: Mapping[str, Tensor], counts: Sequence[int], image: Tensor, title: str, counted: str) -> bytes:
    """Summarise a data set in one figure: ``classes`` above ``pixels``."""
    rows = 0.6 + 0.45 * len(chosen)
    figure = new_figure(8.6, rows + 2.3)
    figure.suptitle(fonts.drawable(title), fontsize=11, color=INK)
    halves: Any = figure.subfigures(2, 1, height_ratios=(rows, 2.0))
    upper, lower = halves
    _draw_classes(upper.subplots(1, 2, width_ratios=_CLASS_WIDTHS), chosen, counts, counted)
    _draw_pixels(lower.subplots(), image)
    return as_png(figure)


_CLASS_WIDTHS = (3.2, 1)


def _draw_classes(panels: Any, chosen: Mapping[str, Tensor], counts: Sequence[int], counted: str) -> None:
    left, right = panels
    columns = max(len(images) for images in chosen.values())
    blank = torch.full_like(next(iter(chosen.values()))[:1], 255)
    side = blank.shape[-1]
    gap = max(1, side // 14)
    rows = [torch.cat([images, blank.expand(columns - len(images), -1, -1, -1)]) for images in chosen.values()]
    height = len(rows) * (side + gap) - gap
    middle = [k * (side + gap) + side / 2 for k in range(len(rows))]
    style_axes(left, "", "")
    left.grid(visible=False)
    left.imshow(np.asarray(sheet(torch.cat(rows), columns, gap)), interpolation="nearest")
    left.set_xticks([])
    left.set_yticks(middle, [label(name, 18) for name in chosen], fontsize=8.5)
    left.spines[:].set_visible(False)
    left.tick_params(length=0)

    style_axes(right, counted, "")
    right.barh(middle, counts, height=side * 0.6, color=COLOURS[0])
    for place, number in zip(middle, counts, strict=True):
        right.text(number, place, f" {number:,}", va="center", fontsize=8, color=FAINT)
    right.set_ylim(height, 0)
    right.set_yticks([])
    right.margins(x=0.25)
    right.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    right.grid(visible=False, axis="y")


def signed(values: Tensor, most: float = 2.5) -> Tensor:
    """Colour values around 0, (C, H, W), as an image: blue below, white at 0, orange above."""
    depth = values.mean(0).clamp(-most, most) / most  # (H, W)
    ends = torch.tensor([[0, 114, 178], [213, 94, 0]]).float()
    end = ends[(depth > 0).long()].permute(2, 0, 1)
    return (255 + (end - 255) * depth.abs()).round().to(torch.uint8)


def _scale(axis: Any, measure: str) -> None:
    if registry.metric(measure).unit == "share":
        axis.set_major_formatter(FuncFormatter(lambda share, _place: f"{100 * share:g} %"))


def _against(what: str) -> str:
    return _("training time (s)") if what == "seconds" else _("training examples seen")


def _validation(measure: str) -> str:
    return _("validation {measure}").format(measure=registry.metric(measure).title)


def _mark_budget(axes: Axes, budget: float | None) -> None:
    if budget is None:
        return
    axes.axvline(budget, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(
        budget, 0.02, _("budget") + " ", transform=axes.get_xaxis_transform(), ha="right", fontsize=8, color=FAINT
    )


def overlay(image: Tensor, heat: Tensor) -> Image.Image:
    """Overlay a heat map (H, W) in 0..1 on an image (C, H, W) in 0..255, shown in grey.

    The colours run from dark violet to bright yellow, readable with colour blindness and in print;
    where the heat is 0 the image is unchanged. The result has at least 128 pixels a side.
    """
    from matplotlib import colormaps

    factor = math.ceil(LEAST_OVERLAY / min(heat.shape))
    grey = image.float().mean(0).repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    wide = torch.nn.functional.interpolate(heat.float()[None, None], grey.shape, mode="bilinear", align_corners=False)[
        0, 0
    ].clamp(0, 1)
    colour = torch.from_numpy(colormaps["inferno"](wide.numpy())[..., :3]).float() * 255
    cover = 0.75 * wide.sqrt()[..., None]  # (H, W, 1)
    mixed = (1 - cover) * grey[..., None] + cover * colour  # (H, W, 3)
    return as_image(mixed.permute(2, 0, 1).round().clamp(0, 255).to(torch.uint8))


def overlay_of_shares(image: Tensor, shares: Tensor) -> Image.Image:
    """Overlay attention weights over a coarse grid (h, w), which sum to 1, on an image (C, H, W).

    Pixels are in 0..255. Cells with no more than an equal share of the attention stay unchanged.
    """
    equal = 1 / shares.numel()
    above = (shares.float().cpu() - equal).clamp(min=0)
    heat = above / above.max().clamp(min=equal)
    wide = torch.nn.functional.interpolate(heat[None, None], image.shape[1:], mode="bilinear")
    return overlay(image, wide[0, 0])


def robustness(lines: Mapping[str, Sequence[Measure]], measure: str = "accuracy") -> bytes:
    """Plot a measure against the strength of each disturbance, with 95 % intervals.

    ``lines``: the disturbance's name -> the measure undisturbed, then at each strength.
    """
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    style_axes(axes, _("strength of the disturbance (0: none)"), registry.metric(measure).title)
    _scale(axes.yaxis, measure)
    for index, (name, values) in enumerate(lines.items()):
        # side by side, so that intervals do not hide each other
        aside = 0.05 * (index - (len(lines) - 1) / 2)
        places = [level + (aside if level else 0.0) for level in range(len(values))]
        _draw_measures(axes, places, values, index, label(name, 24))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.06, y=0.08)
    add_legend(figure, axes, min(len(lines), 4))
    return as_png(figure)


def _draw_measures(axes: Axes, places: Sequence[float], values: Sequence[Measure], index: int, name: str) -> None:
    """Draw a line through the values, and a vertical bar for each interval."""
    style, mark = line_style(index), MARKS[index % len(MARKS)]
    axes.vlines(
        places,
        [value.low for value in values],
        [value.high for value in values],
        color=style["color"],
        linewidth=1,
        alpha=0.6,
    )
    shown = [value.value for value in values]
    axes.plot(places, shown, **style, marker=mark, markersize=5, linewidth=1.5, label=name)


def reliability(points: Mapping[str, Sequence[tuple[float, Measure]]], confidences: Mapping[str, Tensor]) -> bytes:
    """Plot a reliability diagram: accuracy against confidence, above a histogram of confidence.

    ``points``: a curve's name ("before", "after") -> for each bin of confidence its mean in 0..1
    and the share of correct cases; ``confidences``: the same names -> the confidence of all cases,
    (cases,), for the histogram. The dashed diagonal is perfect calibration.
    """
    figure = new_figure(5.2, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    style_axes(upper, "", _("share that held"))
    style_axes(lower, _("confidence"), _("share of the cases"))
    upper.plot((0, 1), (0, 1), color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for index, (name, curve) in enumerate(points.items()):
        places, values = [place for place, _value in curve], [value for _place, value in curve]
        _draw_measures(upper, places, values, index, label(name, 24))
    for index, (name, sure) in enumerate(confidences.items()):
        counts, edges = np.histogram(sure.numpy(), 20, (0, 1))
        share = counts / max(1, counts.sum())
        lower.stairs(share, edges, **line_style(index), linewidth=1.4, label=label(name, 24))
        lower.stairs(share, edges, color=line_style(index)["color"], alpha=0.1, fill=True)
    for axis in (upper.yaxis, lower.xaxis, lower.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    upper.set_xlim(-0.02, 1.02)
    upper.set_ylim(-0.02, 1.02)
    lower.set_ylim(bottom=0)
    add_legend(figure, upper, min(len(points), 3))
    return as_png(figure)


def roc(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], point: tuple[float, float] | None = None
) -> bytes:
    """Plot ROC curves; a ring marks the chosen threshold.

    ``curves``: name -> (false positive rates, true positive rates), both rising from 0 to 1;
    ``point``: both rates at the threshold. The dashed diagonal is guessing.
    """
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    style_axes(axes, _("false alarms (1 - specificity)"), _("sensitivity"))
    axes.plot((0, 1), (0, 1), color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    for index, (name, (false, true)) in enumerate(curves.items()):
        axes.plot(false, true, **line_style(index), linewidth=1.8, label=label(name, 24))
    if point is not None:
        axes.plot(
            *point,
            "o",
            markersize=9,
            fillstyle="none",
            color=INK,
            markeredgewidth=1.6,
            linestyle="none",
            label=_("chosen threshold"),
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    add_legend(figure, axes, 2)
    return as_png(figure)


def learning_sizes(
    sizes: Sequence[int],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    measure: str = "accuracy",
) -> bytes:
    """Plot a measure against the number of training cases, on a log2 axis, with intervals.

    ``sizes`` rising; ``values`` between ``lows`` and ``highs``, one for each size.
    """
    figure = new_figure(7.2, 3.2)
    axes = figure.subplots()
    style_axes(
        axes, _("training cases"), _("{measure} on the test cases").format(measure=registry.metric(measure).title)
    )
    _scale(axes.yaxis, measure)
    axes.set_xscale("log", base=2)
    axes.fill_between(sizes, lows, highs, color=COLOURS[0], alpha=0.14, linewidth=0)
    axes.vlines(sizes, lows, highs, color=COLOURS[0], linewidth=1.2, alpha=0.7)
    axes.plot(sizes, values, color=COLOURS[0], marker="o", markersize=5, linewidth=1.6)
    axes.set_xticks(sizes, [units.whole(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.margins(x=0.06, y=0.12)
    return as_png(figure)


def shares(labels: Sequence[str], real: Sequence[float], drawn: Sequence[float]) -> bytes:
    """Plot the frequency of each class among real and generated images."""
    figure = new_figure(7.2, 0.9 + 0.3 * len(labels))
    axes = figure.subplots()
    style_axes(axes, _("share of images"), "")
    _scale(axes.xaxis, "accuracy")
    for place, (name, values) in enumerate({_("real"): real, _("generated images"): drawn}.items()):
        at = [i + 0.19 * (2 * place - 1) for i in range(len(labels))]
        axes.barh(at, values, 0.36, color=COLOURS[place], label=name)
    axes.set_yticks(range(len(labels)), [label(text) for text in labels], fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    add_legend(figure, axes, 2)
    return as_png(figure)
