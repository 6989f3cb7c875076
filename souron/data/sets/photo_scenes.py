"""One thing in its own colours on a photograph or on noise: to colour, object and ground apart.

2 400 pictures of 64 pixels a side, each of one cut-out that fills half of the side or more, with
the place of its pixels. No cut-out of a test picture, none of its kin and no photograph is in a
training picture. What colour an unseen thing has can often not be known: grey is a strong rival.
"""

import torch

from souron.data.composing.coats import SIZES
from souron.data.composing.composer import Composer
from souron.data.composing.cutouts import CATEGORIES
from souron.data.composing.stock import stocked
from souron.data.dataset import Dataset
from souron.data.run_lengths import lengths_of
from souron.utils.messages import _

ja = "写真や雲模様の上に、元の色の物が一つある画像。物と背景を分けて着色を測るためのデータ"
task = "image_to_image"
licence = "GPL-2.0, CC-BY-SA-4.0"
source = "https://tuxpaint.org/stamps/"
cases = 2_400
ships_with = "souron"

SIDE = 64
SEED = 13
COUNTS = {"train": 1_900, "val": 100, "test": 400}
DRAWN_LICENCE = "Apache-2.0"


def load(side: int | None = None) -> Dataset:
    images, areas, names, groups, parts = [], [], [], [], []
    for part, count in COUNTS.items():
        composer = Composer(side or SIDE, SEED, part, counts=(1,), sizes=SIZES)
        for number in range(count):
            scene = composer.scene(number)
            if len(scene.masks):
                images.append(scene.picture)
                areas.append(lengths_of(scene.masks[0].numpy()))
                names.append(f"{part}/{number:05d}")
                groups.append(f"{part} block {composer.block(number)}")
                parts.append(part)
    drawn = stocked(CATEGORIES).name == "drawn"
    return Dataset(
        name="photo_scenes",
        input=torch.stack(images),
        target=torch.zeros(len(images), dtype=torch.int64),
        classes=("scene",),
        file=names,
        group=groups,
        part=parts,
        augment=("mirror",),
        source="" if drawn else source,
        licence=DRAWN_LICENCE if drawn else licence,
        grouped=_("blocks of cut-outs"),
        columns={"object": areas},
    )
