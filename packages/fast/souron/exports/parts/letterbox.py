"""A whole image, padded with grey."""

from typing import Any

import numpy as np
from PIL import Image

from souron.exports.parts.upright import upright


def read(word: str, about: Any) -> Any:
    """Return the image of a file as (1, channels, height, width), and its position: size, scale, left, top."""
    image, side, step = upright(Image.open(word)), about["side"], about["step"]
    scale = side / max(image.size)
    wide, high = (max(1, round(edge * scale)) for edge in image.size)
    small = image.resize((wide, high), 2, reducing_gap=3.0).convert("L" if about["channels"] == 1 else "RGB")
    width, height = (max(about["least"], -(-edge // step) * step) if step else side for edge in (wide, high))
    left, top = (width - wide) // 2, (height - high) // 2
    whole = np.full((height, width, about["channels"]), 114, np.uint8)
    whole[top : top + high, left : left + wide] = np.asarray(small).reshape(high, wide, -1)
    place = {
        "name": word,
        "size": image.size,
        "scale": (wide / image.width, high / image.height),
        "left": left,
        "top": top,
    }
    return [whole.transpose(2, 0, 1)[None].copy()], place
