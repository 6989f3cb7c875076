"""Pictures: read safely from any file, made square, shown.

A file is what its first bytes say it is, whatever its name; DICOM is handed on to ``kinds.dicom``.
It is read within limits, and what is wrong with it ends in a ``UserError`` whose code is one of
"missing", "outside", "empty file", "not an image", "too large", "truncated" and "unreadable", and
for DICOM also "no pixels", "no decoder", "no scale" and "window".

Grey values finer than bytes are kept: they are read as float32 (Pillow's mode "F") on the scale of
bytes, 0..255, which is the same for every file of a kind. Pillow reads colours as bytes.
"""

import base64
import io
import logging
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from souron.utils.messages import UserError, _

if TYPE_CHECKING:
    from souron.kinds.codecs.dicom import File
from souron.kinds.codecs.limits import (
    FORMATS,
    SIGNATURES,
    Look,
    _is_dicom,
    _limit,
    check_file,
    check_pixels,
    quiet,
    trouble,
)

# of an interlaced PNG, the first column and row of each pass, and the steps to the next ones
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2))  # fmt: skip
BESIDE = 114  # grey beside a picture that is no square
GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")

# what Pillow's decoders raise on damaged files
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
          ArithmeticError, RuntimeError, struct.error, zlib.error)  # fmt: skip

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints to stderr


@contextmanager
def opened(
    path: Path, inside: Path | None = None, most: int | None = None
) -> "Iterator[Image.Image | File]":
    """The picture, or DICOM file, with its limits checked, not yet decoded.

    ``inside``: a folder that the file, links followed, must not leave; ``most``: pixels. Raises
    UserError, also for what goes wrong while the caller decodes.
    """
    size = check_file(path, inside)
    begins, cut = b"", False
    try:
        with quiet, path.open("rb") as stream:
            begins = stream.read(132)
            if _is_dicom(path, begins):
                from souron.kinds.codecs import dicom

                yield dicom.File(path)
                return
            cut = begins[8:12] == b"WEBP" and int.from_bytes(begins[4:8], "little") + 8 > size
            image = Image.open(stream, formats=FORMATS)
            check_pixels(path, image.width, image.height, most)
            yield image
            if image.format == "PNG" and not image.tile and _ends_early(image, stream):
                raise trouble(path, "truncated", _("the file is cut short"))
    except UserError:
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


def _ends_early(image: Image.Image, stream: BinaryIO) -> bool:
    """Does a decoded PNG lack rows, although its data ends as it should? Pillow leaves them black,
    so that only a picture whose last row is black is looked at again."""
    width, height = image.size
    if np.asarray(image.crop((0, height - 1, width, height))).any():
        return False
    stream.seek(16)
    header = struct.unpack(">IIBBBBB", stream.read(13))
    width, height, bits, colours, _way, _filter, interlaced = header
    bits *= {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]  # of a pixel
    missing = 0  # bytes, of all rows with one that names each row's filter
    for left, top, right, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        missing += rows * (1 + (columns * bits + 7) // 8) if min(columns, rows) > 0 else 0
    stream.seek(8)
    unfold = zlib.decompressobj()
    while missing > 0 and len(head := stream.read(8)) == 8:
        size = int.from_bytes(head[:4])
        if head[4:] == b"IEND":
            break
        if head[4:] != b"IDAT":
            stream.seek(size + 4, os.SEEK_CUR)
            continue
        coded = stream.read(size)
        while coded and missing > 0 and not unfold.eof:
            missing -= len(unfold.decompress(coded, 1 << 20))
            coded = unfold.unconsumed_tail
        stream.seek(4, os.SEEK_CUR)
    return missing > 0


def look(path: Path, inside: Path | None = None) -> Look:
    """What the header says; nothing is decoded. Raises UserError."""
    with opened(path, inside) as file:
        if isinstance(file, Image.Image):
            return Look(file.size, grey(file), _deep(file))
        return file.look()


def read(
    path: Path,
    inside: Path | None = None,
    about: int | None = None,
    window: str | None = None,
    frame: int = 0,
) -> Image.Image:
    """The picture in a file, upright, in mode ``"L"`` (grey), ``"F"`` (grey in finer steps, on the
    same scale) or ``"RGB"``; the first of several, in DICOM any ``layout`` from 0.

    ``about``: the side in pixels that will be wanted; a large JPEG is then decoded at a half, a
    quarter or an eighth of its size, never under twice that side. ``window`` is for DICOM, see
    ``dicom.Window``. What is transparent becomes white. 16 bits go by their full range: 65535 is
    white. Raises UserError (see above).
    """
    with opened(path, inside) as file:
        if isinstance(file, Image.Image):
            return upright(file, about)
        return file.frame(frame, window)


def frames(
    path: Path, inside: Path | None = None, about: int | None = None, window: str | None = None
) -> Iterator[Image.Image]:
    """Each frame of a DICOM file, one after the other; of any other file the first picture.
    Takes and raises what ``read`` does."""
    with opened(path, inside) as file:
        if isinstance(file, Image.Image):
            yield upright(file, about)
        else:
            yield from (file.frame(number, window) for number in range(file.look().frames))


def upright(image: Image.Image, about: int | None = None) -> Image.Image:
    """An opened picture, decoded as ``read`` describes."""
    if about is not None:
        image.draft(None, (2 * about, 2 * about))  # only JPEG knows how
    return plain(ImageOps.exif_transpose(image))


def alpha(path: Path, inside: Path | None = None) -> Image.Image | None:
    """How opaque each pixel of what ``read`` gives is, in mode ``"L"``; None where all are. Raises
    UserError."""
    with opened(path, inside) as file:
        if not isinstance(file, Image.Image) or not file.has_transparency_data or _deep(file):
            return None
        found = ImageOps.exif_transpose(file).convert("RGBA").getchannel("A")
        return found if found.getextrema() != (255, 255) else None


def spacing(path: Path, inside: Path | None = None) -> float:
    """Millimetres a pixel, which a DICOM file may state; 0 where not known. Raises UserError."""
    with opened(path, inside) as file:
        return 0.0 if isinstance(file, Image.Image) else file.look().spacing


class CaseFile(NamedTuple):
    path: Path
    frame: int  # from 0


def case_file(folder: Path, name: str) -> CaseFile:
    """Where a case lies: ``scan.dcm#3`` is the third frame of ``scan.dcm``."""
    framed = re.fullmatch(r"(.+)#([1-9]\d{0,4})", name)
    if framed is None or os.path.lexists(folder / name):
        return CaseFile(folder / name, 0)
    return CaseFile(folder / framed[1], int(framed[2]) - 1)


def plain(image: Image.Image) -> Image.Image:
    """Any mode as ``"L"``, ``"F"`` or ``"RGB"``."""
    mode = "L" if grey(image) else "RGB"
    if _deep(image):
        return Image.fromarray(_in_bytes(np.asarray(image)))
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


def _deep(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def _in_bytes(deep: np.ndarray) -> np.ndarray:
    """Grey values (H, W) as float32 on the scale 0..255, all their levels kept.

    Integers go by 16 bits, 65535 is 255. Fractions within 0..1 go by that range, 1 is 255; others
    by 16 bits. What goes beyond has no scale that would be the same for every file: UserError.
    """
    low, high = (float(deep.min()), float(deep.max())) if deep.size else (0.0, 0.0)
    if not 0 <= low <= high <= 65535:  # also where a value is no number
        raise ValueError(
            _("grey values from {low:g} to {high:g}, and nothing says what black and white are")
            .format(low=low, high=high)
        )  # fmt: skip
    if deep.dtype.kind == "f" and high <= 1:
        return deep.astype(np.float32) * 255
    return deep.astype(np.float32) / 257


def square(image: Image.Image, side: int, channels: int, bicubic: bool = False) -> Tensor:
    """(channels, side, side): the middle square, smoothly resized; 1 channel grey, 3 RGB.

    uint8, or float32 on the same scale where the picture's mode is ``"F"``.
    """
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    image = image.resize(
        (side, side),
        Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR,
        (left, top, left + short, top + short),
        reducing_gap=3.0,
    )
    if image.mode == "F":
        return torch.from_numpy(np.array(image)).expand(channels, side, side).contiguous()
    image = image.convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image).reshape(side, side, channels)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


class Letterbox(NamedTuple):
    """Where a picture of any shape lies within a square."""

    wide: float  # pixels of the square for one of the picture, from left to right
    high: float
    left: int  # pixels of the square beside the picture
    top: int

    def within(self, box: np.ndarray) -> np.ndarray:
        """(n, 4) left, top, right, bottom in pixels of the picture -> of the square."""
        return box * self._scale + self._place

    def back(self, box: np.ndarray) -> np.ndarray:
        """The way back."""
        return (box - self._place) / self._scale

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.wide, self.high] * 2)

    @property
    def _place(self) -> np.ndarray:
        return np.array([self.left, self.top] * 2)


def letterbox(
    image: Image.Image, side: int, channels: int, step: int = 0
) -> tuple[Tensor, Letterbox]:
    """(channels, side, side) as of ``square``, but the whole picture, in the middle of grey; with
    a ``step`` no more grey than makes both sides a multiple of it."""
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    if small.mode != "F":
        small = small.convert("L" if channels == 1 else "RGB")
    wide, high = (-(-edge // step) * step if step else side for edge in size)
    left, top = (wide - size[0]) // 2, (high - size[1]) // 2
    pixels = np.asarray(small).reshape(size[1], size[0], -1)
    whole = np.full((high, wide, pixels.shape[2]), BESIDE, pixels.dtype)
    whole[top : top + size[1], left : left + size[0]] = pixels
    place = Letterbox(size[0] / image.width, size[1] / image.height, left, top)
    there = torch.from_numpy(whole.transpose(2, 0, 1).copy())
    return there.expand(channels, high, wide).contiguous(), place


def picture(pixels: Tensor) -> Image.Image:
    """The way back: (1 or 3, H, W) uint8, or float32 in 0..255, which is rounded -> a picture."""
    if pixels.is_floating_point():
        pixels = pixels.round().clamp(0, 255).byte()
    channels_last = pixels.cpu().permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(channels_last[..., 0] if len(pixels) == 1 else channels_last)


def rounded(image: Image.Image) -> Image.Image:
    """What ``read`` gave, in bytes, to be shown."""
    if image.mode != "F":
        return image
    return Image.fromarray(np.asarray(image).round().clip(0, 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def data_uri(image: Image.Image) -> str:
    """For the ``src`` of an HTML picture that needs no file."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
