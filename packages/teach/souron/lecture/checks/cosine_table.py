"""Cosines of every vector with every other, (N, D) and (M, D) -> (N, M)."""

from collections.abc import Iterator
from typing import Any

from numpy.random import Generator
from sklearn.metrics.pairwise import cosine_similarity

ROW = "G13"


def reference(one: Any, other: Any) -> Any:
    return cosine_similarity(one, other)


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    for rows, columns, width in ((1, 1, 2), (2, 2, 2), (3, 2, 4), (2, 5, 3), (4, 4, 8)):
        yield chance.normal(0, 2, (rows, width)).round(2), chance.normal(1, 1, (columns, width)).round(2)
