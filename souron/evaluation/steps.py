"""What a system tells of its way to an answer about one picture, for the report to draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Drawn = Literal["heat", "signed", "plain"]


@dataclass(frozen=True)
class Explained:
    """One step of the way, drawn as boxes on the picture."""

    title: str  # in the reader's language
    caption: str
    box: Tensor  # (n, 4) left, top, right, bottom in pixels
    score: Tensor  # (n,) in 0..1: how strongly each is drawn


@dataclass(frozen=True)
class Maps:
    """One step of the way, drawn as maps, each with its name."""

    title: str  # in the reader's language
    caption: str
    maps: Sequence[tuple[str, Tensor]]  # (h, w), of "heat" and "plain" in 0..1
    drawn: Drawn = "plain"  # over the picture, in two colours around 0, or from black to white
