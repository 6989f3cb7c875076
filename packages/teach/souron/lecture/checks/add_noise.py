"""An image after diffusion's forward process: ``kept`` is the share of the variance that is still the image."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

ROW = "G10"


def reference(clean: Any, noise: Any, kept: float) -> Any:
    return kept**0.5 * clean + (1 - kept) ** 0.5 * noise


def inputs(chance: Generator) -> Iterator[tuple[Any, ...]]:
    yield np.array([1.0]), np.array([0.5]), 0.25
    yield np.array([1.0, -1.0]), np.array([2.0, 2.0]), 1.0
    yield np.array([1.0, -1.0]), np.array([2.0, 2.0]), 0.0
    for _case in range(6):
        yield *chance.normal(0, 1, (2, 2, 3)).round(2), round(float(chance.random()), 2)
