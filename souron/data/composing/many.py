"""Many scenes at once: made in processes of their own, one for each core, and kept in the cache.

A worker is this file run as a program. It is told in one line of JSON what to make, writes it to
the file it is given, and ends. Python makes scenes no faster in several threads than in one.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from souron.data.composing import kin, stock
from souron.data.composing.composer import Composer
from souron.data.composing.stock import Stock
from souron.utils import hardware
from souron.utils.files import cache_folder, cannot_write, read_tensors, write_tensors
from souron.utils.messages import UserError, _

VERSION = 1  # of how scenes are made: other scenes of the same numbers are another version
FEWEST = 300  # scenes; fewer are made before a process has started
MOST = 16  # processes


@dataclass(frozen=True)
class Recipe:
    """What scenes are wanted."""

    side: int  # pixels
    seed: int
    counts: Mapping[str, int]  # part -> scenes, in the order of the rows
    categories: tuple[str, ...]

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Part and number of each scene."""
        return [(part, number) for part, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Scenes of all parts, one after the other."""

    pictures: Tensor  # (N, 3, side, side) uint8
    ids: Tensor  # (N, side, side) uint8: 0 for the background, else one more than a thing's place
    things: list[Tensor]  # of each scene (n, 5) float32: label, left, top, right, bottom
    parts: list[str]
    blocks: list[int]
    grounds: list[str]


def scenes(recipe: Recipe, source: Stock) -> Made:
    """The scenes of ``recipe``, from the cache if they were made before. Raises UserError."""
    place = cache_folder() / "scenes" / f"{source.name}-{recipe.side}-{_key(recipe, source)[:16]}"
    place = place.with_suffix(".safetensors")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):  # one process makes them, others wait
            made = _opened(place, recipe)
            if made is None:
                for left in place.parent.glob(f".{place.stem}-*"):  # of one that was killed
                    shutil.rmtree(left, ignore_errors=True)
                tensors, about = _make(recipe, source, place)
                write_tensors(place, tensors, about)
                made = _unpacked(recipe, tensors, about)
    except OSError as error:
        raise cannot_write(place, error) from error
    return made


def _key(recipe: Recipe, source: Stock) -> str:
    """Other scenes are another key: another recipe, or another pixel of what they are made of."""
    told = json.dumps([VERSION, asdict(recipe)], sort_keys=True)
    return blake2b(f"{told}{source.digest}".encode(), digest_size=16).hexdigest()


def _opened(place: Path, recipe: Recipe) -> Made | None:
    """As they were made before; None where they were not, or the file is not whole."""
    if place.exists():
        with suppress(UserError, KeyError, ValueError):
            return _unpacked(recipe, *read_tensors(place))
    return None


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: dict[str, Any]) -> Made:
    counts = tensors["counts"].tolist()
    things = [part.clone() for part in tensors["things"].split(counts)]
    rows = recipe.rows
    if not len(rows) == len(things) == len(tensors["pictures"]) == len(about["grounds"]):
        raise ValueError("not of this recipe")
    return Made(
        tensors["pictures"], tensors["ids"], things, [part for part, _number in rows],
        about["blocks"], about["grounds"],
    )  # fmt: skip


def _make(
    recipe: Recipe, source: Stock, place: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:  # fmt: skip
    count = min(hardware.cores(), MOST)
    if len(recipe.rows) < FEWEST or count < 2:
        return _some(recipe, source, recipe.rows)
    rows = np.array_split(np.arange(len(recipe.rows)), count)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.stem}-") as work:
        workers = []
        try:
            for number, some in enumerate(rows):
                file = Path(work) / f"{number}.safetensors"
                told = {
                    "recipe": asdict(recipe), "origin": source.origin,
                    "rows": [int(some[0]), int(some[-1]) + 1], "file": str(file),
                }  # fmt: skip
                workers.append((_worker(told, file.with_suffix(".txt")), file))
            pieces = [_answer(worker, file) for worker, file in workers]
        finally:
            for worker, _file in workers:
                worker.kill()
                worker.wait()
    tensors = {name: torch.cat([piece[0][name] for piece in pieces]) for name in pieces[0][0]}
    about = {name: [each for piece in pieces for each in piece[1][name]] for name in pieces[0][1]}
    return tensors, about


def _some(
    recipe: Recipe, source: Stock, rows: Sequence[tuple[str, int]]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Some of the scenes, one after the other."""
    composers = {
        part: Composer(recipe.side, recipe.seed, part, recipe.categories, source)
        for part in kin.PARTS
    }
    pictures = torch.empty(len(rows), 3, recipe.side, recipe.side, dtype=torch.uint8)
    ids = torch.empty(len(rows), recipe.side, recipe.side, dtype=torch.uint8)
    things, blocks, grounds = [], [], []
    for row, (part, number) in enumerate(rows):
        scene = composers[part].scene(number)
        pictures[row], ids[row] = scene.picture, scene.ids()
        things.append(torch.cat([scene.labels[:, None].float(), scene.boxes], 1))
        blocks.append(scene.sources.block)
        grounds.append(scene.sources.ground)
    tensors = {
        "pictures": pictures, "ids": ids, "things": torch.cat(things),
        "counts": torch.tensor([len(some) for some in things]),
    }  # fmt: skip
    return tensors, {"blocks": blocks, "grounds": grounds}


def _worker(told: dict[str, Any], complaints: Path) -> subprocess.Popen[str]:
    house = str(Path(__file__).parents[3])
    before = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([house, before] if before else [house])
    # -P: a file named like a module, in the folder that souron was started in, is not run
    with complaints.open("w", encoding="utf-8") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "souron.data.composing.many"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=errors, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
    assert worker.stdin is not None
    with suppress(OSError):  # it has ended already: ``_answer`` says so
        worker.stdin.write(json.dumps(told) + "\n")
        worker.stdin.close()
    return worker


def _answer(
    worker: subprocess.Popen[str], file: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:  # fmt: skip
    if code := worker.wait():
        complaint = file.with_suffix(".txt").read_text("utf-8", "replace")
        lines = complaint.strip().splitlines() or [str(code)]
        raise UserError(
            "scenes",
            _("making scenes broke off: {why}").format(why=lines[-1]),
            expected=_("enough memory, and room on the disk of the cache"),
            fix=_("the same again"),
            exit=4,
        )
    return read_tensors(file)


def main() -> None:
    told = json.loads(sys.stdin.readline())
    torch.set_num_threads(1)
    recipe = Recipe(**{**told["recipe"], "categories": tuple(told["recipe"]["categories"])})
    source = stock.again(told["origin"])
    begin, end = told["rows"]
    write_tensors(Path(told["file"]), *_some(recipe, source, recipe.rows[begin:end]))


if __name__ == "__main__":
    main()
