"""A whole image, stretched to a square."""

from typing import Any

import numpy as np
from PIL import Image

from souron.exports.parts.upright import upright


def read(word: str, about: Any) -> Any:
    """Return the image of a file as (1, channels, side, side), and its position: size, scale, left, top."""
    image, side = upright(Image.open(word)), about["side"]
    small = image.convert("RGB").resize((side, side)).convert("L" if about["channels"] == 1 else "RGB")
    place = {"name": word, "size": image.size, "scale": (side / image.width, side / image.height), "left": 0, "top": 0}
    return [np.array(small).reshape(side, side, -1).transpose(2, 0, 1)[None].copy()], place
