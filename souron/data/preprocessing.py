"""Preprocessing of an image for a network, step by step, with the values after each step.

    as read -> grey -> resized -> scaled to 0..1 -> standardised: (value - mean) / deviation

The last step is the input that ``System.batch`` of a classifier passes to its network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from souron.data.transforms import resized
from souron.utils.messages import UserError, _

LUMA = (0.299, 0.587, 0.114)  # red, green, blue: ITU-R BT.601, as in Pillow's conversion to grey
MOST_IMAGES, MOST_SIDE = 10_000, 1024


@dataclass(frozen=True)
class PreparationStep:
    """Images after one step."""

    name: str  # "read", "grey", "resized", "scaled", "standardised"
    title: str  # in the reader's language
    values: Tensor  # (N, C, H, W) float32
    centred: bool = False  # True if the values are centred at 0

    @property
    def low(self) -> float:
        return self.values.min().item()

    @property
    def high(self) -> float:
        return self.values.max().item()

    @property
    def mean(self) -> float:
        return self.values.mean().item()

    @property
    def deviation(self) -> float:
        """The standard deviation of all values."""
        return self.values.std().item()

    def histogram(self, bins: int = 40) -> tuple[Tensor, Tensor]:
        """Return the share of the values in each bin (C, bins), and the bins' edges (bins + 1,)."""
        low, high = self.low, max(self.high, self.low + 1e-6)
        each = [torch.histc(channel.flatten(), bins, low, high) for channel in self.values.movedim(1, 0)]
        counts = torch.stack(each)
        return counts / counts.sum(1, keepdim=True), torch.linspace(low, high, bins + 1)


def preparation(
    image: Tensor, side: int | None = None, grey: bool = False, by_channel: bool = True
) -> list[PreparationStep]:
    """Return the steps for images (N, C, H, W) in 0..255. ``side`` resizes them, ``grey`` converts
    colours to one channel; steps without an effect are left out. Mean and deviation are computed
    from these images, per channel or over all. Raises UserError for too many images."""
    count, channels = image.shape[:2]
    if not 1 <= count <= MOST_IMAGES or not (side is None or 1 <= side <= MOST_SIDE):
        raise UserError(
            "pictures",
            _("{count} images to a side of {side}").format(count=count, side=side or "-"),
            expected=_("1 to {most} images, at most {side} pixels a side").format(most=MOST_IMAGES, side=MOST_SIDE),
        )
    steps = [PreparationStep("read", _("as read: 0 to 255"), image.float())]
    if grey and channels == 3:
        image = greyed(image)
        steps.append(PreparationStep("grey", _("grey: one channel of three"), image.float()))
    if side is not None and side != image.shape[-1]:
        image = resized(image, side)
        title = _("resized: {side} x {side} pixels").format(side=side)
        steps.append(PreparationStep("resized", title, image.float()))
    scaled = image.float() / 255
    steps.append(PreparationStep("scaled", _("scaled: 0 to 1"), scaled))
    over = (0, 2, 3) if by_channel else (0, 1, 2, 3)
    mean = scaled.mean(over, keepdim=True)
    deviation = scaled.std(over, keepdim=True).clamp(min=1e-3)
    standard = (scaled - mean) / deviation
    title = _("standardised: mean 0, standard deviation 1")
    steps.append(PreparationStep("standardised", title, standard, centred=True))
    return steps


def greyed(image: Tensor) -> Tensor:
    """Convert images (N, 3, H, W) to grey (N, 1, H, W) of the same dtype, weighted by perceived
    brightness."""
    weight = torch.tensor(LUMA).view(1, 3, 1, 1)
    grey = (image.float() * weight).sum(1, keepdim=True)
    return grey if image.is_floating_point() else grey.round().to(image.dtype)


def one_hot(label: Sequence[int] | Tensor, classes: int) -> Tensor:
    """Encode class numbers (N,) as one-hot vectors (N, classes). Raises UserError for a number
    outside of the classes."""
    labels = torch.as_tensor(label)
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low < 0 or high >= classes:
        raise UserError(
            "class",
            _("class {number} of {count}").format(number=low if low < 0 else high, count=classes),
            expected=f"0..{classes - 1}",
        )
    return torch.nn.functional.one_hot(labels.long(), classes).float()
