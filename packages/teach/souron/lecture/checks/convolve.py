"""The sum of window times kernel at each position, (H, W) and (h, w) -> (H - h + 1, W - w + 1)."""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.random import Generator
from torch.nn import functional as F

ROW = "C4"


def reference(image: Any, kernel: Any) -> Any:
    return F.conv2d(torch.as_tensor(image)[None, None], torch.as_tensor(kernel)[None, None])[0, 0]


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    for height, width, side in ((3, 3, 3), (4, 5, 2), (6, 6, 3), (5, 8, 1), (7, 4, 3)):
        yield (chance.integers(0, 9, (height, width)).astype(float), chance.integers(-2, 3, (side, side)).astype(float))
