"""The central square of an image."""

from typing import Any

import numpy as np
from PIL import Image

from souron.exports.parts.upright import upright


def read(word: str, about: Any) -> Any:
    """Return the image of a file as (1, channels, side, side)."""
    side, image = about["side"], Image.open(word)
    image.draft(None, (2 * side, 2 * side))
    image = upright(image)
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    image = image.resize((side, side), 2, (left, top, left + short, top + short), reducing_gap=3.0)
    pixels = np.array(image.convert("L" if about["channels"] == 1 else "RGB")).reshape(side, side, -1)
    return [pixels.transpose(2, 0, 1)[None].copy()], None
