"""How well a text is packed into tokens, text by text."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPACED = re.compile(r"\S+")
COUNTS = ("tokens", "bytes", "letters", "words", "parts")


def counts(text: str, raws: Sequence[bytes]) -> tuple[int, ...]:
    """``COUNTS`` of one text, cut into tokens that stand for those bytes: how many tokens, bytes,
    letters, words between spaces, and tokens that hold a part of a letter.

    Example:
        >>> counts("to be 歯", [b"to", b" be", b" ", b"\\xe6\\xad", b"\\xaf"])
        (5, 9, 7, 3, 2)
    """
    parts = sum(map(is_part, raws))
    return len(raws), sum(map(len, raws)), len(text), len(SPACED.findall(text)), parts


def is_part(raw: bytes) -> bool:
    """Does a token hold bytes that make no letter without its neighbours?"""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def ratio(above: NDArray, below: NDArray) -> NDArray[np.float64]:
    """Case by case; 0 where there is nothing to count."""
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
