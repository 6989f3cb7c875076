"""Images: read safely from any file, cropped or padded to squares, displayed.

The type of a file is decided by its first bytes, whatever its name; DICOM is passed on to
``codecs.dicom``. Files are read within limits, and errors are raised as ``UserError`` with one of
the codes "missing", "outside", "empty file", "not an image", "too large", "truncated" and
"unreadable", and for DICOM also "no pixels", "no decoder", "no scale" and "window".

Grey values finer than bytes are kept: they are read as float32 (Pillow's mode "F") on the scale of
bytes, 0..255, equal for every file of a type. Pillow reads colours as bytes.
"""

import base64
import io
import logging
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

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

# interlaced PNG: first column and row of each pass, and the steps to the next ones
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
LONGEST_HEAD, NETPBM_FIELDS = 65_536, 4  # bytes; magic number, width, height and one more
BESIDE = 114  # grey of the padding
LARGE = 4_000_000  # pixels, from which images are decoded one at a time
LARGE_TURN = threading.Lock()
Made = TypeVar("Made")
GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")

# exceptions that Pillow's decoders raise on damaged files
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints to stderr


@contextmanager
def opened(path: Path, inside: Path | None = None, most: int | None = None) -> "Iterator[Image.Image | File]":
    """Open an image or DICOM file, limits checked, not yet decoded.

    ``inside``: a folder that the file, links followed, must not leave; ``most``: pixels. Raises
    UserError, also for errors while the caller decodes.
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
            if re.match(rb"P[1-7fFy]\s", begins):
                _check_netpbm(path, begins + stream.read(LONGEST_HEAD))
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
                path, "not an image", _("not an image, whatever its name says"), ", ".join(FORMATS)
            ) from error
        raise trouble(path, "truncated", _("begins like an image, but its header is cut short or damaged")) from error
    except Image.DecompressionBombError as error:
        raise trouble(path, "too large", _("the image has too many pixels"), _limit()) from error
    except DAMAGE as error:
        # only Pillow's message distinguishes a truncated file from a damaged one
        if cut or "truncated" in str(error).lower():
            raise trouble(path, "truncated", _("the file is cut short")) from error
        raise trouble(path, "unreadable", _("cannot be decoded: {why}").format(why=error)) from error


def _check_netpbm(path: Path, head: bytes) -> None:
    """Raise UserError where comments take more than the beginning: Pillow reads them byte by byte."""
    if len(head) >= LONGEST_HEAD and len(re.sub(rb"#[^\r\n]*", b"", head).split()) < NETPBM_FIELDS:
        raise trouble(path, "unreadable", _("its header is too long"))


def _ends_early(image: Image.Image, stream: BinaryIO) -> bool:
    """Return whether a decoded PNG lacks rows, although its data ends properly.

    Pillow leaves missing rows black, so that only an image whose last row is black is checked.
    """
    width, height = image.size
    if np.asarray(image.crop((0, height - 1, width, height))).any():
        return False
    stream.seek(16)
    header = struct.unpack(">IIBBBBB", stream.read(13))
    width, height, bits, colours, _way, _filter, interlaced = header
    bits *= {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]  # bits of a pixel
    missing = 0  # bytes of all rows, each with one for its filter
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
    """Return size and format from the header; nothing is decoded. Raises UserError."""
    with opened(path, inside) as file:
        if isinstance(file, Image.Image):
            return Look(file.size, grey(file), _deep(file))
        return file.look()


def read(
    path: Path, inside: Path | None = None, about: int | None = None, window: str | None = None, frame: int = 0
) -> Image.Image:
    """Read the image in a file, upright, in mode ``"L"``, ``"F"`` or ``"RGB"``.

    ``"L"`` is grey, ``"F"`` grey in finer steps on the same scale. Of several images it is the
    first, in DICOM any ``frame`` from 0. ``about``: the side in pixels that will be needed; a large
    JPEG is then decoded at a half, a quarter or an eighth of its size, never under twice that side.
    ``window`` is for DICOM, see ``dicom.Window``. Transparency is composited on white. 16 bits are
    scaled by their full range: 65535 is white. Raises UserError (see above).
    """
    with opened(path, inside) as file:
        if isinstance(file, Image.Image):
            return upright(file, about)
        return file.frame(frame, window)


def frames(
    path: Path, inside: Path | None = None, about: int | None = None, window: str | None = None
) -> Iterator[Image.Image]:
    """Yield each frame of a DICOM file; for any other file the first image.

    Same arguments and errors as ``read``.
    """
    with opened(path, inside) as file:
        if isinstance(file, Image.Image):
            yield upright(file, about)
        else:
            yield from (file.frame(number, window) for number in range(file.look().frames))


def upright(image: Image.Image, about: int | None = None) -> Image.Image:
    """Decode an opened image as ``read`` describes."""
    if about is not None:
        image.draft(None, (2 * about, 2 * about))  # supported by JPEG only
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return plain(ImageOps.exif_transpose(image) if turned else image)  # without a turn it would copy


def shrunk(image: Image.Image, about: int, shrink: Callable[[Image.Image], Made]) -> Made:
    """Return what ``shrink`` makes of an opened image, decoded as by ``read``.

    Of large ones, all threads together hold one at a time, in one thread: glibc keeps the memory of each.
    """
    image.draft(None, (2 * about, 2 * about))
    if image.width * image.height <= LARGE:
        return shrink(upright(image))
    with LARGE_TURN, ThreadPoolExecutor(1) as alone:
        return alone.submit(lambda: shrink(upright(image))).result()


def alpha(path: Path, inside: Path | None = None) -> Image.Image | None:
    """Return the opacity of each pixel that ``read`` returns; None where all are opaque.

    The mode is ``"L"``. Raises UserError.
    """
    with opened(path, inside) as file:
        if not isinstance(file, Image.Image) or not file.has_transparency_data or _deep(file):
            return None
        found = ImageOps.exif_transpose(file).convert("RGBA").getchannel("A")
        return found if found.getextrema() != (255, 255) else None


def spacing(path: Path, inside: Path | None = None) -> float:
    """Return millimetres per pixel from a DICOM file; 0 where not known. Raises UserError."""
    with opened(path, inside) as file:
        return 0.0 if isinstance(file, Image.Image) else file.look().spacing


class CaseFile(NamedTuple):
    """File and frame number of a case."""

    path: Path
    frame: int  # from 0


def case_file(folder: Path, name: str) -> CaseFile:
    """Return file and frame of a case: ``scan.dcm#3`` is the third frame of ``scan.dcm``."""
    framed = re.fullmatch(r"(.+)#([1-9]\d{0,4})", name)
    if framed is None or os.path.lexists(folder / name):
        return CaseFile(folder / name, 0)
    return CaseFile(folder / framed[1], int(framed[2]) - 1)


def plain(image: Image.Image) -> Image.Image:
    """Convert any mode to ``"L"``, ``"F"`` or ``"RGB"``."""
    mode = "L" if grey(image) else "RGB"
    if _deep(image):
        return Image.fromarray(_in_bytes(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image.load()
    return image if image.mode == mode else image.convert(mode)


def grey(image: Image.Image) -> bool:
    """Return whether the header says that there are no colours."""
    if image.mode == "P":
        palette = image.getpalette() or []
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in GREY


def _deep(image: Image.Image) -> bool:
    """Return whether grey values are finer than bytes."""
    return image.mode.startswith(("I", "F"))


def _in_bytes(deep: np.ndarray) -> np.ndarray:
    """Scale grey values (H, W) to float32 in 0..255, keeping all levels.

    Integers are scaled by 16 bits, 65535 becomes 255. Fractions within 0..1 are scaled by that
    range, 1 becomes 255; others by 16 bits. Raises ValueError for values beyond: no scale would be
    equal for every file.
    """
    low, high = (float(deep.min()), float(deep.max())) if deep.size else (0.0, 0.0)
    if not 0 <= low <= high <= 65535:  # also true for nan
        raise ValueError(
            _("grey values from {low:g} to {high:g}, and nothing says what black and white are").format(
                low=low, high=high
            )
        )
    if deep.dtype.kind == "f" and high <= 1:
        return deep.astype(np.float32) * 255
    return deep.astype(np.float32) / 257


def square(image: Image.Image, side: int, channels: int, bicubic: bool = False) -> Tensor:
    """Crop the central square and resize it smoothly, (channels, side, side).

    1 channel is grey, 3 are RGB. uint8, or float32 on the same scale where the image's mode is
    ``"F"``.
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
    """Position of an image of any shape within a square."""

    wide: float  # pixels of the square per pixel of the image, horizontally
    high: float
    left: int  # pixels of padding
    top: int

    def within(self, box: np.ndarray) -> np.ndarray:
        """Convert boxes (n, 4) from pixels of the image to those of the square.

        A box is left, top, right, bottom.
        """
        return box * self._scale + self._place

    def back(self, box: np.ndarray) -> np.ndarray:
        """Convert boxes from pixels of the square to those of the image."""
        return (box - self._place) / self._scale

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.wide, self.high] * 2)

    @property
    def _place(self) -> np.ndarray:
        return np.array([self.left, self.top] * 2)


def letterbox(image: Image.Image, side: int, channels: int, step: int = 0) -> tuple[Tensor, Letterbox]:
    """Resize the whole image and pad it with grey, (channels, side, side).

    The tensor is like that of ``square``. With a ``step`` the padding is only as large as makes
    both sides a multiple of it. Returns the position as well.
    """
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


def resized(image: Image.Image, size: tuple[int, int], smooth: bool = False) -> tuple[Tensor, Letterbox]:
    """Resize the whole image to a width and height, without padding.

    The tensor is RGB (3, height, width), float32 in 0..255.
    Each pixel is interpolated between four, as in torchvision's detectors; ``smooth`` averages over
    the area that becomes one pixel. Returns the position as well.
    """
    place = Letterbox(size[0] / image.width, size[1] / image.height, 0, 0)
    if smooth:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image if image.mode == "F" else image.convert("RGB")))
    pixels = pixels.float().reshape(image.height, image.width, -1).permute(2, 0, 1)
    if not smooth:
        pixels = F.interpolate(pixels[None], size[::-1], mode="bilinear")[0]
    return pixels.expand(3, -1, -1), place


def as_image(pixels: Tensor) -> Image.Image:
    """Convert (1 or 3, H, W) uint8, or float32 in 0..255, which is rounded, to an image."""
    if pixels.is_floating_point():
        pixels = pixels.round().clamp(0, 255).byte()
    channels_last = pixels.cpu().permute(1, 2, 0).numpy()  # (H, W, C)
    return Image.fromarray(channels_last[..., 0] if len(pixels) == 1 else channels_last)


def rounded(image: Image.Image) -> Image.Image:
    """Round an image that ``read`` returned to bytes, for display."""
    if image.mode != "F":
        return image
    return Image.fromarray(np.asarray(image).round().clip(0, 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def data_uri(image: Image.Image) -> str:
    """Return an image as a data URI for the ``src`` of an HTML image."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
