"""A video or a camera, frame by frame."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from souron.action import Record
from souron.actions.predict import origin
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import moving
from souron.runs.events import Event
from souron.utils.messages import N_


@dataclass
class Frame(Record):
    """The boxes of one frame, which only programs read."""

    eyebrow = N_("answer")

    event: Event
    folder: Path | None = None

    def page_title(self) -> str:
        return self.event.text

    def as_json(self) -> dict[str, Any]:
        values = self.event.values
        return {"frame": int(values["frame"]), "seconds": round(values["seconds"], 3), "boxes": self.event.rows}

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        return []

    def shown(self) -> list[Any]:
        return []


@dataclass
class Watched(Record):
    """The record of ``souron watch``, in files that are written already."""

    eyebrow = N_("answer")

    watched: Any
    folder: Path | None = None

    def page_title(self) -> str:
        return str(self.watched.page_title())

    def as_json(self) -> dict[str, Any]:
        return dict(self.watched.as_json())

    def printed(self, page: Path | None) -> Any:
        return self.as_json()

    def sentences(self) -> list[str]:
        return list(self.watched.sentences())

    def notes(self) -> list[str]:
        return list(self.watched.notes())

    def shown(self) -> list[Any]:
        return list(self.watched.shown())


def video_of(model: Any, files: Sequence[str], source: str) -> Path | int | None:
    """Return the video's path or the camera's number; None where the files are images.

    Raises UserError for a system that detects no boxes.
    """
    if not source:
        one = Path(files[0]) if len(files) == 1 else None
        return one if one and moving.is_video(one) and model.asked.gives is Boxes else None
    from souron.actions import watch  # heavy: matplotlib

    watch.check_detector(model)
    return int(source) if watch.is_camera(source) else Path(source)


def run(
    model: Any,
    film: Path | int,
    folder: Path,
    choice: Any,
    chosen: Mapping[str, str],
    mode: str,
    live: bool = False,
    mm: float = 0.0,
) -> Iterator[Event]:
    """Process a video, and yield the boxes of each frame and then the whole."""
    from souron.actions import watch  # heavy: matplotlib

    notices: list[str] = []
    many = model.for_many().hasten(mode, moving.count(film), notice=notices.append)
    yield from (Event("", note=text) for text in notices)
    yield from origin.described(model, choice)
    yield from framed(watch.of_model(many, film, folder, chosen, live=live, mm=mm or None))


def framed(events: Generator[Event, None, None]) -> Iterator[Event]:
    """Yield events of ``watch``, each frame with its boxes as a record; Ctrl-C ends it normally."""
    for event in events:
        try:
            yield _of_frame(event)
        except KeyboardInterrupt as stop:
            yield _of_frame(events.throw(stop))
            return


def _of_frame(event: Event) -> Event:
    if event.record is not None:
        return replace(event, record=Watched(event.record))
    return replace(event, record=Frame(event)) if "frame" in event.values else event
