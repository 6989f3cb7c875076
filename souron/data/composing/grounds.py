"""Grounds of scenes: patches of photographs, or smooth noise if there are too few of them.

Each photograph belongs to one side of the split, and none is used that shows a thing of the
requested categories: a correct detection there would be counted as a false positive.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from souron.data.dataset import Skipped
from souron.kinds.codecs import image as image_codec
from souron.utils.messages import UserError

SHORTER = 320  # pixels of a stored photograph's shorter side
FEWEST = 3  # photographs of a side; with fewer, its scenes use noise
PALE = 0.5  # the share of saturation that is kept in the noise
OCTAVES = (2, 4, 9, 20, 40)  # cells a side of the layers of noise


class Photo(NamedTuple):
    """A photograph of the known list."""

    file: str
    part: str  # "train", "val" or "test"
    shows: tuple[str, ...] = ()  # categories of which things are visible
    within: tuple[float, float, float, float] = (0, 0, 1, 1)  # left, top, right, bottom of the part
    # that is used, as fractions
    drawn: bool = False  # a pattern instead of a photograph


PHOTOS = (
    # scikit-learn
    Photo("china.jpg", "train", within=(0.64, 0.02, 1, 0.72)),  # beside the pagoda
    # Debian: lomiri-wallpapers-16.04
    Photo("Bridge_by_Sander_Klootwijk.jpg", "train"),
    Photo("Dragonfly_by_Bolly.jpg", "train", ("insect",)),
    Photo("Picture_0B_by_freespace.jpg", "train", ("fruit",)),
    Photo("Picture_1A_by_freespace.jpg", "train"),
    Photo("Wine_by_Jakkub_Mede.jpg", "test"),
    Photo("aitzgorri_by_Aitzol_Berasategi.jpg", "train"),
    Photo("analogpattern_by_Peter_Nerlich.jpg", "train", drawn=True),
    Photo("free_by_Peter_Nerlich.jpg", "train", ("bird",)),
    Photo("friends_by_Aitzol_Berasategi.jpg", "train", ("mammal",)),
    Photo("greentock_by_Peter_Nerlich.jpg", "train"),
    Photo("life_by_Aitzol_Berasategi.jpg", "train"),
    Photo("picosdeeuropa_by_Aitzol_Berasategi.jpg", "test", within=(0, 0, 1, 0.62)),
    Photo("seeding_by_Clements_Engelhardt.jpg", "train", ("flower",)),
    Photo("sunset_by_Aitzol_Berasategi.jpg", "val"),
    Photo("umang_by_Abhishek_Mudgal.jpg", "train", drawn=True),
    # Debian: lomiri-wallpapers-20.04
    Photo("Fossa_by_Jasper_Roks.jpg", "train", drawn=True),
    Photo("Infinite-Sea_by_Aury88.jpg", "val", drawn=True),
    Photo("Kleiber_by_Lukas_Baubkus.jpg", "train", ("bird",)),
    Photo("Painting-Colors_by__herobrine7gamer.jpg", "test", drawn=True),
    # Debian: mate-backgrounds
    Photo("Aqua.jpg", "test"),
    Photo("Blinds.jpg", "train"),
    Photo("Dune.jpg", "test"),
    Photo("FreshFlower.jpg", "train", ("flower",)),
    Photo("Garden.jpg", "train", ("flower",)),
    Photo("GreenMeadow.jpg", "train"),
    Photo("LadyBird.jpg", "train", ("flower", "insect")),
    Photo("RainDrops.jpg", "val"),
    Photo("Storm.jpg", "train"),
    Photo("TwoWings.jpg", "train", ("flower",)),
    Photo("Wood.jpg", "test"),
    Photo("YellowFlower.jpg", "train", ("flower",)),
)


class Ground(NamedTuple):
    """The pixels of a photograph, prepared for scenes."""

    name: str  # "Dune.jpg"
    part: str
    shows: tuple[str, ...]
    pixels: np.ndarray  # (h, w, 3) uint8


def found(folders: list[Path]) -> dict[str, Path]:
    """Find the known photographs in or below those folders, the first of each name."""
    known = {photo.file for photo in PHOTOS}
    there: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.jpg")) if folder.is_dir() else ():
            if file.name in known:
                there.setdefault(file.name, file)
    return there


def read(photo: Photo, path: Path) -> Ground | Skipped:
    """Read and downscale a photograph, or return the reason why it cannot be used."""
    try:
        image = image_codec.read(path, path.parent, 2 * SHORTER).convert("RGB")
    except UserError as trouble:
        return Skipped(photo.file, trouble.code, trouble.found)
    left, top, right, bottom = photo.within
    image = image.crop(
        (round(left * image.width), round(top * image.height), round(right * image.width), round(bottom * image.height))
    )
    share = SHORTER / max(1, min(image.size))
    size = (max(1, round(share * image.width)), max(1, round(share * image.height)))
    return Ground(photo.file, photo.part, photo.shows, np.array(image.resize(size)))


def patch(ground: Ground, side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random square of the photograph, (side, side, 3) uint8, randomly mirrored."""
    height, width = ground.pixels.shape[:2]
    short = min(height, width)
    size = int(rng.integers(min(short, max(side, short // 3)), short + 1))
    left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
    piece = ground.pixels[top : top + size, left : left + size]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    image = Image.fromarray(np.ascontiguousarray(piece))
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0))


def noise(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return clouds between two colours, brighter towards one edge, (side, side, 3) uint8."""
    height = np.zeros((side, side), np.float32)
    rough = rng.uniform(0.35, 0.65)  # weight of each layer relative to the coarser one
    for number, cells in enumerate(OCTAVES):
        layer = rng.random((cells + 1, cells + 1), np.float32)
        smooth = Image.fromarray(layer).resize((side, side), Image.Resampling.BICUBIC)
        height += rough**number * np.asarray(smooth)
    height -= height.min()
    height /= max(float(height.max()), 1e-6)
    low, high = rng.uniform(30, 225, (2, 3)).astype(np.float32)
    low, high = (PALE * each + (1 - PALE) * each.mean() for each in (low, high))
    high = low + (high - low) * rng.uniform(0.3, 0.8)
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-1, 1, side, dtype=np.float32)
    slope = np.cos(angle) * line[None, :] + np.sin(angle) * line[:, None]
    colours = low + height[..., None] * (high - low) + (rng.uniform(0, 30) * slope)[..., None]
    return colours.round().clip(0, 255).astype(np.uint8)
