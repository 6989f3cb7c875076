"""The input of a ``Dataset`` where it is not a tensor in memory.

A column answers as a tensor (N, C, H, W) does for what ``Dataset`` and those who use it ask: its
shape, rows by brackets, ``index_select`` and ``split``. Each of these reads the rows asked for and
gives a tensor of its own. ``only`` chooses rows and reads nothing. ``image[:]`` is a tensor of all
rows, whether ``image`` is a column or a tensor: for parts known to be small.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor


class LazyColumn(ABC):
    """Pictures (N, C, H, W) in 0..255, read as they are asked for."""

    dtype: torch.dtype

    def __init__(self, rows: Tensor, shape: Sequence[int], dtype: torch.dtype) -> None:
        """``rows`` (N,): where each picture stands in the source; ``shape`` of a picture there."""
        self.rows, self.of_each, self.dtype = rows, tuple(shape), dtype
        self.channels = self.of_each[0]  # more than the source has where grey is shown as colour

    @abstractmethod
    def read(self, rows: Tensor) -> Tensor:
        """The pictures that stand at ``rows`` (n,) of the source, (n, *of_each)."""

    @abstractmethod
    def digests(self) -> list[bytes]:
        """Of each picture 16 bytes, equal where the pixels are: BLAKE2b of what ``stored`` has."""

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), self.channels, *self.of_each[1:]))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def stored(self) -> Self:
        """The pictures as the source holds them: of a grey one three times over, one channel."""
        return self._with(self.rows, self.of_each[0])

    def __len__(self) -> int:
        return len(self.rows)

    def numel(self) -> int:
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def only(self, rows: Tensor) -> Self:
        """The chosen rows in that order; nothing is read."""
        return self._with(self.rows[rows], self.channels)

    def soon(self, rows: Tensor) -> None:  # noqa: B027, most have nothing to prepare
        """These rows will be asked for next: they may be fetched while others are worked on."""

    def expand(self, *sizes: int) -> Self:
        """Grey pictures three times over: ``expand(-1, 3, -1, -1)``."""
        assert self.of_each[0] in (1, sizes[1]), "only one channel can be repeated"
        return self._with(self.rows, sizes[1])

    def __getitem__(self, key: int | slice | Tensor | Sequence[int]) -> Tensor:
        """As a tensor's first dimension is indexed."""
        rows = self.rows[key]
        if rows.ndim:
            return self._as_shown(self.read(rows))
        return self._as_shown(self.read(rows[None]))[0]

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        assert dim == 0, "pictures are chosen whole"
        return self._as_shown(self.read(self.rows[rows])).contiguous()

    def split(self, size: int) -> Iterator[Tensor]:
        """All pictures in order, so many at a time; unlike a tensor's, one after the other."""
        for rows in self.rows.split(size):
            yield self._as_shown(self.read(rows))

    def to(self, *wish: Any, **options: Any) -> Tensor:
        """All of them, as a tensor is moved or changed."""
        return self[:].to(*wish, **options)

    def _as_shown(self, image: Tensor) -> Tensor:
        return image.expand(-1, self.channels, -1, -1) if image.ndim == 4 else image

    def _with(self, rows: Tensor, channels: int) -> Self:
        other = copy.copy(self)
        other.rows, other.channels = rows, channels
        return other


class Sketch(LazyColumn):
    """A few pictures that stand for all, to foretell what a run will take before all are decoded:
    picture ``i`` is number ``i`` modulo their count. No two count as the same."""

    def __init__(self, few: Tensor, count: int, bytes: int = 0, seconds: float = 0.0) -> None:
        """``few`` (k, ...) of ``count``; what decoding all will take of the disk and of time."""
        super().__init__(torch.arange(count), few.shape[1:], few.dtype)
        self.few, self.bytes, self.seconds = few, bytes, seconds

    @property
    def shape(self) -> torch.Size:
        return super().shape if self.few.ndim == 4 else torch.Size((len(self), *self.of_each))

    def read(self, rows: Tensor) -> Tensor:
        return self.few[rows % len(self.few)]

    def digests(self) -> list[bytes]:
        return [row.to_bytes(16, "little") for row in self.rows.tolist()]
