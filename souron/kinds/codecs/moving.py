"""Streaming of videos: frames are read or written one after the other, and none is kept.

Animated WebP, GIF and PNG are read by Pillow. Other files (MP4, WebM), cameras, and writing MP4
need the package ``av``.
"""

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from PIL import Image

from souron.kinds.codecs import image, limits
from souron.utils import extras
from souron.utils.messages import UserError, _

FORMATS = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG"}
BY_AV = (".mp4", ".webm", ".mov", ".mkv", ".avi")
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # first boxes of MP4 and MOV
CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none"), "win32": ("dshow", "video={}")}
AHEAD = 4  # frames that wait between a thread and what it works for
MOST, MOST_BYTES = 10_000_000, 50_000_000_000  # frames and bytes of a file


class Frame(NamedTuple):
    """One frame with its duration and time."""

    pixels: np.ndarray  # (H, W, 3) uint8
    seconds: float  # duration; 0 where not stated
    at: float = 0.0  # seconds since the first


def frames(path: Path, window: str | None = None) -> Iterator[Frame]:
    """Yield the frames of a file, all of one size; ``window`` is that of DICOM.

    Raises UserError, also where the file breaks off, after all frames before that.
    """
    return _by_av(path) if _needs_av(path) else _by_pillow(path, window)


def camera(number: int) -> Iterator[Frame]:
    """Yield frames of this computer's camera of that number, from 0, until the caller stops.

    Raises UserError.
    """
    kind, device = CAMERAS.get(sys.platform, CAMERAS["linux"])
    name = device.format(number)
    if sys.platform == "linux" and not Path(name).exists():
        there = ", ".join(str(place)[10:] for place in sorted(Path("/dev").glob("video*")))
        raise UserError(
            "no camera",
            _("there is no camera {number}").format(number=number),
            expected=_("one of: {cameras}").format(cameras=there) if there else _("a camera"),
            fix=_("a video's file"),
            exit=4,
        )
    return _by_av(Path(name), kind)


def is_video(path: Path) -> bool:
    """Return whether a file is a video.

    By its name; GIF, WebP and PNG by whether they are animated.
    """
    if path.suffix.lower() in BY_AV:
        return True
    return path.suffix.lower() in FORMATS and (count(path) or 1) > 1


def length(path: Path) -> float | None:
    """Return the duration of a file in seconds; None where it is not stated."""
    if path.suffix.lower() not in BY_AV or not decodes():
        return None
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return container.duration / av.time_base if container.duration else None
    except (av.FFmpegError, OSError):
        return None


def count(path: Path | int) -> int | None:
    """Return the number of frames that a file states; None where it states none, and for a camera."""
    if isinstance(path, int):
        return None
    if path.suffix.lower() in FORMATS:
        try:
            with image.opened(path) as file:
                return getattr(file, "n_frames", None)
        except (UserError, *image.DAMAGE):
            return None
    if not decodes():
        return None
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return container.streams.video[0].frames or None
    except (av.FFmpegError, OSError, IndexError):
        return None


def ahead(coming: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames that a thread decodes while earlier ones are in use."""
    context = copy_context()  # in this language

    def decoded() -> Frame | None:
        return context.run(next, coming, None)

    with ThreadPoolExecutor(1) as pool:
        futures = deque(pool.submit(decoded) for _number in range(AHEAD))
        while (frame := futures.popleft().result()) is not None:
            futures.append(pool.submit(decoded))
            yield frame


class Writer:
    """Writer of an MP4, frame by frame, which a thread encodes.

    The file is complete when the ``with`` ends, also by an error.
    """

    def __init__(self, path: Path, rate: float, comment: str = "") -> None:
        """Open the file. ``comment``: metadata that players show, such as ``provenance``'s mark."""
        import av

        known = path.suffix.lower() in BY_AV
        self.container: Any = av.open(str(path), "w", format=None if known else "mp4")
        if comment:
            self.container.metadata["comment"] = comment
        self.rate = Fraction(rate).limit_denominator(1000)
        self.stream: Any = None
        self.pool, self.pending = ThreadPoolExecutor(1), deque[Future[None]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            with self.pool:
                self._wait(0)
            if self.stream is not None:
                self.container.mux(self.stream.encode())
        finally:
            self.container.close()

    def write(self, pixels: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8, which has to stay as it is. H.264 drops an odd last row or column."""
        self._wait(AHEAD)
        self.pending.append(self.pool.submit(self._encode, pixels))

    def _wait(self, most: int) -> None:
        """Wait until at most so many frames are left. Raises what their encoding raised."""
        while len(self.pending) > most:
            self.pending.popleft().result()

    def _encode(self, pixels: np.ndarray) -> None:
        import av

        height, width = (side - side % 2 for side in pixels.shape[:2])
        if self.stream is None:
            self.stream = self.container.add_stream("libx264", rate=self.rate)
            self.stream.width, self.stream.height = width, height
            self.stream.pix_fmt = "yuv420p"
            self.stream.options = {"preset": "veryfast", "crf": "23"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        self.container.mux(self.stream.encode(frame))


def _needs_av(path: Path) -> bool:
    """Return whether the file begins like MP4, MOV, WebM, MKV or AVI. Raises UserError."""
    limits.check_file(path, most=MOST_BYTES, otherwise="unreadable")
    try:
        with path.open("rb") as stream:
            begins = stream.read(12)
    except OSError as error:
        raise limits.trouble(path, "unreadable", error.strerror or str(error)) from error
    avi = begins[:4] == b"RIFF" and begins[8:] == b"AVI "
    if avi or begins[4:8] in BOXES or begins.startswith(b"\x1aE\xdf\xa3"):
        return True
    if path.suffix.lower() in BY_AV:
        kinds = ", ".join((*BY_AV, *FORMATS))
        why = _("not a video, whatever its name says")
        raise limits.trouble(path, "not a video", why, kinds)
    return False


def uneven(path: Path) -> UserError:
    """Return the UserError for frames of different sizes."""
    return limits.trouble(path, "unreadable", _("its frames differ in size"))


def _by_pillow(path: Path, window: str | None = None) -> Iterator[Frame]:
    with image.opened(path) as file:
        if not isinstance(file, Image.Image):
            for number in range(file.look().frames):
                yield Frame(_colour(file.frame(number, window)), 0.0)
            return
        first, at = file.size, 0.0
        for number in range(MOST):
            try:
                file.seek(number)  # without counting them first: a small file may hold millions
            except EOFError:
                return
            if file.size != first:  # before it is decoded: only the first was checked
                raise uneven(path)
            pixels = _colour(image.plain(file))
            seconds = float(file.info.get("duration", 0)) / 1000
            yield Frame(pixels, seconds, at)
            at += seconds


def _colour(frame: Image.Image) -> np.ndarray:
    return np.asarray(image.rounded(frame).convert("RGB"))


def decodes() -> bool:
    """Return whether MP4 and WebM can be read here."""
    return extras.installed("video")


def check_decodes(path: Path) -> None:
    """Raise UserError where MP4 and WebM cannot be read."""
    if not decodes():
        need = _("{path}: nothing here reads such videos").format(path=limits.readable(path))
        raise extras.missing("video", need)


def _by_av(path: Path, kind: str | None = None) -> Iterator[Frame]:
    check_decodes(path)
    import av

    try:
        with av.open(str(path), format=kind, metadata_errors="replace") as container:
            stream = container.streams.video[0]
            limits.check_pixels(path, stream.width, stream.height)
            each = float(1 / stream.average_rate) if stream.average_rate else 0.0
            begun, at = None, 0.0
            for count, frame in enumerate(container.decode(stream)):
                if count == MOST and kind is None:
                    return
                if frame.time is not None:
                    begun = frame.time if begun is None else begun
                    at = max(at, frame.time - begun)
                yield Frame(frame.to_ndarray(format="rgb24"), each, at)
                at += each if frame.time is None else 0.0
    except UserError:
        raise
    except IndexError as error:
        raise limits.trouble(path, "unreadable", _("there is no frame in it")) from error
    except (av.FFmpegError, *image.DAMAGE) as error:
        why = _("cannot be decoded: {why}").format(why=getattr(error, "strerror", "") or error)
        raise limits.trouble(path, "unreadable", why) from error
