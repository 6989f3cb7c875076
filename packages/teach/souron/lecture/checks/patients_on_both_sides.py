"""The patients who have images in both parts of a split, in alphabetical order, each once."""

from collections.abc import Iterator
from typing import Any

from numpy.random import Generator

ROW = "V12"


def reference(train: Any, test: Any) -> list[str]:
    return sorted(set(train) & set(test))


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield ["Sato", "Sato", "Abe", "Ito"], ["Ito", "Kato", "Abe", "Ito"]
    yield ["Sato"], ["Abe"]
    yield [], ["Abe"]
    names = ["Abe", "Ito", "Kato", "Mori", "Sato", "Ueda"]
    for _case in range(8):
        yield tuple(chance.choice(names, int(chance.integers(1, 5))).tolist() for _part in range(2))
