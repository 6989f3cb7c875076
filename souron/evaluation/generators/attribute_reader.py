"""A classifier that reads object, colour, count, position and background from an image.

It is trained on real training scenes alone, never on generated images, and is the same for every
system on the same data, as the feature extractor of ``embedding`` is. Its accuracy on real test
scenes is the ceiling for generated images. The object and the count are learnt and read from
greyscale images; otherwise the reader would learn that the pairs of object and colour missing from
the training data do not exist.
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

VERSION = 3  # of the training procedure; a changed reader needs a new version
EXAMPLES, BATCH, RATE = 64_000, 128, 4e-3
AT_MOST = 16  # most epochs
SHIFT = 2  # largest random shift in pixels
WIDTHS = (32, 64, 128, 256)
OF_SHAPE = ("object", "count")
AT_ONCE = 256  # images in a batch when reading
ANSWERS = {"colour": (OWN, *COLOURS), "count": ("1", "2", "3"), "place": ("", *PLACES), "ground": tuple(GROUNDS)}


class AttributeReader(nn.Module):
    """A CNN with one linear head per attribute: (B, 3, side, side) in -1..1 -> logits.

    Each head sees the average over the quadrants of the last feature maps, and their maximum.
    """

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
        width = 5 * WIDTHS[-1]
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in self.answers.items()})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps = self.layers(image)
        quarters = F.adaptive_avg_pool2d(maps, 2).flatten(1)
        features = torch.cat([quarters, maps.amax((2, 3))], 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, image: Tensor) -> dict[str, Tensor]:
        """Return probabilities (N, values) of each attribute for images (N, 3, H, W) in 0..255."""
        self.eval()
        probabilities: dict[str, list[Tensor]] = {name: [] for name in self.answers}
        for images in image.split(AT_ONCE):
            pixels = images.float() / 127.5 - 1
            outputs, of_shape = self(pixels), self(grey(pixels))
            for name in self.answers:
                logits = of_shape[name] if name in OF_SHAPE else outputs[name]
                probabilities[name].append(logits.softmax(1))
        return {name: torch.cat(parts) for name, parts in probabilities.items()}

    def wanted(self, columns: Any, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return the index (n,) of the true value of each attribute for these cases."""
        return {
            name: torch.tensor([values.index(columns[name][row]) for row in rows])
            for name, values in self.answers.items()
        }


def readable(data: Dataset) -> bool:
    """Return whether the data are colour images whose attributes are known."""
    return set(NAMES) <= set(data.columns) and data.images and data.channels == 3


def attribute_reader(train: Dataset) -> Iterator[tuple[float, AttributeReader | None]]:
    """Yield (fraction done 0..1, None), and at the end the reader, trained or from the cache."""
    path = _place(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader: Any = AttributeReader(train.classes)
        reader = reader.to(memory_format=torch.channels_last)
        if path.exists():
            with suppress(UserError, RuntimeError):
                reader.load_state_dict(files.read_tensors(path)[0])
                yield 1.0, reader.eval()
                return
        state = torch.get_rng_state()
        steps = min(EXAMPLES, AT_MOST * len(train)) // BATCH or 1
        targets = reader.wanted(train.columns, range(len(train)))
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
                outputs = reader(image.contiguous(memory_format=torch.channels_last))
                losses = [
                    F.cross_entropy(outputs[name][of], targets[name][rows[of]])
                    for name in targets
                    for of in (slice(half, None) if name in OF_SHAPE else slice(half),)
                ]
                loss = torch.stack(losses).sum()
            descent.zero_grad()
            loss.backward()
            descent.step()
            schedule.step()
            state = torch.get_rng_state()
            if step % 10 == 9:
                yield (step + 1) / steps * 0.99, None
    files.write_tensors(path, reader.state_dict(), {"classes": list(train.classes)})
    yield 1.0, reader.eval()


def kept_reader(data: str) -> AttributeReader | None:
    """Return the newest cached reader for data of that name; None where absent or damaged."""
    paths = _folder().glob(f"{_named(data)}-*.safetensors")
    for path in sorted(paths, key=lambda file: -file.stat().st_mtime)[:1]:
        with suppress(UserError, RuntimeError, KeyError):
            tensors, about = files.read_tensors(path)
            with torch.random.fork_rng(devices=[]):
                reader = AttributeReader([str(name) for name in about["classes"]])
            reader.load_state_dict(tensors)
            return reader.eval()
    return None


def grey(image: Tensor) -> Tensor:
    """Replace the colours (B, 3, H, W) by their mean."""
    return image.mean(1, keepdim=True).expand_as(image)


def _folder() -> Path:
    return files.cache_folder() / "readers"


def _named(data: str) -> str:
    """Return a data set's name as a valid file name."""
    return re.sub(r"\W", "_", data)[:60]


def _shifted(image: Tensor, generator: torch.Generator) -> Tensor:
    """Shift the batch by a few pixels, too few to change a position."""
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    return image.roll((down, right), (2, 3))


def _place(train: Dataset) -> Path:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((VERSION, EXAMPLES, WIDTHS, train.classes, len(train))).encode())
    for name in NAMES:
        digest.update(repr(train.columns[name]).encode())
    for images in train.input.split(1024):
        digest.update(images.contiguous().numpy().data)
    return _folder() / f"{_named(train.name)}-{digest.hexdigest()}.safetensors"
