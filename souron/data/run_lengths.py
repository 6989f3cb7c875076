"""Where something is, as a text: lengths of runs outside and inside in turn, row by row."""

import numpy as np
from numpy.typing import NDArray


def area_of(text: str, side: int) -> NDArray[np.bool_]:
    """(side, side) of lengths of runs, ``"12 3 ..."``, outside and inside in turn, row by row."""
    lengths = np.array(text.split(), dtype=np.int64)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside[: side * side].reshape(side, side)


def lengths_of(area: NDArray[np.bool_]) -> str:
    """What ``area_of`` reads."""
    flat = np.concatenate([[False], area.ravel()])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return " ".join(map(str, np.diff(np.concatenate([[0], ends, [area.size]]))))
