"""Metrics of four-part music: consonances, parallels, voice crossings, copied runs.

A *moment* is a sixteenth. That two moving voices must not proceed in parallel fifths or octaves,
and which intervals are dissonant, are rules of counterpoint (Fux: Gradus ad Parnassum, 1725.
https://www.loc.gov/item/2008561283/).
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS, CONSONANT = "bits per token", "consonant beats"
PARALLELS, CROSSINGS = "parallel fifths and octaves per 100 moments", "crossings per 100 moments"
COPIED = "longest copied run"
DISSONANT = (1, 2, 6, 10, 11)  # semitones above the bass, octaves left out: seconds, sevenths and
# the tritone
FIFTH = 7
BEAT = 4  # moments
SILENT = 1  # see ``notation.REST``
Array = NDArray[np.int64]


def consonant(tones: Array) -> NDArray[Any]:
    """Return whether each moment is free of intervals that are dissonant with the last voice, (M,).

    ``tones`` (M, voices) are MIDI pitches; those of ``SILENT`` or below are rests.

    >>> import numpy as np
    >>> consonant(np.array([[67, 64, 60], [66, 64, 60]]))  # C E G, and C E F sharp
    array([ True, False])
    """
    bass = tones[:, -1:]
    dissonant = np.isin(np.abs(tones - bass) % 12, DISSONANT) & (tones > SILENT) & (bass > SILENT)
    return np.logical_not(dissonant.any(axis=1))


def parallels(tones: Array) -> tuple[int, int]:
    """Count parallel fifths, and parallel octaves or unisons, between two voices that both move.

    >>> import numpy as np
    >>> parallels(np.array([[67, 60], [69, 62]]))  # C-G, then D-A
    (1, 0)
    """
    fifths = octaves = 0
    for a, b in combinations(range(tones.shape[1]), 2):
        pair = tones[:, [a, b]]
        sounding = np.asarray((pair > SILENT).all(1))
        interval = np.abs(pair[:, 0] - pair[:, 1]) % 12
        both_move = (np.diff(pair, axis=0) != 0).all(1) & sounding[:-1] & sounding[1:]
        fifths += int((both_move & (interval[:-1] == FIFTH) & (interval[1:] == FIFTH)).sum())
        octaves += int((both_move & (interval[:-1] == 0) & (interval[1:] == 0)).sum())
    return fifths, octaves


def crossings(tones: Array) -> int:
    """Count the moments at which a voice lies below the next lower one.

    >>> import numpy as np
    >>> crossings(np.array([[67, 60], [60, 62]]))
    1
    """
    upper, lower = tones[:, :-1], tones[:, 1:]
    return int(((upper < lower) & (upper > SILENT)).any(1).sum())


def figures(tones: Array, pickup: int = 0) -> dict[str, float]:
    """Compute the metrics of a piece from the pitches that sound, (T, voices).

    ``pickup`` is the number of moments before the first bar line.

    >>> import numpy as np
    >>> for name, value in figures(np.array([[67, 60], [69, 62]])).items():
    ...     print(name, value)
    consonant beats 1.0
    parallel fifths and octaves per 100 moments 50.0
    crossings per 100 moments 0.0
    """
    fifths, octaves = parallels(tones)
    beats = tones[pickup % BEAT :: BEAT]
    return {
        CONSONANT: float(consonant(beats).mean()) if len(beats) else 0.0,
        PARALLELS: 100 * (fifths + octaves) / len(tones),
        CROSSINGS: 100 * crossings(tones) / len(tones),
    }


def words(grid: np.ndarray, tones: Array) -> list[tuple[int, ...]]:
    """Describe each sixteenth by a word that is the same in every key.

    A word holds the interval of each tone above the lowest voice, the step of the lowest voice, and
    which tones begin. ``grid`` and ``tones`` are (T, voices): what is played, and the pitches that
    sound.

    >>> import numpy as np
    >>> heard = np.array([[67, 60], [69, 62]])
    >>> words(heard, heard) == words(heard + 5, heard + 5)  # transposed by a fourth
    True
    """
    low = tones[:, -1]
    steps = np.diff(low, prepend=low[:1])
    above = np.where(tones > SILENT, tones - low[:, None], 99)
    return [tuple(row) for row in np.column_stack([above, steps, grid != 0]).tolist()]


class Runs:
    """Runs of words in many pieces, to find the longest run that another piece shares with them."""

    def __init__(self, pieces: Iterable[Sequence[tuple[int, ...]]]) -> None:
        self.number: dict[tuple[int, ...], int] = {}
        self.pieces = [[self.number.setdefault(word, len(self.number)) for word in piece] for piece in pieces]
        self.known: dict[int, set[tuple[int, ...]]] = {}  # length -> runs of that length

    def longest(self, piece: Sequence[tuple[int, ...]]) -> int:
        """Return the length in words of the longest run that also occurs in one of the pieces."""
        own = [self.number.get(word, -1) for word in piece]
        low, high = 0, len(own)  # part of a known run is known too
        while low < high:
            length = (low + high + 1) // 2
            if self.of(length).isdisjoint(_runs(own, length)):
                high = length - 1
            else:
                low = length
        return low

    def of(self, length: int) -> set[tuple[int, ...]]:
        """Return the runs of that length in all pieces."""
        if length not in self.known:
            self.known[length] = {run for piece in self.pieces for run in _runs(piece, length)}
        return self.known[length]


def _runs(piece: Sequence[int], length: int) -> Iterable[tuple[int, ...]]:
    return (tuple(piece[k : k + length]) for k in range(len(piece) - length + 1))
