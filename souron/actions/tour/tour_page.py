"""Page of ``souron tour``: the result of each part, and next steps."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from souron.report.page import page, write
from souron.utils import hardware, units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.actions.tour.tour import Outcome, Tour


def write_page(tour: "Tour") -> Path:
    """Write ``tour.html`` into the tour's folder; return its path. Raises UserError."""
    return write(
        tour.page,
        page(
            "tour.html",
            title=_("What AI can do, on this computer"),
            eyebrow=_("tour"),
            contents=[(part.name, part.title) for part in tour.parts],
            parts=[_shown(part, tour.folder) for part in tour.parts],
            seconds=units.seconds(tour.seconds),
            machine=_("{processor}, {cores} cores").format(processor=hardware.processor(), cores=hardware.cores()),
            next_steps=_next_steps(),
        ),
    )


def _shown(part: "Outcome", folder: Path) -> dict[str, Any]:
    highlight = part.highlight
    longer = highlight and highlight.page
    return {
        "name": part.name,
        "title": part.title,
        "seconds": units.seconds(part.seconds),
        "error": part.error,
        "highlight": highlight,
        "page": Path(os.path.relpath(longer, folder)).as_posix() if longer else "",
    }


def _next_steps() -> list[tuple[str, str]]:
    """Return next steps as pairs of description and command."""
    return [
        (_("All of it in the browser: your own images, a training, a fair comparison"), "souron studio"),
        (_("Name a photograph of your own"), "souron predict photo.jpg"),
        (
            _("Train on a folder of your own, with a sub-folder for each class"),
            "souron train cnn data=photos/ budget=1min",
        ),
        (_("A verdict on predictions that were made elsewhere"), "souron verdict predictions.csv"),
        (_("How many patients a study needs"), "souron plan"),
        (_("Whether acting on a classifier's predictions helps: decision curves"), "souron decision RUN"),
        (_("The table that a journal asks for, filled from a run"), "souron reporting RUN"),
        (
            _(
                "One chapter of the lecture, at most three minutes each: classification, generation, "
                "detection, segmentation, language, words, society, fair-fight"
            ),
            "souron tour detection",
        ),
        (_("Every system by name"), "souron list"),
    ]
