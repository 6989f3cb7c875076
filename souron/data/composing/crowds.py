"""Generate many scenes of figures with keypoints in parallel processes and cache them, see
``parallel``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.composing import figures, parallel, related_groups, stock
from souron.data.composing.composer import Composer
from souron.data.targets.poses import HIDDEN, Figures, Skeleton, sides_swapped
from souron.utils.files import cache_folder

MODULE = "souron.data.composing.crowds"
VERSION = 1  # of the way scenes are made; it changes when the scenes of the same numbers change
COUNTS = (1, 2, 3, 4)  # figures of a scene
SIZES = (0.3, 0.75)  # of the side: the longer edge of a figure


@dataclass(frozen=True)
class Recipe:
    """The settings of a set of scenes."""

    side: int  # pixels
    seed: int
    counts: Mapping[str, int]  # part -> scenes, in the order of the rows
    category: str
    numbers: int  # different figures that are painted

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Part and number of each scene."""
        return [(part, number) for part, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Scenes of all parts, concatenated."""

    images: Tensor  # (N, 3, side, side) uint8
    figures: list[Figures]
    parts: list[str]
    blocks: list[int]


def scenes(recipe: Recipe) -> Made:
    """Return the scenes of ``recipe``, from the cache if they were made before. Raises
    UserError."""
    told = {"version": VERSION, "recipe": asdict(recipe)}
    key = blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()
    place = cache_folder() / "scenes" / f"{recipe.category}-{recipe.side}-{key}.safetensors"
    rows = recipe.rows

    def make() -> parallel.Pieces:
        return parallel.shared(MODULE, told, len(rows), lambda: _some(recipe, rows), place)

    return parallel.kept(place, make, partial(_unpacked, recipe))


def skeleton(category: str) -> Skeleton:
    names = figures.POINTS[category]
    return Skeleton(names, figures.JOINED.get(category, ()), sides_swapped(names))


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: dict[str, Any]) -> Made:
    counts, bones = tensors["counts"].tolist(), skeleton(recipe.category)
    parts = (tensors[name].split(counts) for name in ("box", "point", "area"))
    found = [Figures(box.clone(), point.clone(), area.clone(), bones) for box, point, area in zip(*parts, strict=True)]
    if not len(recipe.rows) == len(found) == len(tensors["pictures"]) == len(about["blocks"]):
        raise ValueError("not of this recipe")
    return Made(tensors["pictures"], found, [part for part, _n in recipe.rows], about["blocks"])


def _some(recipe: Recipe, rows: Sequence[tuple[str, int]]) -> parallel.Pieces:
    """Compose some of the scenes in order. A box encloses the whole figure, including occluded
    pixels, and so does its area."""
    source = stock.drawn((recipe.category,), recipe.numbers)
    composers = {
        part: Composer(recipe.side, recipe.seed, part, (recipe.category,), source, COUNTS, SIZES)
        for part in related_groups.PARTS
    }
    images = torch.empty(len(rows), 3, recipe.side, recipe.side, dtype=torch.uint8)
    boxes: list[Tensor] = []
    points: list[Tensor] = []
    blocks: list[int] = []
    for row, (part, number) in enumerate(rows):
        scene = composers[part].scene(number)
        images[row] = scene.image
        boxes.append(torch.cat([scene.labels[:, None].float(), scene.whole], 1))
        points += scene.points or ()
        blocks.append(scene.sources.block)
    whole, point = torch.cat(boxes), torch.stack(points)
    point[..., 2] += HIDDEN
    tensors = {
        "pictures": images,
        "box": whole[:, :5].contiguous(),
        "area": whole[:, 5].contiguous(),
        "point": point,
        "counts": torch.tensor([len(some) for some in boxes]),
    }
    return tensors, {"blocks": blocks}


def _told(told: dict[str, Any], begin: int, end: int) -> parallel.Pieces:
    recipe = Recipe(**told["recipe"])
    return _some(recipe, recipe.rows[begin:end])


if __name__ == "__main__":
    parallel.work(_told)
