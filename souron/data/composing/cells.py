"""An example of a reader's folder: drawn cells of twenty patients, with the faults that real folders have.

Two classes, small even cells and large uneven ones, four images of each of ten patients a class.
One image occurs twice, one in both classes, two have the other class's label, and one file is cut.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = {"even": (14, 4, 7), "uneven": (14, 3, 12)}  # cells, least and largest radius in pixels
PATIENTS, EACH = 10, 4  # of a class, images of a patient
SIDE = 96  # pixels
PAPER = (236, 228, 236)


def write(folder: Path, seed: int = 0) -> None:
    """Write the images into ``folder/CLASS/pNN_K.png``, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    for number, (label, cells) in enumerate(CLASSES.items()):
        (folder / label).mkdir(parents=True)
        for patient in range(PATIENTS):
            stain = rng.normal((150, 90, 160), 12)
            for image in range(EACH):
                _drawn(rng, *cells, stain).save(folder / label / _name(number * PATIENTS + patient, image))
    even, uneven = (folder / label for label in CLASSES)
    (even / _name(1, EACH)).write_bytes((even / _name(1, 0)).read_bytes())
    (uneven / _name(12, EACH)).write_bytes((even / _name(2, 0)).read_bytes())
    for name in (_name(3, 0), _name(4, 1)):
        (even / name).rename(uneven / name)
    (even / _name(5, EACH)).write_bytes((even / _name(5, 0)).read_bytes()[:600])


def _name(patient: int, image: int) -> str:
    return f"p{patient:02}_{image}.png"


def _drawn(rng: np.random.Generator, count: int, least: int, most: int, stain: NDArray[np.float64]) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(image)
    for _number in range(count):
        x, y = rng.integers(6, SIDE - 6, 2)
        wide, high = rng.integers(least, most + 1, 2)
        colour = tuple(int(value) for value in np.clip(stain + rng.normal(0, 8, 3), 0, 255))
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=colour)
        draw.ellipse((x - wide / 3, y - high / 3, x + wide / 3, y + high / 3), fill=tuple(c // 2 for c in colour))
    noisy = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), float) + rng.normal(0, 5, (SIDE, SIDE, 3))
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return Image.open(stream)
