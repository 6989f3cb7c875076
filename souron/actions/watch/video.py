"""Run a detector on a video or a camera: boxes, tracks, and the motion of each object.

One frame is in memory at a time, however long the video. It writes ``video.mp4`` with the tracks
drawn (if the package ``av`` is installed), ``tracks.csv`` with a line for each box,
``motion.csv`` with a line for each track, and ``motion.png``.
"""

import csv
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from souron.actions.watch.record import USUAL, Tracked, WatchRecord
from souron.actions.watch.tracking import Track, Tracker
from souron.kinds import files as kinds_files
from souron.kinds.boxes import Boxes
from souron.kinds.codecs import moving
from souron.kinds.codecs.moving import Frame
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture
from souron.metrics import motion
from souron.metrics.motion import Motion
from souron.runs.events import Event
from souron.utils import files, plotting
from souron.utils.messages import UserError, _

TRAIL = 1.0  # seconds of a path that are drawn
LATE = 1 / 60  # tolerated delay of a frame in playback, seconds
SHOWN = 8  # tracks in the plot, the longest paths
FEWEST = 5  # least frames of a track for motion figures
CUT, SMALL = 32.0, 32  # mean difference of two frames, 0..255, SMALL pixels wide and high, from
# which the film was cut; of 249 frames of a street with five cuts these differ by 45 to 82, others
# by 19 at most. A flash of light looks like a cut, too.
EVERY = 0.5  # seconds between two images in events
FIGURES = ("seconds", "path", "displacement", "economy", "mean_speed", "peak_speed", "idle", "jerk")

Look = Callable[[Picture, float], Boxes]  # an image and the minimum score -> its boxes


def watching(
    look: Look,
    source: Path | int,
    folder: Path,
    *,
    classes: Sequence[str],
    conf: float = 0.25,
    live: bool = False,
    mm: float | None = None,
    every: float = EVERY,
    unlike: Callable[[], int] | None = None,
    engine: Callable[[], str] = lambda: "",
) -> Generator[Event, None, None]:
    """Process a file, or the camera of that number.

    Events carry a frame's boxes in ``rows``, the last one a ``WatchRecord``. Ctrl-C ends it,
    keeping what was written. ``live`` plays a file at its own speed and skips frames that come too
    fast, as a camera does; ``mm`` is the size of a pixel; an event has the frame with its tracks as an
    image ``every`` so many seconds of computing (0: always); ``unlike`` counts the frames that are unlike
    the training data, ``engine`` names what looked at them. Raises UserError if no frame can be read.
    """
    first, coming = _opened(source)
    record = WatchRecord(folder, str(source), "mm" if mm else "px")
    record.rate = 1 / first.seconds if first.seconds > 0 else USUAL
    length = None if isinstance(source, int) else moving.length(source)
    folder.mkdir(parents=True, exist_ok=True)
    begun = shown = time.perf_counter()
    session = _Session(record, Tracker(conf), _Paths(mm or 1.0), classes, look)
    frames = _joined(first, coming)
    if live or isinstance(source, int):
        frames = _as_it_plays(frames, record)
    try:
        with ExitStack() as stack:
            rows = stack.enter_context(_table(folder / "tracks.csv"))
            film = None
            if moving.decodes():
                film = stack.enter_context(moving.Writer(folder / "video.mp4", record.rate))
            for number, frame in enumerate(frames):
                named, drawn = session.frame(frame)
                rows.writerows(_rows(number, frame, named))
                if film is not None:
                    film.write(np.asarray(drawn))
                record.frames += 1
                now = time.perf_counter()
                record.seconds = now - begun
                looked = now - shown >= every
                shown = now if looked else shown
                yield _event(record, frame, named, number, length, drawn if looked else None)
    except KeyboardInterrupt:
        record.broken = _("stopped after {count} frames").format(count=record.frames)
    except UserError as trouble:
        if not record.frames:
            raise
        record.broken = trouble.found
    except OSError as error:
        raise files.cannot_write(folder / "tracks.csv", error) from error
    record.tracks, record.unlike = session.paths.tracked(), unlike() if unlike else None
    record.engine = engine()
    _write_motion(record, session.paths, session.size)
    yield Event("done", 1.0, record=record, folder=folder)


def _opened(source: Path | int) -> tuple[Frame, Iterator[Frame]]:
    """Return the first frame and the others. Raises UserError where there is none."""
    coming = moving.camera(source) if isinstance(source, int) else moving.ahead(moving.frames(source))
    first = next(coming, None)
    if first is None:
        raise UserError(
            "unreadable", _("{path}: there is no frame in it").format(path=source), expected=_("a video"), exit=3
        )
    return first, coming


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    """Open the table of boxes, and write its header."""
    header = ["frame", "seconds", "track", "label", "left", "top", "right", "bottom", "score"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield writer


def _rows(number: int, frame: Frame, named: Sequence[tuple[Track, str]]) -> Iterator[list[Any]]:
    """Yield the rows of one frame for the table of boxes."""
    for track, name in named:
        box = [round(edge, 1) for edge in track.box.tolist()]
        yield [number, f"{frame.at:.3f}", track.number, name, *box, f"{track.score:.4f}"]


class _Session:
    """The state from one frame to the next: the tracker, the paths, the shot."""

    def __init__(
        self, record: WatchRecord, tracker: Tracker, paths: "_Paths", classes: Sequence[str], look: Look
    ) -> None:
        self.record, self.tracker, self.paths = record, tracker, paths
        self.classes, self.look = classes, look
        self.before: float | None = None  # the time of the last frame
        self.shot: np.ndarray | None = None  # the last frame, small
        self.size = (0, 0)  # height and width

    def frame(self, frame: Frame) -> tuple[list[tuple[Track, str]], Image.Image]:
        """Return the tracks of a frame with their labels, and the frame with them drawn."""
        self.size = frame.pixels.shape[:2]
        picture = Picture(Image.fromarray(frame.pixels), self.record.source)
        found = _as_rows(self.look(picture, self.tracker.least), self.classes)
        passed = 1.0
        if self.before is not None:
            passed = max((frame.at - self.before) * self.record.rate, 1e-3)
        last, self.shot = self.shot, _small(frame.pixels)
        if last is not None and np.abs(self.shot - last).mean() > CUT:
            self.tracker.cut()
            self.record.cuts += 1
        tracks = self.tracker.update(found, passed)
        self.before = frame.at
        named = [(track, self.classes[track.label]) for track in tracks]
        for track, name in named:
            self.paths.add(track, name, frame.at)
        return named, _drawn(picture, named, self.paths, frame.at)


def within(seconds: float, events: Generator[Event, None, None]) -> WatchRecord:
    """Let ``watching`` process a file for at most ``seconds``."""
    begun = time.perf_counter()
    for event in events:
        if event.record is None and time.perf_counter() - begun > seconds:
            event = events.throw(KeyboardInterrupt())
        if event.record is not None:
            return event.record
    raise AssertionError("it ends with a record")


def _small(pixels: np.ndarray) -> np.ndarray:
    """Downscale a frame (H, W, 3) uint8 to (SMALL, SMALL, 3) float."""
    small = Image.fromarray(pixels).resize((SMALL, SMALL), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


class _Paths:
    """The centre of each track over time, in pixels times ``scale``."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.place: dict[int, list[tuple[float, float]]] = {}
        self.at: dict[int, list[float]] = {}
        self.size: dict[int, list[float]] = {}
        self.name: dict[int, str] = {}

    def add(self, track: Track, name: str, at: float) -> None:
        kept = self.place.setdefault(track.number, [])
        if len(kept) >= motion.MOST:
            return
        kept.append((float(track.place[0]), float(track.place[1])))
        self.at.setdefault(track.number, []).append(at)
        self.size.setdefault(track.number, []).append(float(track.place[2:].mean()))
        self.name[track.number] = name

    def trail(self, number: int, at: float) -> list[tuple[float, float]]:
        """Return the last ``TRAIL`` seconds of a track's path, in pixels."""
        times = self.at[number]
        first = next((i for i in range(len(times)) if times[-1 - i] < at - TRAIL), len(times))
        return self.place[number][len(times) - first :]

    def tracked(self) -> list[Tracked]:
        return [
            Tracked(number, self.name[number], len(place), self._motion(number)) for number, place in self.place.items()
        ]

    def scaled(self, number: int) -> np.ndarray:
        return np.array(self.place[number]) * self.scale

    def _motion(self, number: int) -> Motion | None:
        if len(self.at[number]) < FEWEST:
            return None
        size = float(np.mean(self.size[number])) * self.scale
        return motion.motion(self.scaled(number), self.at[number], size)


def _joined(first: Frame, others: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from others


def _as_it_plays(frames: Iterator[Frame], record: WatchRecord) -> Iterator[Frame]:
    """Yield each frame at its time; late ones are skipped and counted."""
    begun = None
    for frame in frames:
        now = time.perf_counter()
        begun = now - frame.at if begun is None else begun
        late = now - begun - frame.at
        if late > max(frame.seconds, LATE):
            record.dropped += 1
            continue
        time.sleep(max(-late, 0.0))
        yield frame


def _as_rows(boxes: Boxes, classes: Sequence[str]) -> np.ndarray:
    """Return boxes as (n, 6): label, left, top, right, bottom, score."""
    labels = [list(classes).index(name) for name in boxes.found.names]
    scores = boxes.found.scores or [1.0] * len(labels)
    return np.column_stack([labels, np.reshape(boxes.box, (-1, 4)), scores])


def _drawn(picture: Picture, named: Sequence[tuple[Track, str]], paths: _Paths, at: float) -> Image.Image:
    canvas = overlay.Canvas(picture)
    for track, name in named:
        tint = overlay.colour(track.number)
        canvas.path(paths.trail(track.number, at), tint)
        canvas.box(track.box.tolist(), f"{track.number} {name}", tint)
    return canvas.image


def _event(
    record: WatchRecord,
    frame: Frame,
    named: Sequence[tuple[Track, str]],
    number: int,
    length: float | None,
    drawn: Image.Image | None,
) -> Event:
    done = min(frame.at / length, 1.0) if length else 0.0
    rows = [
        {
            "track": track.number,
            "label": name,
            "score": round(track.score, 4),
            "xyxy": [round(edge, 1) for edge in track.box.tolist()],
        }
        for track, name in named
    ]
    return Event(
        "watch",
        done,
        record.seconds * (1 / done - 1) if done else None,
        _("frame {number}, {fps:.1f} a second, {dropped} dropped").format(
            number=number + 1, fps=record.fps, dropped=record.dropped
        ),
        {"frame": float(number), "seconds": frame.at},
        None if drawn is None else np.asarray(drawn).transpose(2, 0, 1)[None],
        rows=rows,
    )


def _write_motion(record: WatchRecord, paths: _Paths, size: tuple[int, int]) -> None:
    header = ["track", "label", "frames", *FIGURES, "unit"]
    table = [
        [
            one.number,
            one.label,
            one.frames,
            *(_short(getattr(one.motion, name)) if one.motion else "" for name in FIGURES),
            record.unit,
        ]
        for one in record.tracks
    ]
    kinds_files.write(record.folder / "motion.csv", kinds_files.separated([header, *table]))
    told = [one for one in record.tracks if one.motion is not None]
    told = sorted(told, key=lambda one: -_path(one))[:SHOWN]
    if told:
        kinds_files.write(record.folder / "motion.png", motion_plot(told, paths, size, record.unit))


def motion_plot(tracks: Sequence[Tracked], paths: _Paths, size: tuple[int, int], unit: str) -> bytes:
    """Plot the path and the speed of each object."""
    figure: Figure = plotting.new_figure(9.6, 4.2)
    where, speed = figure.subplots(1, 2)
    plotting.style_axes(where, f"x ({unit})", f"y ({unit})")
    plotting.style_axes(speed, _("time (s)"), _("speed ({unit}/s)").format(unit=unit))
    for index, one in enumerate(tracks):
        even, path, fast, _jerk, _step = motion.smooth(paths.scaled(one.number), paths.at[one.number])
        style = plotting.line_style(index)
        name = plotting.label(f"{one.number} {one.label}", 24)
        where.plot(*path.T, **style, linewidth=1.6, label=name)
        where.plot(*path[0], "o", markersize=4, color=style["color"])
        speed.plot(even, fast, **style, linewidth=1.4)
    height, width = (side * paths.scale for side in size)
    where.set_xlim(0, width)
    where.set_ylim(height, 0)
    where.set_aspect("equal")
    speed.set_ylim(bottom=0)
    plotting.add_legend(figure, where, 4)
    return plotting.as_png(figure)


def _path(one: Tracked) -> float:
    return one.motion.path if one.motion else 0.0


def _short(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else ""
