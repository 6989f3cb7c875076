"""Pieces in four voices as cases: a row for each sixteenth, a column for each voice."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.dataset import Dataset, ListColumn
from souron.kinds.codecs.notation import STEPS, Notation, Note, from_grid, heard, on_grid

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
MOST_STEPS = 4096  # sixteenths of a piece: 256 bars of four quarters
RUN = 7  # steps of a melody in one compared run
SAME = 1 / 3  # of the runs of the shorter melody: pieces that share as many have one tune


class Voices(NamedTuple):
    """A piece on a grid of sixteenths: 0 continues, 1 begins a rest, other numbers are pitches that
    begin."""

    grid: Tensor  # (T, 4) uint8, see ``notation.on_grid``
    bar: int  # sixteenths in a bar
    pickup: int  # sixteenths before the first bar line


def of(piece: Notation) -> Voices:
    """Convert a piece whose parts are the voices, the highest first."""
    return Voices(torch.from_numpy(on_grid(piece)), max(1, round(STEPS * piece.bar)), round(STEPS * piece.pickup))


def notation(piece: Voices, title: str = "", tempo: float = 90.0) -> Notation:
    """Convert a piece from the grid back to notation."""
    bar, pickup = piece.bar / STEPS, piece.pickup / STEPS
    return Notation(from_grid(piece.grid.numpy()), VOICES, tempo, bar, pickup, title)


def holds(cases: Dataset) -> bool:
    """Return whether the cases are such pieces."""
    first = next(iter(cases.input), None) if isinstance(cases.input, ListColumn) else None
    return isinstance(first, Voices)


def steps(grid: np.ndarray) -> list[int]:
    """Return the melodic steps of the first voice, sampled on whole quarters, in semitones between
    successive different tones: the tune without its key, its rhythm and its passing notes."""
    tones = heard(grid)[::STEPS, 0].tolist()
    other = [tone for k, tone in enumerate(tones) if tone > 1 and tone != tones[k - 1 if k else -1]]
    return np.diff(other).tolist()


def tunes(pieces: Sequence[Voices], names: Sequence[str]) -> list[str]:
    """Return the tune of each piece, named by the first piece that has it. Pieces that share a
    third of the runs of seven melodic steps have one tune, in any key."""
    runs = []
    for piece in pieces:
        moved = steps(piece.grid.numpy())
        runs.append({tuple(moved[k : k + RUN]) for k in range(max(1, len(moved) - RUN + 1))})
    holders: dict[tuple[int, ...], list[int]] = {}
    same = list(range(len(pieces)))
    for row, own in enumerate(runs):
        shared: dict[int, int] = {}
        for run in own:
            for other in holders.setdefault(run, []):
                shared[other] = shared.get(other, 0) + 1
            holders[run].append(row)
        for other, count in shared.items():
            if count >= SAME * min(len(own), len(runs[other])):
                first, second = sorted((_first(same, other), _first(same, row)))
                same[second] = first
    return [names[_first(same, row)] for row in range(len(pieces))]


def _first(same: list[int], row: int) -> int:
    while same[row] != row:
        row = same[row]
    return row


def by_height(notes: Sequence[Note]) -> dict[int, int]:
    """Map each part of the notes to a voice, the highest on average first."""
    pitches: dict[int, list[int]] = {}
    for note in notes:
        pitches.setdefault(note.part, []).append(note.pitch)
    order = sorted(pitches, key=lambda part: (-sum(pitches[part]) / len(pitches[part]), part))
    return {part: voice for voice, part in enumerate(order)}


def longest(notes: Sequence[Note]) -> list[int]:
    """Return the parts of the notes, at most as many as there are voices: those that sound longest."""
    sounding: dict[int, float] = {}
    for note in notes:
        sounding[note.part] = sounding.get(note.part, 0.0) + note.length
    return sorted(sorted(sounding, key=lambda part: (-sounding[part], part))[: len(VOICES)])


def transposed(grid: Tensor, semitones: int) -> Tensor:
    """Transpose every pitch; rests and continuations stay."""
    return torch.where(grid > 1, grid.int() + semitones, grid.int()).clamp(0, 127).to(grid.dtype)


def mixed(pieces: Sequence[Voices]) -> list[Voices]:
    """Combine voices of different pieces, each voice from another piece, cut to the shortest and
    transposed to one final bass note: a baseline of harmony by chance."""
    found = []
    for row in range(len(pieces)):
        four = [pieces[(row + voice) % len(pieces)] for voice in range(4)]
        length = min(len(piece.grid) for piece in four)
        columns = []
        for voice, piece in enumerate(four):
            last = heard(piece.grid.numpy())[-1, 3]
            away = (int(heard(four[0].grid.numpy())[-1, 3]) - int(last) + 6) % 12 - 6
            columns.append(transposed(piece.grid, away)[:length, voice])
        found.append(Voices(torch.stack(columns, 1), four[0].bar, four[0].pickup))
    return found
