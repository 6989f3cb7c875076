"""Augmentations of training images that preserve their label, for a whole batch at once.

Each is a function of images (B, C, H, W), uint8 or float32 in 0..255, and a generator, and returns
images of the same dtype; every image is changed independently, and the result depends on the state
of the generator only.
"""

import difflib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.utils.messages import UserError, _

Change = Callable[[Tensor, Generator], Tensor]
FARTHEST_TURN = 15  # degrees, of ``rotate``


def shift(image: Tensor, generator: Generator) -> Tensor:
    """Translate by up to a sixteenth of the side (at least a pixel), with reflection padding."""
    return shifted(image, generator)[0]


def shifted(image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the images after ``shift``, and the pixels that each was moved to the right and down,
    (B, 2)."""
    far = farthest(image)
    moves = far - torch.randint(0, 2 * far + 1, (len(image), 2), generator=generator).flip(1)
    return moved(image, moves, far), moves


def farthest(image: Tensor) -> int:
    """Return the largest number of pixels by which ``shift`` may move images of this size."""
    return max(1, round(min(image.shape[2:]) / 16))


def moved(image: Tensor, moves: Tensor, far: int) -> Tensor:
    """Move each image by its (B, 2) pixels to the right and down, at most ``far``."""
    _batch, _channels, height, width = image.shape
    # NumPy slices: two to four times as fast as gathering, see benchmarks/augmenting.py
    wide = F.pad(image, (far, far, far, far), mode="reflect").numpy()
    made = torch.empty_like(image, memory_format=torch.contiguous_format)
    for there, here, (right, down) in zip(made.numpy(), wide, (far - moves).tolist(), strict=True):
        there[:] = here[:, down : down + height, right : right + width]
    return made


def mirror(image: Tensor, generator: Generator) -> Tensor:
    """Mirror each image horizontally with probability 0.5."""
    return mirrored(image, generator)[0]


def mirrored(image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the images after ``mirror``, and a mask of those that were mirrored, (B,)."""
    kept = torch.rand(len(image), generator=generator) < 0.5
    mirrored = image.flip(3)
    there, here = mirrored.numpy(), image.numpy()
    for i in kept.nonzero().flatten().tolist():
        there[i] = here[i]
    return mirrored, ~kept


def brightness(image: Tensor, generator: Generator) -> Tensor:
    """Scale brightness and contrast (about each image's mean) by random factors from 0.75
    to 1.25."""
    bright, contrast = 0.75 + 0.5 * torch.rand(2, len(image), 1, 1, 1, generator=generator)
    return lit(image, bright, contrast)


def lit(image: Tensor, bright: Tensor, contrast: Tensor) -> Tensor:
    """Scale brightness and contrast by these factors, (B, 1, 1, 1) each."""
    pixels = image.to(torch.float32, copy=True)
    offset = pixels.mean((1, 2, 3), keepdim=True) * (1 - contrast) * bright
    return _as(image, pixels.mul_(bright * contrast).add_(offset).clamp_(0, 255))


def erase(image: Tensor, generator: Generator) -> Tensor:
    """Cover a square, a quarter to a half of the side, with the image's mean (cutout).

    DeVries, Taylor: Improved Regularization of Convolutional Neural Networks with Cutout (2017).
    https://arxiv.org/abs/1708.04552
    """
    return erased(image, generator)[0]


def erased(image: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return the images after ``erase``, and a mask of the covered pixels, (B, H, W)."""
    batch, _channels, height, width = image.shape
    chance = torch.rand(3, batch, generator=generator)
    size = (0.25 + 0.25 * chance[0]) * min(height, width)
    top, left = chance[1] * height - size / 2, chance[2] * width - size / 2
    return covered(image, torch.stack([top, top + size, left, left + size]))


def covered(image: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Cover a rectangle of each image with its mean; return the images and a mask of the covered
    pixels, (B, H, W). ``edges`` (4, B): top, bottom, left, right in pixels."""
    batch, channels, height, width = image.shape
    edges = edges.round().clamp(min=0).int()
    mean = _as(image, image.mean((2, 3), dtype=torch.float32)).view(batch, channels, 1, 1)
    made = image.clone(memory_format=torch.contiguous_format)
    where = torch.zeros(batch, height, width, dtype=torch.bool)
    for there, hidden, colour, (y, y_end, x, x_end) in zip(
        made.numpy(), where.numpy(), mean.numpy(), edges.T.tolist(), strict=True
    ):
        there[:, y:y_end, x:x_end] = colour
        hidden[y:y_end, x:x_end] = True
    return made, where


def rotate(image: Tensor, generator: Generator) -> Tensor:
    """Rotate by up to 15 degrees in either direction, with border padding."""
    return rotated(image, generator)[0]


def rotated(image: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images after ``rotate``; the sampling grid (B, H, W, 2), as ``grid_sample`` takes
    it; and the angle of each image in radians, counter-clockwise, (B,)."""
    angle = (2 * torch.rand(len(image), generator=generator) - 1) * math.radians(FARTHEST_TURN)
    turned, grid = turned_by(image, angle)
    return turned, grid, angle


def turned_by(image: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate each image by its (B,) radians counter-clockwise; return the images and the sampling
    grid (B, H, W, 2)."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    _batch, _channels, height, width = image.shape
    turn = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], 1).view(-1, 2, 3)
    grid = F.affine_grid(turn, list(image.shape), align_corners=False)
    turned = F.grid_sample(image.float(), grid, padding_mode="border", align_corners=False)
    return _as(image, turned), grid


def _as(image: Tensor, changed: Tensor) -> Tensor:
    """Convert to the dtype of ``image``; rounds for uint8."""
    return changed if image.is_floating_point() else changed.round_().to(torch.uint8)


CHANGES: dict[str, Change] = {
    "shift": shift,
    "mirror": mirror,
    "brightness": brightness,
    "erase": erase,
    "rotate": rotate,
}


def what() -> dict[str, str]:
    """Return a description of each augmentation, in the reader's language."""
    return {
        "shift": _("shifted by up to a sixteenth of the side"),
        "mirror": _("mirrored left to right, at random"),
        "brightness": _("brightness and contrast up to a quarter more or less"),
        "erase": _("a square covered with the mean colour"),
        "rotate": _("rotated by up to 15 degrees"),
    }


def augmentation(names: Sequence[str]) -> Change | None:
    """Compose these augmentations, or return None without any. Raises UserError for
    unknown names."""
    changes = [_change(name) for name in names]
    if not changes:
        return None

    def augment(image: Tensor, generator: Generator) -> Tensor:
        for change in changes:
            image = change(image, generator)
        return image

    return augment


def steps(image: Tensor, names: Sequence[str]) -> list[tuple[str, Tensor]]:
    """Apply each augmentation separately to one image (C, H, W); deterministic.

    A random augmentation may leave an image unchanged; the first sample that changes it is
    returned.
    """
    shown = []
    for name in names:
        generator = torch.Generator().manual_seed(0)
        tried = _change(name)(image.expand(8, *image.shape).contiguous(), generator)
        changed = [picture for picture in tried if not torch.equal(picture, image)]
        shown.append((name, changed[0] if changed else tried[0]))
    return shown


def _change(name: str) -> Change:
    if name in CHANGES:
        return CHANGES[name]
    near = difflib.get_close_matches(name, CHANGES, 1, 0.4)
    raise UserError(
        "augment",
        _("no augmentation is named {name!r}").format(name=name),
        expected=", ".join(CHANGES),
        fix=f"augment={near[0]}" if near else "augment=shift,mirror",
    )


"""Another size for pictures that are tensors already."""


def resized(image: Tensor, side: int | None) -> Tensor:
    """Resize square images (N, C, H, H) uint8 to (N, C, side, side), bilinear, antialiased.

    ``None`` leaves them unchanged.
    """
    if side is None or side == image.shape[-1]:
        return image
    large = image.new_empty((*image.shape[:2], side, side))
    for here, there in zip(image.split(1024), large.split(1024), strict=True):
        there.copy_(F.interpolate(here, size=(side, side), mode="bilinear", antialias=True))
    return large
