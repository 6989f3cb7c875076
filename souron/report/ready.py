"""What comes ready trained, on a page: ``ready.html``."""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from souron import registry
from souron.hub import zoo
from souron.report.page import Tile, page, tile, write
from souron.utils import units
from souron.utils.messages import _

if TYPE_CHECKING:
    from souron.runs.record import ReadyRecord


def ready_page(record: "ReadyRecord") -> Path:
    """Write ``ready.html`` into the record's folder; its path. Raises UserError."""
    headings = {"classifiers": _("What they say"), "generators": _("What they draw")}
    there = {"classifiers": record.answers, "generators": record.drawings}
    text = page(
        "ready.html",
        title=_("Ready trained"),
        eyebrow=_("This is what it can do"),
        contents=[item for item in headings.items() if there[item[0]]],
        headings=headings,
        examples=[tile(Image.open(file), file.stem, [file.stem]) for file in record.examples],
        classifiers=[_named(record, name) for name in record.answers],
        generators=[
            (name, year_of(name), zoo.about(name), _drawn(record, name)) for name in record.drawings
        ],
        count=units.whole(len(record.examples)),
    )
    return write(record.folder / "ready.html", text)


def year_of(name: str) -> int:
    return registry.find(name)[0].year


def _named(record: "ReadyRecord", name: str) -> tuple[str, int, str, list[tuple[str, bool]]]:
    """A classifier's name, year and figure, and its labels, each with whether it is right."""
    labels = [
        (label, zoo.file_name(label) == file.stem)
        for (label, _probability), file in zip(record.answers[name], record.examples, strict=True)
    ]
    return name, year_of(name), zoo.about(name), labels


def _drawn(record: "ReadyRecord", name: str) -> list[Tile]:
    return [
        tile(picture, _("drawn by {system}").format(system=name))
        for picture in record.drawings[name]
    ]
