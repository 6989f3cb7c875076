"""Checks of a file before it is opened: size, type, number of pixels."""

import os
import stat
import threading
import unicodedata
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from souron.utils.messages import Message, UserError, _

if TYPE_CHECKING:
    pass

MOST_PIXELS = 50_000_000
MOST_BYTES = 200_000_000
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
DICOM = (".dcm", ".dicom")  # suffixes of files that may lack DICOM's signature


class Look(NamedTuple):
    """Size and format of an image, from its header."""

    size: tuple[int, int]  # width and height, pixels
    grey: bool
    deep: bool = False  # grey values finer than bytes
    frames: int = 1
    spacing: float = 0.0  # millimetres per pixel, along rows and columns alike; 0 where not known


class _Quiet:
    """Context that ignores warnings while any thread is inside.

    ``catch_warnings`` alone is not thread-safe.
    """

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


CONTROLS = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}


def printable(text: str) -> str:
    """Replace control characters by symbols: ``a\\n`` becomes ``a␊``. They would break a table."""
    return text.translate(CONTROLS)


def readable(name: str | os.PathLike[str]) -> str:
    """Return a file's name for people and for CSV: composed Unicode, always encodable.

    A name that is not UTF-8 is decoded as Japanese Windows writes it (archives carry such names).
    """
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp932", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def trouble(path: Path, code: str, why: str, expected: str = "") -> UserError:
    """Return a UserError about a file."""
    found = Message("{path}: {why}").format(path=readable(path), why=why)
    return UserError(code, found, expected=expected, exit=3)


def _is_dicom(path: Path, begins: bytes) -> bool:
    if begins[128:] == b"DICM":
        return True
    return path.suffix.lower() in DICOM and not begins.startswith(SIGNATURES)


def check_file(
    path: Path,
    inside: Path | None = None,
    most: int = MOST_BYTES,
    otherwise: str = "not an image",  # error code for something that is no file
) -> int:
    """Return the size in bytes of a file that may be opened. Raises UserError otherwise."""
    if inside is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(inside)):
        raise trouble(path, "outside", _("leads out of the folder"), readable(inside))
    try:
        about = path.stat()
    except FileNotFoundError as error:
        raise trouble(path, "missing", _("there is no such file")) from error
    except OSError as error:  # a loop of links, a folder without permission
        raise trouble(path, "unreadable", error.strerror or str(error)) from error
    if not stat.S_ISREG(about.st_mode):
        raise trouble(path, otherwise, _("not a file"))
    if about.st_size == 0:
        raise trouble(path, "empty file", _("the file is empty"))
    if about.st_size > most:
        raise trouble(
            path,
            "too large",
            _("the file has {count} MB").format(count=about.st_size // 1_000_000),
            _("at most {count} MB").format(count=most // 1_000_000),
        )
    return about.st_size


def check_pixels(path: Path, width: int, height: int, most: int | None = None) -> None:
    """Raise UserError for an image with too many pixels."""
    if width * height > (most or MOST_PIXELS):
        raise trouble(
            path,
            "too large",
            _("the image has {width} x {height} pixels").format(width=width, height=height),
            _limit(most),
        )


def _limit(most: int | None = None) -> str:
    return _("at most {count} million pixels").format(count=(most or MOST_PIXELS) // 1_000_000)
