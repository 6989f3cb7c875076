"""Masks as text: lengths of alternating runs outside and inside, row by row."""

import numpy as np
from numpy.typing import NDArray


def area_of(text: str, side: int) -> NDArray[np.bool_]:
    """Decode a mask (side, side) from lengths of runs, ``"12 3 ..."``, outside and inside
    in turn."""
    lengths = np.array(text.split(), dtype=np.int64)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside[: side * side].reshape(side, side)


def lengths_of(area: NDArray[np.bool_]) -> str:
    """Encode a mask as the text that ``area_of`` decodes."""
    flat = np.concatenate([[False], area.ravel()])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return " ".join(map(str, np.diff(np.concatenate([[0], ends, [area.size]]))))
