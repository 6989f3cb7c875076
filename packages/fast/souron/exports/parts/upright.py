"""An opened image upright, grey or in colours, as souron reads it. Finer grey values are rounded to bytes."""

from typing import Any

import numpy as np
from PIL import Image, ImageOps


def upright(image: Any) -> Any:
    """Return the image in mode "L" or "RGB", on white where it is transparent."""
    grey, image = image.mode in ("1", "L", "LA", "La"), ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("L" if grey else "RGB")
