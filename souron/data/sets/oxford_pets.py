"""Photographs of cats and dogs of 37 breeds, and their areas (Oxford-IIIT Pet).

Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs (2012).
https://www.robots.ox.ac.uk/~vgg/data/pets/

7 349 photographs. The pixels at an animal's outline are marked as unclear and do not count.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from souron.data.dataset import Dataset, Skipped
from souron.data.formats import folder as image_folder
from souron.data.formats import masks
from souron.data.load import found
from souron.data.readers.decoding import Listed
from souron.data.readers.settings import Reading

ja = "37品種の犬と猫の写真。領域つき (Oxford-IIIT Pet)"
task = "classify"
licence = "CC-BY-SA-4.0"
source = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
cases = 7349
needs = ("trainval.txt", "test.txt", "trimaps")
downloads = (
    ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
    ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz", "md5:95a8c909bbe2e81eed6a22bccdf3f68f"),
)
keeps = (".jpg", ".png", ".txt")
megabytes = 811
targets = ("classes", "classes_of_pixels")

AREAS = ("background", "pet")
OF_TRIMAP = np.array([masks.UNKNOWN, 1, 0, masks.UNKNOWN], np.uint8)  # animal, ground, unclear


def load(side: int | None = None, target: str = "classes") -> Dataset:
    folder = found("oxford_pets")
    told: list[Skipped] = []
    parts = dict(_listed(folder / "trainval.txt", "train")) | dict(_listed(folder / "test.txt", "test"))
    files = [file for file in sorted(folder.glob("*.jpg")) if file.stem in parts]
    if target == "classes":
        items = [Listed(file, file.name, _breed(file.stem), part=parts[file.stem]) for file in files]
        cases = image_folder.gather(folder, folder, items, told, Reading(side, group="none"))
    else:
        pairs = [
            masks.Pair(
                file.name, file, f"trimaps/{file.stem}.png", partial(_areas, folder, file.stem), parts[file.stem]
            )
            for file in files
        ]
        cases = masks.gather(folder, folder, pairs, told, Reading(side), AREAS)
    return replace(cases, name="oxford_pets", source=source, licence=licence)


def _listed(file: Path, part: str) -> list[tuple[str, str]]:
    """Return the names of the images that a list assigns to a part."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(line.split()[0], part) for line in lines if line.strip() and not line.startswith("#")]


def _breed(stem: str) -> str:
    """Return the breed in a file's name.

    >>> _breed("Egyptian_Mau_12")
    'Egyptian Mau'
    """
    return stem.rpartition("_")[0].replace("_", " ")


def _areas(folder: Path, stem: str, size: tuple[int, int]) -> masks.Numbers:
    """Read a trimap as class numbers, for an image of that width and height."""
    name = f"trimaps/{stem}.png"
    numbers, _names = masks.numbers_in(folder / name, name, folder, size, len(OF_TRIMAP) - 1)
    return OF_TRIMAP[numbers], ()
