"""Recordings as cases: samples at 16 kHz, with the text that is spoken as target."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn
from souron.data.log_mel import RATE

LONGEST = 30.0  # seconds of one case
SHORTEST = 0.1
QUIET = 0.1  # seconds that are compared to find a pause
EARLIEST = 0.6  # share of a window in which no cut is made


class Recording(NamedTuple):
    """One channel of sound."""

    wave: Tensor  # (n,) int16, ``RATE`` samples a second

    @property
    def seconds(self) -> float:
        return len(self.wave) / RATE

    @property
    def samples(self) -> Tensor:
        """Samples (n,) in -1..1."""
        return self.wave.float() / 32768


def of(samples: np.ndarray) -> Recording:
    """Store samples (n,) in -1..1 at ``RATE``; louder ones are clipped."""
    whole = (samples.clip(-1, 32767 / 32768) * 32768).round().astype(np.int16)
    return Recording(torch.from_numpy(whole))


def holds(cases: Dataset) -> bool:
    """Return whether the cases are recordings."""
    first = next(iter(cases.input), None) if isinstance(cases.input, ListColumn) else None
    return isinstance(first, Recording)


def seconds(cases: Dataset) -> list[float]:
    """Return the length of each recording."""
    return [one.seconds for one in cases.input]


def windows(wave: Tensor, longest: float) -> Iterator[tuple[float, Tensor]]:
    """Split samples (n,) into windows of at most ``longest`` seconds, each cut at its quietest
    place; yield the second at which it begins, and its samples.

    >>> [(start, len(part)) for start, part in windows(torch.zeros(40_000), 2.0)]
    [(0.0, 19200), (1.2, 20800)]
    """
    most, begin = int(longest * RATE), 0
    while len(wave) - begin > most:
        first = int(EARLIEST * most)
        power = wave[begin + first : begin + most].square()
        step = max(1, min(int(QUIET * RATE), len(power)))
        level = power.unfold(0, step, max(1, step // 2)).mean(1)
        cut = first + int(level.argmin()) * max(1, step // 2)
        yield begin / RATE, wave[begin : begin + cut]
        begin += cut
    if len(wave) > begin:
        yield begin / RATE, wave[begin:]


def loudness(wave: Tensor) -> float:
    """Return the level of samples (n,) in decibels below the largest possible one."""
    return float(10 * torch.log10(wave.square().mean() + 1e-10))


def joined(parts: Sequence[Tensor], pause: float) -> Tensor:
    """Concatenate samples with silence of ``pause`` seconds between them."""
    silence = torch.zeros(int(pause * RATE))
    return torch.cat([each for part in parts for each in (part, silence)])
