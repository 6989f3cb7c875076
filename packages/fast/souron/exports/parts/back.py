"""Positions in the pixels of the image that was read."""

from typing import Any

import numpy as np


def back(points: Any, place: Any) -> Any:
    """Convert (..., 2), x and y of the network's input, to pixels of the image, and keep them within it."""
    moved = (np.asarray(points, float) - (place["left"], place["top"])) / place["scale"]
    return np.clip(moved, 0, place["size"])
