"""Generate many torsos in parallel processes and cache them, see ``parallel``. Each patient is
determined by the seed, the part and the number.
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
from souron.data.composing.phantoms.torso import ORGANS, torso
from souron.data.composing.related_groups import PARTS
from souron.utils.files import cache_folder

MODULE = "souron.data.composing.phantoms.torsos"
VERSION = 1  # of the way torsos are made; it changes when the torsos of the same numbers change
FEWEST = 8  # patients, a second each; fewer are made before a process has started


@dataclass(frozen=True)
class Recipe:
    """The settings of a set of patients."""

    seed: int
    counts: Mapping[str, int]  # part -> patients, in the order of the rows

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Part and number of each patient."""
        return [(part, number) for part, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Patients of all parts, concatenated."""

    volumes: Tensor  # (N, 1, slices, rows, columns) int16, HU
    organs: Tensor  # (N, slices, rows, columns) uint8
    spacing: list[tuple[float, ...]]  # mm between slices, rows and columns
    millilitres: dict[str, list[str]]  # organ -> volume in each patient


def torsos(recipe: Recipe) -> Made:
    """Return the patients of ``recipe``, from the cache if they were made before. Raises
    UserError."""
    told = json.dumps([VERSION, asdict(recipe)], sort_keys=True)
    key = blake2b(told.encode(), digest_size=8).hexdigest()
    place = cache_folder() / "volumes" / f"phantoms-{key}.safetensors"
    return parallel.kept(place, lambda: _make(recipe, place), partial(_unpacked, recipe))


def _make(recipe: Recipe, place: Path) -> parallel.Pieces:
    rows = recipe.rows
    told = {"recipe": asdict(recipe)}
    return parallel.shared(MODULE, told, len(rows), lambda: _some(recipe, rows), place, FEWEST)


def _some(recipe: Recipe, rows: Sequence[tuple[str, int]]) -> parallel.Pieces:
    """Generate some of the patients in order."""
    made = [torso(np.random.default_rng([recipe.seed, list(PARTS).index(part), number])) for part, number in rows]
    tensors = {
        "volumes": torch.stack([one.volume for one in made])[:, None],
        "organs": torch.stack([one.organs for one in made]),
        "spacing": torch.tensor([one.spacing for one in made], dtype=torch.float64),
    }
    amounts = {organ: [f"{one.millilitres[organ]:.1f}" for one in made] for organ in ORGANS}
    return tensors, amounts


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Made:
    amounts = {organ: list(about[organ]) for organ in ORGANS}
    held = {len(tensors["volumes"]), *map(len, amounts.values())}
    if held != {len(recipe.rows)}:
        raise ValueError("not of this recipe")
    spacing = [tuple(one) for one in tensors["spacing"].tolist()]
    return Made(tensors["volumes"], tensors["organs"], spacing, amounts)


def _told(told: dict[str, Any], begin: int, end: int) -> parallel.Pieces:
    recipe = Recipe(**told["recipe"])
    return _some(recipe, recipe.rows[begin:end])


if __name__ == "__main__":
    parallel.work(_told)
