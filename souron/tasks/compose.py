"""Music composition: a melody, some bars or nothing in, a piece in four voices out.

A piece is a grid with a row for each sixteenth and a column for each voice. It is written token by
token; a token is the onset of a pitch, a rest, or "hold". The length is known in advance, so that
a piece can come to its end.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.data import voices
from souron.data.dataset import Dataset, ListColumn, Loader, Rows
from souron.data.voices import MOST_STEPS, Voices
from souron.evaluation.answers import Setup, Sparse, dense, stacked
from souron.evaluation.generators.compose import NAMES, WRITTEN, ComposeResult, ComposeSetup, composed, told, words
from souron.kinds.codecs.notation import HOLD, REST, STEPS, Note, from_grid, heard, on_grid
from souron.kinds.score import Score, called
from souron.kinds.signature import Choice
from souron.metrics import compose as counted
from souron.metrics.compose import BITS
from souron.metrics.metric import Metric
from souron.system import System
from souron.task import Answers, Augment, Scores, Step, Task, Trainings
from souron.utils.messages import N_, UserError, _

TOKENS = 128  # 0 hold, 1 rest, otherwise a MIDI pitch
TOKEN, OWN, VOICE, PLACE, LEFT = range(5)  # columns of ``encoded``
PLACES, LEFTS = 32, 64  # distinct values of the sixteenth in the bar and of the sixteenths left
FURTHEST = 6  # most semitones that a piece is transposed
TEMPERATURE = 0.8
SHOWN = 3  # pieces shown in a report
VOICES_OF = ((), (0,), (0, 3), (0, 1, 3), (0, 1, 2, 3))  # the voices that so many given parts are


@dataclass(frozen=True)
class Spec:
    """The range of each voice, which a system needs before it is built."""

    low: tuple[int, ...] = (57, 53, 48, 36)  # the lowest pitch of each voice
    high: tuple[int, ...] = (81, 74, 69, 64)


class Batch(NamedTuple):
    """Windows of pieces in the order in which tokens are written."""

    rows: Tensor  # (R, n, 5) int64, see ``encoded``
    counts: Tensor  # (R, n) bool: False at padding


class Composer(System):
    """A composer: ``forward`` maps known rows (R, n, 5) to logits (R, n, TOKENS) of each token.

    For row k it may use ``OWN``, ``VOICE``, ``PLACE`` and ``LEFT`` of that row, and all earlier
    rows.
    """

    task = "compose"
    spec: Spec
    clip = 1.0
    lead = 0  # sixteenths by which the highest voice is written before the others

    @property
    @abstractmethod
    def context(self) -> int:
        """Return the number of rows in the context window."""

    @abstractmethod
    def following(self, rows: Tensor, memory: dict[str, Any]) -> Tensor:
        """Return logits (R, TOKENS) of the unknown token in the last of the rows (R, k + 1, 5).

        ``memory`` is one dictionary per piece, passed for k = 0, 1, 2, ...
        """

    def example(self) -> None:
        self(torch.zeros(1, self.context, 5, dtype=torch.long, device=self.device))

    def loader(
        self, data: Dataset, augment: Augment | None = None, seed: int = 0, device: torch.device | None = None
    ) -> Loader:
        """Encode the pieces as rows; with ``augment``, draw a random window of each."""
        rows = ListColumn([encoded(piece, self.lead) for piece in data.input])

        def cut(rows_given: Rows, generator: Generator) -> Rows:
            assert augment is not None
            pieces = augment(rows_given, generator).input
            return Rows(ListColumn([_window(piece, self.context, generator) for piece in pieces]), None)

        augmentation = cut if augment else None
        encoded_data = replace(data, input=rows, target=None)
        return Loader(encoded_data, self.batch, augmentation, seed, device or self.device)

    def batch(self, rows: Rows) -> Batch:
        """Batch the pieces; those longer than the context are split into several windows."""
        pieces = [part for piece in rows.input for part in piece.split(self.context)]
        longest = max(map(len, pieces))
        padded = [F.pad(piece, (0, 0, 0, longest - len(piece))) for piece in pieces]
        length = torch.tensor([len(piece) for piece in pieces], device=self.device)
        counts = torch.arange(longest, device=self.device) < length[:, None]
        return Batch(torch.stack(padded).long(), counts)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy per token in nats."""
        logits = self(batch.rows)[batch.counts].float()
        return F.cross_entropy(logits, batch.rows[..., TOKEN][batch.counts])

    @torch.inference_mode()
    def surprise(self, data: Dataset) -> Tensor:
        """Return bits per token (cases,), from windows that overlap by half."""
        is_encoded = not voices.holds(data)
        pieces = list(data.input) if is_encoded else [encoded(piece, self.lead) for piece in data.input]
        bits = []
        for piece in pieces:
            half = self.context // 2
            starts = range(0, max(1, len(piece) - half), half)
            nats = 0.0
            for start in starts:
                window = piece[start : start + self.context].long().to(self.device)
                overlap = half if start else 0
                right = window[overlap:, TOKEN]
                logits = self(window[None])[0, overlap:].float()
                nats += float(F.cross_entropy(logits, right, reduction="sum"))
            bits.append(nats / math.log(2) / len(piece))
        return torch.tensor(bits)

    @torch.inference_mode()
    def write(
        self, pieces: Sequence[Voices], masks: Sequence[Tensor], temperature: float, seeds: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        """Write grids (T, 4) in the shape of ``pieces``, keeping its tokens where ``masks`` (T, 4).

        Each piece depends on its own seed only, not on the rest of the batch.
        """
        orders = [order(len(piece.grid), self.lead) for piece in pieces]
        longest = max(len(places) for places in orders)
        rows = torch.zeros(len(pieces), longest, 5, dtype=torch.long)
        cell_mask = torch.zeros(len(pieces), longest, dtype=torch.bool)
        chance = torch.zeros(len(pieces), longest)
        for row, (piece, places) in enumerate(zip(pieces, orders, strict=True)):
            rows[row, : len(places)] = encoded(piece, self.lead).long()
            cell_mask[row, : len(places)] = masks[row][places[:, 0], places[:, 1]]
            random = np.random.default_rng([*seeds[row]])
            chance[row, : len(places)] = torch.from_numpy(random.random(len(places))).float()
        every = torch.arange(len(pieces))
        sounding = torch.zeros(len(pieces), 4, dtype=torch.long)  # pitch per voice; 0: none yet
        onsets = torch.zeros(len(pieces), 4, dtype=torch.bool)  # onset written by the system
        memory: dict[str, Any] = {}
        for k in range(longest):
            voice = rows[:, k, VOICE]
            rows[:, k, OWN] = sounding[every, voice]
            logits = self.following(rows[:, : k + 1].to(self.device), memory).float().cpu()
            free = ~cell_mask[:, k]
            first = free & ~onsets[every, voice]
            logits[first, HOLD] = -torch.inf  # what was given ends as it was given
            token = drawn(logits, temperature, chance[:, k])
            rows[free, k, TOKEN] = token[free]
            onsets[every, voice] |= free
            token = rows[:, k, TOKEN]
            sounding[every, voice] = torch.where(token == HOLD, sounding[every, voice], token)
        grids = []
        for row, places in enumerate(orders):
            grid = torch.zeros_like(pieces[row].grid)
            grid[places[:, 0], places[:, 1]] = rows[row, : len(places), TOKEN].to(torch.uint8)
            grids.append(grid)
        return grids

    @torch.inference_mode()
    def predict(
        self,
        score: Score,
        *,
        bars: Annotated[int, Choice(N_("bars that are written; a melody gets voices to its end"), 1, 64)] = 8,
        temperature: Annotated[
            float, Choice(N_("0 takes the likeliest token, 1 samples as the model says"), low=0, high=2)
        ] = TEMPERATURE,
        seed: Annotated[int, Choice(N_("random seed (default 0)"), low=0)] = 0,
        parts: Annotated[
            str, Choice(N_("numbers of the parts that are used; the four that sound longest"), metavar="NUMBERS")
        ] = "",
    ) -> Score:
        """Add the missing voices to one, two or three parts, continue four, or compose a new piece.

        The notes of the used parts are kept. Raises UserError.
        """
        score, remark = only_parts(score, parts)
        piece, mask, shift = asked(score, bars, self.spec)
        [grid] = self.write([piece], [mask], temperature, [(seed,)])
        grid = voices.transposed(grid, -shift)
        cells = torch.where(mask, torch.full_like(grid, HOLD), grid)
        new = [note for note in from_grid(_apart(cells, mask)) if note.pitch != REST]
        order = placed(score.tones)
        old = [note._replace(part=order[note.part]) for note in score.tones]
        both = sorted([(n, True) for n in old] + [(n, False) for n in new], key=lambda entry: entry[0][1])
        return Score(
            [note for note, _g in both],
            voices.VOICES,
            score.tempo,
            piece.bar / STEPS,
            piece.pickup / STEPS,
            score.title,
            [was for _n, was in both],
            None,
            score.file,
            remark=remark,
        )


class Composition(Task):
    """Bits per token of test pieces, and properties of the pieces that a system writes."""

    title = N_("composition")
    takes = Score
    gives = Score
    metrics = (
        Metric(N_("bits per token"), higher_is_better=False, unit="bits", headline=True, kind="amount"),
        Metric(N_("consonant beats"), unit="share", headline=True),
        Metric(N_("parallel fifths and octaves per 100 moments"), higher_is_better=False, kind="amount"),
        Metric(N_("crossings per 100 moments"), higher_is_better=False, kind="amount"),
        Metric(N_("longest copied run"), higher_is_better=False, kind="amount"),
    )
    watches = "bits per token"
    default_data = "chorales"
    target = "scores"
    formats = ("scores",)
    fewest_classes = 0
    needs_training_data = True
    inherits = ("low", "high")
    augments = True

    def check(self, data: Dataset, options: Any) -> None:
        if not voices.holds(data):
            raise UserError(
                "no pieces",
                _("{data} holds no pieces in four voices").format(data=data.name),
                expected=_("MIDI or MusicXML files of four parts, such as a choir's"),
                fix="data=chorales",
                exit=3,
            )

    def spec(self, train: Dataset) -> Spec:
        tones = torch.cat([piece.grid for piece in train.input])
        reach = [column[column > REST] for column in tones.T]
        return Spec(
            tuple(int(column.min()) if len(column) else 60 for column in reach),
            tuple(int(column.max()) if len(column) else 60 for column in reach),
        )

    def example(self, system: type[System], size: str) -> Spec:
        return Spec()

    def batch(self, rows: Rows, spec: Spec) -> Any:
        return rows

    def augmentation(self, names: Sequence[str]) -> Augment | None:
        if set(names) - {"transpose"}:
            return super().augmentation(names)
        return _transpose if names else None

    def renumbered(self, target: Any, number: Tensor) -> Any:
        return target

    def validate(self, system: System, data: Loader) -> dict[str, Tensor]:
        assert isinstance(system, Composer)
        return {BITS: system.surprise(data.cases)}

    @torch.inference_mode()
    def answer(
        self, system: System, test: Dataset, decision: Mapping[str, float], setup: Setup, seed: int = 0
    ) -> Iterator[Step]:
        """Compose a piece for each test case from nothing, of the same length and metre."""
        assert isinstance(system, Composer) and isinstance(setup, ComposeSetup)
        answers: Answers = {BITS: system.surprise(test)}
        yield Step(0.1, _("composing"))
        blanks = [piece._replace(grid=torch.zeros_like(piece.grid[:WRITTEN])) for piece in test.input]
        nothing = [torch.zeros_like(piece.grid, dtype=torch.bool) for piece in blanks]
        # seeded by the name, not the position: the same piece in any batch
        seeds = [(seed, *name.encode()) for name in test.file]
        grids = system.write(blanks, nothing, TEMPERATURE, seeds)
        pieces = [old._replace(grid=grid) for old, grid in zip(blanks, grids, strict=True)]
        answers |= {name: torch.tensor(values) for name, values in told(pieces, setup.runs).items()}
        rows = torch.arange(min(SHOWN, len(test)))
        examples = torch.zeros(len(rows), WRITTEN, 4, dtype=torch.uint8)
        for row, grid in zip(rows.tolist(), grids, strict=False):
            examples[row, : len(grid)] = grid
        yield Step(1.0, result={**answers, "pieces": Sparse(rows, examples)})

    def setup(self, data: Dataset, split: Any, options: Any) -> Iterator[Step]:
        runs = counted.Runs(words(piece) for piece in data.only(split.train).input)
        yield Step(1.0, result=ComposeSetup(options, data.only(split.test), runs=runs))

    def scores(self, seeds: Sequence[Answers], setup: Setup) -> Scores:
        return {name: stacked(seeds, name) for name in (BITS, *NAMES)}

    def result(self, trainings: Trainings, setup: Setup) -> ComposeResult:
        assert isinstance(setup, ComposeSetup)
        return composed(trainings, setup)

    def table(self, answers: Answers, test: Dataset) -> Iterator[Sequence[Any]]:
        yield "file", BITS, *NAMES
        columns = [dense(answers, name).tolist() for name in (BITS, *NAMES)]
        for file, *values in zip(test.file, *columns, strict=True):
            yield file, *(round(value, 4) for value in values)

    def next_command(self, run: str) -> str:
        return f"souron predict {run} melody.mid"


def order(length: int, lead: int) -> Tensor:
    """Return the sixteenth and voice of each token in writing order, (4 T, 2)."""
    places = [(time + (lead if voice else 0), voice, time) for time in range(length) for voice in range(4)]
    return torch.tensor([(time, voice) for _at, voice, time in sorted(places)])


def encoded(piece: Voices, lead: int) -> Tensor:
    """Encode a piece as (4 T, 5) int16, a row per token in the order of ``order``.

    The columns: the token, the pitch that sounded in its voice before, the voice, the position in
    the bar, and the sixteenths left.
    """
    grid = piece.grid.numpy()
    places = order(len(grid), lead)
    time, voice = places.T
    last = heard(grid)
    before = np.vstack([np.zeros((1, 4), np.int64), last[:-1]])
    columns = [
        piece.grid[time, voice].long(),
        torch.from_numpy(before)[time, voice],
        voice,
        (time - piece.pickup) % piece.bar % PLACES,
        (len(grid) - time).clamp(max=LEFTS),
    ]
    return torch.stack(columns, 1).to(torch.int16)


def drawn(logits: Tensor, temperature: float, chance: Tensor) -> Tensor:
    """Draw a token per row (R, TOKENS) by inverse transform sampling of ``chance`` (R,)."""
    if temperature == 0:
        return logits.argmax(1)
    share = (logits / temperature).softmax(1).cumsum(1)
    index = torch.searchsorted(share, (chance * share[:, -1])[:, None], right=True)[:, 0]
    return index.clamp(max=TOKENS - 1)


def asked(score: Score, bars: int, spec: Spec) -> tuple[Voices, Tensor, int]:
    """Return the grid to fill, a mask (T, 4) of its known cells, and its transposition.

    The transposition brings the voices into their training range. Raises UserError.
    """
    bar, pickup = max(1, round(STEPS * score.bar)), round(STEPS * score.pickup)
    voice_of = placed(score.tones)
    if not voice_of:
        free = torch.zeros(bars * bar + pickup, 4, dtype=torch.uint8)
        return Voices(free, bar, pickup), torch.zeros_like(free, dtype=torch.bool), 0
    there = score.notation._replace(
        notes=[note._replace(part=voice_of[note.part]) for note in score.tones], parts=voices.VOICES
    )
    own, used = torch.from_numpy(on_grid(there)), sorted(voice_of.values())
    length = len(own) + (bars * bar if len(used) == len(voices.VOICES) else 0)
    if length > MOST_STEPS:
        raise UserError(
            "too long",
            _("{file} has {bars} bars").format(file=score.file or _("the score"), bars=math.ceil(len(own) / bar)),
            expected=_("at most {bars} bars").format(bars=MOST_STEPS // bar),
            exit=3,
        )
    shift = _into_reach(own, spec, used)
    grid = torch.zeros(length, 4, dtype=torch.uint8)
    grid[: len(own), used] = voices.transposed(own, shift)[:, used]
    mask = torch.zeros(length, 4, dtype=torch.bool)
    mask[: len(own), used] = True
    return Voices(grid, bar, pickup), mask, shift


def only_parts(score: Score, numbers: str) -> tuple[Score, str]:
    """Return a score with the parts of these numbers, with commas, or with the four that sound
    longest; and which parts were left out. Raises UserError.
    """
    used = sorted({note.part for note in score.tones})
    names = {str(part + 1): f"{part + 1} {called(score.parts[part])}" for part in used}
    chosen_numbers = [number.strip() for number in numbers.split(",") if number.strip()]
    if len(chosen_numbers) > len(voices.VOICES) or not names.keys() >= set(chosen_numbers):
        raise UserError(
            "voices",
            f"parts={numbers}",
            expected=_("at most four of: {parts}").format(parts=", ".join(names.values())),
            exit=3,
        )
    parts = [int(number) - 1 for number in chosen_numbers] or voices.longest(score.tones)
    rest = [names[str(part + 1)] for part in used if part not in parts]
    if not rest:
        return score, ""
    remark = _("parts {parts} were left out (parts= chooses others)").format(parts=", ".join(rest))
    return replace(score, tones=[note for note in score.tones if note.part in parts], given=()), remark


def placed(notes: Sequence[Note]) -> dict[int, int]:
    """Map at most four parts to the voices that they are: outer voices first, the rest between."""
    order = voices.by_height(notes)
    voice = VOICES_OF[len(order)]
    return {part: voice[rank] for part, rank in order.items()}


def _into_reach(grid: Tensor, spec: Spec, used: Sequence[int]) -> int:
    """Return the smallest transposition, in semitones, of the ``used`` voices into the range of training.

    Raises UserError if there is none.
    """
    lowest, highest = -127, 127
    for voice in used:
        column = grid[:, voice]
        tones = column[column > REST].int()
        if len(tones):
            lowest = max(lowest, spec.low[voice] - FURTHEST - int(tones.min()))
            highest = min(highest, spec.high[voice] + FURTHEST - int(tones.max()))
    if lowest > highest:
        if len(used) > 1:
            return 0  # voices that reach or cross widely stay where they are
        raise UserError(
            "reach",
            _("the melody reaches over more semitones than a voice"),
            expected=_("at most {count} semitones").format(count=spec.high[0] - spec.low[0] + 2 * FURTHEST),
            exit=3,
        )
    return min(max(0, lowest), highest)


def _apart(grid: Tensor, mask: Tensor) -> np.ndarray:
    """Return the grid with rests at known cells, so that new notes end there."""
    silent = torch.where(mask, torch.full_like(grid, REST), grid)
    return silent.numpy()


def _window(piece: Tensor, length: int, generator: Generator) -> Tensor:
    """Draw a random window of ``length`` rows of a piece (n, 5), starting at a whole sixteenth."""
    spare = max(0, len(piece) - length) // 4
    start = 4 * int(torch.randint(spare + 1, (), generator=generator))
    return piece[start : start + length]


def _transpose(rows: Rows, generator: Generator) -> Rows:
    """Transpose each piece by a random number of semitones."""
    pieces = []
    for piece in rows.input:
        away = int(torch.randint(-FURTHEST + 1, FURTHEST + 1, (), generator=generator))
        pitches = piece[:, : OWN + 1]
        keys = torch.where(pitches > REST, pitches + away, pitches).clamp(0, TOKENS - 1)
        pieces.append(torch.cat([keys.to(piece.dtype), piece[:, OWN + 1 :]], 1))
    return Rows(ListColumn(pieces), None)


__all__ = [
    "HOLD",
    "LEFT",
    "LEFTS",
    "OWN",
    "PLACE",
    "PLACES",
    "REST",
    "TOKEN",
    "TOKENS",
    "VOICE",
    "Batch",
    "Composer",
    "Composition",
    "Spec",
]
