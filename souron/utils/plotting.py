"""The common style of all plots: colours, fonts, line styles."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from souron.utils import fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER = "#1f2328", "#6a737d", "#e7e9ec", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
MARKS = "osD^vPX"
DOTS = 192  # per inch: twice that of a screen
_as_pdf: ContextVar[bool] = ContextVar("_as_pdf", default=False)


def uri(image: bytes) -> str:
    """Return a data URI of PNG, WebP or JPEG bytes."""
    kind = {b"\x89PNG": "png", b"RIFF": "webp"}.get(image[:4], "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def line_style(index: int) -> dict[str, Any]:
    """Return colour and dashes of line ``index``; 28 lines are distinguishable."""
    dashes = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": dashes}


def label(name: str, columns: int = 20) -> str:
    """Shorten a name and make it safe for a figure."""
    return fonts.drawable(fonts.short(name, columns))


def new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DOTS, facecolor=PAPER, layout="constrained")


def style_axes(axes: "Axes", x: str, y: str) -> None:
    """Set everything that the reader's matplotlib settings could change."""
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b6bcc4")
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=GRID, linewidth=0.7, linestyle="-")
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=8.5, length=3, labelfontfamily=fonts.LATIN)
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)


def add_legend(figure: "Figure", axes: "Axes", columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=2.6,
    )


def choose_fonts(figure: "Figure") -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(fonts.families())


@contextmanager
def pdf_pages() -> Iterator[None]:
    """Within this context plots are pages of PDF, with their fonts, in place of PNG."""
    token = _as_pdf.set(True)
    try:
        yield
    finally:
        _as_pdf.reset(token)


def as_png(figure: "Figure") -> bytes:
    """Return a figure as PNG, or as PDF within ``pdf_pages``."""
    return _pdf(figure) if _as_pdf.get() else draw(figure)


def _pdf(figure: "Figure") -> bytes:
    import matplotlib
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    choose_fonts(figure)
    file = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # whole fonts, so that the text can be searched and copied
        FigureCanvasPdf(figure).print_pdf(file, metadata={"Creator": "souron", "CreationDate": None})
    return file.getvalue()


def draw(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    choose_fonts(figure)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)  # ``savefig`` renders twice for the layout
    return file.getvalue()
