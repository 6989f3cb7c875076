"""Bilinear interpolation."""

from typing import Any

import numpy as np


def enlarged(values: Any, size: Any) -> Any:
    """Resize (..., h, w) to a width and a height."""
    for axis, length in ((-1, size[0]), (-2, size[1])):
        last = values.shape[axis] - 1
        at = ((np.arange(length) + 0.5) * (last + 1) / length - 0.5).clip(0, last)
        low = at.astype(int)
        share = (at - low).astype(np.float32)
        share = share if axis == -1 else share[:, None]
        below, above = np.take(values, low, axis), np.take(values, np.minimum(low + 1, last), axis)
        values = below + (above - below) * share
    return values
