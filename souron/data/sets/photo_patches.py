"""Squares of 34 photographs at full sharpness, of which nine are for testing: to enlarge.

For super-resolution: the photographs of three Debian packages (``souron fetch photographs``), two
from scikit-learn and six from scikit-image; without the packages only the latter. Each is first
downscaled to at most 640 pixels of the shorter side, since the pixels of large photographs are
interpolated: the squares cut from it are as sharp as a screen shows them. Patterns and drawings are
left out. Squares of one photograph resemble each other, so the photograph is the group: confidence
intervals are clustered by photograph, and no photograph is on two sides of the split.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from souron.data import load as data_load
from souron.data.composing import grounds
from souron.data.dataset import Dataset, Skipped
from souron.kinds.codecs import image as image_codec
from souron.utils.messages import UserError, _

ja = "写真 34 枚 (うち 9 枚はテスト用) から鮮明さを保って切り出した正方形。拡大のためのデータ"
task = "image_to_image"
licence = "CC-BY-2.0, CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0, GPL-2.0+"
source = "https://packages.debian.org/source/sid/lomiri-wallpapers"
cases = 1_672
ships_with = "souron"

SIDE = 96
SHORTER = 640  # pixels of a photograph's shorter side, at most
SQUARES = {"train": 64, "val": 16, "test": 24}  # of a photograph


class Source(NamedTuple):
    """A photograph that is included in a Python package."""

    package: str
    file: str
    part: str


SHIPPED = (
    Source("sklearn", "datasets/images/china.jpg", "train"),
    Source("sklearn", "datasets/images/flower.jpg", "test"),
    Source("skimage", "data/motorcycle_left.png", "train"),
    Source("skimage", "data/rocket.jpg", "train"),
    Source("skimage", "data/hubble_deep_field.jpg", "val"),
    Source("skimage", "data/astronaut.png", "test"),
    Source("skimage", "data/chelsea.png", "test"),
    Source("skimage", "data/coffee.png", "test"),
)


def load(side: int | None = None) -> Dataset:
    side = side or SIDE
    images, names, parts, skipped = [], [], [], []
    for number, (name, part, path) in enumerate(_places()):
        try:
            whole = sharp(path)
        except UserError as trouble:
            skipped.append(Skipped(name, trouble.code, trouble.found))
            continue
        rng = np.random.default_rng([number, side])
        count = SQUARES[part]
        images += [_square(whole, side, rng) for _piece in range(count)]
        names += [name] * count
        parts += [part] * count
    image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    seen: dict[str, int] = {}
    files = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        files.append(f"{name}#{seen[name]:02d}")
    return Dataset(
        name="photo_patches",
        input=image,
        target=torch.zeros(len(image), dtype=torch.int64),
        classes=("photograph",),
        file=files,
        group=names,
        part=parts,
        skipped=tuple(skipped),
        augment=("mirror",),
        source=source,
        licence=licence,
        grouped=_("photographs"),
    )


def _places() -> list[tuple[str, str, Path]]:
    """Return name, part and path of each photograph on this computer."""
    folders = [folder for folder in data_load.names()["photographs"].places() if folder.is_dir()]
    there = grounds.found(folders)
    found = [
        (photo.file, photo.part, there[photo.file])
        for photo in grounds.PHOTOS
        if photo.file in there and not photo.drawn
    ]
    known = {name for name, _part, _path in found}
    for one in SHIPPED:
        package = find_spec(one.package)
        if package is not None and package.origin:
            path = Path(package.origin).parent / one.file
            if path.name not in known and path.exists():
                found.append((path.name, one.part, path))
    return sorted(found)


def sharp(path: Path) -> np.ndarray:
    """Read a photograph (h, w, 3) uint8, at most ``SHORTER`` pixels of its shorter side. Raises
    UserError."""
    image = image_codec.read(path, path.parent, SHORTER).convert("RGB")
    share = min(1.0, SHORTER / min(image.size))
    size = (round(share * image.width), round(share * image.height))
    return np.array(image.resize(size, Image.Resampling.BOX, reducing_gap=3.0))


def _square(whole: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Cut out a random square (side, side, 3) without rescaling; smaller photographs are
    upscaled."""
    height, width = whole.shape[:2]
    if min(height, width) < side:
        short = Image.fromarray(whole[: min(height, width), : min(height, width)])
        return np.array(short.resize((side, side), Image.Resampling.BICUBIC))
    left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    return whole[top : top + side, left : left + side]
