"""Chest X-rays with the areas of both lungs, and tuberculosis or not (Montgomery County).

Jaeger and others: Two public chest X-ray datasets for computer-aided screening of pulmonary
diseases (2014). https://doi.org/10.3978/j.issn.2223-4292.2014.11.20

138 frontal X-rays of the tuberculosis programme of Montgomery County, each of another person; the
last figure of a file's name says whether tuberculosis was found (1) or not (0).
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

ja = "両肺の領域が付いた胸部X線画像。健常と結核 (Montgomery County)"
task = "segment"
licence = "for research and teaching, with the source named (U.S. National Library of Medicine)"
source = "https://doi.org/10.3978/j.issn.2223-4292.2014.11.20"
cases = 138
needs = ("CXR_png", "ManualMask")
inside = ("MontgomerySet", "")
downloads = ("https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip", "")
keeps = (".png",)
megabytes = 617
targets = ("classes_of_pixels", "classes")

AREAS = ("background", "left lung", "right lung")
SIDES = ("leftMask", "rightMask")
LABELS = {"0": "normal", "1": "tuberculosis"}


def load(side: int | None = None, target: str = "classes_of_pixels") -> Dataset:
    folder = found("montgomery")
    files = sorted((folder / "CXR_png").glob("*.png"))
    told: list[Skipped] = []
    if target == "classes":
        items = [Listed(file, file.name, LABELS[file.stem[-1]], part="") for file in files if file.stem[-1] in LABELS]
        cases = image_folder.gather(folder, folder, items, told, Reading(side, group="none"))
    else:
        pairs = [
            masks.Pair(file.name, file, f"ManualMask/{file.name}", partial(_areas, folder, file.name)) for file in files
        ]
        cases = masks.gather(folder, folder, pairs, told, Reading(side), AREAS)
    return replace(cases, name="montgomery", source=source, licence=licence)


def _areas(folder: Path, name: str, size: tuple[int, int]) -> masks.Numbers:
    """Join the masks of both lungs, for an image of that width and height."""
    numbers = np.zeros(size[::-1], np.uint8)
    for number, side in enumerate(SIDES, 1):
        place = f"ManualMask/{side}/{name}"
        lung, _names = masks.numbers_in(folder / place, place, folder, size, 255)
        numbers[lung > 0] = number
    return numbers, ()
