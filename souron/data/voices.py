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
RUN = 7  # steps of a melody that are compared
SAME = 1 / 3  # of the runs of the shorter melody, from which on two have one tune


class Voices(NamedTuple):
    """A piece. Numbers of the grid: 0 goes on, 1 silence begins, others are pitches that begin."""

    grid: Tensor  # (T, 4) uint8, see ``notation.on_grid``
    bar: int  # sixteenths in a bar
    pickup: int  # sixteenths before the first bar line


def of(piece: Notation) -> Voices:
    """A piece whose parts are the voices, the highest first."""
    return Voices(
        torch.from_numpy(on_grid(piece)), max(1, round(STEPS * piece.bar)),
        round(STEPS * piece.pickup),
    )  # fmt: skip


def notation(piece: Voices, title: str = "", tempo: float = 90.0) -> Notation:
    """Back from the grid."""
    bar, pickup = piece.bar / STEPS, piece.pickup / STEPS
    return Notation(from_grid(piece.grid.numpy()), VOICES, tempo, bar, pickup, title)


def holds(cases: Dataset) -> bool:
    """Whether the cases are such pieces."""
    first = next(iter(cases.input), None) if isinstance(cases.input, ListColumn) else None
    return isinstance(first, Voices)


def steps(grid: np.ndarray) -> list[int]:
    """Of the first voice on whole quarters the semitones from each tone to the next other one: what
    is left of a tune without its key, its rhythm and its passing notes."""
    tones = heard(grid)[::STEPS, 0].tolist()
    other = [tone for k, tone in enumerate(tones) if tone > 1 and tone != tones[k - 1 if k else -1]]
    return np.diff(other).tolist()


def tunes(pieces: Sequence[Voices], names: Sequence[str]) -> list[str]:
    """The tune of each piece, called by the first piece that has it: pieces that share a third of
    the runs of seven melodic steps have one tune, in whatever key."""
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
    """Part of the notes -> voice: the part that lies highest is the first."""
    pitches: dict[int, list[int]] = {}
    for note in notes:
        pitches.setdefault(note.part, []).append(note.pitch)
    order = sorted(pitches, key=lambda part: (-sum(pitches[part]) / len(pitches[part]), part))
    return {part: voice for voice, part in enumerate(order)}


def transposed(grid: Tensor, semitones: int) -> Tensor:
    """Every pitch moved; silence and what goes on stay."""
    return torch.where(grid > 1, grid.int() + semitones, grid.int()).clamp(0, 127).to(grid.dtype)


def mixed(pieces: Sequence[Voices]) -> list[Voices]:
    """Voices of different pieces put together, each voice from another piece, as long as the
    shortest of them: what harmony is by chance, all keys moved to one final bass note."""
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
