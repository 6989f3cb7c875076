"""Short films of one moving thing, with complete descriptions.

Object, colour, ground and motion are known. The ground stands still; the thing moves in one of four
directions, grows, shrinks, rotates, or stays as it is. One motion of each object never occurs in a
training film, so that generalisation to new films and to new pairs can be measured separately. A
film is a strip of frames stacked from top to bottom; it is determined by the seed, its subset and
its number.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from functools import partial
from hashlib import blake2b
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from souron.data.composing import captioned, parallel
from souron.data.composing.captioned import VANISHES, Cut, Source, tinted
from souron.data.composing.captioned_grounds import ground
from souron.data.composing.captioned_words import COLOURS, GROUNDS, OWN, THINGS
from souron.data.composing.composer import NEVER_MIRRORED, stands_out
from souron.data.targets.captions import Caption
from souron.utils.files import cache_folder
from souron.utils.messages import N_, UserError, _

MODULE = "souron.data.composing.moving"
VERSION = 1  # of the way films are made; it changes when the films of the same numbers change
SIDES = (16, 64)  # pixels
FRAMES = (2, 32)
NEW = "new pairs of object and motion"
SUBSETS = ("train", "val", "new films", NEW)
TRIES = 30  # attempts with other cut-outs and positions until the thing stands out
OF_ITS_OWN = 2  # ratio of the chance of a thing's own colour to that of red
SIZE = (0.42, 0.52)  # of the side: the thing's longer edge
REACH = (0.20, 0.25)  # of the side: from the middle of a path to both ends
SMALL, LARGE = (0.26, 0.32), (0.58, 0.66)  # of the side: sizes at the ends of growing and shrinking
QUARTERS = (100, 140)  # degrees of a rotation
SHAKE = 0.04  # of the side: largest distance of a path from the centre

MOTIONS = {
    "left": ("moves to the left", "左へ動く"),
    "right": ("moves to the right", "右へ動く"),
    "up": ("moves up", "上へ動く"),
    "down": ("moves down", "下へ動く"),
    "grow": ("grows", "大きくなる"),
    "shrink": ("shrinks", "小さくなる"),
    "turn": ("turns", "回る"),
    "still": ("stays still", "止まっている"),
}
GOES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class Moving:
    """All that a caption states about a film."""

    object: str  # of ``captioned_words.THINGS``
    colour: str  # of ``captioned_words.COLOURS``, or ``OWN``
    ground: str  # of ``captioned_words.GROUNDS``
    motion: str  # of ``MOTIONS``


NAMES = tuple(each.name for each in fields(Moving))
TITLES = {"object": N_("object"), "colour": N_("colour"), "ground": N_("ground"), "motion": N_("motion")}


class Film(NamedTuple):
    strip: Tensor  # (3, frames * side, side) uint8
    attributes: Moving
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Recipe:
    """The settings of a set of films."""

    side: int  # pixels
    frames: int
    seed: int
    counts: Mapping[str, int]  # subset -> films, in the order of the rows

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Subset and number of each film."""
        return [(name, number) for name, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Films of all subsets, concatenated."""

    strips: Tensor  # (N, 3, frames * side, side) uint8
    attributes: list[Moving]
    captions: list[tuple[Caption, ...]]


def captions(asked: Moving) -> tuple[Caption, ...]:
    """Return two wordings in each language.

    >>> [each.text for each in captions(Moving("bird", "red", "grass", "left"))][::2]
    ['a red bird on grass moves to the left', '草の上を左へ動く赤い鳥']
    """
    word, (does, ja) = THINGS[asked.object], MOTIONS[asked.motion]
    thing = " ".join(filter(None, [asked.colour, word.one]))
    thing = f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
    spoken = COLOURS.get(asked.colour, "") + word.ja
    place, where = GROUNDS[asked.ground]
    over = f"{where}{'を' if asked.motion in GOES else 'で'}"
    return (
        Caption(f"{thing} {place} {does}", "en"),
        Caption(f"{place}, {thing} {does}", "en"),
        Caption(f"{over}{ja}{spoken}", "ja"),
        Caption(f"{spoken}が{over}{ja}", "ja"),
    )


def new_pairs(classes: Sequence[str]) -> set[tuple[str, str]]:
    """Return the pairs of object and motion that never occur in a training film: one motion per
    class."""
    motions = list(MOTIONS)
    return {(name, motions[i % len(motions)]) for i, name in enumerate(classes)}


class Composer:
    """Compose films; ``film(subset, number)`` is deterministic for a given source, side, frame
    count and seed."""

    def __init__(self, source: Source, side: int, frames: int, seed: int = 0) -> None:
        self.side, self.frames, self.seed = side, frames, seed
        self.cuts: dict[str, list[Cut]] = defaultdict(list)
        for cut in source.cuts:
            if not cut.unseen:
                self.cuts[cut.name].append(cut)
        self.classes = tuple(name for name in source.classes if self.cuts[name])
        self.pairs = new_pairs(self.classes)
        self.listed: dict[str, list[Moving]] = {}

    def attributes(self, subset: str, number: int) -> Moving:
        """Return the attributes of that film. Within a test subset they repeat only after all
        combinations were used."""
        if subset in ("train", "val"):
            return self._drawn_by_chance(self._rng(subset, number, 0))
        if subset not in self.listed:
            every = [
                Moving(*each)
                for each in product(self.classes, [OWN, *COLOURS], GROUNDS, MOTIONS)
                if each[2] not in VANISHES.get(each[1], ()) and ((each[0], each[3]) in self.pairs) == (subset == NEW)
            ]
            order = self._rng(subset, 0, 1).permutation(len(every))
            self.listed[subset] = [every[i] for i in order]
        return self.listed[subset][number % len(self.listed[subset])]

    def film(self, subset: str, number: int) -> Film:
        asked = self.attributes(subset, number)
        rng = self._rng(subset, number, 2)
        frames = None
        for last in range(TRIES):
            frames = self._shot(asked, rng, careful=last < TRIES - 1)
            if frames is not None:
                break
        assert frames is not None  # the last attempt accepts any contrast
        pixels = np.concatenate(frames).round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
        return Film(torch.from_numpy(np.ascontiguousarray(pixels)), asked, captions(asked))

    def _rng(self, subset: str, number: int, use: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SUBSETS.index(subset), number, use])

    def _drawn_by_chance(self, rng: np.random.Generator) -> Moving:
        colours = [OWN] * OF_ITS_OWN + list(COLOURS)
        while True:
            name, colour, behind, motion = (
                among[int(rng.integers(len(among)))] for among in (self.classes, colours, list(GROUNDS), list(MOTIONS))
            )
            if (name, motion) not in self.pairs and behind not in VANISHES.get(colour, ()):
                return Moving(name, colour, behind, motion)

    def _shot(self, asked: Moving, rng: np.random.Generator, careful: bool) -> list[np.ndarray] | None:
        """Return frames (side, side, 3) in 0..255; None if the thing does not stand out in each."""
        canvas = ground(asked.ground, self.side, rng)
        among = self.cuts[asked.object]
        thing = self._thing(among[int(rng.integers(len(among)))], asked.colour, rng)
        frames = []
        for x, y, size, turned in way(asked.motion, self.frames, rng):
            pixels = _placed(thing, size * self.side, turned)
            solid = pixels[..., 3] >= 128
            height, width = solid.shape
            left = int(np.clip(round(x * self.side - width / 2), 0, max(0, self.side - width)))
            top = int(np.clip(round(y * self.side - height / 2), 0, max(0, self.side - height)))
            frame = canvas.copy()
            window = frame[top : top + height, left : left + width]
            pixels, solid = (each[: window.shape[0], : window.shape[1]] for each in (pixels, solid))
            colours = pixels[..., :3].astype(np.float32)
            if careful and not stands_out(colours, solid, window):
                return None
            window += pixels[..., 3:].astype(np.float32) / 255 * (colours - window)
            frames.append(frame)
        return frames

    def _thing(self, cut: Cut, colour: str, rng: np.random.Generator) -> Image.Image:
        """Return the thing at full size and in its colour, the same for every frame."""
        image = Image.fromarray(cut.cutout.pixels)
        share = self.side / max(image.size)
        size = (max(2, round(share * image.width)), max(2, round(share * image.height)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        if cut.name not in NEVER_MIRRORED and rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if not colour:
            return image
        pixels = np.asarray(image)
        painted = tinted(pixels[..., :3].astype(np.float32), pixels[..., 3] >= 128, colour, rng)
        return Image.fromarray(np.concatenate([painted.round().astype(np.uint8), pixels[..., 3:]], 2))


def way(motion: str, frames: int, rng: np.random.Generator) -> Iterator[tuple[float, float, float, float]]:
    """Yield for each frame x and y of the thing's centre and its longer edge, as fractions of the
    side, and its rotation in degrees."""
    x, y = (0.5 + rng.uniform(-SHAKE, SHAKE) for _axis in range(2))
    size, reach = rng.uniform(*SIZE), rng.uniform(*REACH)
    small, large = rng.uniform(*SMALL), rng.uniform(*LARGE)
    turn = rng.uniform(*QUARTERS) * (1 if rng.random() < 0.5 else -1)
    right, down = GOES.get(motion, (0, 0))
    for frame in range(frames):
        done = frame / (frames - 1)
        along = reach * (2 * done - 1)
        edge = {"grow": small + done * (large - small), "shrink": large - done * (large - small)}
        yield (x + along * right, y + along * down, edge.get(motion, size), turn * done if motion == "turn" else 0.0)


def _placed(thing: Image.Image, longest: float, turned: float) -> np.ndarray:
    """Scale a thing to a longer edge of ``longest`` pixels, then rotate it; return (h, w,
    4) uint8."""
    share = longest / max(thing.size)
    size = (max(2, round(share * thing.width)), max(2, round(share * thing.height)))
    image = thing.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if turned:
        image = image.rotate(turned, Image.Resampling.BILINEAR, expand=True)
    return np.asarray(image)


def films(recipe: Recipe, source: Source) -> Made:
    """Return the films of ``recipe``, from the cache if they were made before. Raises UserError."""
    for option, value, (low, high), text in (
        ("imgsz", recipe.side, SIDES, N_("films of {count} pixels a side")),
        ("frames", recipe.frames, FRAMES, N_("films of {count} frames")),
    ):
        if not low <= value <= high:
            raise UserError(
                option,
                _(text).format(count=value),
                expected=f"{low}..{high}",
                fix=f"{option}={min(max(value, low), high)}",
            )
    told = json.dumps([VERSION, asdict(recipe), source.digest], sort_keys=True)
    key = blake2b(told.encode(), digest_size=8).hexdigest()
    place = cache_folder() / "scenes" / f"moving-{source.name}-{recipe.side}-{key}.safetensors"
    return parallel.kept(place, lambda: _make(recipe, source, place), partial(_unpacked, recipe))


def _make(recipe: Recipe, source: Source, place: Any) -> parallel.Pieces:
    told = {"recipe": asdict(recipe), "source": source.name}
    rows = recipe.rows
    return parallel.shared(MODULE, told, len(rows), lambda: _some(recipe, source, rows), place)


def _some(recipe: Recipe, source: Source, rows: Sequence[tuple[str, int]]) -> parallel.Pieces:
    composer = Composer(source, recipe.side, recipe.frames, recipe.seed)
    made = [composer.film(subset, number) for subset, number in rows]
    about = {"attributes": [list(astuple(film.attributes)) for film in made]}
    return {"strips": torch.stack([film.strip for film in made])}, about


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Made:
    attributes = [Moving(*one) for one in about["attributes"]]
    if not len(recipe.rows) == len(tensors["strips"]) == len(attributes):
        raise ValueError("not of this recipe")
    return Made(tensors["strips"], attributes, list(map(captions, attributes)))


def _told(told: dict[str, Any], begin: int, end: int) -> parallel.Pieces:
    recipe = Recipe(**told["recipe"])
    source = captioned.drawn() if told["source"] == "drawn" else captioned.sourced()
    return _some(recipe, source, recipe.rows[begin:end])


if __name__ == "__main__":
    parallel.work(_told)
