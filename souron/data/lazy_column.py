"""The input of a ``Dataset`` when it is not a tensor in memory.

A column supports what ``Dataset`` and its users need of a tensor (N, C, H, W): its shape, row
indexing, ``index_select`` and ``split``. Each of these reads the requested rows and returns a new
tensor. ``only`` selects rows without reading. ``image[:]`` is a tensor of all rows, whether
``image`` is a column or a tensor; use it for parts known to be small.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor


class LazyColumn(ABC):
    """Images (N, C, H, W) in 0..255, read on demand."""

    dtype: torch.dtype

    def __init__(self, rows: Tensor, shape: Sequence[int], dtype: torch.dtype) -> None:
        """``rows`` (N,) are the positions of the images in the source; ``shape`` is that of one
        image."""
        self.rows, self.of_each, self.dtype = rows, tuple(shape), dtype
        self.channels = self.of_each[0]  # more than in the source if grey is expanded to colour

    @abstractmethod
    def read(self, rows: Tensor) -> Tensor:
        """Read the images at ``rows`` (n,) of the source, (n, *of_each)."""

    @abstractmethod
    def digests(self) -> list[bytes]:
        """Return 16 bytes for each image, equal if the pixels are: BLAKE2b of the image in
        ``stored``."""

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), self.channels, *self.of_each[1:]))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def stored(self) -> Self:
        """The images as the source holds them: one channel for grey images expanded to three."""
        return self._with(self.rows, self.of_each[0])

    def __len__(self) -> int:
        return len(self.rows)

    def numel(self) -> int:
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def only(self, rows: Tensor) -> Self:
        """Select rows in that order, without reading."""
        return self._with(self.rows[rows], self.channels)

    def soon(self, rows: Tensor) -> None:  # noqa: B027, most have nothing to prepare
        """Announce the rows that will be read next, so that they can be prefetched."""

    def expand(self, *sizes: int) -> Self:
        """Repeat the channel of grey images three times: ``expand(-1, 3, -1, -1)``."""
        assert self.of_each[0] in (1, sizes[1]), "only one channel can be repeated"
        return self._with(self.rows, sizes[1])

    def __getitem__(self, key: int | slice | Tensor | Sequence[int]) -> Tensor:
        """Read rows, indexed like the first dimension of a tensor."""
        rows = self.rows[key]
        if rows.ndim:
            return self._as_shown(self.read(rows))
        return self._as_shown(self.read(rows[None]))[0]

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        assert dim == 0, "pictures are chosen whole"
        return self._as_shown(self.read(self.rows[rows])).contiguous()

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, ``size`` at a time; a generator, unlike ``Tensor.split``."""
        for rows in self.rows.split(size):
            yield self._as_shown(self.read(rows))

    def to(self, *wish: Any, **options: Any) -> Tensor:
        """Read all images and convert them as ``Tensor.to`` does."""
        return self[:].to(*wish, **options)

    def _as_shown(self, image: Tensor) -> Tensor:
        return image.expand(-1, self.channels, -1, -1) if image.ndim == 4 else image

    def _with(self, rows: Tensor, channels: int) -> Self:
        other = copy.copy(self)
        other.rows, other.channels = rows, channels
        return other


class Sketch(LazyColumn):
    """A few images that represent all, to estimate the cost of a run before all are decoded: image
    ``i`` is number ``i`` modulo their count. No two are treated as duplicates."""

    def __init__(self, few: Tensor, count: int, bytes: int = 0, seconds: float = 0.0) -> None:
        """``few`` (k, ...) represent ``count`` images; ``bytes`` and ``seconds`` are the estimated
        disk space and time for decoding all."""
        super().__init__(torch.arange(count), few.shape[1:], few.dtype)
        self.few, self.bytes, self.seconds = few, bytes, seconds

    @property
    def shape(self) -> torch.Size:
        return super().shape if self.few.ndim == 4 else torch.Size((len(self), *self.of_each))

    def read(self, rows: Tensor) -> Tensor:
        return self.few[rows % len(self.few)]

    def digests(self) -> list[bytes]:
        return [row.to_bytes(16, "little") for row in self.rows.tolist()]
