"""Generate: nothing but noise in, pictures out."""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from souron.data.dataset import Dataset, Loader
from souron.evaluation.sampling import Noise
from souron.system import System


@dataclass(frozen=True)
class Spec:
    """What a generator must know of its data before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...] = ("",)  # the classes' names
    shares: tuple[float, ...] = (1.0,)  # of the training pictures in each class


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W) in -1..1
    label: Tensor  # (B,)


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
    seen: Spec

    @staticmethod
    def see(cases: Dataset) -> Spec:
        count = torch.bincount(cases.label, minlength=len(cases.labels)).double()
        shares = (count / count.sum()).tolist()
        return Spec(cases.channels, cases.side, tuple(cases.labels), tuple(shares))

    def prepare(self, image: Tensor, label: Tensor) -> Batch:
        """Pictures (B, C, H, W) in 0..255 -> -1..1."""
        return Batch(image.float() / 127.5 - 1, label)

    @abstractmethod
    def drawing(self, noise: Noise, label: Tensor) -> Iterator[Tensor]:
        """Yield pictures (B, C, H, W) in -1..1 on their way from ``noise``; the last are done.

        ``label`` (B,) is the class asked for; systems that are not ``conditional`` pass over it.
        Options are keywords with a default, annotated with an ``signature.Choice``. All random
        numbers come from ``noise``.
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
    def evaluate(self, data: Loader) -> dict[str, Tensor]:
        """Bits per dimension, where there is a likelihood. How good the pictures are takes more
        than one picture: see ``generate``."""
        if not self.likelihood:
            return {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # bounds are estimated by chance: always the same
            bits = [self.bits(batch).float().cpu() for batch in data.once()]
        return {"bits per dimension": torch.cat(bits)}
