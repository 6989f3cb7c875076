"""Scaled dot-product attention in which a token attends to itself and those before it, (T, D) each -> (T, D)."""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.random import Generator
from torch.nn import functional as F

ROW = "L1"
TOLERANCE = 1e-4


def reference(query: Any, key: Any, value: Any) -> Any:
    return F.scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True)[0]


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    for tokens, width in ((1, 2), (2, 1), (3, 2), (3, 4), (5, 2), (4, 16)):
        yield tuple(torch.tensor(chance.normal(0, 1, (tokens, width)).round(2)) for _part in range(3))
