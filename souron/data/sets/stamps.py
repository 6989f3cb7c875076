"""Cut-out photographs and drawings, from animals to vehicles, in colour (Tux Paint).

Kendrick and others: Tux Paint stamps (2002-). https://tuxpaint.org/stamps/

About 950 images of any size with a transparent background, pasted on white and padded to squares.
The class is the folder: ``animals/mammals/cats/...`` is "mammals". A folder with fewer than ten
images is merged into "other animals" or the like; merged classes that are still smaller (14 images)
are left out. Each image has a caption in English and in Japanese.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from souron.data.dataset import Dataset, Skipped
from souron.data.load import found
from souron.kinds.codecs import image as image_codec
from souron.utils.messages import UserError

ja = "動物から乗り物まで、切り抜き写真と絵 (Tux Paint のスタンプ)。日英の説明文つき"
task = "classify"
licence = "GPL-2.0"
source = "https://tuxpaint.org/stamps/"
cases = 937
needs = ("animals", "vehicles")
inside = ("", "usr/share/tuxpaint/stamps")
debian = ("tuxpaint-stamps-default", "usr/share/tuxpaint/stamps")
keeps = (".png", ".txt")
megabytes = 81

SIDE = 64
FEWEST = 10  # images of a class


def load(side: int | None = None) -> Dataset:
    folder = found("stamps")
    label = classes(_files(folder))  # file -> class
    files = list(label)
    with ThreadPoolExecutor() as pool:  # Pillow releases the global interpreter lock while decoding
        read = list(pool.map(lambda file: _read(folder, file, side or SIDE), files))
    labels = tuple(sorted(set(label.values())))
    whole = [i for i, image in enumerate(read) if isinstance(image, Tensor)]
    return Dataset(
        name="stamps",
        input=torch.stack([image for image in read if isinstance(image, Tensor)]),
        target=torch.tensor([labels.index(label[files[i]]) for i in whole]),
        classes=labels,
        file=[files[i] for i in whole],
        skipped=tuple(image for image in read if isinstance(image, Skipped)),
        augment=("shift", "mirror"),
        source=source,
        licence=licence,
    )


def captions() -> list[tuple[str, str, str]]:
    """Return the captions of all images: file (as in the cases), English, Japanese ("" if
    missing)."""
    folder = found("stamps")
    told = []
    for file in _files(folder):
        lines = (folder / file).with_suffix(".txt").read_text("utf-8", "replace").splitlines()
        japanese = [line.partition("=")[2] for line in lines if line.startswith("ja.utf8=")]
        told.append((file, lines[0].strip() if lines else "", "".join(japanese[:1]).strip()))
    return told


def classes(files: list[str]) -> dict[str, str]:
    """Map each file to its class, from its folders; files of too small classes are left out."""
    folders = {file: tuple(part for part in Path(file).parts[:-1] if part != "cartoon") for file in files}
    size = Counter(chain[:2] for chain in folders.values())
    split = {chain[0] for chain in size if len(chain) == 2 and size[chain] >= FEWEST}

    def name(chain: tuple[str, ...]) -> str:
        if len(chain) > 1 and size[chain[:2]] >= FEWEST:
            return chain[1].replace("_", " ")
        return f"other {chain[0]}" if chain[0] in split else chain[0]

    label = {file: name(chain) for file, chain in folders.items()}
    count = Counter(label.values())
    return {file: name for file, name in label.items() if count[name] >= FEWEST}


def _files(folder: Path) -> list[str]:
    """List images with a caption; those without are mirror images of others."""
    return [
        file.relative_to(folder).as_posix()
        for file in sorted(folder.rglob("*.png"))
        if file.with_suffix(".txt").exists() and file.parent != folder
    ]


def _read(folder: Path, file: str, side: int) -> Tensor | Skipped:
    """Read a stamp on a white background, (3, side, side) uint8."""
    try:
        stamp = image_codec.read(folder / file, folder)
    except UserError as trouble:
        return Skipped(file, trouble.code, trouble.found)
    longer = max(stamp.size)
    ground = Image.new("RGB", (longer, longer), "white")
    ground.paste(stamp, ((longer - stamp.width) // 2, (longer - stamp.height) // 2))
    return image_codec.square(ground, side, 3)
