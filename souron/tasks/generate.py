"""Generate: nothing but noise in, pictures out."""

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from souron.data.cases import Cases, Feed
from souron.system import System


@dataclass(frozen=True)
class Seen:
    """What a generator must know of its data before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...] = ("",)  # the classes' names
    shares: tuple[float, ...] = (1.0,)  # of the training pictures in each class


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    label: Tensor  # (B,)


class Noise:
    """Random numbers, each picture's own: picture 7 of a seed stays the same however many others
    are drawn beside it."""

    def __init__(
        self, seed: int, numbers: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        # the generator takes 32 bits; within a seed no two pictures share them
        start = (seed * 2_654_435_761 + 0x9E3779B9) % 2**32
        self.sources = [torch.Generator().manual_seed((start + i) % 2**32) for i in numbers]
        self.device = device

    def __len__(self) -> int:
        return len(self.sources)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape), standard normal."""
        drawn = [torch.randn(shape, generator=source) for source in self.sources]
        return torch.stack(drawn).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) in 0..1."""
        return torch.special.ndtr(self.normal(*shape))

    def choose(self, weight: Tensor) -> Tensor:
        """(B,) a column of each row of ``weight`` (B, K), not negative, as often as it weighs."""
        reach = weight.double().cumsum(1)
        drawn = self.uniform().double()[:, None] * reach[:, -1:]
        return (reach <= drawn).sum(1).clamp(max=weight.shape[1] - 1)


class Walk(Noise):
    """On the way from one picture's noise to another's; every point of it is noise as good as the
    ends, since cos(a) x + sin(a) y of two normal numbers is a normal number."""

    def __init__(self, start: Noise, end: Noise, way: Sequence[float]) -> None:
        """``way`` (B,): 0 is the start, 1 the end."""
        self.start, self.end, self.way = start, end, torch.tensor(way) * (math.pi / 2)
        self.device = start.device

    def __len__(self) -> int:
        return len(self.way)

    def normal(self, *shape: int) -> Tensor:
        angle = self.way.to(self.device).view(-1, *[1] * len(shape))
        return angle.cos() * self.start.normal(*shape) + angle.sin() * self.end.normal(*shape)


class Generator(System):
    """``drawing`` makes pictures in -1..1 from noise; samples, measures and walks follow from that.

    Where a system knows how likely a picture is, ``likelihood`` says how well it knows it, and
    ``bits`` tells.
    """

    task = "generate"
    default_data = "digits"
    conditional: ClassVar[bool] = False  # draws a picture of a class that is asked for
    completes: ClassVar[bool] = False  # ``drawing`` takes ``given``, a picture to be completed
    likelihood: ClassVar[Literal["", "exact", "bound"]] = ""
    SHOWN: ClassVar[dict[str, tuple[int, int, int]]] = {}  # size -> channels, side, labels of the
    # paper's pictures, for the table of a size's layers
    seen: Seen

    @staticmethod
    def see(cases: Cases) -> Seen:
        count = torch.bincount(cases.label, minlength=len(cases.labels)).double()
        shares = (count / count.sum()).tolist()
        return Seen(cases.channels, cases.side, tuple(cases.labels), tuple(shares))

    def prepare(self, image: Tensor, label: Tensor) -> Batch:
        """Pictures (B, C, H, W) in 0..255 -> -1..1."""
        return Batch(image.float() / 127.5 - 1, label)

    @abstractmethod
    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        """Yield pictures (B, C, H, W) in -1..1 on their way from ``noise``; the last are done.

        ``label`` (B,) is the class asked for; systems that are not ``conditional`` pass over it.
        Options are keywords with a default, annotated with an ``asking.Choice``. All random numbers
        come from ``noise``.
        """

    def labels(self, noise: Noise) -> Tensor:
        """(B,) classes, as often as the training pictures have them."""
        return noise.choose(torch.tensor(self.seen.shares).expand(len(noise), -1).to(noise.device))

    def draw(self, noise: Noise, label: Tensor | None = None, **options: Any) -> Tensor:
        """(B, C, H, W) in -1..1, done; of the classes ``label`` (B,), else as the data has them."""
        own = self.labels(noise)  # asked for or not, so that the rest of the noise stays the same
        label = own if label is None else label.to(self.device)
        [drawn] = deque(self.drawing(noise, label, **options), maxlen=1)
        return drawn.clamp(-1, 1)

    def example(self) -> None:
        """One pass of what draws, for the table of its layers' shapes and operations."""
        label = torch.zeros(1, dtype=torch.long, device=self.device)
        deque(self.drawing(Noise(0, [0], self.device), label), maxlen=0)

    def bits(self, batch: Batch) -> Tensor:
        """(B,) bits that a picture costs, for each of its C * H * W values in 0..255."""
        raise NotImplementedError(f"{type(self).__name__} does not know how likely a picture is")

    @torch.no_grad()
    def evaluate(self, data: Feed) -> dict[str, Tensor]:
        """Bits per dimension, where there is a likelihood. How good the pictures are takes more
        than one picture: see ``generating``."""
        if not self.likelihood:
            return {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # bounds are estimated by chance: always the same
            bits = [self.bits(batch).float().cpu() for batch in data.once()]
        return {"bits per dimension": torch.cat(bits)}
