"""Videos: frames at a frame rate, held in memory.

See ``codecs.moving`` for those that are processed frame by frame.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.codecs import limits, moving
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.utils.files import atomically
from souron.utils.messages import N_, _

MOST_FRAMES = 5000
MOST_PIXELS = 150_000_000  # pixels of all frames
USUAL = 10.0  # default frames per second; browsers do the same


@dataclass(frozen=True, eq=False)
class Video(Kind):
    """A video without sound."""

    widget = "video"
    noun = N_("video")
    suffix = ".webp"
    formats = (*moving.FORMATS, *moving.BY_AV, *limits.DICOM)
    kept = True

    frames: Any  # (T, H, W, 3) uint8
    rate: float  # frames a second
    file: str = ""

    def __post_init__(self) -> None:
        frames = np.asarray(self.frames)
        if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
            raise files.wrong(
                _("frames in the shape {shape}").format(shape=frames.shape), _("(frames, height, width, 3)")
            )
        if frames.dtype != np.uint8:
            raise files.wrong(str(frames.dtype), "uint8")
        if not 0 < self.rate <= 1000:
            raise files.wrong(_("{rate:g} frames a second").format(rate=self.rate), "0..1000")
        object.__setattr__(self, "frames", frames)

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read a video; ``how``: a ``window`` for DICOM. Raises UserError, also "extra"."""
        frames = list(_within_limits(path, moving.frames(path, **how)))
        if not frames:
            raise limits.trouble(path, "unreadable", _("there is no frame in it"))
        known = [frame.seconds for frame in frames if frame.seconds > 0]
        rate = len(known) / sum(known) if known else USUAL
        return cls(np.stack([frame.pixels for frame in frames]), min(rate, 1000.0), str(path))

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.rate

    def picture(self, number: int) -> Picture:
        """Return one frame, counted from 0."""
        return Picture(Image.fromarray(self.frames[number]), self.file)

    def save(self, path: Path) -> None:
        """Save as an animated WebP, GIF or PNG, or, where ``av`` is installed, as MP4.

        MP4 drops an odd last row or column.
        """
        suffix = files.ending(path, (*moving.FORMATS, ".mp4"))
        if suffix == ".mp4":
            self._save_mp4(path)
            return
        kind = moving.FORMATS[suffix]
        first, *rest = (Image.fromarray(frame) for frame in self.frames)
        stream = io.BytesIO()
        first.save(
            stream, kind, save_all=True, append_images=rest, loop=0, quality=85, duration=round(1000 / self.rate)
        )
        files.write(path, stream.getvalue())

    def _save_mp4(self, path: Path) -> None:
        moving.check_decodes(path)
        if min(self.frames.shape[1:3]) < 2:
            raise files.wrong(
                _("frames in the shape {shape}").format(shape=self.frames.shape), _("at least 2 pixels a side")
            )
        with atomically(path) as beside, moving.Writer(beside, self.rate) as writer:
            for frame in self.frames:
                writer.write(frame)

    def as_json(self) -> dict[str, Any]:
        count, height, width, _channels = self.frames.shape
        return {"frames": count, "width": width, "height": height, "rate": self.rate}

    def __str__(self) -> str:
        count, height, width, _channels = self.frames.shape
        return _("video, {count} frames of {width} x {height} pixels, {rate:.3g} a second").format(
            count=count, width=width, height=height, rate=self.rate
        )

    def _repr_html_(self) -> str:
        from souron.utils import plotting

        stream = io.BytesIO()
        first, *rest = (Image.fromarray(frame) for frame in self.frames)
        first.save(stream, "WEBP", save_all=True, append_images=rest, loop=0, duration=round(1000 / self.rate))
        return f"<img src='{plotting.uri(stream.getvalue())}' alt='{escape(str(self))}'>"


def _within_limits(path: Path, frames: Iterator[moving.Frame]) -> Iterator[moving.Frame]:
    """Yield frames. Raises UserError where they are too many, or of different sizes."""
    pixels, first = 0, None
    for count, frame in enumerate(frames, 1):
        pixels += frame.pixels.shape[0] * frame.pixels.shape[1]
        if count > MOST_FRAMES or pixels > MOST_PIXELS:
            raise limits.trouble(
                path,
                "too large",
                _("the video is too long to hold at once"),
                _("at most {count} frames, and {pixels} million pixels in all").format(
                    count=MOST_FRAMES, pixels=MOST_PIXELS // 1_000_000
                ),
            )
        if first is None:
            first = frame.pixels.shape
        if frame.pixels.shape != first:
            raise moving.uneven(path)
        yield frame
