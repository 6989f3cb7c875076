"""Music independent of a file format: notes with starts and lengths in quarters."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from souron.kinds.codecs.limits import trouble
from souron.utils.messages import UserError, _

MOST_NOTES = 100_000
MOST_MINUTES = 30
MOST_PARTS = 64
TEMPO = 90.0  # quarters a minute, by default


class Note(NamedTuple):
    """One tone of one part."""

    part: int  # from 0, the highest part first as a rule
    start: float  # quarters from the beginning
    length: float  # quarters
    pitch: int  # 60 is the middle C, 61 the C sharp above it


class Notation(NamedTuple):
    """A notated piece."""

    notes: Sequence[Note]
    parts: Sequence[str]
    tempo: float = TEMPO  # quarters a minute
    bar: float = 4.0  # quarters in a bar
    pickup: float = 0.0  # quarters before the first bar line
    title: str = ""


def bounded(found: Notation, path: Path) -> Notation:
    """Return the piece with its notes in order.

    Raises UserError where it has no note or is too long.
    """
    if not found.notes:
        raise trouble(path, "no notes", _("it has no note"), _("a piece with notes"))
    end = max(note.start + note.length for note in found.notes)
    minutes = end / found.tempo
    if minutes > MOST_MINUTES:
        raise trouble(
            path,
            "too long",
            _("it lasts {minutes} minutes").format(minutes=round(minutes)),
            _("at most {minutes} minutes").format(minutes=MOST_MINUTES),
        )
    return found._replace(notes=tuple(sorted(found.notes, key=lambda n: (n.start, n.part))))


def too_many(path: Path) -> UserError:
    """Return the UserError for too many notes or parts."""
    return trouble(
        path,
        "too large",
        _("it has too many notes or parts"),
        _("at most {notes} notes in {parts} parts").format(notes=MOST_NOTES, parts=MOST_PARTS),
    )


HOLD, REST = 0, 1  # cells of a grid that are no pitches
STEPS = 4  # grid steps of a quarter


def on_grid(piece: Notation) -> np.ndarray:
    """Convert a piece to a grid (T, parts) uint8, a row for each sixteenth.

    A cell is the pitch of a tone that begins, ``HOLD`` where the previous state continues, ``REST``
    where silence begins. Of tones that begin together in one part the first part takes the highest,
    the others the lowest; tones shorter than a sixteenth may be lost.
    """
    end = round(STEPS * max(note.start + note.length for note in piece.notes))
    grid = np.zeros((max(1, end), len(piece.parts)), np.uint8)
    for part in range(len(piece.parts)):
        row = np.full(len(grid), REST, np.int64)
        begins = np.zeros(len(grid), bool)
        begins[0] = True
        own = [note for note in piece.notes if note.part == part]
        for note in sorted(own, key=lambda n: (n.start, n.pitch if part == 0 else -n.pitch)):
            first = round(STEPS * note.start)
            last = max(first + 1, round(STEPS * (note.start + note.length)))
            row[first:] = REST  # a part is monophonic
            row[first:last] = note.pitch
            begins[first : first + 1] = True
        silent = row == REST
        begins |= np.diff(silent, prepend=~silent[:1])
        grid[:, part] = np.where(begins, row, HOLD)
    return grid


def from_grid(grid: np.ndarray) -> list[Note]:
    """Convert a grid from ``on_grid`` back to notes."""
    notes = []
    for part in range(grid.shape[1]):
        places = np.flatnonzero(grid[:, part]).tolist()
        for start, stop in zip(places, [*places[1:], len(grid)], strict=True):
            pitch = int(grid[start, part])
            if pitch != REST:
                notes.append(Note(part, start / STEPS, (stop - start) / STEPS, pitch))
    return sorted(notes, key=lambda note: (note.start, note.part))


def heard(grid: np.ndarray) -> np.ndarray:
    """Return the sounding pitch, (T, parts) -> (T, parts) int64, ``REST`` where there is none."""
    place = np.arange(len(grid))[:, None]
    last = np.maximum.accumulate(np.where(grid != HOLD, place, 0), axis=0)
    found = np.take_along_axis(grid.astype(np.int64), last, axis=0)
    return np.where(found == HOLD, REST, found)
