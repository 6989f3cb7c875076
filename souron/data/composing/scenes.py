"""Generate many scenes in parallel processes and cache them, see ``parallel``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from souron.data.composing import parallel, related_groups, stock
from souron.data.composing.composer import Composer
from souron.data.composing.stock import Stock
from souron.utils.files import cache_folder

MODULE = "souron.data.composing.scenes"
VERSION = 1  # of the way scenes are made; it changes when the scenes of the same numbers change


@dataclass(frozen=True)
class Recipe:
    """The settings of a set of scenes."""

    side: int  # pixels
    seed: int
    counts: Mapping[str, int]  # part -> scenes, in the order of the rows
    categories: tuple[str, ...]

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Part and number of each scene."""
        return [(part, number) for part, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Scenes of all parts, concatenated."""

    images: Tensor  # (N, 3, side, side) uint8
    ids: Tensor  # (N, side, side) uint8: 0 for the background, else a thing's index plus one
    things: list[Tensor]  # for each scene (n, 5) float32: label, left, top, right, bottom
    parts: list[str]
    blocks: list[int]
    grounds: list[str]


def scenes(recipe: Recipe, source: Stock) -> Made:
    """Return the scenes of ``recipe``, from the cache if they were made before. Raises
    UserError."""
    place = cache_folder() / "scenes" / f"{source.name}-{recipe.side}-{_key(recipe, source)[:16]}"
    place = place.with_suffix(".safetensors")
    return parallel.kept(place, lambda: _make(recipe, source, place), partial(_unpacked, recipe))


def _key(recipe: Recipe, source: Stock) -> str:
    """Return the cache key, a digest of the recipe and of all that the scenes are composed of."""
    told = json.dumps([VERSION, asdict(recipe)], sort_keys=True)
    return blake2b(f"{told}{source.digest}".encode(), digest_size=16).hexdigest()


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: dict[str, Any]) -> Made:
    counts = tensors["counts"].tolist()
    things = [part.clone() for part in tensors["things"].split(counts)]
    rows = recipe.rows
    if not len(rows) == len(things) == len(tensors["pictures"]) == len(about["grounds"]):
        raise ValueError("not of this recipe")
    return Made(
        tensors["pictures"], tensors["ids"], things, [part for part, _number in rows], about["blocks"], about["grounds"]
    )


def _make(recipe: Recipe, source: Stock, place: Path) -> parallel.Pieces:
    told = {"recipe": asdict(recipe), "origin": source.origin}
    rows = recipe.rows
    return parallel.shared(MODULE, told, len(rows), lambda: _some(recipe, source, rows), place)


def _some(recipe: Recipe, source: Stock, rows: Sequence[tuple[str, int]]) -> parallel.Pieces:
    """Compose some of the scenes in order."""
    composers = {
        part: Composer(recipe.side, recipe.seed, part, recipe.categories, source) for part in related_groups.PARTS
    }
    images = torch.empty(len(rows), 3, recipe.side, recipe.side, dtype=torch.uint8)
    ids = torch.empty(len(rows), recipe.side, recipe.side, dtype=torch.uint8)
    things, blocks, grounds = [], [], []
    for row, (part, number) in enumerate(rows):
        scene = composers[part].scene(number)
        images[row], ids[row] = scene.image, scene.ids()
        things.append(torch.cat([scene.labels[:, None].float(), scene.boxes], 1))
        blocks.append(scene.sources.block)
        grounds.append(scene.sources.ground)
    tensors = {
        "pictures": images,
        "ids": ids,
        "things": torch.cat(things),
        "counts": torch.tensor([len(some) for some in things]),
    }
    return tensors, {"blocks": blocks, "grounds": grounds}


def _told(told: dict[str, Any], begin: int, end: int) -> parallel.Pieces:
    recipe = Recipe(**{**told["recipe"], "categories": tuple(told["recipe"]["categories"])})
    return _some(recipe, stock.again(told["origin"]), recipe.rows[begin:end])


if __name__ == "__main__":
    parallel.work(_told)
