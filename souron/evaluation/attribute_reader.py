"""A network that reads object, colour, count, place and ground off a picture.

It learns from real training scenes alone, never from drawn pictures, and is the same for every
system on the same data, as the feature extractor of ``embedding`` is. What it reads off real test
scenes is the ceiling that drawn pictures are held against: where it errs there, it errs here. The
object is learnt and read without colours, or the reader would learn that a pair of object and
colour which training lacks does not exist.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from souron.data.composing.captioned_words import COLOURS, GROUNDS, NAMES, OWN, PLACES
from souron.data.dataset import Dataset
from souron.training.trainer import autocast
from souron.utils import files
from souron.utils.messages import UserError

VERSION = 3  # of how it learns: another reader is another version
EXAMPLES, BATCH, RATE = 64_000, 128, 4e-3
AT_MOST = 16  # times that a picture is shown
SHIFT = 2  # pixels that a picture is moved by chance
WIDTHS = (32, 64, 128, 256)
OF_SHAPE = ("object", "count")
AT_ONCE = 256  # pictures that are read
ANSWERS = {"colour": (OWN, *COLOURS), "count": ("1", "2", "3"), "place": ("", *PLACES),
           "ground": tuple(GROUNDS)}  # fmt: skip


class AttributeReader(nn.Module):
    """(B, 3, side, side) in -1..1 -> logits of each attribute: convolutions, and a linear layer for
    each over the mean and the maximum of the last map's quarters."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.answers = {"object": tuple(classes), **ANSWERS}
        first, *rest = WIDTHS
        layers: list[nn.Module] = [nn.Conv2d(3, first, 4, 2, 1, bias=False), nn.BatchNorm2d(first)]
        for narrow, wide, again in zip(WIDTHS, rest, (False, True, True), strict=False):
            layers += [nn.GELU(), nn.Conv2d(narrow, wide, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(wide), nn.MaxPool2d(2)]
            if again:
                layers += [nn.GELU(), nn.Conv2d(wide, wide, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(wide)]
        self.layers = nn.Sequential(*layers, nn.GELU())
        seen = 5 * WIDTHS[-1]
        self.heads = nn.ModuleDict({
            name: nn.Linear(seen, len(values)) for name, values in self.answers.items()
        })  # fmt: skip

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        seen = self.layers(image)
        quarters = F.adaptive_avg_pool2d(seen, 2).flatten(1)
        features = torch.cat([quarters, seen.amax((2, 3))], 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, image: Tensor) -> dict[str, Tensor]:
        """Probabilities (N, values) of each attribute, of pictures (N, 3, H, W) in 0..255."""
        self.eval()
        found: dict[str, list[Tensor]] = {name: [] for name in self.answers}
        for some in image.split(AT_ONCE):
            shown = some.float() / 127.5 - 1
            told, of_shape = self(shown), self(grey(shown))
            for name in self.answers:
                logits = of_shape[name] if name in OF_SHAPE else told[name]
                found[name].append(logits.softmax(1))
        return {name: torch.cat(each) for name, each in found.items()}

    def wanted(self, columns: Any, rows: Sequence[int]) -> dict[str, Tensor]:
        """(n,) the number of each attribute's value, of these cases."""
        return {
            name: torch.tensor([values.index(columns[name][row]) for row in rows])
            for name, values in self.answers.items()
        }


def readable(data: Dataset) -> bool:
    """Whether the data says the attributes of each picture, and they are in colour."""
    return set(NAMES) <= set(data.columns) and data.pictures and data.channels == 3


def attribute_reader(train: Dataset) -> Iterator[tuple[float, AttributeReader | None]]:
    """How much is done, 0..1, and at the end the reader, from the cache where it has learnt."""
    place = _place(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader: Any = AttributeReader(train.classes)
        reader = reader.to(memory_format=torch.channels_last)
        if place.exists():
            with suppress(UserError, RuntimeError):
                reader.load_state_dict(files.read_tensors(place)[0])
                yield 1.0, reader.eval()
                return
        state = torch.get_rng_state()
        steps = min(EXAMPLES, AT_MOST * len(train)) // BATCH or 1
        wanted = reader.wanted(train.columns, range(len(train)))
        descent = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(descent, RATE, total_steps=steps + 1)
        generator = torch.Generator().manual_seed(0)
        for step in range(steps):
            rows = torch.randint(len(train), (BATCH,), generator=generator)
            torch.set_rng_state(state)
            reader.train()
            image = _shifted(train.input[rows].float() / 127.5 - 1, generator)
            half = BATCH // 2
            image[half:] = grey(image[half:])
            with autocast(torch.device("cpu"))():
                told = reader(image.contiguous(memory_format=torch.channels_last))
                missed = [
                    F.cross_entropy(told[name][of], wanted[name][rows[of]])
                    for name in wanted
                    for of in (slice(half, None) if name in OF_SHAPE else slice(half),)
                ]
                loss = torch.stack(missed).sum()
            descent.zero_grad()
            loss.backward()
            descent.step()
            schedule.step()
            state = torch.get_rng_state()
            if step % 10 == 9:
                yield (step + 1) / steps * 0.99, None
    files.write_tensors(place, reader.state_dict(), {"classes": list(train.classes)})
    yield 1.0, reader.eval()


def kept_reader(data: str) -> AttributeReader | None:
    """The newest reader of data of that name; None where none has learnt here, or it is damaged."""
    found = _folder().glob(f"{_named(data)}-*.safetensors")
    for place in sorted(found, key=lambda file: -file.stat().st_mtime)[:1]:
        with suppress(UserError, RuntimeError, KeyError):
            tensors, about = files.read_tensors(place)
            with torch.random.fork_rng(devices=[]):
                reader = AttributeReader([str(name) for name in about["classes"]])
            reader.load_state_dict(tensors)
            return reader.eval()
    return None


def grey(image: Tensor) -> Tensor:
    """(B, 3, H, W) without colours."""
    return image.mean(1, keepdim=True).expand_as(image)


def _folder() -> Path:
    return files.cache_folder() / "readers"


def _named(data: str) -> str:
    """A data set's name as a file may have it."""
    return re.sub(r"\W", "_", data)[:60]


def _shifted(image: Tensor, generator: torch.Generator) -> Tensor:
    """Moved by a few pixels, all alike: too little to change a place."""
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    return image.roll((down, right), (2, 3))


def _place(train: Dataset) -> Path:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((VERSION, EXAMPLES, WIDTHS, train.classes, len(train))).encode())
    for name in NAMES:
        digest.update(repr(train.columns[name]).encode())
    for some in train.input.split(1024):
        digest.update(some.contiguous().numpy().data)
    return _folder() / f"{_named(train.name)}-{digest.hexdigest()}.safetensors"
