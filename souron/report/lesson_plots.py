"""Figures of data for lessons: samples, steps of preparation, augmentations by strength."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from souron.data import transforms
from souron.data.augmentation_preview import strengths as strength_steps
from souron.data.dataset import Dataset
from souron.data.preprocessing import PreparationStep
from souron.data.target import target_of
from souron.report import plots
from souron.report.drawing import Drawing
from souron.utils.messages import UserError, _
from souron.utils.plotting import COLOURS, FAINT, INK, label, new_figure, style_axes

SHOWN = 10  # images of each class
MOST_CLASSES = 12
HUES = ("#c1272d", "#2e8b57", "#2467c9")  # red, green, blue


def overview(data: Dataset) -> Drawing:
    """Show images of each class, the class sizes and the histogram of pixel values.

    Raises UserError where the cases are not images.
    """
    _must_be_images(data)
    target = target_of(data)
    counts, rows = target.counts(), target.rows(SHOWN)
    chosen = {data.classes[k]: target.examples(k, rows[k]) for k in sorted(rows)[:MOST_CLASSES]}
    sizes = [counts[k] for k in sorted(rows)[:MOST_CLASSES]]
    told = "; ".join(f"{name} {size}" for name, size in zip(chosen, sizes, strict=True))
    png = plots.overview(chosen, sizes, target.pixels(), data.name, _(target.counted))
    return Drawing(png, told, 826)


def gallery(images: Tensor, captions: Sequence[str] = (), columns: int = 10) -> Drawing:
    """Show images (N, C, H, W) in 0..255 side by side, each with its caption."""
    shown = [image.clamp(0, 255).to(torch.uint8) for image in images]
    columns = min(columns, len(shown))
    return Drawing(plots.grid(shown, captions, columns), ", ".join(captions), min(826, 100 * columns))


def preparation(steps: Sequence[PreparationStep], row: int = 0) -> Drawing:
    """Show one image after each step; below it, the histogram of the values of all images."""
    figure = new_figure(1.75 * len(steps), 3.4)
    panels = figure.subplots(2, len(steps), squeeze=False, height_ratios=(1.3, 1))
    for number, step in enumerate(steps):
        upper, lower = panels[0][number], panels[1][number]
        upper.axis("off")
        upper.set_title(
            step.title.replace(": ", ":\n", 1).replace(", ", ",\n").replace("、", "、\n"), fontsize=8, color=INK
        )
        _show(upper, step.values[row], step.centred)
        style_axes(lower, "", "")
        shares, edges = step.histogram()
        hues = HUES if len(shares) == 3 else (COLOURS[0],)
        for share, hue in zip(shares, hues, strict=False):
            lower.stairs(share.numpy(), edges.numpy(), color=hue, linewidth=1.1)
            lower.stairs(share.numpy(), edges.numpy(), color=hue, fill=True, alpha=0.15)
        lower.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %", decimals=0))
        lower.tick_params(labelsize=7)
        lower.set_xlabel(
            _("mean {mean}, deviation {deviation}").format(
                mean=f"{step.mean:.3g}" if abs(step.mean) > 5e-4 else "0", deviation=f"{step.deviation:.3g}"
            ),
            fontsize=7.5,
            color=FAINT,
        )
    panels[1][0].set_ylabel(_("share of pixels"), fontsize=8)
    return Drawing.of(figure, "; ".join(step.title for step in steps))


def one_hot(table: Tensor, classes: Sequence[str]) -> Drawing:
    """Show one-hot labels, (N, classes)."""
    count, width = table.shape
    figure = new_figure(0.6 + 0.42 * width, 0.5 + 0.27 * count)
    axes = figure.subplots()
    axes.imshow(table.numpy(), cmap=plots.BLUES, vmin=0, vmax=1.6, aspect="auto")
    for row in range(count):
        for column in range(width):
            one = int(table[row, column])
            axes.text(column, row, str(one), ha="center", va="center", fontsize=8, color=INK if one else FAINT)
    axes.xaxis.tick_top()
    axes.set_xticks(range(width), [label(name, 8) for name in classes], fontsize=7.5)
    axes.set_yticks(range(count), [label(classes[int(k)], 12) for k in table.argmax(1)], fontsize=8)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    said = _("{count} labels, one-hot, {classes} columns").format(count=count, classes=width)
    return Drawing.of(figure, said)


def strengths(image: Tensor, names: Sequence[str] = (), count: int = 5) -> Drawing:
    """Show one image (C, H, W) under each augmentation, from the lowest to the highest strength."""
    names = names or tuple(transforms.CHANGES)
    figure = new_figure(1.0 * count + 1.2, 1.12 * len(names))
    told = transforms.what()
    for name, row in zip(names, figure.subplots(len(names), count, squeeze=False), strict=True):
        for axes, (strength, picture) in zip(row, strength_steps(image, name, count), strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#d0d4d9")
            axes.set_title(f"{strength:+.2g}" if strength else "0", fontsize=7.5, color=INK, pad=2)
            _show(axes, picture.float())
        row[0].set_ylabel(name, fontsize=9, color=INK, rotation=0, ha="right", va="center")
    return Drawing.of(figure, "; ".join(f"{name}: {told[name]}" for name in names))


def _show(axes: object, values: Tensor, centred: bool = False) -> None:
    """Draw an image (C, H, W) in 0..1 or 0..255; ``centred`` values around 0 get two colours."""
    if centred:
        pixels = plots.signed(values)
    else:
        high = 255 if values.max() > 1 else 1
        pixels = (values / high * 255).clamp(0, 255).round().to(torch.uint8)
    shown = pixels.expand(3, -1, -1) if len(pixels) == 1 else pixels[:3]
    axes.imshow(np.asarray(shown.permute(1, 2, 0)), interpolation="nearest")  # type: ignore[attr-defined]


def _must_be_images(data: Dataset) -> None:
    if not data.images or data.labels is None:
        raise UserError(
            "no pictures",
            _("the cases of {data} are no pictures with a class each").format(data=data.name),
            expected=_("pictures with a class each, such as digits"),
            fix="souron list --data",
            exit=3,
        )
