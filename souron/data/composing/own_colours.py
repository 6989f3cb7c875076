"""Images for colourisation: one thing in its own colours, on a painted ground or on a photograph.

Half of the grounds are grass, sand, water, snow, sky and night, whose colours can be inferred from
their texture; the other half are photographs (noise, if there are none), whose colours can hardly
be inferred. No cut-out and no photograph is on two sides of the split.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from souron.data.composing.captioned_grounds import COLOURS, ground
from souron.data.composing.composer import Composer
from souron.data.composing.stock import Stock
from souron.data.readers.run_lengths import lengths_of

SIZES = (0.5, 0.85)  # of the side: the thing's longer edge
PAINTED = 0.5  # the share of painted grounds


class Shown(NamedTuple):
    """A case: an image in colour with the mask of its thing."""

    image: Tensor  # (3, side, side) uint8
    file: str
    area: str  # the mask of the thing as run lengths, see ``lengths_of``
    thing: str  # its category
    ground: str
    group: str
    part: str


class OnGrounds(Composer):
    def _ground(self, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        if rng.random() >= PAINTED:
            return super()._ground(rng)
        name = list(COLOURS)[int(rng.integers(len(COLOURS)))]
        return name, ground(name, self.side, rng)


def cases(source: Stock, side: int, seed: int, counts: dict[str, int]) -> Iterator[Shown]:
    """Yield ``counts[part]`` scenes of each part."""
    for part, count in counts.items():
        composer = OnGrounds(side, seed, part, categories=source.categories, source=source, counts=(1,), sizes=SIZES)
        for number in range(count):
            scene = composer.scene(number)
            if not len(scene.masks):
                continue
            [cutout] = scene.sources.cutouts
            behind = scene.sources.ground
            yield Shown(
                scene.image,
                f"{part}/{number:05d}",
                lengths_of(scene.masks[0].numpy()),
                scene.categories[int(scene.labels[0])],
                behind if behind in (*COLOURS, "noise") else "photograph",
                cutout,
                part,
            )
