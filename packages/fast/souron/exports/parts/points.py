"""Landmarks."""

import json
from typing import Any

from souron.exports.parts.back import back


def show(outputs: Any, place: Any, about: Any, labels: Any) -> None:
    """Print each landmark: x and y in pixels of the image, and its score."""
    for name, (x, y), score in zip(labels, back(outputs[0][0], place).tolist(), outputs[1][0].tolist(), strict=True):
        print(json.dumps({"label": name, "x": x, "y": y, "score": score}, ensure_ascii=False))
