"""Events with which a run reports its progress."""

import functools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from filelock import FileLock, Timeout

from souron.evaluation.record import Cost
from souron.training import ranks
from souron.utils import units
from souron.utils.messages import UserError, _

Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Forecast:
    """The estimated cost of a run or a comparison."""

    asked: dict[str, Any]  # system or systems, data, budget
    cost: Cost  # or ``NO_FORECAST``
    cases: dict[str, int]  # of each part
    each: dict[str, float] = field(default_factory=dict)  # seconds of each compared system
    testing: float = 0.0  # seconds of tests and report, in addition to ``cost``
    note: str = ""  # composition of the time, in the reader's language
    decoding: Cost | None = None  # once, before training: seconds and disk bytes; None if memory
    # has room for the images, or if they were decoded before

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``souron train --forecast --json`` prints."""
        further: dict[str, Any] = {"each": self.each} if self.each else {}
        further |= {"testing": self.testing} if self.testing else {}
        further |= {"note": self.note} if self.note else {}
        if self.decoding is not None:
            further["decoding"] = asdict(self.decoding)
        return {**self.asked, "forecast": asdict(self.cost), "cases": self.cases, **further}

    def sentences(self) -> list[str]:
        """Return the estimate in words, and that of what comes before a training."""
        if not self.cost.bytes:
            return [_("no forecast, as was asked for")]
        text = _("forecast: {time}, {memory} of memory")
        if self.testing:
            text = _("forecast: {time} of training, {testing} of tests and report, {memory} of memory")
        line = text.format(
            time=units.seconds(self.cost.seconds),
            memory=units.size(self.cost.bytes),
            testing=units.seconds(self.testing),
        )
        lines = [line, *filter(None, [self.note])]
        if self.decoding is not None:
            text = _("first the images are decoded once into a file of {size}, in {time}")
            seconds, size = units.seconds(self.decoding.seconds), units.size(self.decoding.bytes)
            lines.append(text.format(size=size, time=seconds))
        return lines


@dataclass(frozen=True)
class Event:
    """One progress report."""

    phase: str  # "data", "forecast", "train", "test", "report", "done"
    fraction: float = 0.0  # of this phase, 0..1
    seconds_left: float | None = None
    text: str = ""
    values: dict[str, float] = field(default_factory=dict)
    picture: Any = None  # (B, C, H, W) uint8, images generated so far
    record: Any = None  # of the last event
    rows: list[dict[str, Any]] = field(default_factory=list)  # a comparison's live table
    folder: Path | None = None  # of the run or comparison, once it exists
    forecast: Forecast | None = None  # of the event before files are written
    note: str = ""  # a lasting remark, such as how patients are identified


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed: the work is kept in ``folder``; ``command`` or ``resume`` continues."""

    def __init__(self, folder: Path, command: str = "") -> None:
        super().__init__(str(folder))
        self.folder, self.command = folder, command


def in_folder(events: Callable[Given, Iterator[Event]]) -> Callable[Given, Iterator[Event]]:
    """Decorate events so that each has the folder of an earlier one, which one process at a time writes.

    Helpers of a training and jobs that play one ``round`` write to the folder of another process.
    """

    @functools.wraps(events)
    def telling(*given: Given.args, **options: Given.kwargs) -> Iterator[Event]:
        folder = None
        shared = ranks.rank() > 0 or options.get("round") is not None

        def named(event: Event) -> Event:
            nonlocal folder
            if folder is None and event.folder is not None and not shared:
                lock.enter_context(only_writer(event.folder))
            folder = event.folder or folder
            return replace(event, folder=folder)

        with ExitStack() as lock:
            yield from changed(events(*given, **options), named)

    return telling


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which the operating system releases when the process is killed.

    Where the file system has no locks, nothing is held. Raises UserError where another process holds it.
    """
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            "busy",
            _("another process writes to {folder}").format(folder=folder),
            expected=_("one process for a run's folder"),
            fix=_("the same again, once the other process has ended"),
            exit=4,
        ) from error
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes it itself
                (folder / ".lock").unlink()
        lock.release()


def changed(events: Any, change: Callable[[Event], Event]) -> Iterator[Event]:
    """Yield each event after ``change``.

    Ctrl-C in the consumer is raised in the producer, so that the work is kept.
    """
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


def result(events: Generator[Event, None, Result]) -> Result:
    """Run a generator of events to its end and return its result."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return cast(Result, end.value)


def left(begun: float, done: float) -> float | None:
    """Estimate the seconds left from the share ``done`` (0..1) since ``begun``."""
    return (time.monotonic() - begun) * (1 - done) / done if done > 0.01 else None
