"""Tokens in which each occurrence of a pair has become one token, from the left: one step of byte-pair encoding."""

from collections.abc import Iterator
from typing import Any

from numpy.random import Generator

ROW = "C7"


def reference(tokens: Any, pair: Any) -> list[str]:
    merged: list[str] = []
    position = 0
    while position < len(tokens):
        both = tuple(tokens[position : position + 2]) == tuple(pair)
        merged.append("".join(pair) if both else tokens[position])
        position += 2 if both else 1
    return merged


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield list("banana"), ("a", "n")
    yield list("aaa"), ("a", "a")
    yield ["lo", "w", "e", "r"], ("lo", "w")
    yield ["x"], ("x", "y")
    yield [], ("a", "b")
    for _case in range(8):
        yield chance.choice(list("ab"), int(chance.integers(2, 9))).tolist(), ("a", str(chance.choice(list("ab"))))
