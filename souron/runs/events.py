"""What a run tells whoever watches, event by event."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec

from souron.runs.record import Cost

Given = ParamSpec("Given")


@dataclass(frozen=True)
class Forecast:
    """What a run or a comparison would take."""

    asked: dict[str, Any]  # system or systems, data, budget
    cost: Cost
    cases: dict[str, int]  # of each part
    each: dict[str, float] = field(default_factory=dict)  # seconds of each system compared
    testing: float = 0.0  # seconds of tests and report, beside ``cost``
    note: str = ""  # what the time is made of, in the reader's language
    decoding: Cost | None = None  # once, before: seconds, and bytes of the disk; None where memory
    # has room for the pictures, or where they were decoded before

    def as_json(self) -> dict[str, Any]:
        """The object that ``souron train --forecast --json`` prints."""
        further: dict[str, Any] = {"each": self.each} if self.each else {}
        further |= {"testing": self.testing} if self.testing else {}
        further |= {"note": self.note} if self.note else {}
        if self.decoding is not None:
            further["decoding"] = asdict(self.decoding)
        return {**self.asked, "forecast": asdict(self.cost), "cases": self.cases, **further}


@dataclass(frozen=True)
class Event:
    """What is going on, for whoever watches."""

    phase: str  # "data", "forecast", "train", "test", "report", "done"
    fraction: float = 0.0  # of this phase, 0..1
    seconds_left: float | None = None
    text: str = ""
    values: dict[str, float] = field(default_factory=dict)
    picture: Any = None  # (B, C, H, W) uint8, what is drawn so far
    record: Any = None  # with the last event
    rows: list[dict[str, Any]] = field(default_factory=list)  # a comparison's live table
    folder: Path | None = None  # the run's or comparison's, once it is there
    forecast: Forecast | None = None  # with the event after which files are written
    note: str = ""  # what stays to be read, such as by what patients are known


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the work is kept in ``folder``; ``command`` goes on, where ``resume`` does not."""

    def __init__(self, folder: Path, command: str = "") -> None:
        super().__init__(str(folder))
        self.folder, self.command = folder, command


def in_folder(events: Callable[Given, Iterator[Event]]) -> Callable[Given, Iterator[Event]]:
    """Let each event name the folder that an earlier one named."""

    @functools.wraps(events)
    def telling(*given: Given.args, **options: Given.kwargs) -> Iterator[Event]:
        folder = None

        def named(event: Event) -> Event:
            nonlocal folder
            folder = event.folder or folder
            return replace(event, folder=folder)

        yield from changed(events(*given, **options), named)

    return telling


def changed(events: Any, change: Callable[[Event], Event]) -> Iterator[Event]:
    """Each event as ``change`` makes it. Ctrl-C that meets whoever watches is passed on to whoever
    works, so that the work is kept."""
    for event in events:
        try:
            yield change(event)
        except KeyboardInterrupt as stop:
            events.throw(stop)


def last(events: Iterator[Event]) -> Any:
    record = None
    for event in events:
        record = event.record
    return record


def left(begun: float, done: float) -> float | None:
    """Seconds, if it goes on at the pace of what is ``done`` (0..1) since ``begun``."""
    return (time.monotonic() - begun) * (1 - done) / done if done > 0.01 else None
