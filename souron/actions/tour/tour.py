"""The first tour: all parts of ``highlights`` in turn, and one page with their results.

A part that fails is reported, and the others continue.
"""

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from souron.actions.tour import tour_page
from souron.actions.tour.highlights import PARTS, Highlight, Part
from souron.runs.events import Event, Interrupted
from souron.utils import files
from souron.utils.messages import Message, UserError, _


@dataclass(frozen=True)
class Outcome:
    """One part of a tour: its result, or its error."""

    name: str
    title: str
    seconds: float
    highlight: Highlight | None = None
    error: UserError | None = None

    def as_json(self) -> dict[str, Any]:
        shared = {"name": self.name, "title": self.title, "seconds": round(self.seconds, 2)}
        if self.highlight is None:
            assert self.error is not None
            return shared | {"error": {"code": self.error.code, "found": self.error.found, "try": self.error.fix}}
        page = {"page": str(self.highlight.page)} if self.highlight.page else {}
        return shared | {"sentences": list(self.highlight.sentences)} | page


@dataclass
class Tour:
    """A finished tour; ``page`` shows all of it."""

    folder: Path
    parts: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def page(self) -> Path:
        return self.folder / "tour.html"

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron tour --json`` prints."""
        last = self.parts[-1].highlight if self.parts else None
        return {
            "sentence": last.sentences[0] if last else "",
            "parts": [part.as_json() for part in self.parts],
            "seconds": round(self.seconds, 2),
            "page": str(self.page),
        }


def touring(project: str | Path = "runs", parts: Sequence[Part] = PARTS) -> Iterator[Event]:
    """Run each part; each ends with an event that carries its ``Outcome``.

    The last event carries a ``Tour``. After Ctrl-C the page shows the finished parts. Raises
    UserError where ``project`` cannot be written, and Interrupted.
    """
    begun = time.perf_counter()
    tour = Tour(files.new_folder(Path(project), "tour"))
    try:
        for number, part in enumerate(parts, 1):
            heading = Message("{}/{} {}").format(number, len(parts), _(part.title))
            yield from _part(part, tour, heading)
    except KeyboardInterrupt as stop:
        _finish(tour, begun)
        raise Interrupted(tour.folder, "souron tour") from stop
    _finish(tour, begun)
    yield Event("done", 1.0, text=_("done"), record=tour, folder=tour.folder)


def _part(part: Part, tour: Tour, heading: str) -> Iterator[Event]:
    begun = time.perf_counter()
    highlight, error = None, None
    events = part.run(tour.folder)
    try:
        for event in events:
            highlight = event.record or highlight
            try:
                yield replace(event, text=heading, record=None, rows=[], folder=tour.folder)
            except KeyboardInterrupt as stop:  # Ctrl-C of the caller: the part ends cleanly
                events.throw(stop)  # type: ignore[attr-defined]
                raise
    except UserError as trouble:
        error = trouble
    except Exception as trouble:  # an error in one part must not hide the others
        if os.environ.get("SOURON_DEBUG"):
            traceback.print_exc()
        error = UserError("bug", f"{type(trouble).__name__}: {trouble}", fix="SOURON_DEBUG=1 souron tour")
    outcome = Outcome(part.name, _(part.title), time.perf_counter() - begun, highlight, error)
    tour.parts.append(outcome)
    yield Event("done", 1.0, text=heading, record=outcome, folder=tour.folder)


def _finish(tour: Tour, begun: float) -> None:
    tour.seconds = time.perf_counter() - begun
    tour_page.write_page(tour)
