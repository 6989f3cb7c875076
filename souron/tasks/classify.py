"""Classify: a picture in, labels out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset, Loader
from souron.kinds.labels import Labels
from souron.kinds.picture import Picture
from souron.metrics.classification import score
from souron.system import System

MOST_LOOKED_AT = 60_000_000  # pixel values; more say no more of their mean


@dataclass(frozen=True)
class Spec:
    """What a classifier must know of its data before it is built."""

    channels: int
    side: int  # pixels
    labels: tuple[str, ...]
    mean: tuple[float, ...] = (0.0,)  # of the training pictures in 0..1, a channel each
    std: tuple[float, ...] = (1.0,)


class Batch(NamedTuple):
    image: Tensor  # (B, C, H, W), zero mean, unit variance over the training pictures
    label: Tensor  # (B,)


class Classifier(System):
    """``forward`` maps pictures (B, C, H, W) to logits (B, labels); the rest follows from that."""

    task = "classify"
    measures = {"accuracy": "higher", "log loss": "lower"}
    default_data = "digits"

    head: ClassVar[str] = "fc"  # the layer that names the classes: new in transfer learning
    side_heads: ClassVar[tuple[str, ...]] = ()  # further layers that name them
    seen: Spec

    @staticmethod
    def see(cases: Dataset) -> Spec:
        """What these (training) cases tell."""
        every = max(1, len(cases) // 5000, cases.image.numel() // MOST_LOOKED_AT)
        pixels = cases.image[::every].float() / 255
        mean = pixels.mean((0, 2, 3))
        std = pixels.std((0, 2, 3)).clamp(min=1e-3)
        return Spec(
            cases.channels, cases.side, cases.labels, tuple(mean.tolist()), tuple(std.tolist())
        )

    @cached_property
    def _scaling(self) -> tuple[Tensor, Tensor]:
        """What is subtracted from bytes and what they are divided by, (1, C, 1, 1) each."""
        return (
            torch.tensor(self.seen.mean).view(1, -1, 1, 1) * 255,
            torch.tensor(self.seen.std).view(1, -1, 1, 1) * 255,
        )

    def prepare(self, image: Tensor, label: Tensor) -> Batch:
        """Pictures (B, C, H, W) in 0..255 -> normalised, in the layout that the system computes in.
        They stay as they are."""
        shift, scale = (values.to(image.device) for values in self._scaling)
        normalised = image.to(torch.float32, copy=True).sub_(shift).div_(scale)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return Batch(normalised.contiguous(memory_format=layout), label)

    def loss(self, batch: Batch) -> Tensor:
        return F.cross_entropy(self(batch.image), batch.label)

    @torch.inference_mode()
    def probabilities(self, data: Loader) -> Tensor:
        """(cases, labels)"""
        return torch.cat([self(batch.image).float().softmax(1).cpu() for batch in data.once()])

    def evaluate(self, data: Loader) -> dict[str, Tensor]:
        return score(self.probabilities(data), data.cases.label)

    def reading(self) -> dict[str, Any]:
        return {"about": self.seen.side}

    @torch.inference_mode()
    def predict(self, picture: Picture) -> Labels:
        """How probable each label is for the middle square of a picture."""
        pixels = picture.square(self.seen.side, self.seen.channels)[None].to(self.device)
        batch = self.prepare(pixels, torch.zeros(1, dtype=torch.long))
        probability = self(batch.image).float().softmax(1)[0]
        return Labels(picture.file, self.seen.labels, tuple(probability.tolist()))

    def freeze(self) -> None:
        """Let only the head learn."""
        self.requires_grad_(False)
        self.get_submodule(self.head).requires_grad_(True)
        self.frozen = True

    def train(self, mode: bool = True) -> Self:
        """Frozen layers keep their statistics too."""
        super().train(mode)
        if mode and getattr(self, "frozen", False):
            super().train(False)
            self.get_submodule(self.head).train()
        return self
