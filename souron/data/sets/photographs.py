"""Squares cut from 26 photographs, most of landscapes and plants, in colour.

The wallpapers of three Debian packages, by their photographers. Each photograph gives 40 squares
and is a group of its own: evaluate by photograph, since squares of one resemble each other. The
grounds of ``scenes`` are patches of the same photographs, with the same sides of the split.
"""

import numpy as np
import torch

from souron.data.composing import grounds
from souron.data.dataset import Dataset, Skipped
from souron.data.load import found

ja = "風景や植物などの写真 26 枚から切り出した正方形のカラー画像"
task = "generate"
licence = "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0, GPL-2.0+"
source = "https://packages.debian.org/source/sid/lomiri-wallpapers"
cases = 1_040
needs = (
    "Bridge_by_Sander_Klootwijk.jpg",
    "Dragonfly_by_Bolly.jpg",
    "Fossa_by_Jasper_Roks.jpg",
    "Infinite-Sea_by_Aury88.jpg",
    "Kleiber_by_Lukas_Baubkus.jpg",
    "Painting-Colors_by__herobrine7gamer.jpg",
    "Picture_0B_by_freespace.jpg",
    "Picture_1A_by_freespace.jpg",
    "Wine_by_Jakkub_Mede.jpg",
    "aitzgorri_by_Aitzol_Berasategi.jpg",
    "analogpattern_by_Peter_Nerlich.jpg",
    "free_by_Peter_Nerlich.jpg",
    "friends_by_Aitzol_Berasategi.jpg",
    "greentock_by_Peter_Nerlich.jpg",
    "life_by_Aitzol_Berasategi.jpg",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "seeding_by_Clements_Engelhardt.jpg",
    "sunset_by_Aitzol_Berasategi.jpg",
    "umang_by_Abhishek_Mudgal.jpg",
    "mate/nature",
)
debian = (("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds"), "usr/share/backgrounds")
keeps = (".jpg",)
megabytes = 74

SIDE = 64
SQUARES = 40  # per photograph


def load(side: int | None = None) -> Dataset:
    folder, side = found("photographs"), side or SIDE
    there = grounds.found([folder])
    known = [photo for photo in grounds.PHOTOS if photo.file in there and not photo.drawn]
    read = [(photo, grounds.read(photo, there[photo.file])) for photo in known]
    images, names, part = [], [], []
    for number, (photo, ground) in enumerate(read):
        if isinstance(ground, Skipped):
            continue
        rng = np.random.default_rng([number, side])
        images += [grounds.patch(ground, side, rng) for _square in range(SQUARES)]
        names += [photo.file] * SQUARES
        part += [photo.part] * SQUARES
    image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Dataset(
        name="photographs",
        input=image,
        target=torch.zeros(len(image), dtype=torch.int64),
        classes=("photograph",),
        file=[f"{name}#{i % SQUARES:02d}" for i, name in enumerate(names)],
        group=names,
        part=part,
        skipped=tuple(ground for _photo, ground in read if isinstance(ground, Skipped)),
        source=source,
        licence=licence,
    )
