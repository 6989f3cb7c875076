"""Generate many synthetic lateral head films in parallel processes and cache them.
See ``parallel``. Each film is determined by the seed, its part and its number.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from souron.data.composing import parallel
from souron.data.composing.phantoms.head_radiographs import FIELD, film
from souron.data.composing.related_groups import PARTS
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

MODULE = "souron.data.composing.phantoms.cephalograms"
VERSION = 1  # of the way films are made; it changes when the films of the same numbers change
SIDES = (32, 1024)  # pixels


@dataclass(frozen=True)
class Recipe:
    """The settings of a set of films."""

    side: int  # pixels
    seed: int
    counts: Mapping[str, int]  # part -> films, in the order of the rows

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Part and number of each film."""
        return [(part, number) for part, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Films of all parts, concatenated."""

    images: Tensor  # (N, 1, side, side) uint8
    points: Tensor  # (N, 19, 2) float32: x and y in pixels; NaN outside of the film
    jaws: list[str]  # "I", "II", "III"
    ages: list[str]  # years
    spacing: float  # millimetres per pixel


def films(recipe: Recipe) -> Made:
    """Return the films of ``recipe``, from the cache if they were made before. Raises UserError."""
    if not SIDES[0] <= recipe.side <= SIDES[1]:
        raise UserError(
            "imgsz",
            _("films of {side} pixels a side").format(side=recipe.side),
            expected="{}..{}".format(*SIDES),
            fix="imgsz=128",
        )
    told = json.dumps([VERSION, asdict(recipe)], sort_keys=True)
    key = blake2b(told.encode(), digest_size=8).hexdigest()
    place = cache_folder() / "films" / f"cephalo-{recipe.side}-{key}.safetensors"
    return parallel.kept(place, lambda: _make(recipe, place), partial(_unpacked, recipe))


def _make(recipe: Recipe, place: Path) -> parallel.Pieces:
    rows = recipe.rows
    told = {"recipe": asdict(recipe)}
    return parallel.shared(MODULE, told, len(rows), lambda: _some(recipe, rows), place)


def _some(recipe: Recipe, rows: Sequence[tuple[str, int]]) -> parallel.Pieces:
    """Generate some of the films in order."""
    made = [
        film(recipe.side, np.random.default_rng([recipe.seed, list(PARTS).index(part), number]))
        for part, number in rows
    ]
    tensors = {
        "pictures": torch.stack([one.image for one in made]),
        "points": torch.stack([one.points for one in made]),
    }
    return tensors, {"jaws": [one.head.jaw for one in made], "ages": [str(one.head.age) for one in made]}


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Made:
    if not len(recipe.rows) == len(tensors["pictures"]) == len(about["jaws"]):
        raise ValueError("not of this recipe")
    return Made(tensors["pictures"], tensors["points"], about["jaws"], about["ages"], FIELD / recipe.side)


def _told(told: dict[str, Any], begin: int, end: int) -> parallel.Pieces:
    recipe = Recipe(**told["recipe"])
    return _some(recipe, recipe.rows[begin:end])


if __name__ == "__main__":
    parallel.work(_told)
