"""Figures of networks for lessons: decision surfaces, units, weights, kernels, feature maps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Rectangle
from torch import Tensor

from souron.data.dataset import Dataset
from souron.evaluation.decision_surface import Moment, Plane, plane
from souron.evaluation.feature_maps import LayerMaps, OnePixel
from souron.report.drawing import Drawing
from souron.utils.messages import _
from souron.utils.plotting import COLOURS, DASHES, FAINT, INK, MARKS, new_figure, style_axes

TWO_COLOURS = LinearSegmentedColormap.from_list("two", ["#0072b2", "#ffffff", "#d55e00"])
CLASS_COLOURS = (*COLOURS[:6], "#8c6d31", "#7f7f7f", "#b5bd61", "#5254a3")
MOST_UNITS, MOST_MOMENTS, MOST_POINTS = 16, 8, 400
MOST_NUMBERS = 7  # larger kernels are drawn without their numbers


def surfaces(moments: Sequence[Moment], data: Dataset, where: Plane | None = None) -> Drawing:
    """Show the decision surface and the points at each moment of training."""
    moments, where = _few(moments), plane(data) if where is None else where
    figure = new_figure(1.75 * len(moments), 2.15)
    place, classes = data.input.flatten(1)[:MOST_POINTS], data.target[:MOST_POINTS]
    for axes, moment in zip(figure.subplots(1, len(moments), squeeze=False)[0], moments, strict=True):
        axes.imshow(_blended(moment.surface), origin="lower", extent=_extent(where))
        for number in range(len(data.classes)):
            of_class = place[classes == number]
            axes.scatter(
                of_class[:, 0],
                of_class[:, 1],
                5,
                color=_hue(number),
                linewidths=0.25,
                edgecolors="white",
                marker=MARKS[number % len(MARKS)],
            )
        axes.set_title(
            _("step {step}").format(step=moment.step)
            + f"\n{moment.accuracy:.0%}, "
            + _("loss {loss}").format(loss=f"{moment.loss:.2f}"),
            fontsize=7.5,
            color=INK,
        )
        axes.set(xticks=[], yticks=[])
    return Drawing.of(
        figure, "; ".join(f"{_('step {step}').format(step=moment.step)}: {moment.accuracy:.0%}" for moment in moments)
    )


def units(moments: Sequence[Moment], most: int = 8) -> Drawing:
    """Show the activation of each unit of the first hidden layer over the plane.

    Rows are units, columns moments of training.
    """
    moments, count = _few(moments), min(most, MOST_UNITS, len(moments[0].units))
    high = max(float(moment.units[:count].abs().max()) for moment in moments) or 1.0
    rows = [
        (_("unit {number}").format(number=number + 1), [moment.units[number] for moment in moments])
        for number in range(count)
    ]
    return _rows(rows, moments, high, _("{count} hidden units over the plane"), origin="lower")


def weights(moments: Sequence[Moment], layer: str = "") -> Drawing:
    """Show the weights of each layer, or of ``layer`` alone, as a coloured table at each moment."""
    moments = _few(moments)
    names = [n for n, w in moments[0].weights.items() if w.ndim == 2 and (not layer or n == layer)]
    high = max(float(moment.weights[name].abs().max()) for moment in moments for name in names)
    rows = [(name, [moment.weights[name] for moment in moments]) for name in names]
    return _rows(rows, moments, high or 1.0, _("{count} layers of weights"), origin="upper")


def weight_pictures(moments: Sequence[Moment], most: int = 8) -> Drawing:
    """Show the weights of the first layer's units as images at each moment of training.

    The network takes square grey images, or its first layer is a convolution.
    """
    moments = _few(moments)
    name = next(n for n, w in moments[0].weights.items() if w.ndim in (2, 4))
    first = [_as_images(moment.weights[name]) for moment in moments]
    count = min(most, MOST_UNITS, len(first[0]))
    high = max(float(each[:count].abs().max()) for each in first) or 1.0
    rows = [(_("unit {number}").format(number=number + 1), [each[number] for each in first]) for number in range(count)]
    return _rows(rows, moments, high, _("what {count} units look for"), origin="upper")


def _as_images(weight: Tensor) -> Tensor:
    """Return weights as images (units, h, w): kernels averaged over channels, rows as squares."""
    if weight.ndim == 4:
        return weight.mean(1)
    side = math.isqrt(weight.shape[1])
    return weight[:, : side**2].view(-1, side, side)


def learning(moments: Sequence[Moment]) -> Drawing:
    """Plot loss and accuracy at each moment of training."""
    figure = new_figure(7.2, 2.3)
    left, right = figure.subplots(1, 2)
    steps = [moment.step for moment in moments]
    style_axes(left, _("step"), _("loss (cross-entropy)"))
    left.plot(steps, [m.loss for m in moments], color=COLOURS[0], marker="o", markersize=3)
    left.set_ylim(bottom=0)
    style_axes(right, _("step"), _("accuracy"))
    right.plot(steps, [m.accuracy for m in moments], color=COLOURS[1], marker="s", markersize=3, linestyle=DASHES[1])
    right.set_ylim(0, 1.02)
    first, last = moments[0], moments[-1]
    return Drawing.of(figure, f"{first.loss:.2f} → {last.loss:.2f}; {last.accuracy:.0%}")


def kernels(table: Tensor, most: int = 16) -> Drawing:
    """Show kernels (maps, channels, h, w), averaged over their channels."""
    shown = table.mean(1)[:most]
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(0.9 * columns, 1.05 * rows)
    high = float(shown.abs().max()) or 1.0
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for number, axes in enumerate(panels):
        axes.set(xticks=[], yticks=[])
        if number >= len(shown):
            axes.axis("off")
            continue
        axes.imshow(shown[number].numpy(), cmap=TWO_COLOURS, vmin=-high, vmax=high)
        axes.set_title(str(number), fontsize=7.5, color=INK, pad=2)
    return Drawing.of(figure, _("{count} kernels").format(count=len(shown)))


def maps(layers: Sequence[LayerMaps], most: int = 8) -> Drawing:
    """Show the first feature maps of each layer, one row per layer."""
    layers = layers[:12]
    figure = new_figure(0.9 * most + 1.3, 0.98 * len(layers))
    for layer, row in zip(layers, figure.subplots(len(layers), most, squeeze=False), strict=True):
        for number, axes in enumerate(row):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if number < len(layer.maps):
                axes.imshow(layer.maps[number].numpy(), cmap="gray", interpolation="nearest")
        size = "{} × {} × {}".format(*layer.maps.shape)
        row[0].set_ylabel(
            f"{layer.name}\n{layer.kind}\n{size}", fontsize=7, color=INK, rotation=0, ha="right", va="center"
        )
    return Drawing.of(figure, "; ".join(f"{each.name} {each.kind}" for each in layers))


def one_pixel(pixel: OnePixel, image: Tensor, channel: int = 0) -> Drawing:
    """Show window times kernel for one output pixel, with the numbers of one channel.

    ``image`` (C, H, W) is the layer's input, on which the window is marked.
    """
    figure = new_figure(7.2, 2.2)
    panels = figure.subplots(1, 4, width_ratios=(1.1, 1, 1, 1))
    panels[0].imshow(image[channel].numpy(), cmap="gray", interpolation="nearest")
    height, width = pixel.kernel.shape[1:]
    panels[0].add_patch(
        Rectangle((pixel.left - 0.5, pixel.top - 0.5), width, height, fill=False, edgecolor=COLOURS[1], linewidth=2)
    )
    panels[0].set_title(_("the window"), fontsize=8.5, color=INK)
    panels[0].margins(0.1)
    titles = (_("what lies in it"), "× " + _("the kernel"), "= " + _("products"))
    for axes, values, title in zip(panels[1:], (pixel.window, pixel.kernel, pixel.product), titles, strict=True):
        _numbers(axes, values[channel])
        axes.set_title(title, fontsize=8.5, color=INK)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    channels = len(pixel.window)
    total = _("channels: {channels}, sum {sum}, bias {bias}: {value}; the layer: {layer}").format(
        channels=channels,
        sum=f"{pixel.value - pixel.bias:.4f}",
        bias=f"{pixel.bias:.4f}",
        value=f"{pixel.value:.4f}",
        layer=f"{pixel.layer:.4f}",
    )
    figure.supxlabel(total, fontsize=8.5, color=INK)
    return Drawing.of(figure, total)


def _numbers(axes: Any, values: Tensor) -> None:
    high = float(values.abs().max()) or 1.0
    axes.imshow(values.numpy(), cmap=TWO_COLOURS, vmin=-1.6 * high, vmax=1.6 * high)
    if max(values.shape) > MOST_NUMBERS:
        return
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=INK)


def _rows(
    rows: Sequence[tuple[str, Sequence[Tensor]]], moments: Sequence[Moment], high: float, said: str, origin: Any
) -> Drawing:
    """Draw tables in two colours: one row for each name, one column for each moment."""
    figure = new_figure(0.95 * len(moments) + 1.0, 0.92 * len(rows) + 0.25)
    panels = figure.subplots(len(rows), len(moments), squeeze=False)
    for (name, tables), line in zip(rows, panels, strict=True):
        for axes, table in zip(line, tables, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.imshow(
                table.numpy(),
                cmap=TWO_COLOURS,
                vmin=-high,
                vmax=high,
                origin=origin,
                aspect="auto",
                interpolation="nearest",
            )
        line[0].set_ylabel(name, fontsize=7.5, color=INK, rotation=0, ha="right", va="center")
    for axes, moment in zip(panels[0], moments, strict=True):
        axes.set_title(_("step {step}").format(step=moment.step), fontsize=7.5, color=FAINT)
    return Drawing.of(figure, said.format(count=len(rows)))


def _few(moments: Sequence[Moment]) -> list[Moment]:
    """Keep at most as many moments as fit side by side, with the first and the last."""
    moments = list(moments)
    if len(moments) <= MOST_MOMENTS:
        return moments
    chosen = np.linspace(0, len(moments) - 1, MOST_MOMENTS).round().astype(int)
    return [moments[i] for i in chosen]


def _extent(where: Plane) -> tuple[float, float, float, float]:
    return where.low[0], where.high[0], where.low[1], where.high[1]


def _hue(number: int) -> str:
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def _blended(surface: Tensor) -> np.ndarray:
    """Colour probabilities (classes, side, side) by class, pale where they are even."""
    hues = torch.tensor([to_rgb(_hue(k)) for k in range(len(surface))])
    mixed = torch.einsum("chw,cr->hwr", surface, hues)
    return (0.45 + 0.55 * mixed).clamp(0, 1).numpy()
