"""The stock that scenes are composed of: cut-outs with their side and block, and photographs.

Stamps and photographs are read and downscaled once, and kept in one file of the cache; a file that
is truncated, or belongs to other stamps, is created again.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from souron.data import load
from souron.data.composing import cutouts, figures, grounds, related_groups
from souron.data.composing.cutouts import CATEGORIES, Cutout
from souron.data.composing.grounds import Ground
from souron.data.dataset import Skipped
from souron.utils.files import cache_folder, read_tensors, write_tensors
from souron.utils.messages import UserError, _

VERSION = 1  # of the cached data


class Held(NamedTuple):
    """A cut-out with its side of the split and its block."""

    cutout: Cutout
    part: str
    block: int  # index among the blocks of its part


@dataclass(frozen=True, eq=False)
class Stock:
    """The cut-outs and photographs that scenes are composed of."""

    name: str  # "stamps" or "drawn"
    held: tuple[Held, ...]
    grounds: tuple[Ground, ...]
    skipped: tuple[Skipped, ...]
    digest: str  # changes with anything that scenes are composed of
    origin: dict[str, Any]  # the argument from which ``again`` recreates the stock

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories with enough cut-outs for all three sides."""
        parts: dict[str, set[str]] = defaultdict(set)
        for cutout, part, _block in self.held:
            parts[cutout.category].add(part)
        return tuple(name for name, found in parts.items() if len(found) == len(related_groups.PARTS))

    def blocks(self, part: str, categories: Sequence[str]) -> list[list[Cutout]]:
        """Return the cut-outs of those categories, block by block; blocks without any are
        left out."""
        blocks: dict[int, list[Cutout]] = {i: [] for i in range(related_groups.BLOCKS[part])}
        for cutout, own, block in self.held:
            if own == part and cutout.category in categories:
                blocks[block].append(cutout)
        return [some for some in blocks.values() if some]

    def photographs(self, part: str, categories: Sequence[str]) -> list[Ground]:
        """Return the photographs of that side without things of those categories; none if there are
        too few."""
        left = [ground for ground in self.grounds if ground.part == part and not set(ground.shows) & set(categories)]
        return left if len(left) >= grounds.FEWEST else []


class Places(NamedTuple):
    """The folders of stamps and photographs."""

    stamps: Path | None
    photos: tuple[Path, ...]


def places() -> Places:
    """Return the folders of downloaded and installed data, and of the images that scikit-learn
    contains."""
    names = load.names()
    sklearn = find_spec("sklearn")
    own = [Path(sklearn.origin).parent / "datasets/images"] if sklearn and sklearn.origin else []
    photos = [folder for folder in names["photographs"].places() if folder.is_dir()]
    return Places(names["stamps"].where(), (*photos, *own))


def stocked(wanted: Sequence[str] = CATEGORIES) -> Stock:
    """Return a stock of stamps if they are installed and show enough of each wanted category, else
    of painted figures."""
    here = places()
    if here.stamps is not None:
        found = of_stamps(here)
        if set(wanted) <= set(found.categories):
            return found
        return drawn(_drawable(wanted), skipped=found.skipped)
    return drawn(_drawable(wanted))


def _drawable(wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in figures.PAINTERS) or CATEGORIES


def of_stamps(here: Places) -> Stock:
    """Build a stock from the stamps and photographs in those folders."""
    assert here.stamps is not None
    stamps = cutouts.stamps(here.stamps)
    files = [here.stamps / stamp.file for stamp in stamps]
    photos = grounds.found(list(here.photos))
    key = _key([*files, *photos.values()], [stamp.caption for stamp in stamps])
    return _of_stamps(here.stamps, tuple(stamps), tuple(photos.items()), key)


def cut_outs(folder: Path, stamps: Sequence[cutouts.Stamp]) -> tuple[tuple[Cutout, ...], str]:
    """Return those stamps' cut-outs, and a digest that changes with the files."""
    key = _key([folder / stamp.file for stamp in stamps], [stamp.caption for stamp in stamps])
    found = _of_stamps(folder, tuple(stamps), (), key)
    return tuple(held.cutout for held in found.held), key


@lru_cache(maxsize=2)
def _of_stamps(
    folder: Path, stamps: tuple[cutouts.Stamp, ...], photos: tuple[tuple[str, Path], ...], key: str
) -> Stock:
    place = cache_folder() / "scenes" / f"cut-outs-{key[:16]}.safetensors"
    kept = _opened(place, key)
    if kept is None:
        kept = _read(folder, stamps, dict(photos))
        pixels = [*(one.pixels for one in kept.cut), *(one.pixels for one in kept.grounds)]
        tensors = {f"{i:05d}": torch.from_numpy(each) for i, each in enumerate(pixels)}
        about: dict[str, Any] = {
            "key": key,
            "cut": [[one.name, one.category, one.caption] for one in kept.cut],
            "grounds": [[one.name, one.part, list(one.shows)] for one in kept.grounds],
            "skipped": [[one.file, one.code, one.reason] for one in kept.skipped],
        }
        write_tensors(place, tensors, about)
    origin = {"stamps": str(folder), "photos": [str(path.parent) for _name, path in photos]}
    return Stock("stamps", _dealt(kept.cut), kept.grounds, kept.skipped, key, origin)


class Kept(NamedTuple):
    """The cached stamps and photographs."""

    cut: tuple[Cutout, ...]
    grounds: tuple[Ground, ...]
    skipped: tuple[Skipped, ...]


def _opened(place: Path, key: str) -> Kept | None:
    """Read the cache file; None if there is none, or it is damaged."""
    if not place.exists():
        return None
    with suppress(UserError, KeyError, ValueError, TypeError):
        tensors, about = read_tensors(place)
        if about["key"] == key:
            pixels = [tensors[name].numpy() for name in sorted(tensors)]
            none = np.zeros((0, 2), np.float32)
            cut = about["cut"]
            return Kept(
                tuple(
                    Cutout(name, category, caption, pixels[i], none) for i, (name, category, caption) in enumerate(cut)
                ),
                tuple(
                    Ground(name, part, tuple(shows), pixels[i])
                    for i, (name, part, shows) in enumerate(about["grounds"], len(cut))
                ),
                tuple(Skipped(*one) for one in about["skipped"]),
            )
    return None


def _read(folder: Path, stamps: Sequence[cutouts.Stamp], photos: dict[str, Path]) -> Kept:
    known = [photo for photo in grounds.PHOTOS if photo.file in photos]
    with ThreadPoolExecutor() as pool:  # Pillow releases the global interpreter lock while decoding
        cut = list(pool.map(lambda stamp: cutouts.read(folder, stamp), stamps))
        back = list(pool.map(lambda photo: grounds.read(photo, photos[photo.file]), known))
    return Kept(
        tuple(one for one in cut if isinstance(one, Cutout)),
        tuple(one for one in back if isinstance(one, Ground)),
        tuple(one for one in [*cut, *back] if isinstance(one, Skipped)),
    )


@lru_cache(maxsize=2)
def drawn(
    categories: tuple[str, ...] = CATEGORIES, numbers: int = figures.NUMBERS, skipped: tuple[Skipped, ...] = ()
) -> Stock:
    """Build a stock of painted figures, with smooth noise as grounds."""
    cut = [figures.figure(name, number) for name in categories for number in range(numbers)]
    origin = {"categories": list(categories), "numbers": numbers}
    digest = hashlib.blake2b(repr((VERSION, categories, numbers)).encode(), digest_size=16)
    return Stock("drawn", _dealt(cut), (), skipped, digest.hexdigest(), origin)


def again(origin: dict[str, Any]) -> Stock:
    """Recreate the stock with that ``origin``."""
    if "stamps" in origin:
        photos = tuple(dict.fromkeys(map(Path, origin["photos"])))
        return of_stamps(Places(Path(origin["stamps"]), photos))
    return drawn(tuple(origin["categories"]), origin["numbers"])


def _dealt(cut: Sequence[Cutout]) -> tuple[Held, ...]:
    """Assign each cut-out to a side of the split and a block."""
    told = [(one.name, one.category, one.caption) for one in cut]
    names, categories = [one.name for one in cut], [one.category for one in cut]
    part = related_groups.parts(
        names, categories, related_groups.families([_keys(related_groups.wide, *one) for one in told])
    )
    near = related_groups.families([_keys(related_groups.close, *one) for one in told])
    block = [0] * len(cut)
    for name, count in related_groups.BLOCKS.items():
        own = [i for i in range(len(cut)) if part[i] == name]
        dealt = related_groups.blocks(
            [names[i] for i in own], [categories[i] for i in own], [near[i] for i in own], count
        )
        for i, number in zip(own, dealt, strict=True):
            block[i] = number
    return tuple(Held(*each) for each in zip(cut, part, block, strict=True))


def _keys(of: Any, name: str, category: str, caption: str) -> set[Any]:
    return {("drawn", name)} if name.startswith("drawn/") else of(name, category, caption)


def _key(files: Sequence[Path], captions: Sequence[str]) -> str:
    """Return a digest of the files' names, sizes and times, and of the captions."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((VERSION, cutouts.LONGEST, grounds.SHORTER, captions)).encode())
    for file in files:
        size, changed = -1, -1
        with suppress(OSError):
            stat = file.stat()
            size, changed = stat.st_size, stat.st_mtime_ns
        told = f"\0{file}\0{size}\0{changed}"
        digest.update(told.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check(stock: Stock, categories: Sequence[str]) -> None:
    """Raise UserError for a category of which the stock has too few cut-outs."""
    for name in categories:
        if name not in stock.categories:
            raise UserError(
                "category",
                _("there are not enough cut-outs of {name!r}").format(name=name),
                expected=", ".join(stock.categories),
                exit=2,
            )
