"""The result for a video: its tracks, and how each object moved."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from souron.action import Fact, Note, Record, Section, Table, sections
from souron.kinds.finding import film_notice, film_standing
from souron.metrics.motion import Motion
from souron.report.page import plot
from souron.utils import units
from souron.utils.messages import N_, _

USUAL = 25.0  # frames per second, if a file does not state it
MOST = 20  # tracks in the table


@dataclass(frozen=True)
class Tracked:
    """One tracked object of a video."""

    number: int
    label: str
    frames: int
    motion: Motion | None  # None if the track is too short


@dataclass
class WatchRecord(Record):
    """The result for a video."""

    eyebrow = N_("video")
    json_file: ClassVar[str] = "watch.json"

    folder: Path
    source: str  # the video, or the number of a camera
    unit: str  # of lengths: "px" or "mm"
    rate: float = USUAL  # frames a second, of the source
    frames: int = 0  # processed
    dropped: int = 0  # skipped, as they came too fast
    cuts: int = 0  # cuts between shots; no track continues across one
    seconds: float = 0.0  # that it took
    tracks: list[Tracked] = field(default_factory=list)
    broken: str = ""  # why it ended early, in the reader's language
    unlike: int | None = None  # frames unlike the training data; None without a check
    engine: str = ""  # what looked at the last frame, see ``inference.engine``

    @property
    def fps(self) -> float:
        """Return the frames processed per second, with tracking and drawing."""
        return self.frames / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the last object that ``souron predict RUN VIDEO --json`` prints."""
        return {
            "fps": round(self.fps, 2),
            "rate": round(self.rate, 3),
            "frames": self.frames,
            "dropped": self.dropped,
            "cuts": self.cuts,
            "unit": self.unit,
            "tracks": [
                {
                    "track": one.number,
                    "label": one.label,
                    "frames": one.frames,
                    **({} if one.motion is None else _finite(asdict(one.motion))),
                }
                for one in self.tracks
            ],
            **({"broken": self.broken} if self.broken else {}),
            "unlike": self.unlike,
            **({"engine": self.engine} if self.engine else {}),
            "saved": str(self.folder),
        }

    def page_title(self) -> str:
        return _("Objects in {video}").format(video=Path(self.source).name)

    def sentences(self) -> list[str]:
        text = _("{frames} frames, {fps:.1f} a second (the video has {rate:.3g}), {dropped} dropped")
        told = text.format(frames=self.frames, fps=self.fps, rate=self.rate, dropped=self.dropped)
        return [film_notice(self.unlike, self.frames), told] if self._is_unlike else [told]

    @property
    def _is_unlike(self) -> bool:
        return film_standing(self.unlike, self.frames) == "unlike"

    def facts(self) -> list[Fact]:
        return [
            Fact(_("tracks"), units.whole(len(self.tracks))),
            Fact(_("frames"), units.whole(self.frames)),
            Fact(_("cuts"), units.whole(self.cuts), _("no track continues across one")),
            Fact(_("time"), units.seconds(self.seconds)),
        ]

    def notes(self) -> list[str]:
        notice = "" if self._is_unlike else film_notice(self.unlike, self.frames)
        return [text for text in (notice, self.broken) if text]

    def tables(self) -> list[Table]:
        if not self.tracks:
            return []
        path, speed = _("path ({unit})"), _("speed ({unit}/s)")
        right = [
            _("frames"),
            path.format(unit=self.unit),
            speed.format(unit=self.unit),
            _("economy"),
            _("idle (s)"),
            _("jerk (log)"),
        ]
        longest = sorted(self.tracks, key=lambda one: -one.frames)[:MOST]
        rows = [(str(one.number), one.label, str(one.frames), *_figures(one)) for one in longest]
        return [Table((_("track"), _("label"), *right), rows, _("The longest tracks"), right=right)]

    def shown(self) -> list[Any]:
        left = len(self.tracks) - MOST
        more = [_("{count} more in motion.csv").format(count=left)] if left > 0 else []
        saved = _("saved: {path}").format(path=self.folder)
        return [*self.sentences(), *map(Note, self.notes()), *self.tables(), *more, saved]

    def sections(self) -> list[Section]:
        image, text = self.folder / "motion.png", _("The path and the speed of each object")
        names = [file.name for file in sorted(self.folder.iterdir()) if file.suffix != ".html"]
        return [
            *super().sections(),
            *sections(("motion", _("Motion"), [plot(image.read_bytes(), text)] if image.is_file() else [])),
            Section("files", _("Files"), [", ".join(names)]),
        ]


def _figures(one: Tracked) -> list[str]:
    if one.motion is None:
        return [""] * 5
    m = one.motion
    return [f"{m.path:.0f}", f"{m.mean_speed:.1f}", f"{m.economy:.2f}", f"{m.idle:.1f}", f"{m.jerk:.1f}"]


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: float(f"{value:.6g}") if np.isfinite(value) else None for name, value in values.items()}
