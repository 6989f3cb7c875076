"""Robustness to image corruptions: the accuracy lost with a worse camera or at another site.

Hendrycks, Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations (2019). https://arxiv.org/abs/1903.12261

    blur, noise, darker, brighter, rotation, compression: each at three levels

In use elsewhere, a network meets images that differ slightly from its training data; this tells in
advance which differences matter. Images are changed on the scale 0..255 that ``Dataset`` uses; the
same seed gives the same images.
"""

import difflib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from souron.data.dataset import Dataset
from souron.kinds.codecs.image import as_image
from souron.utils.messages import UserError, _

BATCH = 64  # images corrupted at once

DISTURBANCES: dict[str, tuple[float, float, float]] = {
    "blur": (0.005, 0.01, 0.02),  # standard deviation of the Gaussian, as a fraction of the side
    "noise": (8, 16, 32),  # standard deviation, in levels of 255
    "darker": (0.8, 0.6, 0.4),  # factor of the brightness
    "brighter": (1.2, 1.5, 2.0),  # factor of the brightness, clipped at white
    "rotation": (5, 10, 20),  # degrees, in a random direction
    "compression": (50, 20, 8),  # JPEG quality of 100
}


def blur(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Apply a Gaussian blur with reflected borders."""
    side = min(image.shape[2:])
    sigma = strength * side
    radius = min(math.ceil(3 * sigma), side - 1)  # reflection padding must be below the side
    away = torch.arange(-radius, radius + 1, device=image.device) / sigma
    weight = (-(away**2) / 2).exp()
    row = (weight / weight.sum()).expand(image.shape[1], 1, 1, -1)  # (C, 1, 1, 2 radius + 1)
    wide = F.pad(image, (radius, radius, radius, radius), mode="reflect")
    level = F.conv2d(wide, row, groups=image.shape[1])
    return F.conv2d(level, row.transpose(2, 3), groups=image.shape[1])


def noise(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Add Gaussian noise, independent in every pixel."""
    return image + strength * torch.randn(image.shape, generator=generator).to(image.device)


def brightness(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Scale the brightness; black stays black."""
    return image * strength


def rotation(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Rotate about the centre in a random direction, with replicated borders."""
    sign = 2.0 * torch.randint(0, 2, (len(image),), generator=generator) - 1
    angle = math.radians(strength) * sign
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    height, width = image.shape[2:]
    turn = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], 1)
    grid = F.affine_grid(turn.view(-1, 2, 3), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid.to(image.device), padding_mode="border", align_corners=False)


def compression(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Compress as JPEG, channel by channel unless there are three."""
    channels = 3 if image.shape[1] == 3 else 1
    sheets = image.round().clamp(0, 255).to(torch.uint8).flatten(0, 1).unflatten(0, (-1, channels))
    images = torch.stack([_through_jpeg(sheet, round(strength)) for sheet in sheets.cpu()])
    return images.view(image.shape).to(image.device, torch.float32)


def _through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Encode and decode as JPEG: (1 or 3, H, W) uint8, shape unchanged."""
    file = io.BytesIO()
    as_image(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=["JPEG"]) as image:
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    channels, height, width = pixels.shape
    return values.view(height, width, channels).permute(2, 0, 1)


_WAYS: dict[str, Callable[[Tensor, float, Generator], Tensor]] = {
    "blur": blur,
    "noise": noise,
    "darker": brightness,
    "brighter": brightness,
    "rotation": rotation,
    "compression": compression,
}


def disturb(image: Tensor, name: str, level: int, seed: int = 0) -> Tensor:
    """Corrupt images (B, C, H, W) in 0..255, uint8 or float32; shape and dtype are kept.

    ``level`` 1, 2 or 3 selects the strength from ``DISTURBANCES``; 0 leaves images unchanged.
    Raises UserError for an unknown name or level.
    """
    strengths = _strengths(name)
    if level not in range(len(strengths) + 1):
        raise UserError("disturbance", _("there is no strength {level}").format(level=level), expected="0, 1, 2, 3")
    if level == 0:
        return image.clone()
    generator = Generator().manual_seed(seed)
    images = _WAYS[name](image.float(), strengths[level - 1], generator).clamp_(0, 255)
    return images if image.is_floating_point() else images.round_().to(torch.uint8)


def what() -> dict[str, tuple[str, tuple[str, str, str]]]:
    """Return each disturbance's name and its three strengths, in the reader's language."""
    names = {
        "blur": (_("blurred"), _("blurred over {percent:g} % of the side")),
        "noise": (_("noisy"), _("noise of {strength:g} levels of 255")),
        "darker": (_("darker"), _("{percent:g} % of the brightness")),
        "brighter": (_("brighter"), _("{percent:g} % of the brightness")),
        "rotation": (_("turned"), _("turned by {strength:g} degrees")),
        "compression": (_("compressed"), _("JPEG of quality {strength:g} of 100")),
    }
    descriptions = {}
    for name, (title, text) in names.items():
        light, middle, strong = (
            text.format(strength=strength, percent=round(100 * strength, 6)) for strength in DISTURBANCES[name]
        )
        descriptions[name] = title, (light, middle, strong)
    return descriptions


def some(cases: Dataset, most: int = 200) -> Dataset:
    """Select at most ``most`` cases at random with a fixed seed, in their order."""
    if len(cases) <= most:
        return cases
    order = torch.randperm(len(cases), generator=Generator().manual_seed(0))
    return cases.only(order[:most].sort().values)


def robustness(system: Any, cases: Dataset, most: int = 200) -> Iterator[tuple[str, int, Tensor]]:
    """Yield (name, level, right) for every disturbance and strength, ("", 0, right) first.

    ``right`` is (cases,) float32, 1 where the class was predicted correctly, for ``some(cases,
    most)`` in a fixed order: ``verdict.difference`` can pair it with the first one, and
    ``intervals.interval`` use the groups of those cases. There are ``steps()`` of them.
    """
    sample = some(cases, most)
    yield "", 0, _right(system, sample)
    for name, strengths in DISTURBANCES.items():
        for level in range(1, len(strengths) + 1):
            batches = [disturb(image, name, level, seed) for seed, image in enumerate(sample.input.split(BATCH))]
            yield name, level, _right(system, replace(sample, input=torch.cat(batches)))


def steps() -> int:
    """Return how many times ``robustness`` yields."""
    return 1 + sum(map(len, DISTURBANCES.values()))


def _right(system: Any, cases: Dataset) -> Tensor:
    learning = system.training
    system.eval()
    try:
        predictions = system.probabilities(system.loader(cases, device=system.device)).argmax(1)
    finally:
        system.train(learning)
    return (predictions == cases.target).float()


def _strengths(name: str) -> tuple[float, float, float]:
    if name in DISTURBANCES:
        return DISTURBANCES[name]
    near = difflib.get_close_matches(name, DISTURBANCES, 1, 0.4)
    raise UserError(
        "disturbance",
        _("no disturbance is named {name!r}").format(name=name),
        expected=", ".join(DISTURBANCES),
        fix=near[0] if near else "blur",
    )
