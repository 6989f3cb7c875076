"""Plots are drawn once of each make: nine tenths of what a short training costs is its report.

Every plot is built. It is drawn unless one of the same make was drawn before in this process: the
same language, size, axes and artists, letters beside ASCII, and the same oddities of its values
(none, one, not finite, not positive, all equal). What may go wrong while a plot is drawn lies in
these. Tests that look at pictures ask for ``each_drawn``.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from souron.utils.messages import language


def once(draw: Callable[[Figure], bytes]) -> Callable[[Figure], bytes]:
    kept: dict[Hashable, bytes] = {}

    def drawn(figure: Figure) -> bytes:
        made = make(figure)
        if made not in kept:
            kept[made] = draw(figure)
        return kept[made]

    return drawn


def make(figure: Figure) -> Hashable:
    size = tuple(round(float(inches), 1) for inches in figure.get_size_inches())
    legends = [len(legend.get_texts()) for legend in figure.legends]
    each = [(axes.get_xscale(), axes.get_yscale(), *of(axes)) for axes in figure.axes]
    letters = "".join(words(figure))
    odd = frozenset(letter for letter in letters if letter > "~" or letter in "$\\\n")
    return language(), size, tuple(legends), tuple(each), odd


def of(axes: Any) -> Iterator[Hashable]:
    """Describe one panel."""
    artists = axes.get_children()
    yield frozenset(Counter(type(one).__name__ for one in artists).items())
    yield frozenset(Counter(oddities(values) for values in map(data, artists)).items())
    for axis in (axes.xaxis, axes.yaxis):
        yield type(axis.get_major_locator()).__name__, formatter(axis)
        yield oddities(np.asarray(axis.get_data_interval()))


def formatter(axis: Axis) -> Hashable:
    form = axis.get_major_formatter()
    if isinstance(form, FuncFormatter):
        return getattr(form.func, "__code__", form.func)
    return type(form).__name__


def data(artist: Artist) -> Any:
    for name in ("get_ydata", "get_array", "get_offsets"):
        if hasattr(artist, name):
            return getattr(artist, name)()
    return None


def oddities(values: Any) -> Hashable:
    if values is None:
        return None
    found = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).ravel()
    finite = found[np.isfinite(found)]
    return (min(len(found), 2), len(finite) == len(found), bool((finite > 0).all()), len(np.unique(finite)) > 1)


def words(figure: Figure) -> Iterator[str]:
    """Return its texts, but for ticks that a formatter writes."""
    for parent in (figure, *figure.axes):
        yield from (one.get_text() for one in parent.get_children() if isinstance(one, Text))
    for axes in figure.axes:
        legend = axes.get_legend()
        yield from (text.get_text() for text in (legend.get_texts() if legend else ()))
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.get_label_text()
            if isinstance(axis.get_major_formatter(), FixedFormatter):
                yield from map(str, axis.get_major_formatter().seq)
    for legend in figure.legends:
        yield from (text.get_text() for text in legend.get_texts())
