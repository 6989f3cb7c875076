"""Videos: frames and how many a second there are.

Moving WebP, GIF and PNG are read and written by Pillow. Other files (MP4, WebM) are read where the
package ``av`` is installed.
"""

import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from PIL import Image

from souron.kinds import files
from souron.kinds.codecs import image, limits
from souron.kinds.kind import Kind
from souron.kinds.picture import Picture
from souron.utils.messages import UserError, _

MOST_FRAMES = 5000
MOST_PIXELS = 150_000_000  # of all frames
FORMATS = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG"}
BY_AV = (".mp4", ".webm", ".mov", ".mkv", ".avi")
USUAL = 10.0  # frames a second where a file does not say; browsers do the same


class Frame(NamedTuple):
    pixels: np.ndarray  # (H, W, 3) uint8
    seconds: float  # that it stays; 0 where the file does not say


@dataclass(frozen=True, eq=False)
class Video(Kind):
    """Moving pictures without sound."""

    widget = "video"
    suffix = ".webp"
    formats = (*FORMATS, *BY_AV, *limits.DICOM)
    kept = True

    frames: Any  # (T, H, W, 3) uint8
    rate: float  # frames a second
    file: str = ""

    def __post_init__(self) -> None:
        frames = np.asarray(self.frames)
        if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
            raise files.wrong(
                _("frames in the shape {shape}").format(shape=frames.shape),
                _("(frames, height, width, 3)"),
            )
        if frames.dtype != np.uint8:
            raise files.wrong(str(frames.dtype), "uint8")
        if not 0 < self.rate <= 1000:
            raise files.wrong(_("{rate:g} frames a second").format(rate=self.rate), "0..1000")
        object.__setattr__(self, "frames", frames)

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """``how``: a ``window`` for DICOM. Raises UserError, also "no decoder"."""
        coming = _by_av(path) if _needs_av(path) else _by_pillow(path, **how)
        frames = list(_within_limits(path, coming))
        if not frames:
            raise limits.trouble(path, "unreadable", _("there is no frame in it"))
        known = [frame.seconds for frame in frames if frame.seconds > 0]
        rate = len(known) / sum(known) if known else USUAL
        return cls(np.stack([frame.pixels for frame in frames]), min(rate, 1000.0), str(path))

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.rate

    def picture(self, number: int) -> Picture:
        """One frame, from 0."""
        return Picture(Image.fromarray(self.frames[number]), self.file)

    def save(self, path: Path) -> None:
        kind = FORMATS[files.ending(path, FORMATS)]
        first, *rest = (Image.fromarray(frame) for frame in self.frames)
        stream = io.BytesIO()
        first.save(stream, kind, save_all=True, append_images=rest, loop=0, quality=85,
                   duration=round(1000 / self.rate))  # fmt: skip
        files.write(path, stream.getvalue())

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
        first.save(stream, "WEBP", save_all=True, append_images=rest, loop=0,
                   duration=round(1000 / self.rate))  # fmt: skip
        return f"<img src='{plotting.uri(stream.getvalue())}' alt='{escape(str(self))}'>"


def _needs_av(path: Path) -> bool:
    """By its first bytes: MP4 or MOV, WebM or MKV, AVI."""
    limits.check_file(path, otherwise="unreadable")
    try:
        with path.open("rb") as stream:
            begins = stream.read(12)
    except OSError as error:
        raise limits.trouble(path, "unreadable", error.strerror or str(error)) from error
    avi = begins[:4] == b"RIFF" and begins[8:] == b"AVI "
    return avi or begins[4:8] == b"ftyp" or begins.startswith(b"\x1aE\xdf\xa3")


def _within_limits(path: Path, frames: Iterator[Frame]) -> Iterator[Frame]:
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
            raise _uneven(path)
        yield frame


def _uneven(path: Path) -> UserError:
    return limits.trouble(path, "unreadable", _("its frames differ in size"))


def _by_pillow(path: Path, window: str | None = None) -> Iterator[Frame]:
    with image.opened(path) as file:
        if not isinstance(file, Image.Image):
            for number in range(file.look().frames):
                yield Frame(_colour(file.frame(number, window)), 0.0)
            return
        first = file.size
        for number in range(MOST_FRAMES + 1):
            try:
                file.seek(number)  # without counting them first: a small file may hold millions
            except EOFError:
                return
            if file.size != first:  # before it is decoded: only the first was checked
                raise _uneven(path)
            pixels = _colour(image.plain(file))
            yield Frame(pixels, float(file.info.get("duration", 0)) / 1000)


def _colour(frame: Image.Image) -> np.ndarray:
    return np.asarray(image.rounded(frame).convert("RGB"))


def decodes() -> bool:
    """Whether MP4 and WebM can be read here."""
    return importlib.util.find_spec("av") is not None


def _by_av(path: Path) -> Iterator[Frame]:
    if not decodes():
        raise UserError(
            "no decoder",
            _("{path}: nothing here reads such videos").format(path=limits.readable(path)),
            expected=", ".join(FORMATS),
            fix="pip install av",
            exit=4,
        )
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            limits.check_pixels(path, stream.width, stream.height)
            each = float(1 / stream.average_rate) if stream.average_rate else 0.0
            for frame in container.decode(stream):
                yield Frame(frame.to_ndarray(format="rgb24"), each)
    except UserError:
        raise
    except (av.FFmpegError, *image.DAMAGE) as error:
        raise limits.trouble(
            path, "unreadable", _("cannot be decoded: {why}").format(why=error)
        ) from error
