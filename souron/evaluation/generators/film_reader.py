"""Two classifiers that read motion, object, colour and background from a video.

They are trained on real training videos alone, never on generated ones, and are the same for every
system on the same data. Motion is read from greyscale frames minus their mean over time, so that
neither background nor colour gives it away; the rest is read from single frames, so that pairs of
object and motion missing from the training data are not learnt to be impossible. Their accuracy on
real test videos is the ceiling; generated videos with the captions of others are the floor.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.data.composing.captioned_words import COLOURS, GROUNDS, OWN
from souron.data.composing.moving import MOTIONS, NAMES
from souron.data.dataset import Dataset
from souron.evaluation.answers import Answers, Setup
from souron.evaluation.generators import prompt_adherence
from souron.metrics import text_to_video as metrics
from souron.stats.records import Measure
from souron.training.trainer import autocast
from souron.utils import files
from souron.utils.messages import UserError

VERSION = 1  # of the training procedure; changed readers need a new version
EXAMPLES, BATCH, RATE = 24_000, 64, 3e-3
AT_MOST = 16  # most epochs
AT_ONCE = 128  # videos in a batch when reading
WIDTHS = (32, 64, 96)
MOTION = "motion"
ATTRIBUTES = tuple(metrics.ATTRIBUTES)
ANSWERS = {"colour": (OWN, *COLOURS), "ground": tuple(GROUNDS), MOTION: tuple(MOTIONS)}


def frames_of(strip: Tensor) -> Tensor:
    """Reshape strips (N, C, T * side, side) to videos (N, C, T, side, side)."""
    return strip.unflatten(2, (-1, strip.shape[-1]))


def moved(film: Tensor) -> Tensor:
    """Return greyscale frames minus their mean over time, (N, C, T, H, W) -> (N, T, H, W)."""
    grey = film.mean(1)
    return grey - grey.mean(1, keepdim=True)


class FilmReader(nn.Module):
    """A pair of CNNs: ``motion`` sees all frames at once, ``frame`` a single one."""

    def __init__(self, classes: Sequence[str], frames: int) -> None:
        super().__init__()
        self.answers = {"object": tuple(classes), **ANSWERS}
        self.motion = _layers(frames)
        self.frame = _layers(3)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(5 * WIDTHS[-1], len(values)) for name, values in self.answers.items()}
        )

    def forward(self, film: Tensor, frame: Tensor) -> dict[str, Tensor]:
        """Compute logits of videos (B, 3, T, H, W) and frames (B, 3, H, W), in -1..1."""
        features = {True: _pooled(self.motion(moved(film))), False: _pooled(self.frame(frame))}
        return {name: head(features[name == MOTION]) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, strip: Tensor) -> dict[str, Tensor]:
        """Return probabilities (N, values) of each attribute for strips in 0..255.

        Except for motion, they are averaged over the frames.
        """
        self.eval()
        probabilities: dict[str, list[Tensor]] = {name: [] for name in self.answers}
        for batch in strip.split(AT_ONCE):
            film = frames_of(batch.float() / 127.5 - 1)
            count = film.shape[2]
            outputs = self(film, film.transpose(1, 2).flatten(0, 1))
            for name, logits in outputs.items():
                chance = logits.softmax(1)
                if name != MOTION:
                    chance = chance.unflatten(0, (-1, count)).mean(1)
                probabilities[name].append(chance)
        return {name: torch.cat(parts) for name, parts in probabilities.items()}

    def wanted(self, columns: Any, count: int) -> dict[str, Tensor]:
        """Return the index (count,) of the true value of each attribute for the first cases."""
        return {
            name: torch.tensor([values.index(columns[name][row]) for row in range(count)])
            for name, values in self.answers.items()
        }


def _layers(channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    for narrow, wide in zip((channels, *WIDTHS), WIDTHS, strict=False):
        layers += [
            nn.Conv2d(narrow, wide, 4 if narrow == channels else 3, 2 if narrow == channels else 1, 1, bias=False)
        ]
        layers += [nn.BatchNorm2d(wide), nn.GELU()]
        layers += [nn.MaxPool2d(2)] if narrow != channels else []
    layers += [nn.Conv2d(WIDTHS[-1], WIDTHS[-1], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[-1])]
    return nn.Sequential(*layers, nn.GELU())


def _pooled(features: Tensor) -> Tensor:
    return torch.cat([F.adaptive_avg_pool2d(features, 2).flatten(1), features.amax((2, 3))], 1)


def readable(data: Dataset) -> bool:
    """Return whether the data are colour videos whose attributes are known."""
    return set(NAMES) <= set(data.columns) and bool(data.classes) and data.channels == 3


def film_reader(train: Dataset) -> Iterator[tuple[float, FilmReader | None]]:
    """Yield (fraction done 0..1, None), and at the end the reader, trained or from the cache."""
    path = _place(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = FilmReader(train.classes, train.input.shape[2] // train.side)
        if path.exists():
            with suppress(UserError, RuntimeError):
                reader.load_state_dict(files.read_tensors(path)[0])
                yield 1.0, reader.eval()
                return
    batch = min(BATCH, len(train))
    steps = min(EXAMPLES, AT_MOST * len(train)) // batch or 1
    targets = reader.wanted(train.columns, len(train))
    descent = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(descent, RATE, total_steps=steps + 1)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        rows = torch.randint(len(train), (batch,), generator=generator)
        film = frames_of(train.input[rows].float() / 127.5 - 1)
        which = torch.randint(film.shape[2], (batch,), generator=generator)
        reader.train()
        with autocast(torch.device("cpu"))():
            outputs = reader(film, film[torch.arange(batch), :, which])
            losses = [F.cross_entropy(outputs[name], of[rows]) for name, of in targets.items()]
            loss = torch.stack(losses).sum()
        descent.zero_grad()
        loss.backward()
        descent.step()
        schedule.step()
        if step % 10 == 9:
            yield (step + 1) / steps * 0.99, None
    files.write_tensors(path, reader.state_dict(), {"classes": list(train.classes)})
    yield 1.0, reader.eval()


def _place(train: Dataset) -> Path:
    digest = hashlib.blake2b(digest_size=16)
    settings = (VERSION, EXAMPLES, WIDTHS, train.classes, [list(train.columns[n]) for n in NAMES])
    digest.update(repr(settings).encode())
    for batch in train.input.split(1024):
        digest.update(batch.contiguous().numpy().data)
    return files.cache_folder() / "readers" / f"films-{digest.hexdigest()}.safetensors"


@dataclass
class FilmSet(Setup):
    """Prompts, one per test case, and the reader of the videos generated for them."""

    prompts: list[str] = field(kw_only=True)
    reader: FilmReader = field(kw_only=True)
    ceiling: Answers = field(default_factory=dict, kw_only=True)  # of the real videos

    def judged(self, strip: Tensor) -> Answers:
        """Compare strips (N, C, T * side, side) in 0..255 with their prompts, one each.

        Returns ``right`` and ``shuffled`` (N, attributes), whether the video shows the attribute of
        its own prompt, and that of another case's prompt; NaN where a prompt does not ask for it.
        ``flicker`` is (N,).
        """
        probabilities = self.reader.read(strip)
        targets = self.reader.wanted(self.test.columns, len(self.test))
        others = prompt_adherence.other_rows(self.test)
        right, shuffled = torch.full((2, len(strip), len(ATTRIBUTES)), torch.nan)
        for column, name in enumerate(ATTRIBUTES):
            answer = probabilities[name].argmax(1)
            mask = torch.tensor([bool(value) for value in self.test.columns[name]])
            right[mask, column] = (answer == targets[name])[mask].float()
            mask = mask[others]
            shuffled[mask, column] = (answer == targets[name][others])[mask].float()
        return {"right": right, "shuffled": shuffled, "flicker": metrics.flicker(frames_of(strip))}


@dataclass(frozen=True)
class OfPart:
    """Figures of one subset's prompts in one language; "" selects all."""

    subset: str
    language: str
    cases: int
    measures: dict[str, Measure]  # attribute, or ``flicker``
    floor: dict[str, float]
    ceiling: dict[str, float]


@dataclass(frozen=True)
class FilmResult:
    """The results of one run for its report."""

    parts: tuple[OfPart, ...]  # all prompts first
    prompts: tuple[str, ...]
    strips: Tensor  # (N, C, T * side, side) uint8
    seconds: float  # per video

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "parts": [
                {
                    "subset": part.subset,
                    "language": part.language,
                    "cases": part.cases,
                    "measures": {name: vars(measure) for name, measure in part.measures.items()},
                    "floor": part.floor,
                    "ceiling": part.ceiling,
                }
                for part in self.parts
            ],
        }
