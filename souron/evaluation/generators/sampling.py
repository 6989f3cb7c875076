"""Sampling from generators: any number of images, and interpolations between them."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from souron.training import trainer
from souron.utils import files

FRAMES = 30  # approximate number in a film
IN_A_FRAME = 16  # images
MOST_AT_ONCE = 64  # images
MOST_VALUES = 64 * 3 * 64 * 64  # pixel values of a batch; larger images have smaller batches


class Noise:
    """Random numbers with one generator per image.

    Image 7 of a seed stays the same however many others are generated with it.
    """

    def __init__(self, seed: int, numbers: Sequence[int], device: torch.device | str = "cpu") -> None:
        # the generator takes 32 bits, which differ for every image of a seed
        start = (seed * 2_654_435_761 + 0x9E3779B9) % 2**32
        self.sources = [torch.Generator().manual_seed((start + i) % 2**32) for i in numbers]
        self.device = device

    def __len__(self) -> int:
        return len(self.sources)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, (B, *shape)."""
        numbers = [torch.randn(shape, generator=source) for source in self.sources]
        return torch.stack(numbers).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draw uniform numbers in 0..1, (B, *shape)."""
        return torch.special.ndtr(self.normal(*shape))

    def truncated(self, most: float, *shape: int) -> Tensor:
        """Draw normal numbers within -most..most, (B, *shape): those beyond would be drawn anew."""
        low = torch.special.ndtr(torch.tensor(-most, dtype=torch.float64))  # by inverting the CDF
        share = torch.special.ndtr(self.normal(*shape).double())
        return torch.special.ndtri(low + share * (1 - 2 * low)).float().clamp(-most, most)

    def choose(self, weight: Tensor) -> Tensor:
        """Draw a column index for each row with probability proportional to ``weight``
        (B, K) >= 0.
        """
        reach = weight.double().cumsum(1)
        targets = self.uniform().double()[:, None] * reach[:, -1:]
        return (reach <= targets).sum(1).clamp(max=weight.shape[1] - 1)


class Replayed(Noise):
    """Noise whose normal numbers are given, (B, N), and taken in order."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers, self.taken, self.device = numbers, 0, numbers.device

    def __len__(self) -> int:
        return self.numbers.shape[0]

    def normal(self, *shape: int) -> Tensor:
        count = math.prod(shape)
        self.taken += count
        return self.numbers[:, self.taken - count : self.taken].reshape(-1, *shape)

    def truncated(self, most: float, *shape: int) -> Tensor:
        """Clip numbers: other programs do not invert the distribution function."""
        return self.normal(*shape).clamp(-most, most)

    def uniform(self, *shape: int) -> Tensor:
        return (1 + torch.erf(self.normal(*shape) / math.sqrt(2))) / 2


class Counted(Noise):
    """Noise of one image that counts the numbers taken."""

    def __init__(self) -> None:
        super().__init__(0, [0])
        self.taken = 0

    def normal(self, *shape: int) -> Tensor:
        self.taken += math.prod(shape)
        return super().normal(*shape)


class Walk(Noise):
    """Interpolation from one image's noise to another's.

    Every point of it is standard normal, since cos(a) x + sin(a) y of two independent standard
    normal numbers is.
    """

    def __init__(self, start: Noise, end: Noise, way: Sequence[float]) -> None:
        """Set the fraction ``way`` (B,): 0 is the start, 1 the end."""
        self.start, self.end, self.way = start, end, torch.tensor(way) * (math.pi / 2)
        self.device = start.device

    def __len__(self) -> int:
        return len(self.way)

    def normal(self, *shape: int) -> Tensor:
        angle = self.way.to(self.device).view(-1, *[1] * len(shape))
        return angle.cos() * self.start.normal(*shape) + angle.sin() * self.end.normal(*shape)


def chunks(system: Any, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split the images' numbers into batches that fit into memory."""
    values = system.spec.channels * system.spec.side**2 * getattr(system.spec, "frames", 1)
    size = max(1, min(MOST_AT_ONCE, MOST_VALUES // values))
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


@torch.no_grad()
def draw(system: Any, noise: Noise, condition: Any = None, **options: Any) -> Iterator[Tensor]:
    """Yield intermediate images (B, C, H, W) uint8, the finished ones last.

    bfloat16 is used where it is fast. ``condition`` holds classes (B,), or one prompt per image; by
    default it is sampled as in the data.
    """
    system.eval()
    own = system.conditions(noise)  # always sampled: the noise after it must not change
    if condition is None:
        condition = own
    elif isinstance(condition, Tensor):
        condition = condition.to(system.device)
    with trainer.autocast(system.device)():
        for images in system.drawing(noise, condition, **options):
            yield as_bytes(images)


def done(frames: Iterator[Tensor]) -> Tensor:
    """Return the last item."""
    [last] = deque(frames, maxlen=1)
    return last


def as_bytes(images: Tensor) -> Tensor:
    """Convert (B, C, H, W) in -1..1 to uint8; NaN becomes grey."""
    values = (images.detach().float().cpu().nan_to_num(0).clamp(-1, 1) + 1) * 127.5
    return values.round().to(torch.uint8)


@dataclass
class Sample:
    """The first images of a seed."""

    image: Tensor  # (N, C, H, W) uint8
    seconds: float  # mean per image

    @classmethod
    def growing(cls, system: Any, count: int, seed: int, **options: Any) -> Iterator["Sample"]:
        """Yield the sample as it grows to ``count`` images."""
        images: list[Tensor] = []
        start = time.perf_counter()
        for numbers in chunks(system, range(count)):
            images.append(done(draw(system, Noise(seed, numbers, system.device), **options)))
            so_far = torch.cat(images)
            yield cls(so_far, (time.perf_counter() - start) / len(so_far))


def walk(
    system: Any, seed: int, stations: Sequence[int], between: int, condition: Any = None, **options: Any
) -> Iterator[Tensor]:
    """Yield frames (C, H, W) uint8 that interpolate from image to image and back to the first.

    ``stations`` are the images' numbers, ``between`` the steps from one to the next. ``condition``
    is one class () or prompt for all frames, by default that of the first image.
    """
    if condition is None:
        condition = system.conditions(Noise(seed, stations[:1], system.device))[0]
    steps = [
        (here, there, i / between)
        for here, there in zip(stations, [*stations[1:], stations[0]], strict=True)
        for i in range(between)
    ]
    for rows in chunks(system, range(len(steps))):
        here, there, way = zip(*(steps[row] for row in rows), strict=True)
        start, end = Noise(seed, here, system.device), Noise(seed, there, system.device)
        same = condition.expand(len(rows)) if isinstance(condition, Tensor) else [condition] * len(rows)
        yield from done(draw(system, Walk(start, end, way), same, **options))


@dataclass
class Film:
    """Snapshots of the same images during training."""

    path: Path  # of the file needed to resume
    frames: list[Tensor] = field(default_factory=list)  # (B, C, H, W) uint8 each
    seconds: float = 0.0  # spent on generating them

    def __post_init__(self) -> None:
        if self.path.exists():
            tensors, about = files.read_tensors(self.path)
            self.frames, self.seconds = list(tensors["frames"]), about["seconds"]

    def shoot(self, system: Any, used: float, seconds: float) -> Tensor | None:
        """Add a frame where one is due, else return None.

        ``used`` (0..1) is the fraction of the budget, ``seconds`` the training time, of which
        frames may take a tenth.
        """
        due = used * FRAMES >= len(self.frames) and self.seconds <= seconds / 10
        if not due and used < 1:
            return None
        start = time.perf_counter()
        learning = system.training
        frame = done(draw(system, Noise(0, range(IN_A_FRAME), system.device)))
        system.train(learning)
        self.seconds += time.perf_counter() - start
        self.frames.append(frame)
        return frame

    def keep(self) -> None:
        if self.frames:
            about = {"seconds": self.seconds}
            files.write_tensors(self.path, {"frames": torch.stack(self.frames)}, about)
