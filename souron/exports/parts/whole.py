"""A whole image at its own size."""

from typing import Any

import numpy as np
from PIL import Image

from souron.exports.parts.upright import upright


def read(word: str, about: Any) -> Any:
    """Return the image of a file as (1, channels, height, width), and whether it is grey."""
    image = upright(Image.open(word))
    pixels = np.array(image.convert("L" if about["channels"] == 1 else "RGB")).reshape(*image.size[::-1], -1)
    place = {"name": word, "grey": image.mode == "L"}
    return [pixels.transpose(2, 0, 1)[None].copy()], place
