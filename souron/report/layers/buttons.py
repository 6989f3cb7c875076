"""Diagram of a system's layers as SVG for a page, with each layer a button.

The blocks are as in ``diagram``: the height is the square root of the side of the feature maps,
the width the logarithm of their number.
"""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from souron.report.layers import Layer, Layers
from souron.report.layers.kinds import COLOURS, short
from souron.utils.messages import _

UNIT = 100  # SVG units for one unit of the diagram
LIGHT = {"front": 1.0, "top": 1.25, "side": 0.78}


def drawn(seen: Layers, name: str) -> Markup:
    """Return SVG labelled ``name`` with a button for each layer, numbered by ``data-layer``."""
    number = 0
    groups: list[Markup] = []
    height, widest = 0.0, 0.0
    for line in seen.lines:
        parts, width, deepest = _line(line, number, height)
        groups += parts
        number += len(line)
        height += deepest
        widest = max(widest, width)
    return Markup(
        '<svg class="layers" role="group" aria-label="{}" viewBox="0 0 {} {}" '
        'style="min-width:{}px" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(name, round(widest), round(height), round(widest * 0.62), Markup("").join(groups))


def _line(line: Sequence[Layer], number: int, above: float) -> tuple[list[Markup], float, float]:
    """Return the SVG groups of one network, its width and its height in SVG units."""
    largest = max((_side(layer) for layer in line), default=1)
    longest = max((layer.shape[0] for layer in line if len(layer.shape) == 1), default=1)
    middle, x = above + 0.95 * UNIT, 0.55 * UNIT
    groups: list[Markup] = []
    for layer in line:
        width, height, depth = _size(layer, largest, longest)
        step = width + max(0.26 * UNIT, depth * 0.75)
        label = Markup(
            '<text transform="translate({:.0f} {:.0f}) rotate(-50)" text-anchor="end">'
            '<tspan>{}</tspan><tspan x="0" dy="12">{}</tspan></text>'
        ).format(x + width / 2 + 6, above + 1.62 * UNIT, short(layer.name), shape(layer))
        reach = Markup('<rect class="reach" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}"/>')
        groups.append(
            Markup(
                '<g role="button" tabindex="0" aria-pressed="false" data-layer="{}" data-name="{}" aria-label="{}">'
                "{}{}{}</g>"
            ).format(
                number + len(groups),
                layer.name,
                spoken(layer),
                reach.format(x - 4, above + 0.1 * UNIT, step, round(1.5 * UNIT)),
                Markup("").join(_faces(layer, x, middle, width, height, depth)),
                label,
            )
        )
        x += step
    return groups, max(x + 0.4 * UNIT, 3.4 * UNIT), 2.45 * UNIT


def _size(layer: Layer, largest: float, longest: int) -> tuple[float, float, float]:
    """Return the width, height and depth of a block in SVG units.

    The height grows with the square root of the side of the feature maps, the width with the
    logarithm of their number; a vector is a bar whose height grows with the logarithm of its
    length.
    """
    if len(layer.shape) == 1:
        height = 0.15 + 0.75 * math.log1p(layer.shape[0]) / math.log1p(max(longest, 4096))
        return 0.08 * UNIT, height * UNIT, 0.05 * UNIT
    height = 0.12 + 0.88 * math.sqrt(_side(layer) / largest)
    return (0.05 + 0.05 * math.log2(_channels(layer))) * UNIT, height * UNIT, 0.28 * height * UNIT


def _faces(layer: Layer, x: float, middle: float, width: float, height: float, depth: float) -> Iterator[Markup]:
    part = height / layer.towers
    for tower in reversed(range(layer.towers)):  # from below, so that the upper one hides nothing
        top = middle - height / 2 + tower * part
        low = top + part * (0.8 if layer.towers > 1 else 1)
        right, rise = x + width, depth * 0.7 / layer.towers
        corners = {
            "front": [(x, low), (right, low), (right, top), (x, top)],
            "top": [(x, top), (right, top), (right + depth, top - rise), (x + depth, top - rise)],
            "side": [(right, low), (right + depth, low - rise), (right + depth, top - rise), (right, top)],
        }
        for face, points in corners.items():
            colour = "#" + "".join(
                f"{min(255, round(int(COLOURS[layer.kind][place : place + 2], 16) * light)):02x}"
                for place, light in ((1, LIGHT[face]), (3, LIGHT[face]), (5, LIGHT[face]))
            )
            yield Markup('<polygon points="{}" fill="{}"/>').format(
                " ".join(f"{a:.1f},{b:.1f}" for a, b in points), colour
            )


def _channels(layer: Layer) -> int:
    if not layer.shape:
        return 1
    return layer.shape[0] if len(layer.shape) > 2 else layer.shape[-1]


def _side(layer: Layer) -> float:
    if len(layer.shape) < 2:
        return 1
    return (math.prod(layer.shape) / _channels(layer)) ** (1 / max(2, len(layer.shape) - 1))


def shape(layer: Layer) -> str:
    """Return the shape as ``96 × 27 × 27``, with two towers as ``2 · 48 × 27 × 27``."""
    if layer.towers > 1:
        each = (layer.shape[0] // layer.towers, *layer.shape[1:])
        return f"{layer.towers} · {' × '.join(map(str, each))}"
    return " × ".join(map(str, layer.shape))


def spoken(layer: Layer) -> str:
    """Return the label of a layer for screen readers."""
    if layer.kind == "input":
        return _("input: {shape}").format(shape=shape(layer) or _("a text"))
    if layer.kind == "step":
        return _("{name}: step of the method").format(name=layer.name)
    return _("{name}, {type}: {shape}, {count} parameters").format(
        name=layer.name or layer.type, type=layer.type, shape=shape(layer) or "1", count=layer.parameters
    )
