"""An image."""

import json
from typing import Any

import numpy as np

from souron.exports.parts.written import written


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Write the image, grey where the given one was unless colours are what is made."""
    pixels = outputs[0][0]
    if "size" in place:
        wide, high = (edge * pixels.shape[2] // place["padded"] for edge in place["size"])
        pixels = pixels[:, :high, :wide]
    if place.get("grey") and not about.get("coloured"):
        pixels = pixels.mean(0, keepdims=True)
    pixels = np.round(pixels.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    file = written(pixels[..., 0] if pixels.shape[2] == 1 else pixels, place["name"], ".answer.png")
    print(json.dumps({"file": file}))
