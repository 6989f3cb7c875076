"""Overview of a data set of pieces in four voices: ``data.html``."""

from pathlib import Path

import torch
from markupsafe import Markup

from souron.data import voices
from souron.data.dataset import Dataset
from souron.data.voices import Voices
from souron.kinds.score import Score
from souron.report import plots
from souron.report.page import Fact, page, parts_and_groups, plot, write
from souron.utils import units
from souron.utils.messages import _

SHOWN = 3  # pieces to see and hear
STEPS = 256  # sixteenths of such a piece


def pieces_page(cases: Dataset, folder: Path) -> Path:
    """Write ``data.html`` into ``folder``; return the page's path. Raises UserError."""
    bars = [len(piece.grid) / piece.bar for piece in cases.input]
    headings = {
        "examples": _("Examples to listen to"),
        "lengths": _("Lengths"),
        "parts": _("Parts and groups"),
        "skipped": _("Pieces that were left out"),
    }
    there = {"parts": parts_and_groups(cases, _("{count} pieces")), "skipped": cases.skipped}
    every = max(1, len(cases) // SHOWN)
    text = page(
        "data_pieces.html",
        title=cases.name,
        eyebrow=_("data"),
        facts=[
            Fact(_("pieces"), units.whole(len(cases))),
            Fact(_("tunes"), units.whole(len(set(cases.group) or set(cases.file)))),
            Fact(_("bars"), units.whole(sum(bars))),
            Fact(_("left out"), units.whole(len(cases.skipped))),
        ],
        contents=[(name, title) for name, title in headings.items() if there.get(name, True)],
        headings=headings,
        examples=[(cases.file[row], shown(cases.input[row])) for row in range(0, len(cases), every)[:SHOWN]],
        histogram=plot(plots.histogram(torch.tensor(bars), _("bars")), _("how many pieces have how many bars")),
        **there,
    )
    return write(folder / "data.html", text)


def shown(piece: Voices, title: str = "") -> Markup:
    """Return piano roll and sound of the beginning of a piece."""
    beginning = piece._replace(grid=piece.grid[:STEPS])
    return Markup(Score.of(voices.notation(beginning, title))._repr_html_())  # it escapes names
