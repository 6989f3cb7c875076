"""One thing on a ground in two coats: unpaired training images of two domains with known twins.

    A   the thing's own brightness in the first coat    B   in the second

Of a thing only its brightness is shown, rendered in one of two coats. Training images of the two
domains show things of different cut-outs, so that none has its twin among them; in the validation
and test parts both twins are present, for evaluation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.composing.composer import LUMA, Composer
from souron.data.readers.run_lengths import lengths_of

SIZES = (0.5, 0.85)  # of the side: the thing's longer edge
Coat = Callable[[np.ndarray, np.ndarray], np.ndarray]  # brightness (H, W) in 0..1 and the mask ->
# colours (H, W, 3) in 0..255


@dataclass(frozen=True)
class Coats:
    """Names of the two domains, and the function that renders a thing in each."""

    names: tuple[str, str]
    coats: tuple[Coat, Coat]


class Worn(NamedTuple):
    """A case: one image of a domain, with the name of its twin."""

    image: Tensor  # (3, side, side) uint8
    domain: int
    file: str
    twin: str  # the file of its twin; "" in the training part
    area: str  # the mask of the thing as run lengths, see ``lengths_of``
    group: str
    part: str


def cases(coats: Coats, side: int, seed: int, counts: dict[str, int]) -> Iterator[Worn]:
    """Yield the scenes of each part: of training scenes one domain each, of the others both."""
    for part, count in counts.items():
        composer = Composer(side, seed, part, counts=(1,), sizes=SIZES)
        for number in range(count):
            scene = composer.scene(number)
            if not len(scene.masks):
                continue
            block = composer.block(number)
            area = scene.masks[0].numpy()
            both = part != "train"
            for domain in (0, 1) if both else (block % 2,):
                files = [f"{part}/{number:05d}{letter}" for letter in "AB"]
                yield Worn(
                    dressed(scene.image, area, coats.coats[domain]),
                    domain,
                    files[domain],
                    files[1 - domain] if both else "",
                    lengths_of(area),
                    f"{part} block {block}",
                    part,
                )


def dressed(image: Tensor, area: np.ndarray, coat: Coat) -> Tensor:
    """Render the thing in that coat; the ground stays as it was."""
    pixels = image.permute(1, 2, 0).numpy()
    bright = pixels.astype(np.float32) @ LUMA / 255
    inside = bright[area]
    spread = max(float(inside.std()), 0.02)
    even = (0.55 + 0.16 * (bright - inside.mean()) / spread).clip(0.15, 0.95)
    worn = np.where(area[..., None], coat(even, area), pixels)
    return torch.from_numpy(worn.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1)


def tinted(colour: tuple[int, int, int]) -> Coat:
    """Return a coat that shows the brightness of a thing in one colour."""
    tint = np.array(colour, np.float32)
    return lambda bright, area: bright[..., None] * tint / tint.max() * 255


def striped(bright: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Render the thing in grey with dark stripes, three to a quarter of its height."""
    rows = np.flatnonzero(area.any(1))
    wide = max(2, (rows[-1] - rows[0] + 1) // 12)
    dark = ((np.arange(len(area)) - rows[0]) // wide) % 2 == 1
    shade = np.where(dark[:, None], 0.25 * bright, bright)
    return np.repeat(shade[..., None], 3, 2) * 255


def plain(bright: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Render the thing in grey."""
    return np.repeat(bright[..., None], 3, 2) * 255
