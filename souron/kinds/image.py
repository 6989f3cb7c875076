"""Pictures: read safely from any file, made square, shown.

A file is what its first bytes say it is, whatever its name. It is read within limits, and what is
wrong with it ends in a ``Trouble`` whose code is one of "missing", "outside", "empty file",
"not an image", "too large", "truncated" and "unreadable".
"""

import base64
import io
import logging
import os
import stat
import struct
import threading
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from souron.speaking import Trouble, _

MOST_PIXELS = 50_000_000
MOST_BYTES = 200_000_000
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")

# what Pillow's decoders raise on damaged files
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
          ArithmeticError, RuntimeError, struct.error, zlib.error)  # fmt: skip

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints to stderr


class _Quiet:
    """Ignores warnings while any thread is inside; ``catch_warnings`` alone is not thread-safe."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.caught.__exit__(None, None, None)


quiet = _Quiet()


def readable(name: str | os.PathLike[str]) -> str:
    """A file's name for people and for CSV: composed Unicode, always encodable.

    A name that is not UTF-8 is read as Japanese Windows writes it (archives carry such names).
    """
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp932", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def trouble(path: Path, code: str, why: str, expected: str = "") -> Trouble:
    return Trouble(code, f"{readable(path)}: {why}", expected=expected, exit=3)


@contextmanager
def opened(path: Path, inside: Path | None = None) -> Iterator[Image.Image]:
    """The picture with its header read and its limits checked, not yet decoded.

    ``inside``: a folder that the file, links followed, must not leave. Raises Trouble, also for
    what goes wrong while the caller decodes.
    """
    size = _check(path, inside)
    begins, cut = b"", False
    try:
        with quiet, path.open("rb") as stream:
            begins = stream.read(12)
            cut = begins[8:] == b"WEBP" and int.from_bytes(begins[4:8], "little") + 8 > size
            image = Image.open(stream, formats=FORMATS)
            _check_pixels(path, image)
            yield image
    except Trouble:
        raise
    except UnidentifiedImageError as error:
        if not begins.startswith(SIGNATURES):
            raise trouble(
                path, "not an image", _("not a picture, whatever its name says"), ", ".join(FORMATS)
            ) from error
        raise trouble(
            path, "truncated", _("begins like a picture, but its header is cut short or damaged")
        ) from error
    except Image.DecompressionBombError as error:
        raise trouble(path, "too large", _("the picture has too many pixels"), _limit()) from error
    except DAMAGE as error:
        # Pillow tells a file cut short from a damaged one by its words alone
        if cut or "truncated" in str(error).lower():
            raise trouble(path, "truncated", _("the file is cut short")) from error
        raise trouble(
            path, "unreadable", _("cannot be decoded: {why}").format(why=error)
        ) from error


def _check(path: Path, inside: Path | None) -> int:
    """The file's bytes, once it is a file that may be opened."""
    if inside is not None and not Path(os.path.realpath(path)).is_relative_to(
        os.path.realpath(inside)
    ):
        raise trouble(path, "outside", _("leads out of the folder"), readable(inside))
    try:
        about = path.stat()
    except FileNotFoundError as error:
        raise trouble(path, "missing", _("there is no such file")) from error
    except OSError as error:  # a loop of links, a folder that is closed to us
        raise trouble(path, "unreadable", error.strerror or str(error)) from error
    if not stat.S_ISREG(about.st_mode):
        raise trouble(path, "not an image", _("not a file"))
    if about.st_size == 0:
        raise trouble(path, "empty file", _("the file is empty"))
    if about.st_size > MOST_BYTES:
        raise trouble(
            path,
            "too large",
            _("the file has {count} MB").format(count=about.st_size // 1_000_000),
            _("at most {count} MB").format(count=MOST_BYTES // 1_000_000),
        )
    return about.st_size


def _check_pixels(path: Path, image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise trouble(
            path,
            "too large",
            _("the picture has {width} x {height} pixels").format(
                width=image.width, height=image.height
            ),
            _limit(),
        )


def _limit() -> str:
    return _("at most {count} million pixels").format(count=MOST_PIXELS // 1_000_000)


def read(path: Path, inside: Path | None = None, about: int | None = None) -> Image.Image:
    """The picture in a file, upright, in mode ``"L"`` (grey) or ``"RGB"``; the first of several.

    ``about``: the side in pixels that will be wanted; a large JPEG is then decoded at a half, a
    quarter or an eighth of its size, never under twice that side. What is transparent becomes
    white; 16 bits become 8 by the full range (65535 is white). Raises Trouble (see above).
    """
    with opened(path, inside) as image:
        if about is not None:
            image.draft(None, (2 * about, 2 * about))  # only JPEG knows how
        return plain(ImageOps.exif_transpose(image))


def plain(image: Image.Image) -> Image.Image:
    """Any mode as ``"L"`` or ``"RGB"``."""
    mode = "L" if grey(image) else "RGB"
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def grey(image: Image.Image) -> bool:
    """Whether the header says that there are no colours."""
    if image.mode == "P":
        palette = image.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in GREY


def _eight_bits(deep: np.ndarray) -> np.ndarray:
    """Grey values of 16 bits by their full range; of 32 bits or fractions, where they go beyond
    0..65535 or stay within 0..1, from the darkest to the brightest."""
    low, high = 0.0, 65535.0
    if deep.dtype not in (np.uint16, np.dtype(">u2")):
        deep = np.nan_to_num(deep.astype(np.float64))
        if deep.min() < 0 or deep.max() > 65535 or deep.max() <= 1:
            low, high = float(deep.min()), float(deep.max())
    scale = 255 / (high - low) if high > low else 0.0
    return ((deep - low) * scale + 0.5).astype(np.uint8)


def square(image: Image.Image, side: int, channels: int) -> Tensor:
    """(channels, side, side) uint8: the middle square, smoothly resized; 1 channel grey, 3 RGB."""
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    image = image.resize(
        (side, side),
        Image.Resampling.BILINEAR,
        (left, top, left + short, top + short),
        reducing_gap=3.0,
    ).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image).reshape(side, side, channels)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def picture(pixels: Tensor) -> Image.Image:
    """The way back: (1 or 3, H, W) uint8 -> a picture."""
    channels_last = pixels.cpu().permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(channels_last[..., 0] if len(pixels) == 1 else channels_last)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def data_uri(image: Image.Image) -> str:
    """For the ``src`` of an HTML picture that needs no file."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
