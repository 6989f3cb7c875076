"""A class for every pixel."""

import json
from typing import Any

import numpy as np

from souron.exports.parts.enlarged import enlarged
from souron.exports.parts.written import written


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Write the numbers of the classes as an image, and print the share of each."""
    (wide, high), left, top = (
        np.multiply(place["size"], place["scale"]).round().astype(int),
        place["left"],
        place["top"],
    )
    area = enlarged(outputs[0][0][:, top : top + high, left : left + wide], place["size"]).argmax(0).astype(np.uint8)
    shares = {labels[k]: float((area == k).mean()) for k in np.unique(area)}
    print(json.dumps({"file": written(area, place["name"], ".mask.png"), "shares": shares}, ensure_ascii=False))
