"""The exposure of an occupation to language models: beta, from the labels of its tasks.

Eloundou, Manning, Mishkin, Rock: GPTs are GPTs (2023). https://arxiv.org/abs/2303.10130
"""

from collections.abc import Iterator
from typing import Any

from numpy.random import Generator

from souron.lecture.computed.society import expected_exposure

ROW = "E3"


def reference(labels: Any, core: Any) -> float:
    tasks = list(zip(labels, core, strict=True))
    return expected_exposure([label for label, yes in tasks if yes], [label for label, yes in tasks if not yes])


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield ["E1", "E0", "E2"], [True, True, False]
    yield ["E2"], [False]
    yield ["E1", "E1", "E0"], [False, False, False]
    for _case in range(10):
        count = int(chance.integers(2, 12))
        yield chance.choice(["E0", "E1", "E2"], count).tolist(), (chance.random(count) < 0.6).tolist()
