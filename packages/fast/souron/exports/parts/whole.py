"""A whole image at its own size."""

from typing import Any

import numpy as np
from PIL import Image

from souron.exports.parts.upright import upright


def read(word: str, about: Any) -> Any:
    """Return the image of a file as (1, channels, height, width), padded to what the network takes, and its size."""
    image = upright(Image.open(word))
    pixels = np.array(image.convert("L" if about["channels"] == 1 else "RGB")).reshape(*image.size[::-1], -1)
    right, down = (max(about["least"], -(-edge // about["step"]) * about["step"]) - edge for edge in image.size)
    pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), "edge")
    place = {"name": word, "grey": image.mode == "L", "size": image.size, "padded": pixels.shape[1]}
    return [pixels.transpose(2, 0, 1)[None].copy()], place
