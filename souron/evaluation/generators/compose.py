"""Compare composed pieces with test pieces and with randomly combined voices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from souron import registry
from souron.data import voices
from souron.data.voices import Voices
from souron.evaluation.answers import Setup, Sparse, Trainings
from souron.kinds.codecs.notation import heard
from souron.metrics import compose as counted
from souron.metrics.compose import CONSONANT, COPIED, CROSSINGS, PARALLELS
from souron.stats.records import Measure

NAMES = (CONSONANT, PARALLELS, CROSSINGS, COPIED)
WRITTEN = 128  # sixteenths of a test piece, at most


@dataclass
class ComposeSetup(Setup):
    runs: Any = None  # ``counted.Runs`` of the training pieces


@dataclass(frozen=True)
class ComposeResult:
    """The results of one run for its report."""

    beside: dict[str, dict[str, Measure]]  # source of the pieces -> figure -> measure
    shown: list[tuple[int, Voices]]  # row of a test case, the piece composed for it

    def as_json(self) -> dict[str, Any]:
        return {
            who: {name: measure.value for name, measure in measures.items()} for who, measures in self.beside.items()
        }


def composed(trainings: Trainings, setup: ComposeSetup) -> ComposeResult:
    """Compute the results of a run for its report."""
    test = list(setup.test.input)
    beside = {"test pieces": told(test, setup.runs), "voices put together": told(voices.mixed(test), setup.runs)}
    measures = {
        who: {name: registry.metric(name).measure(values, setup.test.units) for name, values in figures.items()}
        for who, figures in beside.items()
    }
    pieces = trainings.answers[0].get("pieces")
    examples = []
    if isinstance(pieces, Sparse):
        for row, grid in zip(pieces.rows.tolist(), pieces.values, strict=True):
            length = min(WRITTEN, len(test[row].grid))
            examples.append((row, test[row]._replace(grid=grid[:length])))
    return ComposeResult(measures, examples)


def told(pieces: Sequence[Voices], runs: counted.Runs) -> dict[str, list[float]]:
    """Return figure -> its value for each piece."""
    values_of: dict[str, list[float]] = {name: [] for name in NAMES}
    for piece in pieces:
        figures = counted.figures(heard(piece.grid.numpy()), piece.pickup)
        figures[COPIED] = float(runs.longest(words(piece)))
        for name in NAMES:
            values_of[name].append(figures[name])
    return values_of


def words(piece: Voices) -> list[tuple[int, ...]]:
    """Return ``counted.words`` of a piece."""
    grid = piece.grid.numpy()
    return counted.words(grid, heard(grid))
