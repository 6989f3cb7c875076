"""Fully described scenes: object, colour, count, position and ground, with captions.

One to three things of one class lie on a painted ground. A single thing fills half of the side or
more. Colours that would vanish on their ground are excluded, and a thing that does not stand out is
placed again. Some pairs of object and colour (``new_pairs``), and some cut-outs, never occur in a
training scene, so that generalisation to new scenes, new pairs and new cut-outs can be measured
separately. A scene is determined by the seed, its subset and its number.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from souron.data.composing import captioned_words as words
from souron.data.composing import cutouts, figures, parallel, related_groups, stock
from souron.data.composing.captioned_grounds import ground
from souron.data.composing.captioned_words import COLOURS, GROUNDS, OWN, PLACES, THINGS, Attributes
from souron.data.composing.composer import LUMA, NEVER_MIRRORED, stands_out
from souron.data.composing.cutouts import Cutout, Kind, Stamp
from souron.data.targets.captions import Caption
from souron.utils.files import cache_folder
from souron.utils.messages import UserError, _

MODULE = "souron.data.composing.captioned"
VERSION = 1  # of the way scenes are made; it changes when the scenes of the same numbers change
SIDES = (16, 256)  # pixels
HELD_OUT = 0.2  # of each class's cut-outs
UNSEEN = "unseen stamps"
SUBSETS = ("train", "val", "new scenes", "new pairs", UNSEEN)
SIZES = {1: (0.52, 0.64), 2: (0.40, 0.48), 3: (0.36, 0.44)}  # of the side: a thing's longer edge
TURN = 10  # degrees in both directions
TRIES = 30  # attempts with other cut-outs and positions until all things stand out
OF_ITS_OWN = 2  # ratio of the chance of a thing's own colour to that of red
SEVERAL = 0.2  # the chance of two things, and of three
VANISHES = {  # colour -> grounds on which it vanishes
    "green": ("grass",),
    "yellow": ("sand",),
    "white": ("snow",),
    "blue": ("water", "sky"),
    "purple": ("night",),
}
TINTS = {
    "red": (225, 30, 35),
    "yellow": (245, 215, 25),
    "green": (45, 175, 60),
    "blue": (40, 80, 225),
    "purple": (150, 50, 190),
    "white": (246, 246, 246),
}
MIDDLES = {  # of a single thing, x and y as fractions of the side
    "left": (0.29, 0.5),
    "right": (0.71, 0.5),
    "top": (0.5, 0.29),
    "bottom": (0.5, 0.71),
    "middle": (0.5, 0.5),
}
ROWS = {  # of several things; layouts are rotated by multiples of 90 degrees
    2: (((0.26, 0.5), (0.74, 0.5)), ((0.27, 0.27), (0.73, 0.73))),
    3: (((0.25, 0.26), (0.75, 0.26), (0.5, 0.75)), ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75))),
}
FIGURES = 40  # painted figures of each class, if there are no stamps

KINDS = {
    **{
        name: cutouts.KINDS[name]
        for name in (
            "bird",
            "mammal",
            "fish",
            "flower",
            "fruit",
            "vegetable",
            "hat",
            "building",
            "vehicle",
            "sign",
            "coin",
        )
    },
    "insect": Kind(("animals/insects",), True),
    "clothing": Kind(("clothes",), without="glasses sunglasses ring necklace watch umbrella"),
    "person": Kind(("people/cartoon", "people"), True),
    "planet": Kind(("space/solarsystem",)),
    "chess": Kind(("symbols/chess",)),
    "instrument": Kind(("hobbies/music",), True),
    "tool": Kind(("household/tools", "household/arttools"), True),
    "dish": Kind(("household/dishes",), True),
    "appliance": Kind(("household/electronics",), True, "compact_disc"),
}
ONLY_HERE = ("clothing", "person")  # their sub-folders hold other things


class Cut(NamedTuple):
    """A cut-out with its names."""

    cutout: Cutout
    name: str  # of ``THINGS``
    called: tuple[str, str]  # in English and Japanese; "" if it has no short name
    unseen: bool  # held out from training


@dataclass(frozen=True)
class Source:
    """The cut-outs that scenes are composed of."""

    name: str  # "stamps" or "drawn"
    cuts: tuple[Cut, ...]
    digest: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(name for name in THINGS if any(cut.name == name for cut in self.cuts))


class Scene(NamedTuple):
    image: Tensor  # (3, side, side) uint8
    mask: Tensor  # (side, side) bool: pixels covered by things
    attributes: Attributes
    captions: tuple[Caption, ...]
    cutout: str  # its name; of several things the first


@dataclass(frozen=True)
class Recipe:
    """The settings of a set of scenes."""

    side: int  # pixels
    seed: int
    counts: Mapping[str, int]  # subset -> scenes, in the order of the rows

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Subset and number of each scene."""
        return [(name, number) for name, count in self.counts.items() for number in range(count)]


class Made(NamedTuple):
    """Scenes of all subsets, concatenated."""

    images: Tensor  # (N, 3, side, side) uint8
    masks: Tensor  # (N, side, side) bool
    attributes: list[Attributes]
    captions: list[tuple[Caption, ...]]
    cutouts: list[str]


def sourced() -> Source:
    """Return the stamps if they are on this computer, else painted figures."""
    folder = stock.places().stamps
    return drawn() if folder is None else of_stamps(folder)


def of_stamps(folder: Path) -> Source:
    """Build a source from the stamps in that folder. Raises UserError if there are too few."""
    stamps = list(_stamps(folder))
    cut, key = stock.cut_outs(folder, stamps)
    told = [(one.name, one.category, one.caption) for one in cut]
    unseen = _held_out(
        [one.name for one in cut],
        [one.category for one in cut],
        related_groups.families([related_groups.close(*one) for one in told]),
    )
    called = _called(folder, [one.name for one in cut])
    cuts = tuple(Cut(one, one.category, called[one.name], one.name in unseen) for one in cut)
    return Source("stamps", cuts, key)


def drawn() -> Source:
    """Build a source from painted figures."""
    names = [name for name in THINGS if name in figures.PAINTERS]
    cuts = [
        Cut(figures.figure(name, number), name, ("", ""), number >= FIGURES * (1 - HELD_OUT))
        for name in names
        for number in range(FIGURES)
    ]
    digest = blake2b(repr((VERSION, names, FIGURES)).encode(), digest_size=16).hexdigest()
    return Source("drawn", tuple(cuts), digest)


def _stamps(folder: Path) -> Iterator[Stamp]:
    found = cutouts.stamps(folder, KINDS)
    for stamp in found:
        inside = stamp.file.split("/")[:-1]
        deeper = [part for part in inside if part != "cartoon"][1:]
        if stamp.category not in ONLY_HERE or not deeper:
            yield stamp


def _held_out(names: Sequence[str], categories: Sequence[str], family: Sequence[int]) -> set[str]:
    """Choose whole families so that about ``HELD_OUT`` of each class is held out from training."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, head in enumerate(family):
        members[head].append(i)
    total: dict[str, int] = defaultdict(int)
    for category in categories:
        total[category] += 1
    out: set[str] = set()
    have: dict[str, int] = defaultdict(int)
    order = sorted(members, key=lambda head: blake2b(names[head].encode()).digest())
    for head in order:
        own = members[head]
        counts = {c: sum(categories[i] == c for i in own) for c in {categories[i] for i in own}}
        if all(have[c] + n <= max(2, HELD_OUT * total[c]) for c, n in counts.items()):
            out |= {names[i] for i in own}
            for c, n in counts.items():
                have[c] += n
    return out


def _called(folder: Path, files: Sequence[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for file in files:
        path = (folder / file).with_suffix(".txt")
        path = path.with_name(cutouts.MIRRORED.sub("", path.stem) + ".txt")
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        spoken = [line.partition("=")[2] for line in lines if line.startswith("ja.utf8=")]
        found[file] = (
            words.cleaned(lines[0] if lines else "", japanese=False),
            words.cleaned(spoken[0] if spoken else "", japanese=True),
        )
    return found


def new_pairs(classes: Sequence[str]) -> set[tuple[str, str]]:
    """Return the pairs of object and colour that never occur in training scenes: one colour per
    class."""
    colours = list(COLOURS)
    return {(name, colours[i % len(colours)]) for i, name in enumerate(classes)}


class Composer:
    """Compose scenes; ``scene(subset, number)`` is deterministic for a given source, side
    and seed."""

    def __init__(self, source: Source, side: int, seed: int = 0) -> None:
        self.source, self.side, self.seed = source, side, seed
        self.classes = source.classes
        self.pairs = new_pairs(self.classes)
        self.cuts: dict[tuple[str, bool], list[Cut]] = defaultdict(list)
        for cut in source.cuts:
            self.cuts[cut.name, cut.unseen].append(cut)
        self.listed: dict[str, list[Attributes]] = {}

    def attributes(self, subset: str, number: int) -> Attributes:
        """Return the attributes of that scene. Within a test subset they repeat only after all
        combinations were used."""
        if subset in ("train", "val"):
            return self._drawn_by_chance(self._rng(subset, number, 0))
        if subset not in self.listed:
            classes = [name for name in self.classes if self.cuts[name, subset == UNSEEN]]
            arranged = [*((1, place) for place in PLACES), (2, ""), (3, "")]
            every = [
                Attributes(name, colour, count, place, ground)
                for name, colour, (count, place), ground in product(classes, [OWN, *COLOURS], arranged, GROUNDS)
                if ground not in VANISHES.get(colour, ()) and ((name, colour) in self.pairs) == (subset == "new pairs")
            ]
            order = self._rng(subset, 0, 1).permutation(len(every))
            self.listed[subset] = [every[i] for i in order]
        return self.listed[subset][number % len(self.listed[subset])]

    def scene(self, subset: str, number: int) -> Scene:
        """Compose one scene. Raises UserError for an unknown subset."""
        asked = self.attributes(subset, number)
        rng = self._rng(subset, number, 2)
        unseen = subset == UNSEEN
        for _try in range(TRIES):
            canvas = ground(asked.ground, self.side, rng)
            laid = self._lay(canvas, asked, unseen, rng)
            if laid is not None:
                mask, chosen = laid
                break
        else:  # accept low contrast: rare, and otherwise correct
            canvas = ground(asked.ground, self.side, rng)
            mask, chosen = self._lay(canvas, asked, unseen, rng, careful=False)
        pixels = canvas.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
        return Scene(
            torch.from_numpy(np.ascontiguousarray(pixels)),
            torch.from_numpy(mask),
            asked,
            words.captions(asked, chosen.called),
            chosen.cutout.name,
        )

    def _rng(self, subset: str, number: int, use: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SUBSETS.index(subset), number, use])

    def _drawn_by_chance(self, rng: np.random.Generator) -> Attributes:
        while True:
            name = self.classes[int(rng.integers(len(self.classes)))]
            colours = [OWN] * OF_ITS_OWN + list(COLOURS)
            colour = colours[int(rng.integers(len(colours)))]
            ground = list(GROUNDS)[int(rng.integers(len(GROUNDS)))]
            count = int(rng.choice([1, 2, 3], p=[1 - 2 * SEVERAL, SEVERAL, SEVERAL]))
            place = list(PLACES)[int(rng.integers(len(PLACES)))] if count == 1 else ""
            if (name, colour) not in self.pairs and ground not in VANISHES.get(colour, ()):
                return Attributes(name, colour, count, place, ground)

    def _lay(
        self, canvas: np.ndarray, asked: Attributes, unseen: bool, rng: np.random.Generator, careful: bool = True
    ) -> Any:
        """Paint the things; return their mask and the first cut-out. None if one does not stand
        out."""
        among = self.cuts[asked.object, unseen]
        mask = np.zeros((self.side, self.side), bool)
        first = None
        for x, y in _middles(asked, rng):
            cut = among[int(rng.integers(len(among)))] if first is None or rng.random() < 0.5 else first
            first = first or cut
            low, high = SIZES[asked.count]
            pixels = _shaped(cut, self.side * rng.uniform(low, high), rng)
            colours = pixels[..., :3].astype(np.float32)
            alpha = pixels[..., 3].astype(np.float32) / 255
            solid = alpha >= 0.5
            if asked.colour:
                colours = tinted(colours, solid, asked.colour, rng)
            height, width = solid.shape
            left = int(np.clip(round(x * self.side - width / 2), 0, self.side - width))
            top = int(np.clip(round(y * self.side - height / 2), 0, self.side - height))
            window = (slice(top, top + height), slice(left, left + width))
            if careful and not stands_out(colours, solid, canvas[window]):
                return None
            canvas[window] += alpha[..., None] * (colours - canvas[window])
            mask[window] |= solid
        return mask, first


def _middles(asked: Attributes, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return x and y of each thing's centre, as fractions of the side."""
    if asked.count == 1:
        x, y = MIDDLES[asked.place]
        return [(x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03))]
    ways = ROWS[asked.count]
    points = ways[int(rng.integers(len(ways)))]
    for _quarter in range(int(rng.integers(4))):
        points = tuple((y, 1 - x) for x, y in points)
    return [(x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03)) for x, y in points]


def _shaped(cut: Cut, longest: float, rng: np.random.Generator) -> np.ndarray:
    """Return a cut-out (h, w, 4) uint8 with a longer edge of ``longest`` pixels, randomly mirrored
    and rotated."""
    image = Image.fromarray(cut.cutout.pixels)
    share = longest / max(image.size)
    size = (max(2, round(share * image.width)), max(2, round(share * image.height)))
    image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if cut.name not in NEVER_MIRRORED and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = image.rotate(int(rng.integers(-TURN, TURN + 1)), Image.Resampling.BILINEAR, expand=True)
    box = turned.getchannel("A").point(lambda value: 255 * (value >= 128)).getbbox()
    image = turned.crop(box) if box else image
    most = round(longest)
    if max(image.size) > most:
        image.thumbnail((most, most), Image.Resampling.BILINEAR)
    return np.asarray(image)


def tinted(colours: np.ndarray, solid: np.ndarray, colour: str, rng: np.random.Generator) -> np.ndarray:
    """Tint a thing (h, w, 3) in that colour, preserving light and shade."""
    light = colours @ LUMA
    mean = float(light[solid].mean()) if solid.any() else 128.0
    spread = float(light[solid].std()) if solid.any() else 1.0
    shade = 1 + 0.28 * (light - mean) / max(spread, 12.0)
    tint = np.array(TINTS[colour], np.float32) * rng.uniform(0.9, 1.05)
    return (tint * shade[..., None]).clip(0, 255).astype(np.float32)


def scenes(recipe: Recipe, source: Source) -> Made:
    """Return the scenes of ``recipe``, from the cache if they were made before. Raises
    UserError."""
    if not SIDES[0] <= recipe.side <= SIDES[1]:
        raise UserError(
            "imgsz",
            _("scenes of {side} pixels a side").format(side=recipe.side),
            expected="{}..{}".format(*SIDES),
            fix="imgsz=64",
        )
    told = json.dumps([VERSION, asdict(recipe), source.digest], sort_keys=True)
    key = blake2b(told.encode(), digest_size=8).hexdigest()
    place = cache_folder() / "scenes" / f"captioned-{source.name}-{recipe.side}-{key}.safetensors"
    return parallel.kept(place, lambda: _make(recipe, source, place), partial(_unpacked, recipe))


def _make(recipe: Recipe, source: Source, place: Path) -> parallel.Pieces:
    told = {"recipe": asdict(recipe), "source": source.name}
    rows = recipe.rows
    return parallel.shared(MODULE, told, len(rows), lambda: _some(recipe, source, rows), place)


def _some(recipe: Recipe, source: Source, rows: Sequence[tuple[str, int]]) -> parallel.Pieces:
    composer = Composer(source, recipe.side, recipe.seed)
    made = [composer.scene(subset, number) for subset, number in rows]
    tensors = {
        "pictures": torch.stack([scene.image for scene in made]),
        "masks": torch.stack([scene.mask for scene in made]),
    }
    about = {
        "attributes": [list(astuple(scene.attributes)) for scene in made],
        "captions": [[list(caption) for caption in scene.captions] for scene in made],
        "cutouts": [scene.cutout for scene in made],
    }
    return tensors, about


def _unpacked(recipe: Recipe, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Made:
    attributes = [Attributes(*one) for one in about["attributes"]]
    captions = [tuple(Caption(*each) for each in some) for some in about["captions"]]
    if not len(recipe.rows) == len(tensors["pictures"]) == len(attributes) == len(captions):
        raise ValueError("not of this recipe")
    return Made(tensors["pictures"], tensors["masks"].bool(), attributes, captions, list(about["cutouts"]))


def _told(told: dict[str, Any], begin: int, end: int) -> parallel.Pieces:
    recipe = Recipe(**told["recipe"])
    source = drawn() if told["source"] == "drawn" else sourced()
    return _some(recipe, source, recipe.rows[begin:end])


if __name__ == "__main__":
    parallel.work(_told)
