"""Generate: nothing but noise in, pictures out."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from souron.data.cases import Cases
from souron.system import System


@dataclass(frozen=True)
class Seen:
    """What a generator must know of its data before it is built."""

    channels: int
    side: int  # pixels


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    label: Tensor  # (B,)


class Generator(System):
    """``draw`` makes pictures (count, C, H, W) in -1..1; the gallery follows from that."""

    task = "generate"
    default_data = "digits"
    seen: Seen

    @staticmethod
    def see(cases: Cases) -> Seen:
        return Seen(cases.channels, cases.side)

    def prepare(self, image: Tensor, label: Tensor) -> Batch:
        return Batch(image.float() / 127.5 - 1, label)

    @abstractmethod
    def draw(self, count: int) -> Tensor: ...

    def evaluate(self, data: Any) -> dict[str, Tensor]:
        """Nothing is measured yet: look at the samples."""
        return {}
