"""Plots: line charts."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from souron.kinds import files
from souron.kinds.kind import Kind
from souron.utils.messages import N_, _

MOST_POINTS = 1_000_000
MOST_SERIES = 28  # more cannot be distinguished
FORMATS = (".svg", ".png", ".csv")
SIZE = (7.2, 3.6)  # inches


class Series(NamedTuple):
    """One line of a plot."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Plot(Kind):
    """Lines over a common axis; ``x`` and ``y`` name the axes with their units: "time (s)"."""

    widget = "plot"
    noun = N_("plot")
    suffix = ".svg"
    kept = True

    series: Sequence[Series]
    x: str
    y: str
    title: str = ""

    def __post_init__(self) -> None:
        series = tuple(Series(name, tuple(map(float, x)), tuple(map(float, y))) for name, x, y in self.series)
        object.__setattr__(self, "series", series)
        if not 1 <= len(series) <= MOST_SERIES:
            raise files.wrong(_("{count} lines in one plot").format(count=len(series)), f"1..{MOST_SERIES}")
        for name, x, y in series:
            if len(x) != len(y) or len(x) > MOST_POINTS:
                raise files.wrong(
                    _("{name}: {x} values along x and {y} along y").format(name=name, x=len(x), y=len(y)),
                    _("as many of each, at most {count}").format(count=MOST_POINTS),
                )

    def drawn(self, kind: str = "svg") -> bytes:
        """Return the chart as ``"svg"`` or ``"png"``; values that are not finite leave gaps."""
        from matplotlib.figure import Figure
        from matplotlib.text import Text

        from souron.utils import fonts, plotting

        figure = Figure(SIZE, dpi=plotting.DOTS, facecolor=plotting.PAPER, layout="constrained")
        axes = figure.subplots()
        axes.set_facecolor(plotting.PAPER)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(plotting.FAINT)
        axes.grid(visible=True, color=plotting.GRID, linewidth=0.7)
        axes.tick_params(colors=plotting.FAINT, labelcolor=plotting.INK, labelsize=8.5)
        for number, (name, x, y) in enumerate(self.series):
            style = plotting.line_style(number)
            single = "." if len(x) == 1 else ""  # a line of one point would be invisible
            axes.plot(x, y, label=plotting.label(name), linewidth=1.6, marker=single, **style)
        axes.set_xlabel(fonts.drawable(self.x), color=plotting.INK, fontsize=9)
        axes.set_ylabel(fonts.drawable(self.y), color=plotting.INK, fontsize=9)
        axes.set_title(fonts.drawable(self.title), color=plotting.INK, fontsize=10)
        if len(self.series) > 1 or self.series[0].name:
            axes.legend(frameon=False, fontsize=8.5, labelcolor=plotting.INK)
        for text in figure.findobj(Text):
            text.set_fontfamily(fonts.families())
        stream = io.BytesIO()
        about = {"Date": None} if kind == "svg" else {}
        figure.savefig(stream, format=kind, facecolor=plotting.PAPER, metadata=about)
        return stream.getvalue()

    def save(self, path: Path) -> None:
        """Save an image, or the numbers as ``.csv``."""
        suffix = files.ending(path, FORMATS)
        if suffix == ".csv":
            files.write(path, files.separated([self.columns, *self.rows()]))
        else:
            files.write(path, self.drawn(suffix[1:]))

    @property
    def columns(self) -> list[str]:
        return [_("series"), self.x, self.y]

    def rows(self) -> list[tuple[str, float, float]]:
        return [(name, x, y) for name, xs, ys in self.series for x, y in zip(xs, ys, strict=True)]

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "series": [{"name": name, "x": x, "y": y} for name, x, y in self.series],
        }

    def __str__(self) -> str:
        names = ", ".join(series.name for series in self.series if series.name)
        told = _("plot of {y} against {x}").format(y=self.y, x=self.x)
        return f"{told}: {names}" if names else told

    def _repr_html_(self) -> str:
        coded = base64.b64encode(self.drawn()).decode()
        return f"<img src='data:image/svg+xml;base64,{coded}' alt='{escape(str(self))}' style='max-width:100%'>"
