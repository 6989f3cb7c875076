"""Things cut out and laid on photographs, with exact boxes and masks, or drawn by souron.

Kendrick and others: Tux Paint stamps (2002-). https://tuxpaint.org/stamps/

5 200 scenes of one to six birds, mammals, flowers, pieces of fruit, vehicles, coins, signs and
buildings, 0.20 to 0.65 of the side, rotated, lit, and partly occluding each other. They are
composed of the stamps (``souron fetch stamps``) on photographs (``souron fetch photographs``), or
on noise; without stamps, ``drawn_scenes`` are used instead.

No cut-out of a test scene, no related cut-out and no photograph is in a training scene. Each side's
cut-outs are divided into blocks, and a scene takes its things from one block, which is its group:
scenes made of the same cut-outs are not independent, so confidence intervals are clustered by
block.
"""

import torch
from torch import Tensor

from souron.data.composing import scenes, stock
from souron.data.composing.cutouts import CATEGORIES
from souron.data.dataset import Dataset, ListColumn
from souron.data.targets.instances import numbered
from souron.data.targets.panoptic import divided
from souron.utils.messages import _

ja = "写真の上に切り抜きを置いた場面と、正確な枠とマスク。物体検出と領域分割のためのデータ"
labels_ja = {
    "background": "背景",
    "bird": "鳥",
    "mammal": "哺乳類",
    "flower": "花",
    "fruit": "果物",
    "vehicle": "乗り物",
    "coin": "硬貨",
    "sign": "標識",
    "building": "建物",
}
task = "detect"
targets = ("boxes", "classes_of_pixels", "instances", "panoptic")
licence = "GPL-2.0, CC-BY-SA-4.0"
source = "https://tuxpaint.org/stamps/"
cases = 5_200
ships_with = "souron"

SIDE = 128
SEED = 0
COUNTS = {"train": 4_000, "val": 600, "test": 600}
DRAWN_LICENCE = "Apache-2.0"


def load(side: int | None = None, target: str = "boxes") -> Dataset:
    return of(stock.stocked(CATEGORIES), side, target)


def of(made_of: stock.Stock, side: int | None, target: str) -> Dataset:
    """Build the data set from that stock."""
    drawn = made_of.name == "drawn"
    made = scenes.scenes(scenes.Recipe(side or SIDE, SEED, COUNTS, CATEGORIES), made_of)
    return Dataset(
        name="drawn_scenes" if drawn else "scenes",
        input=made.images,
        target=TARGETS[target](made),
        classes=("background", *CATEGORIES) if target in WITH_BACKGROUND else CATEGORIES,
        file=[f"{part}/{number:05d}" for part, count in COUNTS.items() for number in range(count)],
        group=[f"{part} block {block}" for part, block in zip(made.parts, made.blocks, strict=True)],
        part=made.parts,
        skipped=made_of.skipped,
        augment=("shift", "mirror"),
        source="" if drawn else source,
        licence=DRAWN_LICENCE if drawn else licence,
        grouped=_("blocks of cut-outs"),
        columns={"ground": made.grounds},
    )


def _classes_of_pixels(made: scenes.Made) -> Tensor:
    """Return the label maps (N, side, side) uint8: 0 for the background, else the category plus
    one."""
    areas = torch.empty_like(made.ids)
    for area, ids, things in zip(areas, made.ids, made.things, strict=True):
        label = torch.cat([torch.zeros(1), things[:, 0] + 1]).byte()
        area.copy_(label[ids.long()])
    return areas


def _instances(made: scenes.Made) -> ListColumn:
    """Return the visible mask of each thing, and its box."""
    return ListColumn(list(map(numbered, made.things, made.ids)))


def _panoptic(made: scenes.Made) -> ListColumn:
    """Return the visible mask of each thing, and the background as stuff."""
    return ListColumn(
        [
            divided([0, *(things[:, 0].long() + 1).tolist()], [False] + [True] * len(things), ids + 1)
            for things, ids in zip(made.things, made.ids, strict=True)
        ]
    )


WITH_BACKGROUND = ("classes_of_pixels", "panoptic")
TARGETS = {
    "boxes": lambda made: ListColumn(made.things),
    "classes_of_pixels": _classes_of_pixels,
    "instances": _instances,
    "panoptic": _panoptic,
}
