"""Tokenization metrics: how many tokens a text takes."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPACED = re.compile(r"\S+")
COUNTS = ("tokens", "bytes", "letters", "words", "parts")


def counts(text: str, raws: Sequence[bytes]) -> tuple[int, ...]:
    """Return ``COUNTS`` of one text and its tokens' bytes.

    They are the numbers of tokens, bytes, characters ("letters"), words between spaces, and tokens
    that hold a part of a character.

    >>> counts("to be 歯", [b"to", b" be", b" ", b"\\xe6\\xad", b"\\xaf"])
    (5, 9, 7, 3, 2)
    """
    parts = sum(map(is_part, raws))
    return len(raws), sum(map(len, raws)), len(text), len(SPACED.findall(text)), parts


def is_part(raw: bytes) -> bool:
    """Return whether the bytes of a token are no whole characters without its neighbours.

    >>> is_part(b"\\xe6\\xad"), is_part(b"to")
    (True, False)
    """
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def ratio(above: NDArray, below: NDArray) -> NDArray[np.float64]:
    """Divide case by case; 0 where there is nothing to count.

    >>> import numpy as np
    >>> ratio(np.array([3, 1]), np.array([2, 0])).tolist()
    [1.5, 0.0]
    """
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
