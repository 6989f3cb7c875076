"""Images as input or output of a system; ``codecs.image`` reads them."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image
from torch import Tensor

from souron.kinds import files
from souron.kinds.codecs import image as image_codec
from souron.kinds.codecs import limits
from souron.kinds.kind import Kind
from souron.utils.messages import N_, _

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
SHOWN = 1024  # pixels of the longer side, in a notebook
TINY, LEAST_SIDE = 128, 256  # pixels: images below TINY are enlarged to about LEAST_SIDE


@dataclass(frozen=True, eq=False)
class Picture(Kind):
    """One image, upright, in mode ``"L"``, ``"F"`` (grey in finer steps) or ``"RGB"``."""

    widget = "picture"
    noun = N_("picture")
    suffix = ".png"
    formats = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".dcm", ".dicom")
    kept = True

    most: ClassVar[int] = limits.MOST_PIXELS

    image: Image.Image
    file: str = ""
    alpha: Image.Image | None = None  # opacity of each pixel, ``"L"``; None where all are opaque
    spacing: float = 0.0  # millimetres per pixel; 0 where not known

    def __post_init__(self) -> None:
        size, mode = self.image.size, self.image.mode
        if min(size) < 1 or size[0] * size[1] > self.most:
            raise files.wrong(
                _("an image of {width} x {height} pixels").format(width=size[0], height=size[1]),
                _("at most {count} million pixels").format(count=self.most // 1_000_000),
            )
        if mode not in ("L", "F", "RGB"):
            raise files.wrong(_("an image in mode {mode}").format(mode=mode), "L, F, RGB")
        if self.alpha is not None and (self.alpha.size, self.alpha.mode) != (size, "L"):
            raise files.wrong(_("an image in mode {mode}").format(mode=self.alpha.mode), "L, {} x {}".format(*size))

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read an image; ``how`` is what ``image.read`` takes."""
        image, alpha = image_codec.read(path, **how), image_codec.alpha(path)
        return cls(image, str(path), alpha, image_codec.spacing(path))

    @classmethod
    def each(cls, path: Path, **how: Any) -> Iterator[Self]:
        """Yield each frame of a DICOM file with several, as ``scan.dcm#3``; else the image."""
        look = image_codec.look(path)
        if look.frames == 1:
            yield cls.read(path, **how)
            return
        for number, frame in enumerate(image_codec.frames(path, **how), 1):
            yield cls(frame, f"{path}#{number}", spacing=look.spacing)

    @classmethod
    def of(cls, pixels: Tensor) -> Self:
        """Create an image from pixels (1 or 3, H, W), uint8 or floats in 0..255."""
        return cls(image_codec.as_image(pixels))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @property
    def uniform(self) -> bool:
        """True for an image of one colour.

        >>> Picture(Image.new("RGB", (4, 3), (9, 9, 0))).uniform
        True
        """
        pixels = np.asarray(self.image)
        return bool((pixels == pixels[0, 0]).all())

    def square(self, side: int, channels: int, bicubic: bool = False) -> Tensor:
        """Return the image as a tensor (channels, side, side): see ``image.square``."""
        return image_codec.square(self.image, side, channels, bicubic)

    def central_square(self) -> "Picture":
        """Return the central square of the image, as large as its shorter side.

        >>> Picture(Image.new("L", (40, 30))).central_square().size
        (30, 30)
        """
        short = min(self.size)
        left, top = ((edge - short) // 2 for edge in self.size)
        return Picture(self.image.crop((left, top, left + short, top + short)), self.file, spacing=self.spacing)

    def letterbox(self, side: int, channels: int, step: int = 0) -> tuple[Tensor, image_codec.Letterbox]:
        """Return the padded image (channels, side, side) and its position: ``image.letterbox``."""
        return image_codec.letterbox(self.image, side, channels, step)

    def resized(self, size: tuple[int, int], smooth: bool = False) -> tuple[Tensor, image_codec.Letterbox]:
        """Return the image as RGB (3, height, width) and its position: ``image.resized``."""
        return image_codec.resized(self.image, size, smooth)

    def save(self, path: Path) -> None:
        kind = FORMATS[files.ending(path, FORMATS)]
        stream = io.BytesIO()
        image_codec.rounded(self.image).save(stream, kind, quality=95)
        files.write(path, stream.getvalue())

    def as_json(self) -> dict[str, Any]:
        return {"width": self.size[0], "height": self.size[1]}

    def __str__(self) -> str:
        return _("image, {width} x {height} pixels").format(width=self.size[0], height=self.size[1])

    def _repr_html_(self) -> str:
        return html(self.image, str(self))


def html(shown: Image.Image, words: str) -> str:
    """Return an image as an HTML element, with a text for people who cannot see it.

    A tiny image is enlarged by a whole factor, so that each pixel stays a square.

    >>> html(Image.new("L", (2, 2)), "a black square")[:32]
    "<img src='data:image/png;base64,"
    """
    small = image_codec.rounded(shown).copy()
    small.thumbnail((SHOWN, SHOWN))
    if max(small.size) < TINY:
        times = LEAST_SIDE // max(small.size)
        small = small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)
    return f"<img src='{image_codec.data_uri(small)}' alt='{escape(words)}' style='max-width:100%'>"
