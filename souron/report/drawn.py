"""Generated images, for a notebook."""

from typing import TYPE_CHECKING

from souron.report.page import page, plot
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.runs.record import DrawnRecord


def drawn_html(record: "DrawnRecord") -> str:
    """Return the sheet of generated images as HTML, for a notebook."""
    sheet = record.folder / "grid.png"
    return page(
        "notebook.html",
        headline=_("{count} pictures by {system}, seed {seed}").format(
            count=units.whole(record.count), system=record.system, seed=record.seed
        ),
        columns=(),
        rows=(),
        picture=plot(sheet.read_bytes(), _("pictures drawn by {system}").format(
            system=record.system)),
        path=record.folder,
    )  # fmt: skip
