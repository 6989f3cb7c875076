"""Intermediate results of a prediction for one image, for the report to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Drawn = Literal["heat", "signed", "plain"]


@dataclass(frozen=True)
class Explained:
    """One intermediate result, shown as boxes on the image."""

    title: str  # in the reader's language
    caption: str
    box: Tensor  # (n, 4) left, top, right, bottom in pixels
    score: Tensor  # (n,) in 0..1: opacity of each box


@dataclass(frozen=True)
class Maps:
    """One intermediate result, shown as named maps."""

    title: str  # in the reader's language
    caption: str
    maps: Sequence[tuple[str, Tensor]]  # (h, w), of "heat" and "plain" in 0..1
    drawn: Drawn = "plain"  # over the image, diverging colours around 0, or greyscale
