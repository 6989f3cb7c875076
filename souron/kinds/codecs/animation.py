"""Contact sheets and animated images."""

import io
import math
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from souron.kinds.codecs.image import as_image
from souron.utils.plotting import PAPER, uri


def sheet(images: Tensor, columns: int, gap: int = 1) -> Image.Image:
    """Arrange images (N, C, H, W) uint8 side by side on white, without captions."""
    rows = math.ceil(len(images) / columns)
    side_y, side_x = images.shape[-2:]
    canvas = Image.new("RGB", (columns * (side_x + gap) - gap, rows * (side_y + gap) - gap), PAPER)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        canvas.paste(as_image(image), (column * (side_x + gap), row * (side_y + gap)))
    return canvas


def thumbnail(image: Image.Image, side: int = 128) -> str:
    """Return an image as a data URI, at most ``side`` pixels a side."""
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return uri(_bytes(image))


def _bytes(image: Image.Image) -> bytes:
    """Encode as PNG up to 64 pixels a side, for grey and for few colours; else as JPEG."""
    file = io.BytesIO()
    if image.mode == "L" or min(image.size) <= 64 or len(image.getcolors(4096) or ()) > 0:
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=88)
    return file.getvalue()


def frames(film: Sequence[Tensor], columns: int = 4, width: int = 360) -> list[Image.Image]:
    """Arrange each step of a sequence of images (B, C, H, W) uint8 on a sheet."""
    sheets = [sheet(frame, columns) for frame in film]
    factor = max(1, width // sheets[0].width)
    size = (sheets[0].width * factor, sheets[0].height * factor)
    return [each.resize(size, Image.Resampling.NEAREST) for each in sheets]


def moving(images: Sequence[Image.Image], milliseconds: int = 200) -> tuple[Image.Image, dict]:
    """Return the first image and Pillow's options to save all of them as an animation.

    The last image stays for at least a second.
    """
    first, *rest = images
    times = [milliseconds] * len(rest) + [max(1000, milliseconds)]
    return first, {"save_all": True, "append_images": rest, "duration": times, "loop": 0}


def film(images: Sequence[Image.Image]) -> bytes:
    """Encode images as an animated WebP."""
    stream = io.BytesIO()
    first, options = moving(images)
    first.save(stream, "WEBP", quality=80, **options)
    return stream.getvalue()
