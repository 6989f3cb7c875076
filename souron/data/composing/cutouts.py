"""Cut-outs from the stamps of Tux Paint: select those that show one thing of a category, and read
them.

A category consists of some of the stamps' folders. Stamps are left out if their caption speaks of
several things, if they show parts of things (wheels, emblems), and a few that also show another
category.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from souron.data.dataset import Skipped
from souron.kinds.codecs import image as image_codec
from souron.utils.messages import UserError, _

CATEGORIES = ("bird", "mammal", "flower", "fruit", "vehicle", "coin", "sign", "building")
LONGEST = 224  # pixels of a stored cut-out's longer side
SMALLEST = 8  # pixels of a stamp's shorter side, the least that is recognisable
SOLID = 128  # alpha from which on a pixel belongs to the thing
STEP = 2  # degrees between the angles for which a cut-out's extent is computed
CLEAR = 250  # the usual alpha of a solid thing
FAINT = 5  # pixels, odd: alpha farther than half of this from solid pixels is a painted shadow


class Kind(NamedTuple):
    """The folders that hold the stamps of a category."""

    folders: tuple[str, ...]
    drawings: bool = False  # include the folders named "cartoon"
    without: str = ""  # names of files to leave out


KINDS = {
    "bird": Kind(("animals/birds",)),
    "mammal": Kind(("animals/mammals",), without="hedgehog echidna"),
    "flower": Kind(("plants/flowers",), without="appooppanthady"),
    "fruit": Kind(("food/fruit",), True, "apple_core apple_core_01 lemon_slice"),
    "vehicle": Kind(
        ("vehicles", "military/vehicles"),
        True,
        "7spoke256 bikewheel tyre_with_rim wheel_tractor sedan_police trainSign tux_tractor ww2_german_gun bathyscape",
    ),
    "coin": Kind(("symbols/money/canadian", "symbols/money/euro", "symbols/money/japanese", "symbols/money/us")),
    "sign": Kind(("town/roadsigns",), without="traffic_cone stoplight_01_red stoplight_02_yellow stoplight_03_green"),
    "building": Kind(
        ("town/houses", "town/cartoon", "town/monuments"),
        True,
        "cave_entrance city circus tent tepee medieval_tent docks fountain mine ruins shipwreck "
        "wishing_well graveyard magic_stones obelisk pyramid statue sword_in_the_stone totem "
        "inukshuk-outline inukshuk-photo",
    ),
    "insect": Kind(("animals/insects",)),
    "fish": Kind(("animals/fish",)),
    "vegetable": Kind(("food/vegetables",)),
    "hat": Kind(("clothes/hats",)),
}

SEVERAL = re.compile(r"(two|some|a pair of|a string of|several|many) ", re.IGNORECASE)
MIRRORED = re.compile(r"[-_]mirror$")


@dataclass(frozen=True, eq=False)
class Cutout:
    """One thing on a transparent background."""

    name: str  # "animals/birds/crow.png", "drawn/bird/007"
    category: str
    caption: str  # English; "" if the stamp has none
    pixels: np.ndarray  # (h, w, 4) uint8, red, green, blue, alpha
    points: np.ndarray  # (K, 2) float32, x and y in its pixels, of painted figures

    @cached_property
    def widths(self) -> np.ndarray:
        """The width of the solid pixels after counter-clockwise rotation by 0, STEP, ... degrees,
        (180 / STEP,)."""
        solid = self.pixels[..., 3] >= SOLID
        rows = np.flatnonzero(solid.any(1))
        firsts, lasts = solid.argmax(1)[rows], solid.shape[1] - solid[:, ::-1].argmax(1)[rows]
        corners = np.concatenate([np.stack([edge, rows + down], 1) for edge in (firsts, lasts) for down in (0, 1)])
        angle = np.radians(np.arange(0, 180, STEP))
        along = corners @ np.stack([np.cos(angle), np.sin(angle)])
        return along.max(0) - along.min(0)


class Stamp(NamedTuple):
    """A file that should show one thing of a category."""

    file: str  # below the folder of the stamps
    category: str
    caption: str  # of a mirror image, that of the original


def stamps(folder: Path, kinds: Mapping[str, Kind] | None = None) -> list[Stamp]:
    """List the stamps of all categories, or of those in ``kinds``, sorted by file. Reads captions,
    but no images."""
    return sorted(_stamps(folder, KINDS if kinds is None else kinds))


def _stamps(folder: Path, kinds: Mapping[str, Kind]) -> Iterator[Stamp]:
    for category, kind in kinds.items():
        without = set(kind.without.split())
        for file in (file for part in kind.folders for file in (folder / part).rglob("*.png")):
            stem = MIRRORED.sub("", file.stem)
            inside = file.relative_to(folder).parts
            if stem in without or "toys" in inside or "plastic" in inside:
                continue
            if "cartoon" in inside and not kind.drawings:
                continue
            caption = _caption(file.with_name(f"{stem}.txt"))
            if not SEVERAL.match(caption):
                yield Stamp("/".join(inside), category, caption)


def _caption(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.readline(500).strip()
    except OSError:
        return ""


def read(folder: Path, stamp: Stamp) -> Cutout | Skipped:
    """Read a stamp's pixels, or return the reason why it cannot be used."""
    try:
        with image_codec.opened(folder / stamp.file, folder) as opened:
            if not isinstance(opened, Image.Image):
                raise UserError("not an image", stamp.file)
            opened.thumbnail((4 * LONGEST, 4 * LONGEST), Image.Resampling.BOX)
            pixels = cut(opened.convert("RGBA"))
    except UserError as trouble:
        return Skipped(stamp.file, trouble.code, trouble.found)
    if isinstance(pixels, str):
        return Skipped(stamp.file, "no thing", pixels)
    none = np.zeros((0, 2), np.float32)
    return Cutout(stamp.file, stamp.category, stamp.caption, pixels, none)


def cut(image: Image.Image) -> np.ndarray | str:
    """Cut out the thing, (h, w, 4), its longer side at most ``LONGEST`` pixels; or return the
    reason why there is none. Painted shadows beside it are removed."""
    alpha = image.getchannel("A")
    solid = alpha.point(lambda value: 255 * (value >= SOLID))
    near = solid.filter(ImageFilter.MaxFilter(FAINT))
    image.putalpha(Image.composite(alpha, Image.new("L", image.size), near))
    box = solid.getbbox()
    if box is None:
        return _("all of it is transparent")
    if min(box[2] - box[0], box[3] - box[1]) < SMALLEST:
        return _("what it shows is smaller than {count} pixels").format(count=SMALLEST)
    if np.asarray(alpha).min() >= SOLID:
        return _("nothing of it is transparent")
    values = np.asarray(alpha)
    usual = float(np.median(values[values >= SOLID]))
    if usual < CLEAR:  # the whole thing is translucent
        image.putalpha(image.getchannel("A").point(lambda value: min(255, value * 255 / usual)))
    image = image.crop(box)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX, reducing_gap=None)
    return np.array(image)
